package quant

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/ranks"
	"eisft/internal/ranks/rankstest"
	"eisft/model"
)

// rankedJob calibrates on four samples of so many sentences or more, one of which may be too short, and evaluates on one.
func rankedJob(t *testing.T, repeats int) *Job {
	t.Helper()
	j := demoJob(t)
	j.Model.Spec.Sink, j.Model.Spec.Window, j.Model.Spec.Segment, j.Model.Spec.Slots = 4, 16, 16, 8
	j.Recipe.Transforms = []string{"smoothquant"}
	var rows []byte
	for i := range 4 {
		words := strings.Repeat(fmt.Sprintf("Anna takes %d blue folders to the station. ", i), repeats+i)
		if i == 1 {
			words = "."
		}
		row, err := json.Marshal(map[string]any{"context": words, "input": "Where?", "answers": []string{"At the station."}})
		if err != nil {
			t.Fatal(err)
		}
		rows = append(append(rows, row...), '\n')
	}
	path := filepath.Join(t.TempDir(), "calib.jsonl")
	if err := os.WriteFile(path, rows, 0o666); err != nil {
		t.Fatal(err)
	}
	j.Calibration.Files = data.One(path)
	return j
}

// TestRanks: two ranks write the codes and encodings that one process writes, and find the same
// losses and answers; rank 0 alone writes.
func TestRanks(t *testing.T) {
	j := rankedJob(t, 3)
	alone, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := folder(t, j.Dir)
	if err := os.RemoveAll(j.Dir); err != nil {
		t.Fatal(err)
	}
	rankstest.Run(2, func(g ranks.Group) {
		own := *j
		own.Group = g
		r, err := own.Run(t.Context())
		if err != nil {
			t.Errorf("rank %d: %v", g.Rank(), err)
			return
		}
		if !reflect.DeepEqual(r.Evaluation.Comparisons, alone.Evaluation.Comparisons) || !reflect.DeepEqual(r.Calibration, alone.Calibration) {
			t.Errorf("rank %d: %+v, %+v; want %+v, %+v", g.Rank(), r.Calibration, r.Evaluation.Comparisons, alone.Calibration, alone.Evaluation.Comparisons)
		}
	})
	got := folder(t, j.Dir)
	for _, name := range []string{WeightsFile, EncodingsFile, FoldedFile} {
		if !bytes.Equal(got[name], want[name]) || len(want[name]) == 0 {
			t.Errorf("two ranks write another %s than one process", name)
		}
	}
}

func folder(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// stopAt is cancelled as soon as there is a file.
type stopAt struct {
	context.Context
	path string
}

func (s stopAt) Err() error {
	if _, err := os.Stat(s.path); err == nil {
		return context.Canceled
	}
	return s.Context.Err()
}

// TestRoundingByRanks: weights that are rounded on samples, what they cost and which are promoted do not depend on
// how many ranks found it, nor on how many began and how many went on; nothing of it is left.
func TestRoundingByRanks(t *testing.T) {
	for _, recipe := range []*Recipe{
		{Name: "gptq", Scheme: "w4a16-lpbq32", Ranges: RangeMinMax, Weights: RoundGPTQ, GPTQ: GPTQ{Scales: RoundMSEClip, Block: 64, Damping: 0.01}, Sensitivity: 60, Mixed: Mixed{MaxLossIncrease: 1e-9}},
		{Name: "seqmse", Scheme: "w4a16", Ranges: RangeMinMax, Weights: RoundSeqMSE, SeqMSE: SeqMSE{Samples: 3, Candidates: 4}},
	} {
		j := rankedJob(t, 24)
		j.Recipe = recipe
		j.Evaluation = eval.Config{}
		base := *j.Model.Base // two layers show what eight do
		base.Layers = base.Layers[:2]
		two, err := model.New(&base, j.Model.Spec, &model.Params{Layers: j.Model.Params.Layers[:2]})
		if err != nil {
			t.Fatal(err)
		}
		j.Model = two
		run := func(ctx context.Context, size int) (reports []*Report, errs []error) {
			reports, errs = make([]*Report, size), make([]error, size)
			rankstest.Run(size, func(g ranks.Group) {
				own := *j
				own.Group = g
				reports[g.Rank()], errs[g.Rank()] = own.Run(ctx)
			})
			return reports, errs
		}
		alone, errs := run(t.Context(), 1)
		if errs[0] != nil {
			t.Fatal(errs[0])
		}
		want := folder(t, j.Dir)
		for _, sizes := range [][]int{{4}, {2, 1}, {1, 2}} { // of an attempt that is stopped, and of the one that goes on
			if err := os.RemoveAll(j.Dir); err != nil {
				t.Fatal(err)
			}
			if len(sizes) > 1 {
				_, errs := run(stopAt{t.Context(), filepath.Join(j.partial(stageFirst), fmt.Sprintf(layerFile, 0))}, sizes[0])
				for rank, err := range errs {
					if err == nil {
						t.Fatalf("%s, rank %d of %d was not stopped", recipe.Name, rank, sizes[0])
					}
				}
				if _, err := os.Stat(filepath.Join(j.partial(stageFirst), partialFile)); err != nil {
					t.Fatal(err)
				}
			}
			reports, errs := run(t.Context(), sizes[len(sizes)-1])
			for rank, r := range reports {
				if errs[rank] != nil {
					t.Fatalf("%s, %v: rank %d: %v", recipe.Name, sizes, rank, errs[rank])
				}
				if !reflect.DeepEqual(r.Sensitivity, alone[0].Sensitivity) || !reflect.DeepEqual(r.Mixed, alone[0].Mixed) {
					t.Errorf("%s, %v: rank %d: %+v, want %+v", recipe.Name, sizes, rank, r.Mixed, alone[0].Mixed)
				}
			}
			got := folder(t, j.Dir)
			for _, name := range []string{WeightsFile, EncodingsFile} {
				if !bytes.Equal(got[name], want[name]) || len(want[name]) == 0 {
					t.Errorf("%s, %v: ranks write another %s than one process", recipe.Name, sizes, name)
				}
			}
			wantFiles(t, filepath.Dir(j.Dir), filepath.Base(j.Dir))
		}
	}
}

// TestRanksDiffer: ranks that read other samples are told so.
func TestRanksDiffer(t *testing.T) {
	m := demoModel(t)
	m.Spec.Sink, m.Spec.Window, m.Spec.Segment, m.Spec.Slots = 4, 16, 16, 8
	rankstest.Run(2, func(g ranks.Group) {
		ids := make([]int32, 40)
		ids[0] = int32(g.Rank())
		_, err := calibrate(t.Context(), m, func(yield func(data.Encoded, error) bool) { yield(data.Encoded{IDs: ids}, nil) }, g)
		if err == nil || !strings.HasPrefix(err.Error(), "rank 1 on ") || !strings.Contains(err.Error(), " reads samples of calibration (hash ") {
			t.Errorf("rank %d: %v", g.Rank(), err)
		}
	})
}
