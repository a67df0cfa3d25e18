package model

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"eisft/model/hf"
	"eisft/model/schedule"
)

// stateFormat names the version of the state's file. It is safetensors: for
// every layer the n stored tokens and the memory, and in the metadata what the
// state belongs to and its counts. Keys after rotary embedding are not kept:
// they follow from the keys.
const (
	stateFormats = "eisft-state-"
	stateFormat  = stateFormats + "2"
)

// The keys of a state file's metadata; all others are the caller's notes.
const (
	stateFormatKey = "format"
	stateHeaderKey = "state"
	stateSumKey    = hf.SumKey
)

// stateHeader is the JSON in a state file's metadata.
type stateHeader struct {
	Base   string `json:"base_identity"`  // Base.Identity
	Params string `json:"param_identity"` // Params.Identity
	Block  Spec   `json:"block"`
	// Eviction is what chooses the tokens of the slots, "" if the block does.
	Eviction string `json:"eviction,omitempty"`
	Sinks    int    `json:"sinks"`
	Slots    int    `json:"slots"`
	Window   int    `json:"window"`
	Recent   int    `json:"recent"`
	Seen     int    `json:"seen"`
	Evicted  bool   `json:"evicted"`
	Held     bool   `json:"held"`
	// Cache is how keys and values are held, "" if in float32.
	Cache CacheType `json:"cache,omitempty"`
}

// parts returns what Seen and Recent make of a layer with slots, if the block has them.
func (h stateHeader) parts() schedule.Parts {
	return schedule.Plan{Layers: []schedule.Sizes{h.Block.Sizes()}}.Parts(0, h.Seen, h.Seen-h.Recent)
}

// Save writes the stream's state, so that OpenStream goes on exactly there: a
// long text is read once and asked many times. notes are the caller's own and
// come back from OpenStream. The file is as large as the state: it does not
// grow with the text.
func (st *Stream) Save(path string, notes map[string]string) error {
	if st.options.Soft {
		return errors.New("a state with soft slots keeps every token; only a stream without them is saved")
	}
	s, m := st.State, st.model
	h := stateHeader{Base: m.Base.Identity(), Params: m.Params.Identity(), Block: m.Spec, Eviction: m.Eviction.identity(), Recent: s.Parts(0).Recent, Seen: s.Seen(), Held: s.Held()}
	if st.options.Cache != CacheFloat32 {
		h.Cache = st.options.Cache
	}
	p := h.parts()
	h.Sinks, h.Slots, h.Window, h.Evicted = p.Sinks, p.Slots, p.Window, p.Left > 0
	header, err := json.Marshal(h)
	if err != nil {
		return err
	}
	meta := map[string]string{stateFormatKey: stateFormat, stateHeaderKey: string(header), stateSumKey: ""}
	for key, v := range notes {
		if _, taken := meta[key]; taken {
			return fmt.Errorf("write %s: the note %q has a name of the format's own", path, key)
		}
		meta[key] = v
	}
	var entries []hf.Entry
	for i := range s.Layers {
		l := s.Layers[i]
		l.trim(s.Parts(i).Stored(), m.Base.Dims)
		for _, f := range l.fields(i, s.Parts(i).Stored(), m) {
			entries = append(entries, f.entry())
		}
	}
	return hf.WriteSummed(path, entries, meta)
}

// stateField is a tensor of a state's file: rows, floats, or else ints.
type stateField struct {
	name   string
	shape  []int
	rows   *Rows
	floats *[]float32
	ints   *[]int32
}

