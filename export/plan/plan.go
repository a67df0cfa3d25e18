package plan

import (
	"errors"
	"fmt"
	"slices"

	"eisft/export"
	"eisft/export/check"
	"eisft/export/lower"
	"eisft/internal/bytesize"
	"eisft/internal/enum"
	"eisft/model"
	"eisft/model/schedule"
	"eisft/model/shapes"
	"eisft/quant"
)

// Options say what is planned.
type Options struct {
	// Scheme is how the graphs are quantized; nil: not at all.
	Scheme *quant.Scheme
	// Sizes are the shapes to look at; empty: those of Candidates.
	Sizes    []export.Size
	Scenario *Scenario // nil: none
}

// PromptLengths are those that a time to the first token is predicted for, and measured.
var PromptLengths = []int{2048, 8192, 32768}

// Candidate is a shape on a device. All times are predictions.
type Candidate struct {
	Size export.Size `json:"size"`
	Spec model.Spec  `json:"-"`

	Slots  int `json:"slots"`
	Window int `json:"window"`

	// Bytes.
	Weights     int64 `json:"weights_bytes"` // of maps, head, embedding and what is trained
	Cache       int64 `json:"cache_bytes"`   // keys, values, scores and memory
	Activations int64 `json:"activation_bytes"`
	Mask        int64 `json:"mask_bytes"`

	// Operations of one run of the prompt graph, by what is multiplied.
	Operations map[string]float64 `json:"operations"`

	FirstToken []float64 `json:"first_token_s"` // for each of PromptLengths
	Tokens     float64   `json:"tokens_per_s"`
	// ScenarioFirst is the time to the first token of the scenario's prompt.
	ScenarioFirst float64 `json:"scenario_first_token_s,omitempty"`
	// Bound says what decoding waits for: memory or products.
	Bound string `json:"bound"`
	// Problems are why the device or the scenario refuses it; none: it fits.
	Problems []string `json:"problems,omitempty"`
}

// Memory is what all takes at once.
func (c *Candidate) Memory() int64 { return c.Weights + c.Cache + c.Activations + c.Mask }

// Plan is what a device could run.
type Plan struct {
	Device     *Device      `json:"device"`
	Scheme     string       `json:"scheme"`
	Candidates []*Candidate `json:"candidates"`
	Choice     *Candidate   `json:"choice,omitempty"` // nil if none fits
	Why        string       `json:"why"`
}

// Candidates lists shapes that people use for phones, those in which the block fits.
func Candidates(m *model.Model) []export.Size {
	var list []export.Size
	for _, tokens := range []int{16, 32, 64, 128, 256, 512, 1024} {
		for _, cache := range []int{512, 1024, 2048, 4096, 8192} {
			size := export.Size{Tokens: tokens, Cache: cache}
			if _, err := size.Fit(m.Spec); err == nil {
				list = append(list, size)
			}
		}
	}
	return list
}

// SchemeError says that a device does not run a scheme, or has no figures for it, and which it can be planned for in.
type SchemeError struct {
	What string
	Runs []string
}

func (e *SchemeError) Error() string {
	return e.What + "; it can be planned for in " + enum.List(e.Runs)
}

// New predicts for every shape what it takes on a device, and chooses one.
func New(m *model.Model, d *Device, o Options) (*Plan, error) {
	sizes := o.Sizes
	if len(sizes) == 0 {
		sizes = Candidates(m)
	}
	if len(sizes) == 0 {
		return nil, fmt.Errorf("no usual shape holds %d sinks, a window of %d and a segment; name one with --shape", m.Spec.Sink, m.Spec.Window)
	}
	p := &Plan{Device: d, Scheme: "float"}
	if o.Scheme != nil {
		p.Scheme = o.Scheme.Name
		if d.Target != check.NoTarget {
			if _, err := o.Scheme.For(string(d.Target)); err != nil {
				return nil, &SchemeError{fmt.Sprintf("device %s: %s", d.Name, err), d.runs()}
			}
		}
		if kinds := d.lacks(o.Scheme); len(kinds) > 0 {
			return nil, &SchemeError{fmt.Sprintf("device %s has no rate for %s (bits of activations and weights), which %s multiplies", d.Name, enum.List(kinds), o.Scheme.Name), d.runs()}
		}
	}
	for _, size := range sizes {
		spec, err := size.Fit(m.Spec)
		if err != nil {
			return nil, err
		}
		fitted, err := model.New(m.Base, spec, m.Params)
		if err != nil {
			return nil, err
		}
		predictor, err := newPredictor(fitted, d, o.Scheme)
		if err != nil {
			return nil, fmt.Errorf("shape %s: %w", size, err)
		}
		c, err := predictor.candidate(size, o.Scenario)
		if err != nil {
			return nil, fmt.Errorf("shape %s: %w", size, err)
		}
		p.Candidates = append(p.Candidates, c)
	}
	p.choose(o.Scenario)
	return p, nil
}

