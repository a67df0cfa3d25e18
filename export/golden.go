package export

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"eisft/export/manifest"
	"eisft/internal/atomicfile"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/kernels"
	"eisft/model/schedule"
)

// Golden vectors are what the Go model gives for a few texts, call by call: the one that
// the graphs of a precision were made from, so the fake-quantized one for quantized graphs.
// They lie in every exported folder, so that a host can be tested with that folder alone
// (docs/runtime.md has the format and what a host compares).

// GoldenSteps is the JSON file of golden vectors.
type GoldenSteps struct {
	Format    int    `json:"format"` // goldenFormat
	Shape     string `json:"shape"`
	Precision string `json:"precision"`
	// Layers are those whose slots and memory are recorded.
	Layers []int `json:"layers"`
	// Tolerance bounds the differences of a host's numbers.
	Tolerance GoldenTolerance  `json:"tolerance"`
	Sequences []GoldenSequence `json:"sequences"`
}

// GoldenTolerance bounds what a host's numbers may differ by.
type GoldenTolerance struct {
	Logits manifest.Tolerance `json:"logits"` // largest and mean difference of a logit
	// Memory bounds the difference of a number of the memory, as a share of the largest
	// magnitude in its tensor.
	Memory float64 `json:"memory"`
	// Slots is the least share of slots that are the same.
	Slots float64 `json:"slots"`
}

// GoldenSequence is a text from its first token on. Its ids are in the tensor NAME.ids.
type GoldenSequence struct {
	Name  string       `json:"name"`
	Calls []GoldenCall `json:"calls"`
}

// GoldenCall is a call that reads the next tokens of its sequence, and where the text then
// stands.
type GoldenCall struct {
	Tokens    int  `json:"tokens"`
	Read      int  `json:"read"`      // tokens, n
	Committed int  `json:"committed"` // of them, c
	Held      bool `json:"held"`
	// Written is how many tokens the memory has taken up, in the layer where these are most.
	Written int `json:"written"`
	// State says that slots and memory are recorded: those of the calls that committed.
	State bool `json:"state,omitempty"`
}

const (
	goldenFormat = 1
	// goldenStateBytes bounds the slots and memories in a file, beyond which fewer layers
	// are recorded; two are always.
	goldenStateBytes = 4 << 20
	// goldenLogits bounds the logits that are recorded of a token.
	goldenLogits = 4096
	// goldenVocabulary is how many different tokens the texts have. They repeat, so that
	// scores are equal and the earlier token has to be chosen.
	goldenVocabulary = 97
)

// The sequences of golden vectors.
const (
	goldenHeld = "held" // a prompt of S+W+L tokens, which is held, and what follows it
	goldenLong = "long" // until slots are full and the memory has taken up segments
)

// goldenTensor names a tensor of a call, or of a layer after it.
func goldenTensor(sequence string, call int, what string, layer int) string {
	return fmt.Sprintf("%s.%d.%s.%d", sequence, call, what, layer)
}

// writeGolden makes the golden vectors of every shape and precision, and returns the Go models
// with what they have read.
func (w *writer) writeGolden(ctx context.Context) (*sources, error) {
	all, err := newSources(w.dir, w.manifest, w.model, w.Quantized)
	if err != nil {
		return nil, err
	}
	made := map[*source]*goldens{} // float precisions share one
	for _, s := range w.manifest.Shapes {
		for _, precision := range w.manifest.Precisions() {
			name := fmt.Sprintf("golden-%s-%s", s.Name, precision)
			listed := manifest.Golden{Shape: s.Name, Precision: precision, Steps: name + ".json", Tensors: name + ".safetensors"}
			from, err := all.of(s, precision)
			if err == nil && made[from] == nil {
				made[from] = &goldens{source: from}
				var long *reading
				if long, err = made[from].make(ctx); !all.hasText() {
					all.readings[from] = long
				}
			}
			if err != nil {
				return nil, fmt.Errorf("golden vectors of %s, %s: %w", s.Name, precision, err)
			}
			g := *made[from]
			g.steps.Format, g.steps.Shape, g.steps.Precision = goldenFormat, s.Name, precision
			g.tolerance(w.manifest.InTFLite(precision))
			if err := g.write(w.dir, listed); err != nil {
				return nil, err
			}
			w.manifest.Golden = append(w.manifest.Golden, listed)
		}
	}
	return all, nil
}

// goldens are golden vectors as they come.
type goldens struct {
	*source
	steps   GoldenSteps
	entries []hf.Entry

	ids                  []int32 // of the logits that are recorded
	count                int     // of logits compared between model and twin
	largest, sum, spread float64
	kept, keptByTwin     int     // slots, and those of them that the twin has too
	memorySpread         float64 // between model and twin, as a share of the largest number
}

// calls are the texts of a shape, each as the lengths of its calls.
func (g *goldens) calls() map[string][]int {
	return map[string][]int{goldenHeld: within(g.model, []int{g.model.Spec.Sizes().Short(), 1, 1}), goldenLong: longCalls(g.model)}
}

