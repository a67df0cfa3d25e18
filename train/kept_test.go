package train

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/internal/ranks"
	"eisft/internal/ranks/rankstest"
	"eisft/internal/testfiles"
	"eisft/model/graph"
	"eisft/train/config"
	"eisft/train/runs"
)

// TestSlowKeptBase: what is kept of the base changes no bit of what is trained, by one process or
// two, whether all of it fits or not, and nothing is left of it; the plan says how much it
// holds and saves.
func TestSlowKeptBase(t *testing.T) {
	testfiles.Slow(t)
	for _, target := range []string{"attention", "logits"} {
		c := watched(t, "[{kind: distill, steps: 4, batch: 2, tokens: 64, target: "+target+"}]")
		c.Validation.Every = 2
		without, err := Train(t.Context(), c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			cache config.BaseCache
			bytes int64
			ranks int
		}{{config.CacheMemory, 1 << 30, 1}, {config.CacheDisk, 1 << 30, 1}, {config.CacheMemory, 2 << 20, 1}, {config.CacheDisk, 1 << 30, 2}} {
			with := *c
			with.Model.Cache, with.Model.CacheBytes = tc.cache, tc.bytes
			for _, r := range trainRanks(tc.ranks, func(int) (context.Context, *config.Config, Options) { return t.Context(), &with, Options{} }) {
				if r.err != nil {
					t.Fatalf("%s, %v: %v", target, tc, r.err)
				}
				sameParams(t, r.run, without)
				sameMetrics(t, readMetrics(t, r.run.Dir), readMetrics(t, without.Dir))
				if _, err := os.Stat(filepath.Join(r.run.Dir, keptDir)); !os.IsNotExist(err) {
					t.Errorf("%s, %v: %s is left: %v", target, tc, keptDir, err)
				}
			}
		}
	}
}

// TestKeptPlan: four rows are read twice in four steps of two, and three held-out rows twice;
// of files, two ranks find each other's.
func TestKeptPlan(t *testing.T) {
	c := watched(t, "[{kind: distill, steps: 4, batch: 2, tokens: 64}]")
	c.Validation.Every = 2
	sample := keptBytes(t, c)
	for _, tc := range []struct {
		cache config.BaseCache
		room  int64
		ranks int
		want  string
	}{
		{config.CacheNone, 99, 1, ""},
		{config.CacheMemory, 99, 1, "memory holds 11.0 MB of 7 samples: of 17 readings of samples, 10 are spared"},
		{config.CacheDisk, 99, 2, "disk holds 11.0 MB of 7 samples: of 17 readings of samples, 10 are spared"},
		{config.CacheMemory, 1, 1, "memory holds 1.6 MB of 1 sample: of 17 readings of samples, 2 are spared"},
	} {
		c.Model.Cache, c.Model.CacheBytes = tc.cache, tc.room*sample
		told := plannedOf(t, c, tc.ranks)
		if i := slices.IndexFunc(strings.Split(told, "\n"), func(l string) bool { return strings.HasPrefix(l, "cache ") }); i < 0 && tc.want != "" || i >= 0 && tc.want == "" || !strings.Contains(told, tc.want) {
			t.Errorf("%v: the plan does not say %q:\n%s", tc, tc.want, told)
		}
	}
}

// TestKeptLeft: a resumed run does not count, nor read, what a killed process has left.
func TestKeptLeft(t *testing.T) {
	c := tinyConfig(t, "["+distillStage+"]")
	c.Model.Cache = config.CacheDisk
	run, err := Train(stopAtLine{t.Context(), filepath.Join(c.Output, c.Name, "metrics.jsonl"), 1}, c, Options{})
	if run == nil {
		t.Fatal(err)
	}
	left := filepath.Join(run.Dir, keptDir, "left")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	c.Model.Cache = config.CacheMemory
	c.Model.CacheBytes = 1
	if _, err := Train(t.Context(), c, Options{Resume: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", left, err)
	}
}

// keptBytes is what a distillation keeps of a sample of the tiny configuration.
func keptBytes(t *testing.T, c *config.Config) int64 {
	t.Helper()
	run, err := runs.OpenUntrained(c)
	if err != nil {
		t.Fatal(err)
	}
	return graph.TransferKept(run.Model, 64)
}

// plannedOf is the plan of so many ranks.
func plannedOf(t *testing.T, c *config.Config, size int) string {
	t.Helper()
	var told strings.Builder
	rankstest.Run(size, func(g ranks.Group) {
		plan, err := Plan(t.Context(), c, Options{Group: g})
		if err == nil && g.Rank() == 0 {
			err = plan.Write(&told)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return told.String()
}