// fields lists what is kept of layer i with n stored tokens.
func (l *LayerState) fields(i, n int, m *Model) []stateField {
	d, s := m.Base.Dims, m.Spec.At(i)
	name := func(part string) string { return fmt.Sprintf("layers.%d.%s", i, part) }
	out := []stateField{
		{name: name("k"), shape: l.K.shape(n), rows: &l.K},
		{name: name("v"), shape: l.V.shape(n), rows: &l.V},
		{name: name("token"), shape: []int{n, d.KVHeads}, ints: &l.Token},
	}
	if s.HasScore() {
		out = append(out, stateField{name: name("score"), shape: []int{n, d.KVHeads}, floats: &l.Score})
	}
	if s.HasMemory() {
		out = append(out, stateField{name: name("memory"), shape: []int{d.KVHeads, s.FeatureSize(d.HeadDim), d.HeadDim + 1}, floats: &l.Memory})
	}
	if l.Queries != nil {
		out = append(out, stateField{name: name("queries"), shape: []int{d.Heads, d.HeadDim + 1, d.HeadDim}, floats: &l.Queries})
	}
	return out
}

func (f stateField) entry() hf.Entry {
	if f.rows != nil {
		return hf.Entry{Name: f.name, Shape: f.shape, Data: f.rows.content()}
	}
	if f.ints != nil {
		return hf.Entry{Name: f.name, Shape: f.shape, Data: *f.ints}
	}
	return hf.Entry{Name: f.name, Shape: f.shape, Data: *f.floats}
}

// read fills the field from a file.
func (f stateField) read(file *hf.File) error {
	t, err := file.Tensor(f.name)
	if err != nil {
		return err
	}
	if !slices.Equal(t.Shape, f.shape) {
		return fmt.Errorf("tensor %s has shape %v, but the counts of the state make it %v; the file is damaged", f.name, t.Shape, f.shape)
	}
	if f.rows != nil {
		return f.rows.restore(f.shape[0], t)
	}
	if f.floats != nil {
		*f.floats, err = t.Float32()
		return err
	}
	long, err := t.Int64()
	for _, v := range long {
		*f.ints = append(*f.ints, int32(v))
	}
	return err
}

// check reports numbers that no stream of so many tokens has.
func (f stateField) check(seen int) error {
	var floats []float32
	switch {
	case f.rows != nil:
		floats = f.rows.Floats()
	case f.floats != nil:
		floats = *f.floats
	}
	if i := slices.IndexFunc(floats, func(v float32) bool { return v-v != 0 }); i >= 0 {
		return fmt.Errorf("tensor %s holds %g, want finite numbers; the file is damaged", f.name, floats[i])
	}
	if f.ints == nil {
		return nil
	}
	for _, v := range *f.ints {
		if v < 0 || int(v) >= seen {
			return fmt.Errorf("tensor %s holds the token %d, want 0 to %d; the file is damaged", f.name, v, seen-1)
		}
	}
	return nil
}

