package quant

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"eisft/model"
	"eisft/quant/encoding"
)

func TestSchemeForTarget(t *testing.T) {
	for _, name := range SchemeNames() {
		s := schemes.Get(name)
		if strings.HasPrefix(name, "test-") {
			continue // made by a test of transforms
		}
		if s.Name != name || !slices.Contains(s.Targets, Generic) || s.Head != int8s {
			t.Errorf("%s: %+v", name, s)
		}
		for _, target := range s.Targets {
			a, err := s.For(target)
			if err != nil {
				t.Errorf("%s for %s: %v", name, target, err)
			}
			wideUnsigned := a.Activation.Bits == 16 && a.Activation.Unsigned && a.Activation.ZeroPoint
			if wideUnsigned != (target == QNN && s.Activation.Bits == 16) || a.Keys.Unsigned || a.Cache.Unsigned {
				t.Errorf("%s for %s: %s", name, target, a)
			}
		}
	}
	for _, tc := range []struct{ scheme, target, want string }{
		{"w4-g32", QNN, "scheme w4-g32 does not run on qnn, but on generic, openvino, coreml; qnn runs w8a16, w8a16-mixed, w4a16, w4a16-lpbq16, w4a16-lpbq32, w4a16-lpbq64, w8a8, w4a8"},
		{"w4a16-lpbq32", LiteRT, "scheme w4a16-lpbq32 does not run on litert, but on generic, qnn; litert runs w8a16, w8a16-mixed, w4a16, w8a8"},
		{"w8a16", "qn", `target is "qn"; did you mean "qnn"? It must be one of generic, qnn, mediatek, litert, openvino, coreml`},
	} {
		if _, err := schemes.Get(tc.scheme).For(tc.target); err == nil || err.Error() != tc.want {
			t.Errorf("%s for %s: %v, want %s", tc.scheme, tc.target, err, tc.want)
		}
	}
}

// TestMaskedScores: whatever a score is, with the mask it has the least code; and scores
// that were seen do not saturate.
func TestMaskedScores(t *testing.T) {
	m := demoModel(t)
	_, seen := quantizedDemo(t, m)
	for _, target := range []string{Generic, QNN} {
		s, err := schemes.Get("w8a16").For(target)
		if err != nil {
			t.Fatal(err)
		}
		q, err := EncodePoints(m, s, RangeMinMax, seen, nil)
		if err != nil {
			t.Fatal(err)
		}
		masked := []float32{q.MaskValue(), 0}
		q.Point(MaskPoint).Encoding.Fake(masked)
		if masked[1] != 0 || masked[0] > -30 || masked[0] < -300 {
			t.Errorf("%s: masks hold %g", target, masked)
		}
		for _, l := range m.Base.Layers {
			e, o := q.Point(InnerPoints(l).Scores).Encoding, seen.observers[InnerPoints(l).Scores]
			lo, hi := e.Limits()
			top := e.Scales[0] * float32(hi-e.Zero(0))
			if got := e.Code(top+masked[0], 0); got != lo {
				t.Errorf("%s, layer %d: the highest score %g with the mask %g has the code %d, want %d", target, l.Index, top, masked[0], got, lo)
			}
			bottom := e.Scales[0] * float32(lo-e.Zero(0))
			if e.Saturates(float64(o.Max), 0) || o.LeastMax-bottom < maskedBelow*0.999 {
				t.Errorf("%s, layer %d: codes from %g to %g; maxima of rows from %g to %g", target, l.Index, bottom, top, o.LeastMax, o.Max)
			}
		}
	}
}

