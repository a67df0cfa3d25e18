package train

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/internal/diskspace"
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

// TestKeptRoom: on a disk that is nearly full, ranks share half of what is free, as the plan says; where that, or the
// configuration's limit, has no room for one sample, a warning says so before the run.
func TestKeptRoom(t *testing.T) {
	c := tinyConfig(t, "[{kind: distill, steps: 4, batch: 2, tokens: 64}]")
	sample := keptBytes(t, c)
	free := int64(0)
	freeOnDisk = func(string) (int64, bool) { return free, true }
	defer func() { freeOnDisk = diskspace.Free }()
	for _, tc := range []struct {
		cache      config.BaseCache
		room, free int64 // of so many samples
		ranks      int
		plan, warn string
	}{
		{config.CacheDisk, 99, 999, 1, "disk holds 6.3 MB of 4 samples", ""},
		{config.CacheDisk, 99, 6, 1, "disk (4.7 MB at most, half of what is free in " + c.Output + ") holds 4.7 MB of 3 samples", ""},
		{config.CacheDisk, 99, 6, 2, "holds 3.1 MB of 2 samples", ""},
		{config.CacheDisk, 99, 6, 4, "holds 0.0 MB of 0 samples", "disk (4.7 MB at most, half of what is free in " + c.Output + ") keeps nothing: the shortest sample takes 1.6 MB, and there is room for 1.2 MB of each rank"},
		{config.CacheDisk, 99, 1, 1, "holds 0.0 MB of 0 samples", "there is room for 0.8 MB; raise"},
		{config.CacheMemory, 99, 0, 1, "memory holds 6.3 MB of 4 samples", ""},
		{config.CacheMemory, 0, 99, 1, "memory holds 0.0 MB of 0 samples", "stages[0] (distill): model.cache: memory keeps nothing: the shortest sample takes 1.6 MB, and there is room for 0.0 MB; raise"},
		{config.CacheNone, 0, 0, 1, "", ""},
	} {
		c.Model.Cache, c.Model.CacheBytes, free = tc.cache, max(1, tc.room*sample), tc.free*sample
		var warnings []string
		plan, err := Plan(t.Context(), c, Options{Group: ofRanks{size: tc.ranks}, Warn: func(w string) { warnings = append(warnings, w) }})
		if err != nil {
			t.Fatal(err)
		}
		var told strings.Builder
		if err := plan.Write(&told); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(told.String(), tc.plan) {
			t.Errorf("%v: the plan does not say %q:\n%s", tc, tc.plan, &told)
		}
		if all := strings.Join(warnings, "\n"); strings.Contains(all, "model.cache") != (tc.warn != "") || !strings.Contains(all, tc.warn) {
			t.Errorf("%v: warnings %q, want %q", tc, all, tc.warn)
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
