package model_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/model"
	"eisft/model/hf"
	"eisft/model/modeltest"
)

// logitsAfter feeds ids one segment at most at a time and returns all logits.
func logitsAfter(t *testing.T, m *model.Model, st *model.Stream, ids []int32) []float32 {
	t.Helper()
	var logits []float32
	err := st.Feed(t.Context(), ids, 0, func(_ int, hidden []float32) error {
		out := make([]float32, len(hidden)/m.Base.Dims.Hidden*m.Base.Head.Out)
		st.Logits(out, hidden)
		logits = append(logits, out...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return logits
}

// TestStateFileGoesOn reads a part of a text, saves, and compares what an
// opened state and a clone make of the rest with what the stream itself does:
// every bit agrees, wherever the text is cut.
func TestStateFileGoesOn(t *testing.T) {
	dir := t.TempDir()
	for _, name := range modeltest.Edges {
		e := modeltest.OpenEdge(t, name)
		absolute := e.Model.Spec
		absolute.Positions = model.PositionsAbsolute
		specs := []model.Spec{e.Model.Spec, absolute, model.FullAttention(16), model.WindowOnly(e.Model.Spec)}
		if few := e.Model.Spec; few.Slots > 0 {
			few.SlotLayers = []int{1}
			specs = append(specs, few)
		}
		for _, spec := range specs {
			m, err := model.New(e.Model.Base, spec, nil)
			if err != nil {
				t.Fatal(err)
			}
			if spec.Equal(e.Model.Spec) {
				m = e.Model
			}
			for _, at := range []int{0, 3, 16, 36, 64, 81} {
				path := filepath.Join(dir, "state")
				st := m.NewStream(model.StreamOptions{})
				logitsAfter(t, m, st, e.IDs[:at])
				if err := st.Save(path, map[string]string{"turn": "open"}); err != nil {
					t.Fatal(err)
				}
				opened, notes, err := m.OpenStream(path, model.StreamOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if want := map[string]string{"turn": "open"}; !maps.Equal(notes, want) {
					t.Errorf("notes %v, want %v", notes, want)
				}
				clone := st.Clone()
				want := logitsAfter(t, m, st, e.IDs[at:])
				if !slices.Equal(logitsAfter(t, m, opened, e.IDs[at:]), want) {
					t.Errorf("%s, %+v: another continuation of %d tokens from the file", name, spec, at)
				}
				if !slices.Equal(logitsAfter(t, m, clone, e.IDs[at:]), want) {
					t.Errorf("%s, %+v: another continuation of %d tokens from the clone", name, spec, at)
				}
			}
		}
	}
}

// TestStateFileSize reads a text twice as long and finds the file no larger.
func TestStateFileSize(t *testing.T) {
	e := modeltest.OpenEdge(t, "retain-memory")
	size := func(n int) int64 {
		path := filepath.Join(t.TempDir(), "state")
		st := e.Model.NewStream(model.StreamOptions{})
		for range n {
			logitsAfter(t, e.Model, st, e.IDs[:96])
		}
		if err := st.Save(path, nil); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if a, b := size(1), size(10); b > a+64 { // a count with more digits
		t.Errorf("the state of 96 tokens takes %d bytes, that of 960 %d", a, b)
	}
}

func TestOpenStreamRefuses(t *testing.T) {
	e := modeltest.OpenEdge(t, "retain-memory")
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	st := e.Model.NewStream(model.StreamOptions{})
	logitsAfter(t, e.Model, st, e.IDs[:90])
	if err := st.Save(good, nil); err != nil {
		t.Fatal(err)
	}
	spec := e.Model.Spec
	spec.Slots = 7
	otherBlock, err := model.New(e.Model.Base, spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	untrained, err := model.New(e.Model.Base, e.Model.Spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	demo := openFull(t, "demo")
	header := func(change func(map[string]any)) func(*[]hf.Entry, map[string]string) {
		return func(_ *[]hf.Entry, meta map[string]string) {
			h := map[string]any{}
			if err := json.Unmarshal([]byte(meta["state"]), &h); err != nil {
				t.Fatal(err)
			}
			change(h)
			text, err := json.Marshal(h)
			if err != nil {
				t.Fatal(err)
			}
			meta["state"] = string(text)
		}
	}
	for name, tc := range map[string]struct {
		model  *model.Model
		change func(*[]hf.Entry, map[string]string)
		want   string
	}{
		"another base":      {demo, nil, "the state was saved with another base model: its identity was "},
		"another block":     {otherBlock, nil, fmt.Sprintf("the state was saved with another block (slots %d, but 7 here); open it with the same run and policy", e.Model.Spec.Slots)},
		"other params":      {untrained, nil, "the state was saved with other trained parameters (identity "},
		"no state":          {nil, func(_ *[]hf.Entry, meta map[string]string) { clear(meta) }, `format is "", want "eisft-state-2"; it is not a state`},
		"of version 1":      {nil, func(_ *[]hf.Entry, meta map[string]string) { meta["format"] = "eisft-state-1" }, `format is "eisft-state-1", want "eisft-state-2"; it is not a state that this version of eisft has saved: read the text again`},
		"no header":         {nil, func(_ *[]hf.Entry, meta map[string]string) { delete(meta, "state") }, `metadata "state": unexpected end of JSON input`},
		"negative":          {nil, header(func(h map[string]any) { h["sinks"] = -1 }), "sinks is -1 after 90 tokens, want 4; the file is damaged"},
		"too many":          {nil, header(func(h map[string]any) { h["window"] = 1e9 }), "window is 1000000000 after 90 tokens, want 16; the file is damaged"},
		"full segment":      {nil, header(func(h map[string]any) { h["recent"] = 16 }), "16 tokens are not committed; want 0 to 15; the file is damaged"},
		"more than read":    {nil, header(func(h map[string]any) { h["seen"] = 20 }), "10 tokens are committed; want whole segments of 16; the file is damaged"},
		"held":              {nil, header(func(h map[string]any) { h["held"] = true }), "a prompt of 90 tokens is held, but 10 are not committed; want all; the file is damaged"},
		"part of a segment": {nil, header(func(h map[string]any) { h["recent"] = 2 }), "88 tokens are committed; want whole segments of 16; the file is damaged"},
		"not evicted":       {nil, header(func(h map[string]any) { h["evicted"] = false }), "evicted is false after 90 tokens; the file is damaged"},
		"other counts":      {nil, header(func(h map[string]any) { h["recent"], h["seen"] = 2, 82 }), "but the counts of the state make it"},
		"missing tensor":    {nil, func(x *[]hf.Entry, _ map[string]string) { *x = (*x)[1:] }, "tensor layers.0.k is not in the file"},
		"token too large":   {nil, func(x *[]hf.Entry, _ map[string]string) { entry(x, "layers.1.token").Data.([]int32)[3] = 90 }, "tensor layers.1.token holds the token 90, want 0 to 89; the file is damaged"},
		"token negative":    {nil, func(x *[]hf.Entry, _ map[string]string) { entry(x, "layers.1.token").Data.([]int32)[3] = -1 }, "tensor layers.1.token holds the token -1, want 0 to 89; the file is damaged"},
		"score not a number": {nil, func(x *[]hf.Entry, _ map[string]string) {
			entry(x, "layers.0.score").Data.([]float32)[2] = float32(math.NaN())
		}, "tensor layers.0.score holds NaN, want finite numbers; the file is damaged"},
		"memory without end": {nil, func(x *[]hf.Entry, _ map[string]string) {
			entry(x, "layers.0.memory").Data.([]float32)[2] = float32(math.Inf(1))
		}, "tensor layers.0.memory holds +Inf, want finite numbers; the file is damaged"},
		"tensor of other": {nil, func(x *[]hf.Entry, _ map[string]string) { (*x)[0].Data = make([]int32, len((*x)[0].Data.([]float32))) }, "tensor layers.0.k: found I32, want F32, as the cache is float32"},
	} {
		t.Run(name, func(t *testing.T) {
			path, m := good, tc.model
			if tc.change != nil {
				path, m = filepath.Join(t.TempDir(), "changed"), e.Model
				rewrite(t, good, path, tc.change)
			}
			_, _, err := m.OpenStream(path, model.StreamOptions{})
			if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one about %s with %q", err, path, tc.want)
			}
		})
	}
}

// TestOpenStreamDamaged flips single bits of a state's file behind its header.
func TestOpenStreamDamaged(t *testing.T) {
	e := modeltest.OpenEdge(t, "retain-memory")
	path := filepath.Join(t.TempDir(), "state")
	st := e.Model.NewStream(model.StreamOptions{})
	logitsAfter(t, e.Model, st, e.IDs[:90])
	if err := st.Save(path, map[string]string{"note": "mine"}); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(good) / 4; i < len(good); i += len(good) / 7 {
		bad := slices.Clone(good)
		bad[i] ^= 1
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, err := e.Model.OpenStream(path, model.StreamOptions{}); err == nil || !strings.Contains(err.Error(), "the file is damaged") {
			t.Errorf("byte %d of %d altered: error %v", i, len(good), err)
		}
	}
	note := bytes.Replace(good, []byte("mine"), []byte("your"), 1)
	if err := os.WriteFile(path, note, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Model.OpenStream(path, model.StreamOptions{}); err == nil || !strings.Contains(err.Error(), "the file is damaged") {
		t.Errorf("a note altered: error %v", err)
	}
}

// entry finds an entry by its name.
func entry(entries *[]hf.Entry, name string) hf.Entry {
	return (*entries)[slices.IndexFunc(*entries, func(e hf.Entry) bool { return e.Name == name })]
}

// rewrite copies a safetensors file of floats and int32 with changes, and gives it the hash
// of what it holds then.
func rewrite(t *testing.T, from, to string, change func(*[]hf.Entry, map[string]string)) {
	t.Helper()
	f, err := hf.OpenFile(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var entries []hf.Entry
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		e := hf.Entry{Name: name, Shape: x.Shape}
		if x.DType == hf.DTypeF32 {
			e.Data, err = x.Float32()
		} else {
			ids := make([]int32, len(x.Data)/4)
			_, err = binary.Decode(x.Data, binary.LittleEndian, ids)
			e.Data = ids
		}
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	meta := maps.Clone(f.Metadata)
	change(&entries, meta)
	if meta["sha256"] != "" {
		meta["sha256"] = ""
		if meta["sha256"], err = hf.Checksum(entries, meta); err != nil {
			t.Fatal(err)
		}
	}
	if err := hf.WriteFile(to, entries, meta); err != nil {
		t.Fatal(err)
	}
}

func TestSaveRefuses(t *testing.T) {
	e := modeltest.OpenEdge(t, "retain-memory")
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	for name, tc := range map[string]struct {
		stream *model.Stream
		notes  map[string]string
		want   string
	}{
		"soft slots": {e.Model.NewStream(model.StreamOptions{Soft: true}), nil, "a state with soft slots keeps every token"},
		"taken name": {e.Model.NewStream(model.StreamOptions{}), map[string]string{"state": "x"}, `the note "state" has a name of the format's own`},
		"no folder":  {e.Model.NewStream(model.StreamOptions{}), nil, "there is no folder "},
	} {
		path := path
		if name == "no folder" {
			path = filepath.Join(dir, "none", "state")
		}
		if err := tc.stream.Save(path, tc.notes); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("%d files were left behind (%v)", len(files), err)
	}
}

// FuzzOpenStream opens a state with any header: it is refused, or the stream
// goes on without a panic.
func FuzzOpenStream(f *testing.F) {
	e := modeltest.OpenEdge(f, "retain-memory")
	good := filepath.Join(f.TempDir(), "good")
	st := e.Model.NewStream(model.StreamOptions{})
	if err := st.Feed(f.Context(), e.IDs[:90], 0, nil); err != nil {
		f.Fatal(err)
	}
	if err := st.Save(good, nil); err != nil {
		f.Fatal(err)
	}
	file, err := hf.OpenFile(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file.Metadata["state"])
	f.Add(strings.Replace(file.Metadata["state"], `"window":16,"recent":10`, `"window":10,"recent":16`, 1))
	f.Add(strings.Replace(file.Metadata["state"], `"seen":90`, `"seen":9e18`, 1))
	f.Fuzz(func(t *testing.T, header string) {
		path := filepath.Join(t.TempDir(), "changed")
		rewrite(t, good, path, func(_ *[]hf.Entry, meta map[string]string) { meta["state"] = header })
		if st, _, err := e.Model.OpenStream(path, model.StreamOptions{}); err == nil {
			logitsAfter(t, e.Model, st, e.IDs[:40])
		}
	})
}