// predictor predicts for one shape.
type predictor struct {
	model  *model.Model
	device *Device
	scheme *quant.Scheme
	maps   map[string]*model.Linear // by name
	costs  graphCosts
}

func newPredictor(m *model.Model, d *Device, s *quant.Scheme) (p *predictor, err error) {
	p = &predictor{model: m, device: d, scheme: s, maps: mapsOf(m.Base)}
	p.costs, err = p.graphCosts()
	return p, err
}

// bits returns those of activations, weights of maps and of the head, and of the cache; 0
// stands for float.
func (p *predictor) bits() (activation, weight, head, cache int) {
	if s := p.scheme; s != nil {
		return s.Activation.Bits, s.Weight.Bits, s.Head.Bits, s.Cache.Bits
	}
	return 0, 0, 0, 0
}

// floatBytes is the size of a number that stays in float.
func (p *predictor) floatBytes() int {
	if p.device.Rates.Float16 > 0 {
		return 2
	}
	return 4
}

func bytesOf(bits, float int) int {
	if bits == 0 {
		return float
	}
	return bits / 8
}

// mapBytes is the size of a map's weights with the scale of each output.
func (p *predictor) mapBytes(l *model.Linear) int64 {
	_, weight, head, _ := p.bits()
	if l == p.model.Base.Head {
		weight = head
	}
	n := int64(l.In) * int64(l.Out)
	if weight == 0 {
		return n * int64(p.floatBytes())
	}
	scales := int64(l.Out)
	if p.scheme.Weight.Block > 0 && l != p.model.Base.Head {
		scales = n / int64(p.scheme.Weight.Block)
	}
	return n*int64(weight)/8 + 4*scales
}

func (p *predictor) stream() *shapes.Stream {
	activation, _, _, cache := p.bits()
	return shapes.NewStream(p.model, shapes.Options{
		NoRouting: true, Graph: true, MapBytes: p.mapBytes,
		CacheBytes: bytesOf(cache, p.floatBytes()), ActivationBytes: bytesOf(activation, p.floatBytes()),
	})
}

// part is some of a work's products.
type part struct {
	kind
	products int64
}

// parts splits work by what is multiplied.
func (p *predictor) parts(w shapes.Work) []part {
	maps, head, attention := kindsOf(p.scheme)
	return []part{
		{maps, w.Maps},
		{head, w.Head},
		{attention, w.Attention},
		{kind{}, w.MemoryRead + w.MemoryWrite + w.Scores},
	}
}

// prompt reads tokens a stretch at a time and returns the seconds until the first token of
// the answer.
func (p *predictor) prompt(st *shapes.Stream, tokens int) (float64, error) {
	total := 0.0
	for left := tokens; left > 0; {
		n := min(left, p.model.Spec.Segment)
		c, err := p.feed(st, n)
		if err != nil {
			return 0, err
		}
		left -= n
		total += c.seconds
	}
	return total, nil
}

// feed reads a stretch: with the prompt graph, or with the generation graph where it is one token,
// and with the commit graph where the memory is written.
func (p *predictor) feed(st *shapes.Stream, tokens int) (cost, error) {
	if err := st.Feed(tokens, tokens); err != nil {
		return cost{}, err
	}
	c := p.costs.prompt
	if tokens == 1 {
		c = p.costs.generation
	}
	if st.Take().Total().MemoryWrite > 0 {
		c = c.plus(p.costs.commit)
	}
	return c, nil
}

// candidate predicts a shape.
func (p *predictor) candidate(size export.Size, scenario *Scenario) (*Candidate, error) {
	spec, base := p.model.Spec, p.model.Base
	c := &Candidate{Size: size, Spec: spec, Slots: spec.Slots, Window: spec.Window, Operations: map[string]float64{}}
	st := p.stream()
	if err := st.Feed(spec.Segment, spec.Segment-1); err != nil {
		return nil, err
	}
	st.Logits(1)
	for _, part := range p.parts(st.Take().Total()) {
		c.Operations[part.String()] += 2 * float64(part.products)
	}
	held := st.Held()
	c.Cache, c.Activations = held.State, held.MostActivations
	c.Weights = p.weights()
	c.Mask = 2 * int64(size.Tokens) * int64(size.Cache+size.Tokens)
	for _, tokens := range PromptLengths {
		s, err := p.prompt(p.stream(), tokens)
		if errors.Is(err, model.ErrOutOfReach) {
			s = 0
		} else if err != nil {
			return nil, err
		}
		c.FirstToken = append(c.FirstToken, s)
	}
	if err := p.decode(c); err != nil {
		return nil, err
	}
	if scenario != nil {
		var err error
		if c.ScenarioFirst, err = p.prompt(p.stream(), scenario.Prompt); err != nil {
			return nil, err
		}
	}
	p.problems(c, base.Dims.Heads, scenario)
	return c, nil
}

