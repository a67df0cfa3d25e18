package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"eisft/model"
	"eisft/model/hf"
)

// tensorName is a trained tensor's name taken apart: "layers.3.gate.bias" is the kind
// "gate.bias" of layer 3. Layer is -1 where there is none.
type tensorName struct {
	layer int
	kind  string
}

func parseTensorName(name string) tensorName {
	if parts := strings.SplitN(name, ".", 3); len(parts) == 3 && parts[0] == "layers" {
		if layer, err := strconv.Atoi(parts[1]); err == nil && layer >= 0 {
			return tensorName{layer, parts[2]}
		}
	}
	return tensorName{-1, name}
}

// grid is a table of one figure by layer and kind of tensor.
func grid(title string, of map[tensorName]any) Table {
	layers, kinds := map[int]bool{}, map[string]bool{}
	for n := range of {
		layers[n.layer], kinds[n.kind] = true, true
	}
	columns := slices.Sorted(maps.Keys(kinds))
	t := Table{Title: title, Columns: append([]string{"layer"}, columns...)}
	for _, layer := range slices.Sorted(maps.Keys(layers)) {
		row := []any{layer}
		if layer < 0 {
			row[0] = nil
		}
		for _, kind := range columns {
			if v, ok := of[tensorName{layer, kind}]; ok {
				row = append(row, v)
			} else {
				row = append(row, nil)
			}
		}
		t.row(row...)
	}
	return t
}

// adapterNorms are tables of how large trained tensors are: by kind, and of each layer.
func adapterNorms(f *hf.File) (kinds, layers Table) {
	type size struct{ squares, numbers, largest float64 }
	byKind, byLayer := map[string]size{}, map[tensorName]any{}
	for _, name := range f.Names() {
		t, err := f.Tensor(name)
		if err != nil {
			continue // a name from the list itself
		}
		values, err := t.Float32()
		if err != nil {
			continue // checkFinite says so
		}
		n, s := parseTensorName(name), size{}
		for _, v := range values {
			s.squares += float64(v) * float64(v)
			s.largest = max(s.largest, math.Abs(float64(v)))
		}
		all := byKind[n.kind]
		byKind[n.kind] = size{all.squares + s.squares, all.numbers + float64(len(values)), max(all.largest, s.largest)}
		byLayer[n] = math.Sqrt(s.squares)
	}
	kinds = Table{Title: "norms by kind of tensor", Columns: []string{"kind", "numbers", "L2 norm", "root mean square", "largest"}}
	for _, k := range slices.Sorted(maps.Keys(byKind)) {
		s := byKind[k]
		kinds.row(k, Count(s.numbers), math.Sqrt(s.squares), math.Sqrt(s.squares/max(s.numbers, 1)), s.largest)
	}
	return kinds, grid("L2 norms by layer", byLayer)
}

// Adapter describes the adapter in a folder, that of a run too: its base, its block, its
// tensors and how large they are.
func Adapter(ctx context.Context, dir string, o Options) (*Report, error) {
	real, err := filepath.EvalSymlinks(dir) // runs/latest: paths in a run are relative to the run
	if err != nil {
		return nil, fmt.Errorf("%s: there is no such folder", dir)
	}
	r := &Report{Path: dir}
	return r, inspectAdapter(ctx, r, real, o)
}

// openAdapter opens what lies in an adapter's folder.
func openAdapter(dir string) (*model.Adapter, *hf.File, error) {
	a, err := model.ReadAdapter(dir)
	if err != nil {
		return nil, nil, err
	}
	f, err := hf.OpenFile(filepath.Join(dir, model.AdapterWeights))
	return a, f, err
}

