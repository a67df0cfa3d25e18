package model_test

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/modeltest"
)

// TestConvertAdapter: a folder of its own, the same numbers rounded to the type, whatever lay
// beside the adapter.
func TestConvertAdapter(t *testing.T) {
	base, err := model.LoadBase("demo")
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(base, modeltest.DefaultBlock(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, p := range m.Params.List() {
		for i := range p.Data {
			p.Data[i] += float32(random.NormFloat64())
		}
	}
	from := t.TempDir()
	if err := m.SaveAdapter(from, "demo"); err != nil {
		t.Fatal(err)
	}
	var float32Size int64
	for _, c := range []struct {
		to    model.AdapterType
		share float64 // of the size
		off   float64 // the largest relative error, of numbers that are not tiny
	}{{model.AdapterF32, 1, 0}, {model.AdapterF16, 0.5, 1.0 / 2048}, {model.AdapterBF16, 0.5, 1.0 / 256}} {
		to := filepath.Join(t.TempDir(), "new", string(c.to))
		if err := model.ConvertAdapter(from, to, c.to, nil, ""); err != nil {
			t.Fatal(err)
		}
		got, err := model.LoadAdapter(base, to)
		if err != nil {
			t.Fatal(err)
		}
		worst := 0.0
		for i, p := range got.Params.List() {
			for j, v := range p.Data {
				if was := float64(m.Params.List()[i].Data[j]); math.Abs(was) > 1e-4 {
					worst = max(worst, math.Abs(float64(v)-was)/math.Abs(was))
				}
			}
		}
		info, err := os.Stat(filepath.Join(to, model.AdapterWeights))
		if err != nil {
			t.Fatal(err)
		}
		if c.to == model.AdapterF32 {
			float32Size = info.Size()
		}
		if share := float64(info.Size()) / float64(float32Size); worst > c.off || c.off > 0 && worst == 0 || math.Abs(share-c.share) > 0.01 {
			t.Errorf("%s: numbers are off by %g, want up to %g; the file has %.2f of the size, want %.2f", c.to, worst, c.off, share, c.share)
		}
		a, err := model.ReadAdapter(to)
		if err != nil {
			t.Fatal(err)
		}
		if there := filepath.Join(to, a.Base); !sameFile(t, there, "demo") {
			t.Errorf("%s: the base is named as %s", c.to, a.Base)
		}
		wantError(t, model.ConvertAdapter(from, to, c.to, nil, ""), "holds an adapter already; name another folder")
	}
	m.Params.List()[0].Data[3] = 1e6
	if err := m.SaveAdapter(from, "demo"); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "none")
	wantError(t, model.ConvertAdapter(from, to, model.AdapterF16, nil, ""), "holds 1e+06, and float16 goes up to 65504; take bfloat16")
	if _, err := os.Stat(to); err == nil {
		t.Error("what cannot be stored has left a folder")
	}
	wantError(t, model.ConvertAdapter(from, to, "float8", nil, ""), "float8")
}

// TestRenewAdapter: the adapter of an early version is read, and converted it names its base by
// today's identity and its weights by their hash.
func TestRenewAdapter(t *testing.T) {
	base, err := model.LoadBase("demo")
	if err != nil {
		t.Fatal(err)
	}
	from := testfiles.Golden(t, "formats/runs/old")
	if was, err := model.ReadAdapter(from); err != nil || was.Weights != "" || len(was.BaseID) != 32 {
		t.Fatalf("%+v (%v) is no adapter of an early version", was, err)
	}
	to := filepath.Join(t.TempDir(), "new")
	if err := model.ConvertAdapter(from, to, model.AdapterF32, base, "demo"); err != nil {
		t.Fatal(err)
	}
	a, err := model.ReadAdapter(to)
	if err != nil {
		t.Fatal(err)
	}
	if a.BaseID != base.Identity() || a.Weights == "" || a.BaseSize != base.Parameters() {
		t.Errorf("%+v", a)
	}
	was, err := model.LoadAdapter(base, from)
	if err != nil {
		t.Fatal(err)
	}
	is, err := model.LoadAdapter(base, to)
	if err != nil {
		t.Fatal(err)
	}
	if was.Params.Identity() != is.Params.Identity() {
		t.Error("the numbers have changed")
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.Stat(b)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(x, y)
}