// decode predicts tokens a second, commits included: those of a whole segment, behind a
// prompt that has filled window and slots.
func (p *predictor) decode(c *Candidate) error {
	spec, st := p.model.Spec, p.stream()
	filled := spec.Sink + spec.Slots + min(spec.Window, schedule.Unbounded) + spec.Segment
	if _, err := p.prompt(st, min(filled, maxPrompt)); err != nil {
		return err
	}
	var total cost
	for range spec.Segment {
		one, err := p.feed(st, 1)
		if err != nil {
			return err
		}
		total = total.plus(one)
	}
	c.Tokens = float64(spec.Segment) / total.seconds
	c.Bound = "memory"
	if total.products > total.bytes {
		c.Bound = "products"
	}
	return nil
}

// weights is the size of the whole model: a tied head is stored beside the embedding, which
// has rows of 16 bits.
func (p *predictor) weights() int64 {
	b := p.model.Base
	n := 2*int64(b.Embed.In)*int64(b.Embed.Out) + p.mapBytes(b.Head) + int64(p.floatBytes()*p.model.Params.Count())
	for _, l := range b.Layers {
		for _, m := range l.Maps() {
			n += p.mapBytes(m)
		}
	}
	return n
}

// problems lists what the device or the scenario does not allow.
func (p *predictor) problems(c *Candidate, heads int, s *Scenario) {
	d := p.device
	refuse := func(format string, args ...any) { c.Problems = append(c.Problems, fmt.Sprintf(format, args...)) }
	keys := c.Size.Cache + c.Size.Tokens
	rows := lower.MaskedRows(c.Size.Tokens, keys, heads, export.MaskBytes(d.Target))
	if mask := 2 * int64(heads) * int64(rows) * int64(keys); d.MaskBytes > 0 && mask > d.MaskBytes {
		refuse("the mask takes %s for all heads, above %s", bytesize.Megabytes(mask), bytesize.Megabytes(d.MaskBytes))
	}
	if d.PartBytes > 0 && c.Weights > d.PartBytes {
		refuse("the weights take %s, above the %s of one part", bytesize.Megabytes(c.Weights), bytesize.Megabytes(d.PartBytes))
	}
	if most := int64(d.Memory) * 1e6; c.Memory() > most {
		refuse("all takes %s, above %s", bytesize.Megabytes(c.Memory()), bytesize.Megabytes(most))
	}
	if s == nil {
		return
	}
	if s.FirstToken > 0 && c.ScenarioFirst > s.FirstToken {
		refuse("the first token takes %.2g s, above %g s", c.ScenarioFirst, s.FirstToken)
	}
	if s.Tokens > 0 && c.Tokens < s.Tokens {
		refuse("%.3g tokens/s, below %g", c.Tokens, s.Tokens)
	}
	if most := int64(s.Memory) * 1e6; s.Memory > 0 && c.Memory() > most {
		refuse("all takes %s, above %s", bytesize.Megabytes(c.Memory()), bytesize.Megabytes(most))
	}
}

// choose takes, of what fits, the shape with the largest cache; of those the one that reads
// the scenario's prompt, or 2,048 tokens, fastest. What slots and window keep beside a segment
// decides nothing: in one cache, a few tokens more would go before any speed.
func (p *Plan) choose(s *Scenario) {
	first := func(c *Candidate) float64 {
		if s != nil {
			return c.ScenarioFirst
		}
		return c.FirstToken[0]
	}
	for _, c := range p.Candidates {
		if len(c.Problems) > 0 {
			continue
		}
		if b := p.Choice; b == nil || c.Size.Cache > b.Size.Cache || c.Size.Cache == b.Size.Cache && first(c) < first(b) {
			p.Choice = c
		}
	}
	if p.Choice == nil {
		least := slices.MinFunc(p.Candidates, func(a, b *Candidate) int { return len(a.Problems) - len(b.Problems) })
		p.Why = fmt.Sprintf("no shape fits; %s fails by: %s", least.Size, least.Problems[0])
		return
	}
	p.Why = fmt.Sprintf("of what fits it has the largest cache (%d tokens in slots and window), and of those it is the fastest to its first token", p.Choice.Spec.Slots+p.Choice.Spec.Window)
}
