package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"eisft/export/host"
	"eisft/export/manifest"
	"eisft/model/hf"
	"eisft/model/kernels"
)

// Replayed is how golden vectors and a host's numbers compared.
type Replayed struct {
	Shape, Precision string
	Calls            int
	EqualTokens      int // calls with the same best token
	MaxLogit         float64
	MeanLogit        float64
	Memory           float64 // largest difference, as a share of the largest number of a tensor
	Slots, SameSlots int
	Tolerance        GoldenTolerance

	sum   float64 // of the differences of logits
	count int
	err   error // the first thing that is wrong
}

// Err says what was wrong, nil if all is within the tolerance.
func (r *Replayed) Err() error {
	switch t := r.Tolerance; {
	case r.err != nil:
		return r.err
	case !(r.MaxLogit <= t.Logits.Max && r.MeanLogit <= t.Logits.Mean):
		return fmt.Errorf("%s, %s: logits differ by up to %.2g (tolerance %.2g), %.2g on average (tolerance %.2g)", r.Shape, r.Precision, r.MaxLogit, t.Logits.Max, r.MeanLogit, t.Logits.Mean)
	case !(r.Memory <= t.Memory):
		return fmt.Errorf("%s, %s: memories differ by %.2g of their largest number (tolerance %.2g)", r.Shape, r.Precision, r.Memory, t.Memory)
	case float64(r.SameSlots) < t.Slots*float64(r.Slots):
		return fmt.Errorf("%s, %s: %d of %d slots hold the tokens that they should; want %.4g of them", r.Shape, r.Precision, r.SameSlots, r.Slots, t.Slots)
	}
	return nil
}

