package inspect

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"eisft/data"
	"eisft/model"
	"eisft/train/runs"
)

// keptSample is a text with the tokens that the slots of a run keep when it has been read.
type keptSample struct {
	ID         string // of its inputs on the page
	Run, Where string
	Asked      string // what comes next, as far as it is known
	Tokens     int
	Summary    string
	Layers     []int
	Text       template.HTML
}

// mostShown bounds the tokens of a text that is shown.
const mostShown = 8192

// samples reads rows with each run's adapter.
func (p *runPage) samples(ctx context.Context, o RunPageOptions) error {
	if o.Samples == 0 {
		return nil
	}
	for i, r := range p.Runs {
		run, err := runs.Open(r.dir)
		if err != nil {
			if o.Data != "" {
				return err
			}
			p.Notes = append(p.Notes, fmt.Sprintf("%s cannot be read with: %v", r.Name, err))
			continue
		}
		if len(run.Model.SlotLayers()) == 0 {
			p.Notes = append(p.Notes, r.Name+" has no slots, so that no tokens are chosen.")
			continue
		}
		name, source, err := samplesFrom(ctx, run, o.Data)
		var list []keptSample
		if err == nil {
			list, err = p.samplesOf(ctx, r, run, fmt.Sprint("s", i), source, o.Samples)
		}
		if err != nil && (o.Data != "" || ctx.Err() != nil) {
			return err
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("there is no file %s; name another one with --data", name)
		}
		if err != nil {
			p.Notes = append(p.Notes, fmt.Sprintf("%s: %v", r.Name, err))
		}
		p.Samples = append(p.Samples, list...)
	}
	for _, s := range p.Samples {
		p.Layers = append(p.Layers, s.Layers...)
	}
	slices.Sort(p.Layers)
	p.Layers = slices.Compact(p.Layers)
	return nil
}

// samplesFrom opens what samples of a run are taken from: the file that is asked for, or what
// the run is evaluated on, or else trained on.
func samplesFrom(ctx context.Context, run *runs.Run, asked string) (name string, source *data.Source, err error) {
	c := run.Config
	switch {
	case asked != "" && len(c.Eval.Data) > 0:
		source, err = data.Open(asked, c.Eval.Options)
		return asked, source, err
	case asked != "":
		source, err = data.Open(asked, c.Data.Options)
		return asked, source, err
	case !c.Eval.Nothing():
		source, err = c.Eval.Open(ctx)
		return c.Eval.Name(), source, err
	}
	source, _, err = c.OpenData(ctx)
	return c.Data.Train.String(), source, err
}

func (p *runPage) samplesOf(ctx context.Context, r *pageRun, run *runs.Run, id string, source *data.Source, n int) (list []keptSample, err error) {
	defer func() { err = errors.Join(err, source.Close()) }()
	encoder := data.NewEncoder(run.Tokenizer, run.Template, 0)
	for row := range min(n, source.Len()) {
		sample, err := source.At(row)
		if err != nil {
			return list, err
		}
		s, err := readKept(ctx, run, encoder, sample)
		if err != nil {
			return list, err
		}
		s.ID, s.Run = fmt.Sprintf("%s-%d", id, row), p.of(r, "")
		s.Where = filepath.Base(sample.Where)
		list = append(list, s)
	}
	return list, nil
}

// readKept reads a row up to its first answer, or a plain text, and says which tokens are kept then.
func readKept(ctx context.Context, run *runs.Run, encoder *data.Encoder, row data.Sample) (s keptSample, err error) {
	e, err := encoder.Encode(row)
	if err != nil {
		return s, err
	}
	ids, fact := e.IDs, -1
	if len(e.Turns) > 0 {
		t := e.Turns[0]
		ids = ids[:t.Start]
		if t.Distance >= 0 {
			fact = t.Start - t.Distance
		}
		s.Asked = run.Tokenizer.Decode(e.IDs[t.Start:t.End], true)
	}
	if len(ids) > mostShown {
		s.Summary = fmt.Sprintf("The first %s of %s tokens. ", humanize.Comma(mostShown), humanize.Comma(int64(len(ids))))
		ids, s.Asked = ids[:mostShown], ""
	}
	st := run.Model.NewStream(model.StreamOptions{})
	if _, err := st.Read(ctx, ids, nil); err != nil {
		return s, err
	}
	s.Tokens, s.Layers = len(ids), run.Model.SlotLayers()
	kept := keptTokens(st, s.Layers, len(ids))
	s.Summary += keptSummary(st, s.Layers, kept, len(ids))
	s.Text = kept.html(run, st, ids, fact, s.Layers)
	return s, nil
}

