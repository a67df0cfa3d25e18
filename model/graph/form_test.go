package graph

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"eisft/model"
)

// differing are layers of one base that differ in all that a form tells apart, and two
// that do not.
var differing = map[string]layerOf{
	"without q and k norms": func(l *model.Layer, d model.Dims, r *rand.Rand) {
		l.QNorm, l.KNorm = nil, nil // queries that leave the memory its share
		l.Q = model.NewLinear("q", d.Hidden, 24, random(r, 24*d.Hidden, 0.2), random(r, 24, 0.2))
	},
	"GELU":    func(l *model.Layer, _ model.Dims, _ *rand.Rand) { l.Activation = model.GELUTanh },
	"Gemma's": gemma,
	"wider": func(l *model.Layer, d model.Dims, r *rand.Rand) {
		l.Gate, l.Up, l.Down = randomLinear(r, "gate", 18, d.Hidden), randomLinear(r, "up", 18, d.Hidden), randomLinear(r, "down", d.Hidden, 18)
	},
	"without biases": func(l *model.Layer, _ model.Dims, _ *rand.Rand) { l.Q.Bias, l.Down.Bias = nil, nil },
	"short window":   func(l *model.Layer, _ model.Dims, _ *rand.Rand) { l.SlidingWindow = 9 },

	"softcap": variants["softcap"], "residual scale": variants["residual scale"], "not turned": variants["not turned"],
	"norms after": variants["norms after"], "norms over all heads": variants["norms over all heads"],
}

// alike are those of one form: ops ask the run's layer for what differs.
var alike = []string{"without biases", "short window", "softcap", "residual scale", "not turned"}

// TestLayersDiffer checks gradients of samples and of attention transfer on bases whose
// layers differ: each form has programs of its own.
func TestLayersDiffer(t *testing.T) {
	for what, other := range differing {
		t.Run(what, func(t *testing.T) {
			r := rand.New(rand.NewPCG(21, 22))
			m := testModel(t, specs()["slot-elu-delta-slots"], r, plain, other)
			checkRecorded(t, m, testSample(r), softOptions())
			checkTransfer(t, m, r)
			same := slices.Contains(alike, what)
			if got := formOf(m, 0) == formOf(m, 1); got != same {
				t.Errorf("forms %+v and %+v: equal %v, want %v", formOf(m, 0), formOf(m, 1), got, same)
			}
		})
	}
}

// TestProgramsAreReused counts the programs of layers, which run one after another: layers
// of one form share them, and a second sample compiles nothing.
func TestProgramsAreReused(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	m := testModel(t, specs()["slot-hedgehog-linear-slots"], r, plain, plain, differing["GELU"])
	e, sample := NewEngine(m, nil), testSample(r)
	var before []*program
	for range 2 {
		if _, err := e.Backward(t.Context(), sample, softOptions(), m.Params.Zero()); err != nil {
			t.Fatal(err)
		}
		var all []*program
		forms := map[form]int{}
		for k, list := range e.programs.idle {
			if k.kind == blockKind {
				all, forms[k.form] = append(all, list...), forms[k.form]+len(list)
				if len(list) != 1 {
					t.Errorf("%d programs of %s", len(list), k)
				}
			}
		}
		if len(forms) != 2 || forms[formOf(m, 0)] != forms[formOf(m, 2)] {
			t.Errorf("layers of two forms have block programs %v", forms)
		}
		if before != nil && len(all) != len(before) {
			t.Errorf("%d programs after the first sample, %d after the same once more", len(before), len(all))
		}
		before = all
	}
}

