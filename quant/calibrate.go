package quant

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"iter"
	"strings"

	"github.com/dustin/go-humanize/english"

	"eisft/data"
	"eisft/internal/ranks"
	"eisft/internal/scratch"
	"eisft/model"
)

// Calibration says what a model was calibrated on.
type Calibration struct {
	Samples int `json:"samples"`
	// Short counts samples that were left out, since they do not fill a segment.
	Short  int `json:"short_samples"`
	Prompt int `json:"prompt_tokens"`     // read segment by segment
	Steps  int `json:"generation_tokens"` // read one by one, as a phone generates
	// Hash is the SHA-256 of all token ids, each sample preceded by its length.
	Hash     string   `json:"sha256"`
	Warnings []string `json:"warnings,omitempty"`
}

// Statistics are what calibration saw of every point of a base.
type Statistics struct {
	Calibration
	Text      []int32 // as in Quantized
	observers map[string]*Observer
}

// fewSamples is how many samples are too few to be silent about.
const fewSamples = 4

// TextTokens bounds the text that a quantized model keeps of its calibration.
const TextTokens = 8192

// Calibrate streams samples through the float model as a phone would read them:
// prompts segment by segment, the tokens of the answers one by one, with cache,
// slots and memory filling up on the way. Nothing is kept but the statistics, which are
// those of all schemes: what is computed does not depend on what is observed.
// An error of samples, or a NaN, ends it.
func Calibrate(ctx context.Context, m *model.Model, samples iter.Seq2[data.Encoded, error]) (*Statistics, error) {
	return calibrate(ctx, m, samples, ranks.Alone{})
}

// calibrate is Calibrate by several ranks, each of which streams its share of the samples. All
// get the statistics of all samples, those of one process exactly: histograms are counts.
func calibrate(ctx context.Context, m *model.Model, samples iter.Seq2[data.Encoded, error], g ranks.Group) (*Statistics, error) {
	c := newCalibrator(m)
	for s, err := range c.long.of(samples) {
		if err != nil {
			return nil, err
		}
		c.count(s)
		if !mine(g, c.long.taken-1) {
			continue
		}
		if err := c.sample(ctx, s); err != nil {
			return nil, err
		}
	}
	if err := c.meet(g); err != nil {
		return nil, err
	}
	return c.finish()
}

// calibrator is one call of Calibrate.
type calibrator struct {
	model   *model.Model
	stats   *Statistics
	hash    hash.Hash
	long    longEnough
	slots   int // most slots filled
	evicted bool
	taps    *taps
}

func newCalibrator(m *model.Model) *calibrator {
	c := &calibrator{model: m, hash: sha256.New(), long: longEnough{segment: m.Spec.Segment}, stats: &Statistics{observers: map[string]*Observer{}}}
	for _, p := range points(m) {
		if !p.given() {
			c.stats.observers[p.name] = &Observer{}
		}
	}
	c.taps = newTaps(m, true, true, c.visit)
	return c
}

// visit observes a tensor that is a point.
func (c *calibrator) visit(point string, x []float32) {
	if o, ok := c.stats.observers[point]; ok {
		o.Observe(x)
	}
}

// sample reads one sample.
func (c *calibrator) sample(ctx context.Context, s data.Encoded) error {
	st := c.model.NewStream(model.StreamOptions{Wrap: c.taps.wrap})
	feed := func(ids []int32) error {
		return st.Feed(ctx, ids, 0, func(_ int, hidden []float32) error {
			c.logits(st, hidden)
			return nil
		})
	}
	at := 0
	for _, t := range s.Turns {
		if err := feed(s.IDs[at:t.Start]); err != nil {
			return fmt.Errorf("%s: %w", s.Where, err)
		}
		for i := range s.IDs[t.Start:t.End] {
			if err := feed(s.IDs[t.Start+i : t.Start+i+1]); err != nil {
				return fmt.Errorf("%s: %w", s.Where, err)
			}
		}
		at = t.End
	}
	if err := feed(s.IDs[at:]); err != nil {
		return fmt.Errorf("%s: %w", s.Where, err)
	}
	for i := range st.State.Layers {
		c.slots = max(c.slots, st.State.Parts(i).Slots)
	}
	c.evicted = c.evicted || st.State.Evicted()
	return nil
}