// OpenStream goes on from a state that Save has written with the same base,
// block and parameters, and returns the notes saved with it.
func (m *Model) OpenStream(path string, o StreamOptions) (*Stream, map[string]string, error) {
	f, err := hf.OpenFile(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := m.restore(f, o)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	notes := maps.Clone(f.Metadata)
	delete(notes, stateFormatKey)
	delete(notes, stateHeaderKey)
	delete(notes, stateSumKey)
	return st, notes, nil
}

func (m *Model) restore(f *hf.File, o StreamOptions) (*Stream, error) {
	if have := f.Metadata[stateFormatKey]; have != stateFormat {
		return nil, fmt.Errorf("format is %q, want %q; it is not a state that this version of eisft has saved: read the text again", have, stateFormat)
	}
	var h stateHeader
	if err := json.Unmarshal([]byte(f.Metadata[stateHeaderKey]), &h); err != nil {
		return nil, fmt.Errorf("metadata %q: %w", stateHeaderKey, err)
	}
	if err := h.belongs(m); err != nil {
		return nil, err
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	err := f.Intact()
	if err != nil {
		return nil, err
	}
	o.Soft = false // the state has none
	if o.Cache, err = h.cache(m, o.Cache); err != nil {
		return nil, err
	}
	q, err := schedule.Resume(o.Plan(m), h.Seen, h.Recent, h.Held)
	if err != nil {
		return nil, fmt.Errorf("%w; the file is damaged", err)
	}
	s := newState(m, q, o)
	for i := range s.Layers {
		for _, field := range s.Layers[i].fields(i, s.Parts(i).Stored(), m) {
			if err := field.read(f); err != nil {
				return nil, err
			}
			if err := field.check(h.Seen); err != nil {
				return nil, err
			}
		}
		(&floats{model: m, options: o, state: s}).rotateRestored(m.Base.Layers[i])
	}
	return m.newStream(o, s), nil
}

// cache returns the type of the state's cache, or an error if the caller wants another.
func (h stateHeader) cache(m *Model, want CacheType) (CacheType, error) {
	have := h.Cache.or()
	if want != "" && want != have {
		return "", fmt.Errorf("the state was saved with a cache of %s, but %s is asked for; leave that out, or read the text again", have, want)
	}
	if err := m.Base.CheckCache(have); err != nil {
		return "", fmt.Errorf("metadata %q: %w; the file is damaged", stateHeaderKey, err)
	}
	return have, nil
}

// belongs reports a state that was made with something else than m.
func (h stateHeader) belongs(m *Model) error {
	if err := m.Base.CheckIdentity(h.Base); err != nil {
		return fmt.Errorf("the state was saved with another base model: %w; open it with that one, or read the text again", err)
	}
	if !h.Block.Equal(m.Spec) {
		return fmt.Errorf("the state was saved with another block (%s here); open it with the same run and policy, or read the text again", h.Block.Difference(m.Spec))
	}
	if id := m.Eviction.identity(); h.Eviction != id {
		return fmt.Errorf("the state was saved with slots by %s, these are by %s; open it with the same policy, or read the text again", cmp.Or(h.Eviction, "a trained score"), cmp.Or(id, "a trained score"))
	}
	if id := m.Params.Identity(); h.Params != id {
		return fmt.Errorf("the state was saved with other trained parameters (identity %s; these are %s); open it with the same run, or read the text again", h.Params, id)
	}
	return nil
}

// check reports counts that no stream reaches.
func (h stateHeader) check() error {
	if _, err := schedule.Resume(schedule.Plan{Layers: []schedule.Sizes{h.Block.Sizes()}}, h.Seen, h.Recent, h.Held); err != nil {
		return fmt.Errorf("%w; the file is damaged", err)
	}
	p := h.parts()
	for _, c := range []struct {
		name       string
		have, want int
	}{{"sinks", h.Sinks, p.Sinks}, {"slots", h.Slots, p.Slots}, {"window", h.Window, p.Window}} {
		if c.have != c.want {
			return fmt.Errorf("%s is %d after %d tokens, want %d; the file is damaged", c.name, c.have, h.Seen, c.want)
		}
	}
	if h.Evicted != (p.Left > 0) {
		return fmt.Errorf("evicted is %v after %d tokens; the file is damaged", h.Evicted, h.Seen)
	}
	return nil
}

// rotateRestored computes the keys of a layer after rotary embedding. Where positions are
// indices in the sequence, the KV heads' slots do not share them.
func (f *floats) rotateRestored(layer *Layer) {
	l, p, d := &f.state.Layers[layer.Index], f.state.Plan(), f.model.Base.Dims
	rows := l.K.Len()
	l.Rotated.resize(rows, rows)
	if !p.Absolute {
		cos, sin := layer.Rotary.Range(0, rows)
		f.turnStored(layer, 0, rows, cos, sin)
		return
	}
	pos := make([]int, len(l.Token))
	for i, t := range l.Token {
		pos[i] = p.Position(i/d.KVHeads, int(t))
	}
	cos, sin := layer.Rotary.At(pos)
	turned := make([]float32, rows*d.KVHeads*d.HeadDim)
	RotateRows(turned, l.K.Floats(), len(pos), 1, d.HeadDim, cos, sin, false)
	l.Rotated.Put(0, turned)
}