// TestIntegerAttentionApplied: under w8a16 all that the block has between its maps are
// codes, and logits stay near.
func TestIntegerAttentionApplied(t *testing.T) {
	m, s := demoModel(t), sample(t, 20)
	_, seen := quantizedDemo(t, m)
	q, err := Quantize(m, schemes.Get("w8a16"), RangeMinMax, seen)
	if err != nil {
		t.Fatal(err)
	}
	faked, _, err := Apply(m, q)
	if err != nil {
		t.Fatal(err)
	}
	visited, lock := map[string]bool{}, sync.Mutex{}
	taps := newTaps(faked, true, false, func(point string, x []float32) {
		if p := q.Point(point); p != nil {
			lock.Lock()
			visited[point] = true
			lock.Unlock()
			p.Encoding.Fake(x)
		}
	})
	want, _ := lastLogits(t, m, nil, s.IDs)
	got, state := lastLogits(t, faked, taps.wrap, s.IDs)
	for _, p := range q.Points {
		if !visited[p.Name] && p.Name != MaskPoint { // that is for the mass gate
			t.Errorf("%s is never rounded", p.Name)
		}
	}
	wantCodes(t, "turned keys", state.Layers[3].Rotated.Floats(), q.Point(InnerPoints(m.Base.Layers[3]).Keys).Encoding)
	signal, noise := 0.0, 0.0
	for i, w := range want {
		e := float64(w - got[i])
		signal, noise = signal+float64(w)*float64(w), noise+e*e
	}
	if d := sqnr(signal, noise); d < 20 || d > 60 {
		t.Errorf("logits: SQNR %.1f dB, want 20 to 60", d)
	}
}

