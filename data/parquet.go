package data

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/parquet-go/parquet-go"

	"eisft/model/tokenizer"
)

// parquetFile reads rows by index. It keeps one row reader open, so that reading in
// order decodes every page once and holds only the current pages.
type parquetFile struct {
	file   *os.File
	size   int64
	pq     *parquet.File
	first  []int   // first[g] is the first row of row group g; the last entry is the number of rows
	leaves []*leaf // by column index of the leaf; nil: not wanted

	rows  parquet.Rows // open at row next of group
	group int
	next  int
	buf   [1]parquet.Row
}

// leaf is a parquet column with values that is read for a column of the form.
type leaf struct {
	column
	field string // of a message: role or content
}

func openParquet(path string) (table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	p := &parquetFile{file: f}
	if err := guarded(p.open); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return p, nil
}

// guarded runs f and turns its panic into an error: the parquet reader trusts counts
// and offsets of the file beyond what checkFooter and checkPages can verify.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("corrupt parquet file: %v", p)
		}
	}()
	return f()
}

func (p *parquetFile) open() error {
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	p.size = info.Size()
	if err := checkFooter(p.file, p.size); err != nil {
		return err
	}
	p.pq, err = parquet.OpenFile(p.file, p.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("corrupt parquet file: %w", err)
	}
	p.first = []int{0}
	for g, group := range p.pq.RowGroups() {
		n := group.NumRows()
		if n < 0 || n > p.size {
			return fmt.Errorf("corrupt parquet file: row group %d claims %d rows, the file has %d bytes", g, n, p.size)
		}
		p.first = append(p.first, p.first[g]+int(n))
	}
	if p.len() != int(p.pq.NumRows()) {
		return fmt.Errorf("corrupt parquet file: %d rows in its row groups, %d in its footer", p.len(), p.pq.NumRows())
	}
	return nil
}

func (p *parquetFile) len() int           { return p.first[len(p.first)-1] }
func (p *parquetFile) where(i int) string { return fmt.Sprintf("row %d", i+1) }

func (p *parquetFile) columns() ([]string, error) {
	var names []string
	for _, c := range p.pq.Root().Columns() {
		names = append(names, c.Name())
	}
	return names, nil
}

func (p *parquetFile) close() error { return errors.Join(p.closeRows(), p.file.Close()) }

func (p *parquetFile) closeRows() error {
	if p.rows == nil {
		return nil
	}
	rows := p.rows
	p.rows = nil
	return guarded(rows.Close)
}

// bind finds the leaf columns of a form and checks their types.
func (p *parquetFile) bind(f form) error {
	return guarded(func() error {
		for _, col := range f {
			if err := p.bindColumn(col, p.pq.Root().Column(col.name)); err != nil {
				return fmt.Errorf("column %s: %w", col.name, err)
			}
		}
		return nil
	})
}

func (p *parquetFile) bindColumn(col column, c *parquet.Column) error {
	switch {
	case col.kind == turnsKind:
		return p.bindTurns(col, c)
	case c.Leaf() && !c.Repeated():
		return p.bindLeaf(leaf{column: col}, c)
	case col.kind == textsKind:
		return p.bindList(col, c)
	}
	return fmt.Errorf("found a group of columns, want %s", col.kind)
}

// bindList accepts a list of strings in any of the layouts writers use: a group with
// one leaf that repeats once.
func (p *parquetFile) bindList(col column, c *parquet.Column) error {
	leaves := leavesOf(c, nil)
	if len(leaves) != 1 || leaves[0].MaxRepetitionLevel() != 1 {
		return fmt.Errorf("found a group of %d columns, want %s", len(leaves), col.kind)
	}
	return p.bindLeaf(leaf{column: col}, leaves[0])
}