// Replay runs the golden vectors of an exported folder with the Go host: those that o
// chooses, or all.
func Replay(ctx context.Context, dir string, o host.Options) ([]*Replayed, error) {
	info, err := manifest.Read(dir)
	if err != nil {
		return nil, err
	}
	var all []*Replayed
	for _, g := range info.Golden {
		if o.Shape != "" && o.Shape != g.Shape || o.Precision != "" && o.Precision != g.Precision {
			continue
		}
		r, err := replay(ctx, dir, g, o)
		if err != nil {
			return all, fmt.Errorf("golden vectors %s: %w", g.Steps, err)
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no golden vectors for the graphs asked for; export again", dir)
	}
	return all, nil
}

// replay runs those of one shape and precision.
func replay(ctx context.Context, dir string, g manifest.Golden, o host.Options) (r *Replayed, err error) {
	text, err := os.ReadFile(filepath.Join(dir, g.Steps))
	if err != nil {
		return nil, err
	}
	p := &player{}
	if err := json.Unmarshal(text, &p.steps); err != nil {
		return nil, err
	}
	if p.steps.Format != goldenFormat {
		return nil, fmt.Errorf("they are of format %d, want %d", p.steps.Format, goldenFormat)
	}
	f, err := hf.OpenFile(filepath.Join(dir, g.Tensors))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	p.file = f
	o.Shape, o.Precision = g.Shape, g.Precision
	m, err := host.Open(dir, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	p.Replayed = &Replayed{Shape: g.Shape, Precision: g.Precision, Tolerance: p.steps.Tolerance}
	for _, s := range p.steps.Sequences {
		if err := p.sequence(ctx, m, s); err != nil {
			return nil, err
		}
	}
	if p.count > 0 {
		p.MeanLogit = p.sum / float64(p.count)
	}
	return p.Replayed, nil
}

// player compares a host with golden vectors as they are read.
type player struct {
	*Replayed
	steps GoldenSteps
	file  *hf.File
}

func (p *player) sequence(ctx context.Context, m *host.Model, s GoldenSequence) (err error) {
	st, err := m.NewStream()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	ids, err := p.numbers(s.Name + ".ids")
	if err != nil {
		return err
	}
	for i, c := range s.Calls {
		if c.Read > len(ids) || c.Tokens < 1 || c.Tokens > c.Read {
			return fmt.Errorf("%s.%d: it reads %d tokens up to %d, of %d", s.Name, i, c.Tokens, c.Read, len(ids))
		}
		row, err := st.Read(ctx, ids[c.Read-c.Tokens:c.Read], nil)
		if err != nil {
			return err
		}
		if err := p.logits(s.Name, i, row); err != nil {
			return err
		}
		got := GoldenCall{c.Tokens, st.Seen(), st.Committed(), st.Held(), st.Written(), c.State}
		if got != c && p.err == nil {
			p.err = fmt.Errorf("%s.%d: the host stands at %+v, want %+v", s.Name, i, got, c)
		}
		if !c.State {
			continue
		}
		for _, layer := range p.steps.Layers {
			if err := p.state(st, s.Name, i, layer); err != nil {
				return err
			}
		}
	}
	return nil
}

// logits compares those of the last token of a call.
func (p *player) logits(name string, call int, row []float32) error {
	ids, err := p.numbers("logit_ids")
	if err != nil {
		return err
	}
	best, err := p.numbers(name + ".best")
	if err != nil {
		return err
	}
	want, err := p.floats(name + ".logits")
	if err != nil {
		return err
	}
	if call >= len(best) || (call+1)*len(ids) > len(want) {
		return fmt.Errorf("%s: there are %d logits and %d best tokens, but more calls", name, len(want), len(best))
	}
	got := make([]float32, len(ids))
	for i, id := range ids {
		if int(id) >= len(row) {
			return fmt.Errorf("logit_ids: %d is not among the %d of the graphs", id, len(row))
		}
		got[i] = row[id]
	}
	total, largest := difference(got, want[call*len(ids):(call+1)*len(ids)])
	p.sum += total
	p.count += len(ids)
	if !(largest <= p.MaxLogit) {
		p.MaxLogit = largest
	}
	p.Calls++
	if int32(kernels.ArgMax(row)) == best[call] {
		p.EqualTokens++
	}
	return nil
}

// state compares a layer's slots and memory.
func (p *player) state(st *host.Stream, name string, call, layer int) error {
	if got := st.SlotTokens(layer); len(got) > 0 {
		want, err := p.numbers(goldenTensor(name, call, "slots", layer))
		if err != nil {
			return err
		}
		if len(got) != len(want) {
			p.err = fmt.Errorf("%s.%d: layer %d has %d tokens in slots, want %d", name, call, layer, len(got), len(want))
			return nil
		}
		p.Slots += len(want)
		p.SameSlots += sameSlots(want, got, st.Heads())
	}
	memory, mass := st.Memory(layer)
	for what, got := range map[string][]float32{"memory": memory, "memory_mass": mass} {
		if got == nil {
			continue
		}
		want, err := p.floats(goldenTensor(name, call, what, layer))
		if err != nil {
			return err
		}
		if len(want) != len(got) {
			return fmt.Errorf("%s.%d: the %s of layer %d has %d numbers, want %d", name, call, what, layer, len(got), len(want))
		}
		p.Memory = max(p.Memory, share(want, got))
	}
	return nil
}

func (p *player) floats(name string) ([]float32, error) {
	t, err := p.file.Tensor(name)
	if err != nil {
		return nil, err
	}
	return t.Float32()
}

func (p *player) numbers(name string) ([]int32, error) {
	t, err := p.file.Tensor(name)
	if err != nil {
		return nil, err
	}
	long, err := t.Int64()
	out := make([]int32, len(long))
	for i, v := range long {
		out[i] = int32(v)
	}
	return out, err
}

// WriteReplayed prints how golden vectors compared.
func WriteReplayed(w io.Writer, all []*Replayed) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "shape\tgraphs\tcalls\tsame choice\tmax difference\tallowed\tmean\tallowed\tmemory\tallowed\tsame slots")
	for _, r := range all {
		t := r.Tolerance
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%.2g\t%.2g\t%.2g\t%.2g\t%.2g\t%.2g\t%d of %d\n",
			r.Shape, r.Precision, r.Calls, r.EqualTokens, r.MaxLogit, t.Logits.Max, r.MeanLogit, t.Logits.Mean, r.Memory, t.Memory, r.SameSlots, r.Slots)
	}
	errs := []error{table.Flush()}
	for _, r := range all {
		errs = append(errs, r.Err())
	}
	return errors.Join(slices.DeleteFunc(errs, func(err error) bool { return err == nil })...)
}