// TestStateUnderIntegerAttention: a sequence goes on from a saved state, whose keys are turned
// anew, as if it had not been left.
func TestStateUnderIntegerAttention(t *testing.T) {
	m, s := demoModel(t), sample(t, 20)
	_, seen := quantizedDemo(t, m)
	q, err := Quantize(m, schemes.Get("w8a16"), RangeMinMax, seen)
	if err != nil {
		t.Fatal(err)
	}
	faked, wrap, err := Apply(m, q)
	if err != nil {
		t.Fatal(err)
	}
	o := model.StreamOptions{Wrap: wrap}
	st, at, path := faked.NewStream(o), len(s.IDs)-40, filepath.Join(t.TempDir(), "state")
	if _, err := st.Read(t.Context(), s.IDs[:at], nil); err != nil {
		t.Fatal(err)
	}
	if err := st.Save(path, nil); err != nil {
		t.Fatal(err)
	}
	opened, _, err := faked.OpenStream(path, o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range st.State.Layers {
		if !slices.Equal(opened.State.Layers[i].Rotated.Floats(), st.State.Layers[i].Rotated.Floats()) {
			t.Fatalf("layer %d: other keys after rotary embedding", i)
		}
	}
}

// TestFullAttentionInPieces: rows that a quantized stream of full attention stores in pieces, as they come, give the bits
// of rows side by side, which are those of a clone.
func TestFullAttentionInPieces(t *testing.T) {
	m := demoModel(t)
	_, seen := quantizedDemo(t, m)
	full, err := model.New(m.Base, model.FullAttention(128), nil)
	if err != nil {
		t.Fatal(err)
	}
	q, err := Quantize(m, schemes.Get("w8a16"), RangeMinMax, seen)
	if err != nil {
		t.Fatal(err)
	}
	_, wrap, err := Apply(m, q)
	if err != nil {
		t.Fatal(err)
	}
	st, ids := full.NewStream(model.StreamOptions{Wrap: wrap}), slices.Repeat(sample(t, 20).IDs, 8)
	var first *float32
	read := func(st *model.Stream, ids []int32) (last []float32) {
		t.Helper()
		if err := st.Feed(t.Context(), ids, 0, func(_ int, hidden []float32) error {
			last = slices.Clone(hidden)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return last
	}
	read(st, ids[:128])
	first = &st.State.Layers[0].V.Floats()[0]
	read(st, ids[128:300])
	if x := st.State.Layers[0].V.Floats(); &x[0] == first || len(x) != 300*m.Base.Dims.KVHeads*m.Base.Dims.HeadDim {
		t.Fatal("rows lie side by side")
	}
	other := st.Clone()
	if got, want := read(st, ids[300:331]), read(other, ids[300:331]); !slices.Equal(got, want) {
		t.Error("other bits")
	}
	if got, want := read(st, ids[331:332]), read(other, ids[331:332]); !slices.Equal(got, want) {
		t.Error("one token has other bits")
	}
}

func TestAbsolutePositions(t *testing.T) {
	m := demoModel(t)
	_, seen := quantizedDemo(t, m)
	absolute := *m
	absolute.Spec.Positions = model.PositionsAbsolute
	if _, err := Quantize(&absolute, schemes.Get("w8a16"), RangeMinMax, seen); !errors.Is(err, errAbsolute) {
		t.Errorf("error %v", err)
	}
	if _, err := Quantize(&absolute, schemes.Get("w8a16-mixed"), RangeMinMax, seen); err != nil {
		t.Error(err)
	}
}

// TestChooseCache: points are narrowed as long as the measured loss allows it, those that
// cost least first.
func TestChooseCache(t *testing.T) {
	m := demoModel(t)
	_, seen := quantizedDemo(t, m)
	q, err := EncodePoints(m, schemes.Get("w8a16"), RangeMinMax, seen, nil)
	if err != nil {
		t.Fatal(err)
	}
	cost := func(name string) float64 { // keys cost, the more the deeper they are
		if !strings.Contains(name, "k_proj") {
			return 0.01
		}
		return 0.1 + 0.01*float64(name[len("model.layers.")]-'0')
	}
	calls := 0
	loss := func(q *Quantized) (float64, error) {
		calls++
		sum := 2.0
		for _, p := range q.Points {
			if p.Encoding.Bits == 8 {
				sum += cost(p.Name)
			}
		}
		return sum, nil
	}
	got, err := ChooseCache(m, q, seen, 0.4, loss)
	if err != nil {
		t.Fatal(err)
	}
	sum, narrow := 0.0, 0
	for i, w := range got {
		if p := q.Point(w.Point); p.Encoding.Bits != w.Bits || math.Abs(w.Loss-cost(w.Point)) > 1e-9 || i > 0 && got[i-1].Loss > w.Loss {
			t.Errorf("%+v, encoded as %s", w, p.Encoding)
		}
		if w.Bits == 8 {
			sum, narrow = sum+w.Loss, narrow+1
		}
	}
	if len(got) != 16 || narrow != 10 || sum > 0.4 { // eight values and the keys of two layers
		t.Errorf("%d of %d points have 8 bits and cost %g, want 10 of 16 and at most 0.4", narrow, len(got), sum)
	}
	if calls > 1+16+5 {
		t.Errorf("the loss was measured %d times", calls)
	}
	if err := checkPoint(q.Point(got[15].Point).Encoding, q.Scheme); err != nil {
		t.Error(err)
	}
	if _, err := q.Scheme.WithCache(12); err == nil || !strings.Contains(err.Error(), "the cache is int12; scheme w8a16 has int8") {
		t.Errorf("error %v", err)
	}
	if s, err := q.Scheme.WithCache(16); err != nil || s.Cache != (encoding.Format{Bits: 16}) {
		t.Errorf("%s, %v", s, err)
	}
}

// BenchmarkChooseCache: what choosing the cache's widths takes beside the losses that it asks for,
// which are constant here, and how often it asks.
func BenchmarkChooseCache(b *testing.B) {
	m := demoModel(b)
	_, seen := quantizedDemo(b, m)
	q, err := EncodePoints(m, schemes.Get("w8a16"), RangeMinMax, seen, nil)
	if err != nil {
		b.Fatal(err)
	}
	calls := 0
	for b.Loop() {
		_, err := ChooseCache(m, q, seen, 0.4, func(q *Quantized) (float64, error) {
			calls++
			narrow := 0.0
			for _, p := range q.Points {
				if p.Encoding.Bits == 8 {
					narrow++
				}
			}
			return 2 + 0.03*narrow, nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(calls)/float64(b.N), "losses/op")
}