// longCalls fill the slots, and the memory with segments: whole segments, a part of one, and three
// tokens that the model chooses. The first call is too long to be held.
func longCalls(m *model.Model) []int {
	s := m.Spec
	read := (s.Sizes().Short()/s.Segment + 1) * s.Segment
	calls := []int{read}
	for ; read-s.Segment < s.Sink+s.Window+s.Slots+s.Segment; read += s.Segment {
		calls = append(calls, s.Segment)
	}
	return within(m, append(calls, (s.Segment+1)/2, 1, 1, 1))
}

// reach is how many tokens of a text are within the reach of the rotary embedding.
func reach(m *model.Model) int {
	n := schedule.Unbounded
	for _, l := range m.Base.Layers {
		if limit := l.Rotary.Limit; limit > 0 && m.Spec.Positions == model.PositionsAbsolute {
			n = min(n, limit)
		}
	}
	return n
}

// within cuts calls where positions would be out of reach.
func within(m *model.Model, calls []int) []int {
	read, most := 0, reach(m)
	for i, n := range calls {
		if read += n; read > most {
			return calls[:i]
		}
	}
	return calls
}

// drawn gives tokens of a small vocabulary that is spread over the model's, the same ones for the
// same calls.
func drawn(m *model.Model, name string, calls []int) func(n int) []int32 {
	random := rand.New(rand.NewPCG(uint64(len(name)), uint64(len(calls))))
	rows := m.Base.Embed.Out
	few := min(rows, goldenVocabulary)
	return func(n int) []int32 {
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = int32(random.IntN(few) * rows / few)
		}
		return ids
	}
}

// make runs the texts through the model and returns what it read of the long one, nil if that is
// out of the rotary embedding's reach.
func (g *goldens) make(ctx context.Context) (long *reading, err error) {
	vocab := g.model.Base.Head.Out
	for i := range min(vocab, goldenLogits) {
		g.ids = append(g.ids, int32(i*vocab/min(vocab, goldenLogits)))
	}
	calls := g.calls()
	g.steps.Layers = g.layers(calls)
	g.add("logit_ids", []int{len(g.ids)}, g.ids)
	for _, name := range []string{goldenHeld, goldenLong} {
		if len(calls[name]) == 0 {
			continue
		}
		if long, err = g.sequence(ctx, name, calls[name]); err != nil {
			return nil, err
		}
	}
	if len(calls[goldenLong]) == 0 {
		return nil, nil
	}
	return long, nil
}

func (g *goldens) add(name string, shape []int, data any) {
	g.entries = append(g.entries, hf.Entry{Name: name, Shape: shape, Data: data})
}

// layers chooses those whose state is recorded: as many as the bound has room for, the
// first and the last of each kind before others.
func (g *goldens) layers(calls map[string][]int) []int {
	s, d, all := g.model.Spec, g.model.Base.Dims, len(g.model.Base.Layers)
	commits := 0
	for _, list := range calls {
		commits += len(list)
	}
	each := d.KVHeads * 4 * (s.Slots + s.FeatureSize(d.HeadDim)*(d.HeadDim+1)) * commits
	room := min(all, max(2, goldenStateBytes/max(1, each)))
	order := []int{0, all - 1}
	for i := range g.model.Base.Layers {
		if i == 0 || (s.At(i).Slots > 0) != (s.At(i-1).Slots > 0) {
			order = append(order, i)
		}
	}
	for i := range all {
		order = append(order, i*7%all, i)
	}
	var chosen []int
	for _, l := range order {
		if len(chosen) < room && !slices.Contains(chosen, l) {
			chosen = append(chosen, l)
		}
	}
	slices.Sort(chosen)
	return chosen
}

// sequence reads a text, call by call: drawn tokens, and those that the model chooses where a call
// has one.
func (g *goldens) sequence(ctx context.Context, name string, calls []int) (*reading, error) {
	sequence, r := GoldenSequence{Name: name}, g.read()
	var best []int32
	var logits []float32
	committed := 0
	err := r.over(ctx, calls, drawn(g.model, name, calls), func(i int) {
		row := r.row(len(r.ids) - 1)
		if r.second != nil {
			other := make([]float32, len(row))
			r.twinLogits(other, len(r.ids)-1)
			g.compare(row, other)
		}
		for _, v := range row {
			g.spread = max(g.spread, float64(v), -float64(v))
		}
		best = append(best, int32(kernels.ArgMax(row)))
		for _, id := range g.ids {
			logits = append(logits, row[id])
		}
		call := GoldenCall{Tokens: calls[i], Read: r.stream.Seen(), Held: r.stream.State.Held(), Written: written(r.stream)}
		call.Committed = call.Read - r.stream.State.Parts(0).Recent
		if call.State = call.Committed > committed; call.State {
			g.state(name, i, r.stream, r.second)
		}
		committed = call.Committed
		sequence.Calls = append(sequence.Calls, call)
	})
	if err != nil {
		return nil, err
	}
	g.add(name+".ids", []int{len(r.ids)}, slices.Clone(r.ids))
	g.add(name+".best", []int{len(best)}, best)
	g.add(name+".logits", []int{len(calls), len(g.ids)}, logits)
	g.steps.Sequences = append(g.steps.Sequences, sequence)
	return r, nil
}

