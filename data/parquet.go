package data

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"

	"github.com/parquet-go/parquet-go"
)

// parquetFile reads rows by index. It holds the current page of every column that is
// wanted, and of no other.
type parquetFile struct {
	file  *os.File
	size  int64
	pq    *parquet.File
	first []int // first[g] is the first row of row group g; the last entry is the number of rows
	cells []boundColumn
	group int   // row group that the cells are open at; -1: none
	held  int64 // bytes of all pages
}

// boundColumn is a column of the file that is read for one of the form.
type boundColumn struct {
	column
	node *node
}

const (
	// maxHeld is how many bytes the pages of one row may take in memory beside
	// maxText for each byte of the file: equal texts take next to nothing in a file.
	maxHeld = 256 << 20
	// maxText is how many times larger than its packed form a text is at most.
	maxText = 100
	// maxRows bounds the rows of a file: their order in an epoch is held in memory.
	maxRows = 1 << 27
)

func openParquet(path string) (table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	p := &parquetFile{file: f, group: -1}
	if err := guarded(p.open); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return p, nil
}

// guarded runs f and turns its panic into an error: the parquet library trusts the
// file beyond what checkFooter can verify.
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
		if n < 0 || n > maxRows-int64(p.first[g]) {
			return fmt.Errorf("row group %d claims %d rows: a file may have %d; split it", g, n, maxRows)
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

func (p *parquetFile) close() error { return p.file.Close() }

// bind finds the columns of a form and checks their types.
func (p *parquetFile) bind(f form) error {
	return guarded(func() error {
		for _, col := range f.columns {
			n, err := p.bindColumn(col)
			if err != nil {
				return fmt.Errorf("column %s: %w", col.name, err)
			}
			if n != nil {
				p.cells = append(p.cells, boundColumn{col, n})
			}
		}
		return nil
	})
}

// bindColumn returns nil for an id and for classes of a type that is none: an id is there
// for people, and of classes that are asked for it is said where they are missing.
func (p *parquetFile) bindColumn(col column) (*node, error) {
	limit := maxHeld + maxText*p.size
	n := newNode(p.pq.Root().Column(col.name), func(c *parquet.Column) *leaf { return newLeaf(c, p.file, &p.held, limit) })
	ok := false
	switch single := n.leaf != nil && !n.repeated; col.kind {
	case textKind:
		ok = single && n.holds == textValue
	case idKind:
		if ok = single && n.holds != otherValue; !ok && !col.required {
			return nil, nil
		}
	case numberKind:
		ok = single && n.holds == numberValue
	case textsKind:
		ok = single && n.holds == textValue || n.list() != nil && n.list().holds == textValue
	case answersKind:
		ok = single && n.holds == textValue || n.list() != nil && n.list().holds == textValue || n.child("text") != nil
	case turnsKind:
		turn := n.list()
		ok = single && n.holds == textValue || turn != nil && turn.leaf == nil && (turn.child("role") != nil || turn.child("from") != nil)
	case partKind:
		ok = single && n.holds == textValue || n.list() != nil && n.list().leaf == nil
	case pairsKind, jsonKind:
		ok = true
	}
	if !ok && col.cell == classesCell {
		return nil, nil
	}
	if !ok {
		return nil, fmt.Errorf("found %s, want %s", n.describe(), col.kind)
	}
	return n, nil
}

func (p *parquetFile) row(i int, _ form) (r row, err error) {
	err = guarded(func() error {
		if err := p.seek(i); err != nil {
			return fmt.Errorf("corrupt parquet file: row group %d: %w", p.group, err)
		}
		r, err = p.read()
		return err
	})
	if err != nil { // wherever the leaves are now
		p.closeGroup()
	}
	return r, err
}

// seek moves all leaves to row i.
func (p *parquetFile) seek(i int) error {
	if p.group < 0 || i < p.first[p.group] || i >= p.first[p.group+1] {
		p.closeGroup()
		p.group = sort.SearchInts(p.first, i+1) - 1
		group := &p.pq.Metadata().RowGroups[p.group]
		for _, c := range p.cells {
			for _, l := range c.node.leaves {
				if err := l.openGroup(p.size, group); err != nil {
					return err
				}
			}
		}
	}
	for _, c := range p.cells {
		for _, l := range c.node.leaves {
			if err := l.seek(i - p.first[p.group]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *parquetFile) closeGroup() {
	for _, c := range p.cells {
		for _, l := range c.node.leaves {
			l.close()
		}
	}
	p.group = -1
}

// read takes the row that all leaves are at.
func (p *parquetFile) read() (row, error) {
	r := emptyRow()
	for _, c := range p.cells {
		if err := r.setParquet(c); err != nil {
			if corrupt := (*corruptError)(nil); errors.As(err, &corrupt) {
				return r, fmt.Errorf("corrupt parquet file: column %s: %w", c.name, err)
			}
			return r, fmt.Errorf("column %s: %w", c.name, err)
		}
	}
	return r, nil
}

// setParquet reads a cell of a row. What is nested becomes JSON, so that it is
// understood in one place.
func (r *row) setParquet(c boundColumn) error {
	n := c.node
	if n.leaf == nil || n.repeated {
		raw, err := n.json(nil)
		if err != nil || string(raw) == "null" {
			return err
		}
		return r.setJSON(c.column, slices.Clip(raw))
	}
	v, null, err := n.value()
	if err != nil || null {
		return err
	}
	if c.kind == numberKind {
		return r.setNumber(c.cell, n.number(v))
	}
	text, err := n.text(v)
	if err == nil {
		err = checkText(text)
	}
	if err != nil {
		return err
	}
	switch c.kind {
	case textKind, idKind, textsKind, answersKind, partKind:
		return r.setText(c.cell, text)
	}
	return r.setJSON(c.column, appendText(nil, text)) // a string that holds JSON
}
