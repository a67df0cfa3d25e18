package synth

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"eisft/internal/atomicfile"
	"eisft/model/tokenizer"
)

// Grid says which rows are made: of every kind, length and depth so many.
type Grid struct {
	Seed    uint64
	Kinds   []Kind
	Lengths []int     // in tokens
	Depths  []float64 // from 0 to 1
	Count   int       // rows of each kind, length and depth; of interviews: conversations
	Text    *Haystack // nil where no kind needs one
}

// ErrNoText is wrapped by the error of a grid that has a kind without its text.
var ErrNoText = errors.New("it hides facts in a text, and none is given")

// Check reports what cannot be made.
func (g Grid) Check() error {
	switch {
	case len(g.Kinds) == 0 || len(g.Lengths) == 0 || len(g.Depths) == 0:
		return fmt.Errorf("there must be a kind, a length and a depth; found %d, %d and %d", len(g.Kinds), len(g.Lengths), len(g.Depths))
	case g.Count < 1:
		return fmt.Errorf("the number of rows of each kind, length and depth is %d; it must be at least 1", g.Count)
	}
	for _, k := range g.Kinds {
		if _, err := kinds.Find(k); err != nil {
			return err
		}
		if k.Haystacks() && g.Text == nil {
			return fmt.Errorf("kind %s: %w", k, ErrNoText)
		}
	}
	for _, n := range g.Lengths {
		if n < 1 || n > maxTokens {
			return fmt.Errorf("a length is %d tokens; it must be from 1 to %d", n, maxTokens)
		}
	}
	for _, d := range g.Depths {
		if !(d >= 0 && d <= 1) {
			return fmt.Errorf("a depth is %g; it must be from 0, the beginning of the text, to 1, its end", d)
		}
	}
	return nil
}

// maxTokens is longer than any text that is read in one go.
const maxTokens = 1 << 24

// Rows makes the rows of a grid, kind by kind, length by length. The same grid makes the same
// rows, and a row does not depend on which others there are beside it. An interview has fewer
// questions than depths where a fact is the nearest one to several.
func (g Grid) Rows(tk *tokenizer.Tokenizer) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if err := g.Check(); err != nil {
			yield(Row{}, err)
			return
		}
		for _, k := range g.Kinds {
			for _, tokens := range g.Lengths {
				each := g.each
				if k == KindInterview {
					each = g.interviews
				}
				for row, err := range each(k, tokens, tk) {
					if !yield(row, err) || err != nil {
						return
					}
				}
			}
		}
	}
}

// each makes the rows of a kind and a length, each of a text of its own.
func (g Grid) each(k Kind, tokens int, tk *tokenizer.Tokenizer) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for _, depth := range g.Depths {
			for i := range g.Count {
				id := fmt.Sprintf("%s-%d-%g-%d", k, tokens, depth, i)
				row, err := Hide(k, randomOf(g.Seed, id), tokens, depth, g.Text, tk)
				row.ID = id
				if !yield(row, err) {
					return
				}
			}
		}
	}
}

// interviews makes those of a length: the chances of a conversation are the same at every
// depth.
func (g Grid) interviews(k Kind, tokens int, tk *tokenizer.Tokenizer) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for i := range g.Count {
			asked := map[string]bool{}
			for _, depth := range g.Depths {
				row, err := Hide(k, randomOf(g.Seed, fmt.Sprintf("%s-%d-%d", k, tokens, i)), tokens, depth, nil, tk)
				row.ID = fmt.Sprintf("%s-%d-%g-%d", k, tokens, depth, i)
				if asked[row.Input] {
					continue
				}
				asked[row.Input] = true
				if !yield(row, err) {
					return
				}
			}
		}
	}
}

// randomOf is the source of a row's chances.
func randomOf(seed uint64, id string) *rand.Rand {
	sum := uint64(14695981039346656037) // FNV-1a
	for _, c := range []byte(id) {
		sum = (sum ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, sum))
}

// WriteRows writes rows to a file, .jsonl or .parquet: all of them, or the file stays as it
// was. It returns how many there are.
func WriteRows(path string, rows iter.Seq2[Row, error]) (n int, err error) {
	write := map[string]func(io.Writer, iter.Seq2[Row, error]) (int, error){".jsonl": writeLines, ".parquet": writeParquet}[strings.ToLower(filepath.Ext(path))]
	if write == nil {
		return 0, fmt.Errorf("%s: want a name that ends in .jsonl or .parquet", path)
	}
	file, err := atomicfile.Create(path)
	if err != nil {
		return 0, err
	}
	defer file.Abort()
	if n, err = write(file, rows); err != nil {
		return 0, err
	}
	return n, file.Commit()
}

func writeLines(w io.Writer, rows iter.Seq2[Row, error]) (n int, err error) {
	buffer := bufio.NewWriter(w)
	lines := json.NewEncoder(buffer)
	lines.SetEscapeHTML(false)
	for row, err := range rows {
		if err == nil {
			err = lines.Encode(row)
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, buffer.Flush()
}

func writeParquet(w io.Writer, rows iter.Seq2[Row, error]) (n int, err error) {
	out := parquet.NewGenericWriter[Row](w,
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedBestCompression}),
		parquet.MaxRowsPerRowGroup(64), parquet.PageBufferSize(1<<20),
		parquet.SkipPageBounds("context")) // bounds would repeat whole texts
	for row, err := range rows {
		if err == nil {
			_, err = out.Write([]Row{row})
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, out.Close()
}
