package quant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"eisft/data"
	"eisft/internal/ranks"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/modeltest"
)

// mostAbove is how much memory a calibration may take above the model, whatever the number of
// samples: 200 MB.
const mostAbove = 200e6

// TestSlowJobMemory: a whole job on a layer of Qwen2.5-0.5B's shape takes less than 200 MB above
// the model, and no more for more samples; with a scale for each channel, too, where the moments
// of all of down_proj's 4,864 inputs are kept, and not of a block's alone.
func TestSlowJobMemory(t *testing.T) {
	testfiles.Slow(t)
	const samples = 4
	tk, tpl := demoTokenizer(t)
	m := halfBillion(t, 1, demoModel(t).Base.Embed.Out)
	var rows bytes.Buffer
	for i := range samples {
		row := map[string]any{
			"context": fmt.Sprintf("Room %d. ", i) + strings.Repeat("Anna takes the blue folder to the station and comes back. ", 80),
			"input":   "Question: Where is the folder?", "answers": []string{"At the station."},
		}
		if err := json.NewEncoder(&rows).Encode(row); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "data.jsonl")
	if err := os.WriteFile(path, rows.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	warm := m.NewStream(model.StreamOptions{}) // what the model itself keeps is not the job's
	if err := warm.Feed(t.Context(), modeltest.Tokens(m, m.Spec.Segment), 0, func(_ int, hidden []float32) error {
		warm.Logits(make([]float32, m.Base.Head.Out), hidden[:m.Base.Dims.Hidden])
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		scheme string
		counts []int
	}{{"w4a16-lpbq32", []int{1, samples}}, {"w4a16", []int{samples}}} {
		few, scheme := 0.0, c.scheme
		for i, n := range c.counts {
			j := &Job{
				Model: m, Tokenizer: tk, Template: tpl, Calibration: data.Set{Files: data.One(path), Samples: n}, Dir: filepath.Join(t.TempDir(), "quant", scheme),
				Recipe: &Recipe{Name: scheme, Scheme: scheme, Ranges: RangeMinMax, Weights: RoundSeqMSE, SeqMSE: methodDefaults.SeqMSE},
			}
			debug.FreeOSMemory()
			before := status(t, "RssAnon:")
			if before == 0 {
				t.Skip("the system does not tell how much is resident")
			}
			ctx, cancel := context.WithCancel(t.Context())
			most := make(chan int64)
			go func() { most <- watched(ctx, t) }()
			r, err := j.Run(ctx)
			cancel()
			above := float64(<-most - before)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s, %d tokens of %d samples: %.0f MB above the model", scheme, r.Calibration.Prompt+r.Calibration.Steps, n, above/1e6)
			if above > mostAbove {
				t.Errorf("%s: %.0f MB above the model, want at most %.0f MB", scheme, above/1e6, mostAbove/1e6)
			}
			if i == 0 {
				few = above
			} else if above > few+30e6 {
				t.Errorf("%s: %d samples take %.0f MB, and %d take %.0f", scheme, n, above/1e6, c.counts[0], few/1e6)
			}
		}
	}
}

// watched returns the most bytes that were resident and of no file until the context ends:
// weights that are mapped are the model's.
func watched(ctx context.Context, t *testing.T) (most int64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
			most = max(most, status(t, "RssAnon:"))
		}
	}
}

// TestSlowWeightsMemory: what has been rounded, and what is run of it and written, takes no more
// memory for having more layers.
func TestSlowWeightsMemory(t *testing.T) {
	testfiles.Slow(t)
	defer debug.SetGCPercent(debug.SetGCPercent(garbagePercent))
	const few, many = 1, 3
	took := map[int]float64{}
	for _, layers := range []int{few, many} {
		m := halfBillion(t, layers, 32_000)
		s := schemes.Get("w4a16-lpbq32")
		q := &Quantized{Scheme: s, Range: RangeMinMax, Base: m.Base.Identity()}
		o := RoundOptions{Recipe: &Recipe{Scheme: s.Name, Weights: RoundNearest}, Format: formatOf(s), Partial: filepath.Join(t.TempDir(), ".partial")}
		debug.FreeOSMemory()
		before := status(t, "RssAnon:")
		if before == 0 {
			t.Skip("the system does not tell how much is resident")
		}
		ctx, cancel := context.WithCancel(t.Context())
		most := make(chan int64)
		go func() { most <- watched(ctx, t) }()
		err := RoundWeights(t.Context(), m, q, o)
		if err == nil {
			err = q.shelf.products(ranks.Alone{}, filepath.Join(o.Partial, fmt.Sprintf(productsFile, 0)), q.Weights)
		}
		if err == nil {
			for _, f := range frozen(m.Base) {
				q.Weight(f.name).linear(m.Base, f.Linear)
			}
			err = q.write(t.TempDir())
		}
		cancel()
		took[layers] = float64(<-most - before)
		if err = errors.Join(err, q.shelf.close()); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d layers: %.0f MB", layers, took[layers]/1e6)
	}
	const layer = 14.9e6 // its codes
	if more := took[many] - took[few]; more > layer {
		t.Errorf("%d layers more take %.0f MB more, that is, their codes are in memory", many-few, more/1e6)
	}
	if head := 32_000 * 896.0; took[few] > 2*head {
		t.Errorf("the head of %.0f MB takes %.0f MB: it is not rounded in parts", head/1e6, took[few]/1e6)
	}
}
