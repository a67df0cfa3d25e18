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

// embeddingForms makes the entries of the file of rows x [n,d].
var embeddingForms = enum.NewTable[Embeddings, func(x []float32, n, d int) ([]hf.Entry, error)]("embeddings").
	With(EmbedFloat16, halfRows).
	With(EmbedFloat32, func(x []float32, n, d int) ([]hf.Entry, error) {
		return []hf.Entry{{Name: manifest.Embedding, Shape: []int{n, d}, Data: x}}, nil
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

func halfRows(x []float32, n, d int) ([]hf.Entry, error) {
	halves := make(hf.F16, len(x))
	for i, v := range x {
		h := float16.Fromfloat32(v)
		if !h.IsFinite() {
			return nil, fmt.Errorf("embeddings: the row of token %d has %g, beyond the largest float16; export them with --embeddings %s", i/d, v, EmbedFloat32)
		}
		halves[i] = h.Bits()
	}
	return []hf.Entry{{Name: manifest.Embedding, Shape: []int{n, d}, Data: halves}}, nil
}

// codedRows gives each row a scale: the largest magnitude over the largest code.
func codedRows[T int8 | int16](bits int) func(x []float32, n, d int) ([]hf.Entry, error) {
	return func(x []float32, n, d int) ([]hf.Entry, error) {
		e := encoding.Encoding{Bits: bits, Scales: make([]float32, n)}
		_, most := e.Limits()
		for i := range n {
			largest := float32(0)
			for _, v := range x[i*d : (i+1)*d] {
				largest = max(largest, v, -v)
			}
			if math.IsNaN(float64(largest)) || math.IsInf(float64(largest), 0) {
				return nil, fmt.Errorf("embeddings: the row of token %d holds %g", i, largest)
			}
			if e.Scales[i] = largest / float32(most); e.Scales[i] == 0 {
				e.Scales[i] = 1 // a row of zeros
			}
		}
		codes := make([]T, len(x))
		encoding.Codes(e, codes, x, n, d)
		return []hf.Entry{
			{Name: manifest.Embedding, Shape: []int{n, d}, Data: codes},
			{Name: manifest.EmbeddingScale, Shape: []int{n}, Data: e.Scales},
		}, nil
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
	entries, err := form(lower.Embeddings(b), b.Embed.Out, b.Embed.In)
	if err != nil {
		return err
	}
	return hf.WriteFile(filepath.Join(w.dir, file), entries, nil)
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
	base.Embed, base.EmbeddingNorm, base.EmbeddingScale = model.NewLinear(m.Base.Embed.Name, d, n, rows, nil), nil, 1
	return model.New(&base, m.Spec, m.Params)
}