// keptBy says of each token which layers keep it, in how many KV heads.
type keptBy []heldIn

// heldIn is in how many KV heads each layer keeps a token.
type heldIn map[int]int

// keptTokens reads the slots of a stream.
func keptTokens(st *model.Stream, layers []int, tokens int) keptBy {
	out := make(keptBy, tokens)
	for _, layer := range layers {
		l, parts := st.State.Layers[layer], st.State.Parts(layer)
		if parts.Stored() == 0 {
			continue
		}
		kv := len(l.Token) / parts.Stored()
		for _, token := range l.Token[parts.Sinks*kv : (parts.Sinks+parts.Slots)*kv] {
			if out[token] == nil {
				out[token] = heldIn{}
			}
			out[token][layer]++
		}
	}
	return out
}

// keptSummary counts.
func keptSummary(st *model.Stream, layers []int, kept keptBy, tokens int) string {
	parts, any := st.State.Parts(layers[0]), 0
	for _, by := range kept {
		if len(by) > 0 {
			any++
		}
	}
	if parts.Left == 0 {
		return fmt.Sprintf("All %s tokens are in sinks, window and segment: nothing has left the window, so that slots are empty.", humanize.Comma(int64(tokens)))
	}
	return fmt.Sprintf("%s tokens were read; of %s that left the window slots keep %s in some layer and head, %d in each.",
		humanize.Comma(int64(tokens)), humanize.Comma(int64(parts.Left)), humanize.Comma(int64(any)), parts.Slots)
}

// html marks the tokens: sinks and what is in the window or behind it, which all layers see, and
// those in slots, the darker the more of the layers' KV heads keep them.
func (k keptBy) html(run *runs.Run, st *model.Stream, ids []int32, fact int, layers []int) template.HTML {
	parts, heads := st.State.Parts(layers[0]), run.Model.Base.Dims.KVHeads
	exact := parts.Sinks + parts.Left // the first token of the window
	if len(ids) <= exact {
		exact = len(ids)
	}
	var b strings.Builder
	stream := run.Tokenizer.NewStream()
	for i, id := range ids {
		text := template.HTMLEscapeString(stream.Add(id))
		if i == len(ids)-1 {
			text += template.HTMLEscapeString(stream.Flush())
		}
		class, title, share := "", "", 0.0
		switch {
		case i < parts.Sinks || i >= exact:
			class = "near"
		case len(k[i]) > 0:
			class, title, share = k[i].classes(layers, heads)
		}
		if i == fact {
			class += " fact"
		}
		if class == "" {
			b.WriteString(text)
			continue
		}
		fmt.Fprintf(&b, `<i class="%s"`, strings.TrimSpace(class))
		if share > 0 {
			fmt.Fprintf(&b, ` style="--k:%.2f" title="token %d, %s"`, 0.15+0.85*share, i, title)
		}
		b.WriteString(">" + text + "</i>")
	}
	return template.HTML(b.String()) // escaped above
}

// classes are those of a token that some layers keep.
func (by heldIn) classes(layers []int, heads int) (class, title string, share float64) {
	var names, of []string
	sum := 0
	for _, l := range layers {
		if n := by[l]; n > 0 {
			names, of, sum = append(names, fmt.Sprint("l", l)), append(of, fmt.Sprintf("layer %d: %d of %d heads", l, n, heads)), sum+n
		}
	}
	return "kept " + strings.Join(names, " "), strings.Join(of, ", "), float64(sum) / float64(len(layers)*heads)
}