// written is how many tokens the memory has taken up.
func written(stream *model.Stream) int {
	if stream.State.Layers[0].Memory == nil {
		return 0
	}
	return stream.State.Written()
}

// state records the slots of each KV head, as indices in the text [K,R'], and the memory as
// means [K,F,d] and [K,F].
func (g *goldens) state(name string, call int, stream, twin *model.Stream) {
	d := g.model.Base.Dims
	for _, i := range g.steps.Layers {
		slots := slotsOf(stream, i, d)
		if n := len(slots) / d.KVHeads; n > 0 {
			g.add(goldenTensor(name, call, "slots", i), []int{d.KVHeads, n}, slots)
		}
		memory, mass := memoryOf(stream, i, d)
		if memory != nil {
			f := len(mass) / d.KVHeads
			g.add(goldenTensor(name, call, "memory", i), []int{d.KVHeads, f, d.HeadDim}, memory)
			g.add(goldenTensor(name, call, "memory_mass", i), []int{d.KVHeads, f}, mass)
		}
		if twin == nil {
			continue
		}
		g.kept += len(slots)
		g.keptByTwin += sameSlots(slots, slotsOf(twin, i, d), d.KVHeads)
		otherMemory, otherMass := memoryOf(twin, i, d)
		g.memorySpread = max(g.memorySpread, share(memory, otherMemory), share(mass, otherMass))
	}
}

// slotsOf returns the tokens in the slots [K,R'].
func slotsOf(stream *model.Stream, layer int, d model.Dims) []int32 {
	parts, tokens := stream.State.Parts(layer), stream.State.Layers[layer].Token
	var out []int32
	for g := range d.KVHeads {
		for r := range parts.Slots {
			out = append(out, tokens[(parts.Sinks+r)*d.KVHeads+g])
		}
	}
	return out
}

// memoryOf returns the memory as graphs hold it: what was summed up, divided by the number
// of tokens written.
func memoryOf(stream *model.Stream, layer int, d model.Dims) (memory, mass []float32) {
	memory, mass = stream.State.Layers[layer].MemoryParts(d)
	if n := float32(written(stream)); n > 0 {
		for _, x := range [][]float32{memory, mass} {
			for i := range x {
				x[i] /= n
			}
		}
	}
	return memory, mass
}

// sameSlots counts the tokens of each head that both have.
func sameSlots(a, b []int32, heads int) int {
	n, same := len(a)/heads, 0
	for h := range heads {
		for _, t := range a[h*n : (h+1)*n] {
			if _, ok := slices.BinarySearch(b[h*n:(h+1)*n], t); ok {
				same++
			}
		}
	}
	return same
}

// share returns the largest difference as a share of the largest number.
func share(a, b []float32) float64 {
	_, largest := difference(a, b)
	most := 0.0
	for _, v := range a {
		most = max(most, float64(v), -float64(v))
	}
	if most == 0 {
		return largest
	}
	return largest / most
}

// compare notes what lies between the logits of model and twin.
func (g *goldens) compare(row, other []float32) {
	total, largest := difference(row, other)
	g.sum += total
	g.count += len(row)
	g.largest = max(g.largest, largest)
}

// What a host's memory may differ by in float graphs, and beside the twin's in quantized ones,
// as a share of the largest number, and how many slots more than the twin's.
const (
	goldenMemory          = 1e-4
	goldenHalfMemory      = 3e-2
	goldenHalfSlots       = 0.95
	goldenQuantizedMemory = 1e-2
	goldenQuantizedSlots  = 0.02
)

// tolerance follows from the model and its twin alone. lite: the graphs are run in LiteRT.
func (g *goldens) tolerance(lite bool) {
	t := &g.steps.Tolerance
	t.Logits, t.Memory, t.Slots = floatShares.of(g.spread), goldenMemory, 1
	if g.steps.Precision == manifest.Float16 {
		t.Logits, t.Memory, t.Slots = halfShares.of(g.spread), goldenHalfMemory, goldenHalfSlots
	}
	if g.scheme == nil {
		return
	}
	t.Logits = slackIn(lite, *g.scheme).of(g.spread)
	t.Logits.Max += twinFactor * g.largest
	t.Logits.Mean += twinFactor * g.sum / float64(g.count)
	t.Memory = goldenQuantizedMemory + twinFactor*g.memorySpread
	if lite {
		t.Memory += liteMemory(*g.scheme)
	}
	t.Slots = 1 - goldenQuantizedSlots
	if g.kept > 0 {
		t.Slots -= twinFactor * (1 - float64(g.keptByTwin)/float64(g.kept))
	}
}

// write puts the two files into a folder.
func (g *goldens) write(dir string, into manifest.Golden) error {
	text, err := json.MarshalIndent(g.steps, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, into.Steps), append(text, '\n')); err != nil {
		return err
	}
	return hf.WriteFile(filepath.Join(dir, into.Tensors), g.entries, nil)
}
