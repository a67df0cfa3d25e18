package quant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"eisft/data"
	"eisft/internal/ranks"
	"eisft/internal/ranks/rankstest"
)

// rankedJob calibrates on four samples, one of which may be too short, and evaluates on one.
func rankedJob(t *testing.T) *Job {
	t.Helper()
	j := demoJob(t)
	j.Model.Spec.Sink, j.Model.Spec.Window, j.Model.Spec.Segment, j.Model.Spec.Slots = 4, 16, 16, 8
	j.Recipe.Transforms = []string{"smoothquant"}
	var rows []byte
	for i := range 4 {
		context := strings.Repeat(fmt.Sprintf("Anna takes %d blue folders to the station. ", i), 3+i)
		if i == 1 {
			context = "."
		}
		row, err := json.Marshal(map[string]any{"context": context, "input": "Where?", "answers": []string{"At the station."}})
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
	j := rankedJob(t)
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

// TestRanksDiffer: ranks that read other samples are told so.
func TestRanksDiffer(t *testing.T) {
	m := demoModel(t)
	m.Spec.Sink, m.Spec.Window, m.Spec.Segment, m.Spec.Slots = 4, 16, 16, 8
	rankstest.Run(2, func(g ranks.Group) {
		ids := make([]int32, 40)
		ids[0] = int32(g.Rank())
		_, err := calibrate(t.Context(), m, func(yield func(data.Encoded, error) bool) { yield(data.Encoded{IDs: ids}, nil) }, g)
		if err == nil || !strings.HasPrefix(err.Error(), "rank 1 reads another base or other samples than rank 0") {
			t.Errorf("rank %d: %v", g.Rank(), err)
		}
	})
}