// TestFormIsComplete fails for a field of a block, a layer or a layer's parameters that
// forms do not know: who adds one has to say whether graphs depend on it.
func TestFormIsComplete(t *testing.T) {
	const run = "comes with each run"
	known := map[string]string{
		"Spec.Sink": run, "Spec.Window": run, "Spec.Segment": run, "Spec.Slots": run, "Spec.SlotLayers": run, "Spec.Positions": run, "Spec.Retention": run,
		"Spec.Memory": "blockForm", "Spec.Feature": "blockForm", "Spec.FeatureDim": "blockForm", "Spec.Gate": "blockForm", "Spec.Map": "blockForm", "Spec.WriteGate": "blockForm",
		"Layer.Index": run, "Layer.Rotary": run, "Layer.SlidingWindow": run, "Layer.AttentionScale": run, "Layer.QueryWeight": run, "Layer.AttentionSoftcap": run, "Layer.ResidualScale": run, "Layer.Activation": "form",
	}
	for _, of := range []reflect.Type{reflect.TypeFor[model.Spec](), reflect.TypeFor[model.Layer]()} {
		for i := range of.NumField() {
			f := of.Field(i)
			if f.Type == reflect.TypeFor[*model.Linear]() || f.Type == reflect.TypeFor[*model.Norm]() {
				continue // below
			}
			if name := of.Name() + "." + f.Name; known[name] == "" {
				t.Errorf("%s is new: if graphs of programs depend on it, it belongs into form", name)
			}
		}
	}
	l, n := &model.Layer{}, 0
	v := reflect.ValueOf(l).Elem()
	for i := range v.NumField() {
		if x := v.Field(i); x.Type() == reflect.TypeFor[*model.Linear]() || x.Type() == reflect.TypeFor[*model.Norm]() {
			x.Set(reflect.New(x.Type().Elem()))
			n++
		}
	}
	seen := map[any]string{}
	for role, m := range l.Maps() {
		seen[m] = string(role)
	}
	for role, m := range l.Norms() {
		seen[m] = string(role)
	}
	if len(seen) != n {
		t.Errorf("a layer has %d frozen maps and norms; Maps and Norms list %d: %v", n, len(seen), seen)
	}
}

// TestBindingErrors checks that what a run binds and what a program takes must agree by
// name, and that an error says which does not.
func TestBindingErrors(t *testing.T) {
	drop := func(name string) func(*run) {
		return func(r *run) {
			var kept []binding
			for _, b := range r.inputs {
				if b.name != name {
					kept = append(kept, b)
				}
			}
			r.inputs = kept
		}
	}
	for want, change := range map[string]func(*run){
		"input score is missing":                           drop("score"),
		"input x is missing":                               drop("x"),
		"input values is bound, but the program has none":  func(r *run) { r.inputs = append(r.inputs, binding{name: "values"}) },
		"it takes x, score, memory":                        func(r *run) { r.inputs = append(r.inputs, binding{name: "gate.bias"}) },
		"input x is bound twice":                           func(r *run) { r.inputs = append(r.inputs, r.inputs[0]) },
		"input x has a gradient, but the run does not say": func(r *run) { r.inputs[0].grad = nil },
		"input x has 69 values; the program was built for 70": func(r *run) {
			r.inputs[0].values = r.inputs[0].values[1:]
		},
		"input upstream has 0 values":                    func(r *run) { r.upstream = nil },
		"parameter memory.feature_q is missing":          func(r *run) { r.params = &model.LayerParams{} },
		"parameter memory.feature_q is missing: the run": func(r *run) { r.grads = nil },
	} {
		t.Run(want, func(t *testing.T) {
			r := rand.New(rand.NewPCG(25, 26))
			m := testModel(t, specs()["slot-hedgehog-linear-slots"], r)
			k, run := blockOf(m, 0, 7, r)
			p, err := newProgram(m, k, run.layer)
			if err != nil {
				t.Fatal(err)
			}
			gradientsOf(t, p, run)
			if err := p.do(run); err != nil {
				t.Fatal(err)
			}
			change(&run)
			if err := p.do(run); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
		})
	}
	m := testModel(t, specs()["slots"], rand.New(rand.NewPCG(27, 28)))
	p, err := newProgram(m, key{kind: scoreKind, rows: 1}, m.Base.Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	err = p.do(run{inputs: []binding{{"h", make([]float32, 10), func([]float32) {}}}, params: &m.Params.Layers[0], grads: &m.Params.Zero().Layers[0], upstream: make([]float32, 2)})
	if err == nil || !strings.Contains(err.Error(), "input h is a constant") {
		t.Errorf("error %v, want one of a constant with a gradient", err)
	}
}
