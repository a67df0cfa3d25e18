package export

import (
	"fmt"
	"math"
	"path/filepath"

	"github.com/x448/float16"

	"eisft/export/host"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/internal/enum"
	"eisft/model"
	"eisft/model/hf"
	"eisft/quant/encoding"
)

// Embeddings is the type of the rows in the file of embeddings.
type Embeddings string

// The types of rows: floats, and codes with a scale for each row.
const (
	EmbedFloat32 Embeddings = "float32"
	EmbedFloat16 Embeddings = "float16"
	EmbedInt16   Embeddings = "int16"
	EmbedInt8    Embeddings = "int8"
)

// rowsAt are rows [n,d] of the table, from one on.
type rowsAt func(first int, x []float32) error

// embeddingForms makes the entries of the file of rows [n,d], which blocks gives one block
// after the other.
var embeddingForms = enum.NewTable[Embeddings, func(blocks func(rowsAt) error, n, d int) ([]hf.Entry, error)]("embeddings").
	With(EmbedFloat16, halfRows).
	With(EmbedFloat32, func(blocks func(rowsAt) error, n, d int) ([]hf.Entry, error) {
		all := make([]float32, n*d)
		err := blocks(func(first int, x []float32) error {
			copy(all[first*d:], x)
			return nil
		})
		return []hf.Entry{{Name: manifest.Embedding, Shape: []int{n, d}, Data: all}}, err
	}).
	With(EmbedInt16, codedRows[int16](16)).
	With(EmbedInt8, codedRows[int8](8))

// ParseEmbeddings reads a type of rows as the command line has it.
func ParseEmbeddings(s string) (Embeddings, error) {
	_, err := embeddingForms.Find(Embeddings(s))
	return Embeddings(s), err
}

// EmbeddingTypes lists the types of rows, the default first.
func EmbeddingTypes() []Embeddings { return embeddingForms.Names() }

func halfRows(blocks func(rowsAt) error, n, d int) ([]hf.Entry, error) {
	halves := make(hf.F16, n*d)
	err := blocks(func(first int, x []float32) error {
		for i, v := range x {
			h := float16.Fromfloat32(v)
			if !h.IsFinite() {
				return fmt.Errorf("embeddings: the row of token %d has %g, beyond the largest float16; export them with --embeddings %s", first+i/d, v, EmbedFloat32)
			}
			halves[first*d+i] = h.Bits()
		}
		return nil
	})
	return []hf.Entry{{Name: manifest.Embedding, Shape: []int{n, d}, Data: halves}}, err
}

// codedRows gives each row a scale: the largest magnitude over the largest code.
func codedRows[T int8 | int16](bits int) func(blocks func(rowsAt) error, n, d int) ([]hf.Entry, error) {
	return func(blocks func(rowsAt) error, n, d int) ([]hf.Entry, error) {
		all := encoding.Encoding{Bits: bits, Scales: make([]float32, n)}
		_, most := all.Limits()
		codes := make([]T, n*d)
		err := blocks(func(first int, x []float32) error {
			e := encoding.Encoding{Bits: bits, Scales: all.Scales[first : first+len(x)/d]}
			for i := range e.Scales {
				largest := float32(0)
				for _, v := range x[i*d : (i+1)*d] {
					largest = max(largest, v, -v)
				}
				if math.IsNaN(float64(largest)) || math.IsInf(float64(largest), 0) {
					return fmt.Errorf("embeddings: the row of token %d holds %g", first+i, largest)
				}
				if e.Scales[i] = largest / float32(most); e.Scales[i] == 0 {
					e.Scales[i] = 1 // a row of zeros
				}
			}
			encoding.Codes(e, codes[first*d:first*d+len(x)], x, len(e.Scales), d)
			return nil
		})
		return []hf.Entry{
			{Name: manifest.Embedding, Shape: []int{n, d}, Data: codes},
			{Name: manifest.EmbeddingScale, Shape: []int{n}, Data: all.Scales},
		}, err
	}
}

func (w *writer) writeEmbeddings(file string, b *model.Base) error {
	if file == "" {
		return nil
	}
	form := embeddingForms.Get(EmbedFloat16)
	if w.Embeddings != "" {
		form = embeddingForms.Get(w.Embeddings)
	}
	entries, err := form(func(write rowsAt) error { return embeddingBlocks(b, write) }, b.Embed.Out, b.Embed.In)
	if err != nil {
		return err
	}
	return hf.WriteFile(filepath.Join(w.dir, file), entries, nil)
}

// embeddingBlocks gives the rows of the table in blocks of 4 MiB or so.
func embeddingBlocks(b *model.Base, write rowsAt) error {
	n, d := b.Embed.Out, b.Embed.In
	rows := max(1, 1<<20/d)
	x := make([]float32, rows*d)
	for lo := 0; lo < n; lo += rows {
		hi := min(n, lo+rows)
		block := x[:(hi-lo)*d]
		lower.EmbeddingRows(b, block, lo, hi)
		if err := write(lo, block); err != nil {
			return err
		}
	}
	return nil
}

// withTable returns the model with the embeddings in a file of an exported folder, which may be
// rounded: what the graphs are compared with reads what they read.
func withTable(m *model.Model, dir, file string) (*model.Model, error) {
	if file == "" {
		return m, nil
	}
	rows, n, d, err := host.Embeddings(dir, file)
	if err != nil {
		return nil, err
	}
	if n != m.Base.Embed.Out || d != m.Base.Embed.In {
		return nil, fmt.Errorf("%s has %d rows of %d, the model's table %d of %d; the folder belongs to another model", file, n, d, m.Base.Embed.Out, m.Base.Embed.In)
	}
	base := *m.Base
	base.Embed, base.EmbeddingNorm, base.EmbeddingScale = m.Base.Derive(m.Base.Embed.Name, d, n, nil, rows), nil, 1
	return model.New(&base, m.Spec, m.Params)
}