// bindTurns wants the leaves role and content in a group that repeats once. Other
// fields of a message are not read.
func (p *parquetFile) bindTurns(col column, c *parquet.Column) error {
	found := 0
	var names []string
	for _, l := range leavesOf(c, nil) {
		names = append(names, l.Name())
		if (l.Name() != "role" && l.Name() != "content") || l.MaxRepetitionLevel() != 1 {
			continue
		}
		found++
		if err := p.bindLeaf(leaf{col, l.Name()}, l); err != nil {
			return fmt.Errorf("%s: %w", l.Name(), err)
		}
	}
	if found != 2 {
		return fmt.Errorf("found %s with the fields %s, want %s", c.Type(), strings.Join(names, ", "), col.kind)
	}
	return nil
}

func (p *parquetFile) bindLeaf(l leaf, c *parquet.Column) error {
	kind := c.Type().Kind()
	ok := kind == parquet.ByteArray
	switch whole := kind == parquet.Int32 || kind == parquet.Int64; {
	case l.kind == numberKind:
		ok = whole || kind == parquet.Float || kind == parquet.Double
	case l.kind == idKind:
		ok = ok || whole
	}
	if !ok {
		return fmt.Errorf("found the parquet type %s, want %s", c.Type(), l.kind)
	}
	for len(p.leaves) <= c.Index() {
		p.leaves = append(p.leaves, nil)
	}
	p.leaves[c.Index()] = &l
	return nil
}

func leavesOf(c *parquet.Column, to []*parquet.Column) []*parquet.Column {
	if c.Leaf() {
		return append(to, c)
	}
	for _, child := range c.Columns() {
		to = leavesOf(child, to)
	}
	return to
}

func (p *parquetFile) row(i int, _ form) (r row, err error) {
	err = guarded(func() error {
		if err := p.seek(i); err != nil {
			return err
		}
		n, err := p.rows.ReadRows(p.buf[:])
		if n != 1 {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("corrupt parquet file: row group %d: %w", p.group, err)
		}
		p.next++
		r, err = p.cells(p.buf[0])
		return err
	})
	if err != nil {
		err = errors.Join(err, p.closeRows())
	}
	return r, err
}

// seek opens the row group of row i and moves to it.
func (p *parquetFile) seek(i int) error {
	if p.rows != nil && p.next == i && i < p.first[p.group+1] {
		return nil
	}
	if p.rows == nil || i < p.first[p.group] || i >= p.first[p.group+1] {
		if err := p.closeRows(); err != nil {
			return err
		}
		p.group = sort.SearchInts(p.first, i+1) - 1
		if err := checkPages(p.file, p.size, p.pq.Metadata().RowGroups[p.group].Columns); err != nil {
			return fmt.Errorf("corrupt parquet file: row group %d: %w", p.group, err)
		}
		p.rows = p.pq.RowGroups()[p.group].Rows()
	}
	if err := p.rows.SeekToRow(int64(i - p.first[p.group])); err != nil {
		return fmt.Errorf("corrupt parquet file: row group %d: %w", p.group, err)
	}
	p.next = i
	return nil
}

// cells copies the values of a row into its cells.
func (p *parquetFile) cells(values parquet.Row) (row, error) {
	r := emptyRow()
	var names, contents []string
	for _, v := range values {
		if v.Column() < 0 || v.Column() >= len(p.leaves) || p.leaves[v.Column()] == nil || v.IsNull() {
			continue
		}
		switch l := p.leaves[v.Column()]; {
		case l.field == "role":
			names = append(names, v.String())
		case l.field == "content":
			contents = append(contents, v.String())
		case l.kind == textsKind:
			r.answers = append(r.answers, v.String())
		case l.kind == numberKind:
			if err := r.setNumber(l.cell, float(v)); err != nil {
				return r, fmt.Errorf("column %s: %w", l.name, err)
			}
		default:
			r.setText(l.cell, v.String())
		}
	}
	if len(names) != len(contents) {
		return r, fmt.Errorf("%d messages with a role, %d with content: want both in every message", len(names), len(contents))
	}
	for i := range names {
		r.messages = append(r.messages, tokenizer.Message{Role: names[i], Content: contents[i]})
	}
	return r, nil
}

func float(v parquet.Value) float64 {
	switch v.Kind() {
	case parquet.Int32:
		return float64(v.Int32())
	case parquet.Int64:
		return float64(v.Int64())
	case parquet.Float:
		return float64(v.Float())
	}
	return v.Double()
}
