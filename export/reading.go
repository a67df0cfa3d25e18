package export

import (
	"context"
	"errors"
	"fmt"

	"eisft/export/manifest"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/quant"
)

// source is a Go model that graphs are compared with, in the sizes of a shape and over the
// embeddings of the folder: the float one, or the one that rounds as quantized graphs do.
type source struct {
	model         *model.Model
	scheme        *quant.Scheme // nil: float
	options, twin model.StreamOptions
}

// streams starts a stream of the model and, where it rounds, one of its twin (tolerance.go).
func (s *source) streams() (stream, twin *model.Stream) {
	if s.scheme != nil {
		twin = s.model.NewStream(s.twin)
	}
	return s.model.NewStream(s.options), twin
}

// sources are the Go models of an exported folder, and what they have read: the golden vectors
// record it, and the graphs are compared with it, so that each reads a text once.
type sources struct {
	dir       string
	info      *manifest.Manifest
	model     *model.Model // over the embeddings of the folder
	quantized *quant.Quantized
	found     map[[2]string]*source // by shape and precision
	readings  map[*source]*reading  // of golden vectors' long text
}

// newSources fails where the folder has the embeddings of another model. q is what its quantized
// graphs were made from, nil if there are none.
func newSources(dir string, info *manifest.Manifest, m *model.Model, q *quant.Quantized) (*sources, error) {
	m, err := withTable(m, dir, info.Embeddings)
	return &sources{dir: dir, info: info, model: m, quantized: q, found: map[[2]string]*source{}, readings: map[*source]*reading{}}, err
}

// of returns the Go model that the graphs of a shape and precision should equal: float ones of
// any precision the same.
func (s *sources) of(shape manifest.Shape, precision string) (*source, error) {
	float := manifest.IsFloat(precision)
	if float {
		precision = manifest.Float
	}
	key := [2]string{shape.Name, precision}
	if known, ok := s.found[key]; ok {
		return known, nil
	}
	fitted, err := inShape(s.model, shape)
	if err != nil {
		return nil, err
	}
	made := &source{model: fitted}
	if !float {
		if made, err = s.rounding(fitted, precision); err != nil {
			return nil, err
		}
	}
	s.found[key] = made
	return made, nil
}

// rounding is the model that rounds as the graphs of a precision do.
func (s *sources) rounding(fitted *model.Model, precision string) (*source, error) {
	q := s.quantized
	if q == nil {
		return nil, errors.New("the quantized model that the graphs were made from is needed to compare them; name its folder with --quant")
	}
	faked, wrap, err := quant.Apply(fitted, q)
	if err == nil {
		faked, err = withTable(faked, s.dir, s.info.EmbeddingsOf(precision))
	}
	if err != nil {
		return nil, err
	}
	return &source{
		model: faked, scheme: &q.Scheme,
		options: model.StreamOptions{Wrap: wrap}, twin: model.StreamOptions{Wrap: quant.Wrap(faked, q, disturbance(q.Scheme))},
	}, nil
}

// reading is what a source has made of a text until now.
type reading struct {
	*source
	stream, second *model.Stream // second is the twin's, nil of float
	ids            []int32
	states, twins  []float32 // hidden states [n,D] of all tokens; twins is nil of float
	calls          []int     // lengths of the calls
	rows           map[int][]float32
}

func (s *source) read() *reading {
	r := &reading{source: s, rows: map[int][]float32{}}
	r.stream, r.second = s.streams()
	return r
}

// call reads the tokens of another call.
func (r *reading) call(ctx context.Context, ids []int32) error {
	into := func(states *[]float32) func(int, []float32) error {
		return func(_ int, hidden []float32) error {
			*states = append(*states, hidden...)
			return nil
		}
	}
	err := r.stream.Feed(ctx, ids, 0, into(&r.states))
	if err == nil && r.second != nil {
		err = r.second.Feed(ctx, ids, 0, into(&r.twins))
	}
	r.ids, r.calls = append(r.ids, ids...), append(r.calls, len(ids))
	return err
}

// choice is the token that the model chooses next, of those that it can read.
func (r *reading) choice() int32 {
	b := r.model.Base
	return int32(kernels.ArgMax(r.row(len(r.ids) - 1)[:min(b.Head.Out, b.Embed.Out)]))
}

// row returns the logits [V] behind a token, which are kept: of the last token of a call, they are
// wanted by golden vectors, by what is chosen next, and by each comparison.
func (r *reading) row(token int) []float32 {
	row := r.rows[token]
	if row == nil {
		row = make([]float32, r.model.Base.Head.Out)
		r.logits(row, token)
		r.rows[token] = row
	}
	return row
}

// logits computes the logits [n,V] behind n tokens from one on, twinLogits those of the twin.
func (r *reading) logits(dst []float32, token int) { r.of(r.stream, dst, r.states, token) }

func (r *reading) twinLogits(dst []float32, token int) { r.of(r.second, dst, r.twins, token) }

func (r *reading) of(stream *model.Stream, dst, states []float32, token int) {
	d := r.model.Base.Dims.Hidden
	stream.Logits(dst, states[token*d:(token+len(dst)/r.model.Base.Head.Out)*d])
}

// over reads calls, each a number of tokens: those that next gives, or that the model chooses where a
// call has one. after, if not nil, is called after each.
func (r *reading) over(ctx context.Context, calls []int, next func(n int) []int32, after func(call int)) error {
	for i, n := range calls {
		var ids []int32
		if n > 1 || i == 0 {
			ids = next(n)
		} else {
			ids = []int32{r.choice()}
		}
		if err := r.call(ctx, ids); err != nil {
			return err
		}
		if after != nil {
			after(i)
		}
	}
	return nil
}

// begun is how many tokens are read before the model chooses any.
func (r *reading) begun() (n int) {
	for i, c := range r.calls {
		if c == 1 && i > 0 {
			break
		}
		n += c
	}
	return n
}

// compared returns what a source makes of the text that its graphs are compared over: text that
// the quantized model was calibrated on, again and again, or else the long one of golden vectors;
// then the tokens that the model chooses, so many. Only text shows how much rounding changes: on
// drawn tokens, which a model was never trained to read nor calibrated on, its choices hang on a
// hair. It is not in golden vectors, which go wherever the graphs go.
func (s *sources) compared(ctx context.Context, from *source, chosen int) (*reading, error) {
	r := s.readings[from]
	delete(s.readings, from)
	if r == nil {
		calls := longCalls(from.model)
		next := drawn(from.model, goldenLong, calls)
		if s.hasText() {
			var err error
			if next, err = s.text(from.model); err != nil {
				return nil, err
			}
		}
		if len(calls) == 0 {
			calls = []int{reach(from.model)}
		}
		r = from.read()
		if err := r.over(ctx, calls, next, nil); err != nil {
			return nil, err
		}
	}
	for begun := r.begun(); len(r.ids) < min(begun+chosen, reach(from.model)); {
		if err := r.call(ctx, []int32{r.choice()}); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (s *sources) hasText() bool { return s.quantized != nil && len(s.quantized.Text) > 0 }

// text gives the quantized model's text, again and again.
func (s *sources) text(m *model.Model) (func(n int) []int32, error) {
	text, at := s.quantized.Text, 0
	for i, id := range text {
		if int(id) >= m.Base.Embed.Out {
			return nil, fmt.Errorf("token %d of the quantized model's text is %d, but the vocabulary has %d; quantize again", i, id, m.Base.Embed.Out)
		}
	}
	return func(n int) []int32 {
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = text[(at+i)%len(text)]
		}
		at += n
		return ids
	}, nil
}
