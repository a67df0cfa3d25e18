package inspect

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"

	"eisft/model"
	"eisft/model/hf"
)

// tensors is a file or checkpoint with named tensors.
type tensors interface {
	Names() []string
	Tensor(name string) (hf.Tensor, error)
}

// inspectTensors describes a .safetensors file: a saved state by its metadata,
// otherwise its tensors.
func inspectTensors(_ context.Context, r *Report, path string, _ Options) error {
	f, err := hf.OpenFile(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	r.Kind = "safetensors file"
	r.size(path)
	if model.IsState(f) {
		r.Kind = "saved state"
		r.state(f)
	} else {
		if old := model.OtherState(f); old != "" {
			r.Kind = "saved state"
			r.problem(fmt.Errorf("its format is %s, of another version of eisft, which this one does not go on from: read the text again, with --save-state", old))
		}
		for _, key := range slices.Sorted(maps.Keys(f.Metadata)) {
			r.fact("metadata "+key, shortened(f.Metadata[key]))
		}
	}
	r.tensors(f)
	return nil
}

// size adds the size of a file.
func (r *Report) size(path string) {
	if info, err := os.Stat(path); err == nil {
		r.fact("size", Bytes(info.Size()))
	}
}

// state describes a stream's saved state.
func (r *Report) state(f *hf.File) {
	s, err := model.ReadStateInfo(f)
	if err != nil {
		r.problem(err)
		return
	}
	r.fact("tokens read", Count(s.Seen))
	r.fact("tokens stored", fmt.Sprintf("%d: %d sinks, %d slots, %d in the window, %d of the current segment", s.Sinks+s.Slots+s.Window+s.Recent, s.Sinks, s.Slots, s.Window, s.Recent))
	r.fact("memory in use", s.Evicted && s.Block.HasMemory())
	r.fact("block", blockText(s.Block))
	r.fact("base identity", s.Base)
	for _, key := range slices.Sorted(maps.Keys(s.Notes)) {
		r.fact("note "+key, shortened(s.Notes[key]))
	}
}

// shortened cuts a long text.
func shortened(s string) string {
	const most = 100
	if runes := []rune(s); len(runes) > most {
		return fmt.Sprintf("%s… (%d bytes)", string(runes[:most]), len(s))
	}
	return s
}

// tensors adds the number of scalars, what the tensors are, and what is wrong
// with their values.
func (r *Report) tensors(ts tensors) {
	table, parameters := tensorTable(ts)
	r.fact("parameters", Count(parameters))
	r.table(table)
	r.values(ts)
}

// values reports numbers that are none.
func (r *Report) values(ts tensors) {
	whole, bad := checkFinite(ts)
	for _, err := range bad {
		r.problem(err)
	}
	if !whole {
		r.note("only the first %s numbers of each tensor were checked for NaN and infinity", Count(checkedNumbers))
	}
}

// number stands for the index of a layer in a tensor's name.
var number = regexp.MustCompile(`\d+`)

// tensorTable lists tensors; those whose names differ in numbers alone are one
// line. It also counts their scalars.
func tensorTable(ts tensors) (Table, int) {
	type group struct {
		name, shape string
		dtype       hf.DType
	}
	counts, first, total := map[group]int{}, map[group]int{}, 0
	for i, name := range ts.Names() {
		t, err := ts.Tensor(name)
		if err != nil {
			continue // a name from the list itself
		}
		g := group{number.ReplaceAllString(name, "N"), fmt.Sprint(t.Shape), t.DType}
		if counts[g]++; counts[g] == 1 {
			first[g] = i
		}
		total += elements(t)
	}
	const most = 40
	table := Table{Title: "tensors", Columns: []string{"name", "count", "type", "shape"}}
	groups := slices.SortedFunc(maps.Keys(counts), func(a, b group) int { return cmp.Compare(first[a], first[b]) })
	for i, g := range groups {
		if i == most {
			table.row(fmt.Sprintf("… %d more", len(groups)-most), nil, nil, nil)
			break
		}
		table.row(g.name, counts[g], string(g.dtype), g.shape)
	}
	return table, total
}

func elements(t hf.Tensor) int {
	n := 1
	for _, s := range t.Shape {
		n *= s
	}
	return n
}

// checkedNumbers bounds how many numbers of a tensor are checked: a whole
// model of a billion parameters takes seconds otherwise.
const checkedNumbers = 1 << 20

// checkFinite reports tensors with NaN or infinite numbers, and whether it has
// seen all of them.
func checkFinite(ts tensors) (whole bool, bad []error) {
	const most = 3
	whole = true
	for _, name := range ts.Names() {
		t, err := ts.Tensor(name)
		if err != nil || !t.DType.IsFloat() || elements(t) == 0 {
			continue
		}
		if n := elements(t); n > checkedNumbers && len(t.Shape) > 1 {
			whole = false
			t = t.Rows(0, max(1, t.Shape[0]*checkedNumbers/n))
		}
		if err := finite(t); err != nil {
			bad = append(bad, err)
		}
	}
	if len(bad) > most {
		bad = append(bad[:most], fmt.Errorf("%d more tensors hold such numbers", len(bad)-most))
	}
	return whole, bad
}

// finite reports the first number of a tensor that is none.
func finite(t hf.Tensor) error {
	values, err := t.Float32()
	if err != nil {
		return err
	}
	for i, v := range values {
		if v-v != 0 {
			return fmt.Errorf("tensor %s holds %g at index %d of %d; the file is damaged, or its training has diverged", t.Name, v, i, len(values))
		}
	}
	return nil
}