// AdapterDiff says in what two adapters differ: base and block, tensors that only one has, and
// how far the others are from each other, ‖b-a‖/‖a‖.
func AdapterDiff(dirA, dirB string) (_ *Report, err error) {
	a, fileA, err := openAdapter(dirA)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fileA.Close()) }()
	b, fileB, err := openAdapter(dirB)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fileB.Close()) }()
	r := &Report{Path: dirA + " and " + dirB, Kind: "two adapters"}
	early := func(identity string) bool { return !strings.Contains(identity, "-") }
	switch {
	case a.BaseID == b.BaseID:
		r.fact("base", "the same, "+a.BaseID)
	case early(a.BaseID) != early(b.BaseID):
		r.fact("base", fmt.Sprintf("%s and %s, which cannot be compared", a.BaseID, b.BaseID))
		r.note("one of them names its base as an early version did; eisft adapter convert renews it where its base is there")
	default:
		r.fact("base", fmt.Sprintf("%s, but %s", a.BaseID, b.BaseID))
		r.note("adapters of different bases do not compute the same even where their numbers are the same")
	}
	if d := a.Block.Difference(b.Block); d != "" {
		r.fact("block", d)
	} else {
		r.fact("block", "the same, "+blockText(a.Block))
	}
	return r, r.compareTensors(fileA, fileB)
}

// compareTensors adds what the tensors of two files differ in.
func (r *Report) compareTensors(a, b *hf.File) error {
	only := Table{Title: "tensors that are not in both with the same shape", Columns: []string{"name", "first", "second"}}
	squares, changes, byLayer := map[string]float64{}, map[string]float64{}, map[tensorName]any{}
	equal, both := 0, 0
	names := map[string]bool{}
	for _, name := range slices.Concat(a.Names(), b.Names()) {
		names[name] = true
	}
	order := func(x, y string) int {
		p, q := parseTensorName(x), parseTensorName(y)
		return cmp.Or(cmp.Compare(p.layer, q.layer), cmp.Compare(p.kind, q.kind))
	}
	for _, name := range slices.SortedFunc(maps.Keys(names), order) {
		if shapeA, shapeB := shapeIn(a, name), shapeIn(b, name); shapeA != shapeB {
			only.row(name, shapeA, shapeB)
			continue
		}
		change, square, err := distance(a, b, name)
		if err != nil {
			return err
		}
		n := parseTensorName(name)
		squares[n.kind] += square
		changes[n.kind] += change
		byLayer[n] = relative(change, square)
		if both++; change == 0 {
			equal++
		}
	}
	r.fact("equal tensors", fmt.Sprintf("%d of %d that both have", equal, both))
	r.table(only)
	if both == equal {
		return nil
	}
	kinds := Table{Title: "relative difference by kind of tensor, ‖second-first‖/‖first‖", Columns: []string{"kind", "difference", "L2 norm of the first"}}
	for _, k := range slices.Sorted(maps.Keys(squares)) {
		kinds.row(k, relative(changes[k], squares[k]), math.Sqrt(squares[k]))
	}
	r.table(kinds)
	r.table(grid("relative difference by layer", byLayer))
	return nil
}

// shapeIn is a tensor's shape in a file, nothing if it has none.
func shapeIn(f *hf.File, name string) any {
	t, err := f.Tensor(name)
	if err != nil {
		return nil
	}
	return fmt.Sprint(t.Shape)
}

// distance returns ‖b-a‖² and ‖a‖² of a tensor that both files have in one shape.
func distance(a, b *hf.File, name string) (change, square float64, err error) {
	var values [2][]float32
	for i, f := range []*hf.File{a, b} {
		t, err := f.Tensor(name)
		if err != nil {
			return 0, 0, err
		}
		if values[i], err = t.Float32(); err != nil {
			return 0, 0, err
		}
	}
	for i, v := range values[0] {
		d := float64(values[1][i]) - float64(v)
		change, square = change+d*d, square+float64(v)*float64(v)
	}
	return change, square, nil
}

// relative is the quotient of norms whose squares are given; of what was zero it is a word.
func relative(change, square float64) any {
	switch {
	case change == 0:
		return 0.0
	case square == 0:
		return "from zero"
	}
	return math.Sqrt(change / square)
}