// logits computes the logits of hidden states, for the taps to see.
func (c *calibrator) logits(st *model.Stream, hidden []float32) {
	d, vocab := c.model.Base.Head.In, c.model.Base.Head.Out
	for len(hidden) > 0 {
		rows := min(len(hidden)/d, c.model.Base.LogitRows())
		logits := scratch.Borrow(rows * vocab)
		st.Logits(logits, hidden[:rows*d])
		scratch.Release(logits)
		hidden = hidden[rows*d:]
	}
}

// count takes note of a sample, whoever reads it.
func (c *calibrator) count(s data.Encoded) {
	c.stats.Prompt += len(s.IDs)
	for _, t := range s.Turns {
		c.stats.Prompt -= t.End - t.Start
		c.stats.Steps += t.End - t.Start
	}
	room := TextTokens - len(c.stats.Text)
	c.stats.Text = append(c.stats.Text, s.IDs[:min(room, len(s.IDs))]...)
	_ = binary.Write(c.hash, binary.LittleEndian, int64(len(s.IDs))) // a hash never fails
	_ = binary.Write(c.hash, binary.LittleEndian, s.IDs)
}

// finish checks what was seen and words the warnings.
func (c *calibrator) finish() (*Statistics, error) {
	s, spec := c.stats, c.model.Spec
	if err := c.long.missing(); err != nil {
		return nil, err
	}
	s.Samples, s.Short = c.long.taken, c.long.short
	for _, p := range points(c.model) {
		if !p.given() && !s.observers[p.name].finite() {
			err := fmt.Errorf("activation %s holds NaN or infinity", p.name)
			if damage := c.model.Damage(); damage != nil {
				return nil, fmt.Errorf("%w: %w", err, damage)
			}
			return nil, fmt.Errorf("%w, though all weights are numbers: they are too large for float32 on these samples", err)
		}
	}
	warn := func(format string, args ...any) { s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...)) }
	if s.Short > 0 {
		warn("%d of %d samples were left out: their context does not fill a segment of %d tokens", s.Short, s.Short+s.Samples, spec.Segment)
	}
	if s.Samples < fewSamples {
		warn("calibrated on %s: what other texts reach beyond it is clipped; take %d or more (--samples)", english.Plural(s.Samples, "sample", ""), fewSamples)
	}
	if c.slots < spec.Slots {
		warn("the samples filled at most %d of %d slots; calibrate with longer samples to see what the slots hold in use", c.slots, spec.Slots)
	}
	if spec.HasMemory() && !c.evicted {
		warn("no sample was long enough to write to the memory; its effect on the activations was not seen")
	}
	if s.Steps == 0 {
		warn("the samples have no answers: only prompts were seen, no generation steps")
	}
	if constant := c.constant(); len(constant) > 0 {
		warn("%s: codes of other numbers are a guess", constantText(constant))
	}
	s.Hash = hex.EncodeToString(c.hash.Sum(nil))
	return s, nil
}

// constant lists points that had one number for all tokens.
func (c *calibrator) constant() []string {
	var list []string
	for _, p := range points(c.model) {
		if o := c.stats.observers[p.name]; o != nil && o.Count > 1 && o.Min == o.Max {
			list = append(list, fmt.Sprintf("%s is %g", p.name, o.Min+0))
		}
	}
	return list
}

// constantText says which points are constant, the first few of them by name.
func constantText(list []string) string {
	const most = 3
	more := ""
	if len(list) > most {
		list, more = list[:most], fmt.Sprintf(" and %d more are constant", len(list)-most)
	}
	return strings.Join(list, ", ") + more + " for all tokens of the samples"
}
