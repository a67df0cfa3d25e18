package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"eisft/data"
	"eisft/internal/ranks"
	"eisft/internal/ranks/rankstest"
	"eisft/train/config"
	"eisft/train/runs"
)

// rankResult is what Train returned on a rank.
type rankResult struct {
	run *runs.Run
	err error
}

// trainRanks runs Train on so many ranks at once, each with what start gives it.
func trainRanks(size int, start func(rank int) (context.Context, *config.Config, Options)) []rankResult {
	out := make([]rankResult, size)
	rankstest.Run(size, func(g ranks.Group) {
		ctx, c, o := start(g.Rank())
		o.Group = g
		out[g.Rank()].run, out[g.Rank()].err = Train(ctx, c, o)
	})
	return out
}

const rankStages = "[{kind: distill, steps: 2, batch: 2, tokens: 64}, " + pruneStage + ", {kind: s-sft, steps: 3, batch: 3}]"

// TestRanks: two and three ranks train the same bits as one process, in one run
// folder. With three ranks, one has nothing of a batch of two.
func TestRanks(t *testing.T) {
	c := tinyConfig(t, rankStages)
	whole, err := Train(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := readMetrics(t, whole.Dir)
	for i, size := range []int{2, 3} {
		results := trainRanks(size, func(int) (context.Context, *config.Config, Options) { return t.Context(), c, Options{} })
		for rank, r := range results {
			if r.err != nil {
				t.Fatalf("%d ranks: rank %d: %v", size, rank, r.err)
			}
			if dir := runDir(c, i+2); r.run.Dir != dir {
				t.Errorf("%d ranks: rank %d trained %s, want %s", size, rank, r.run.Dir, dir)
			}
			if !r.run.Model.Spec.Equal(whole.Model.Spec) {
				t.Fatalf("%d ranks: rank %d has block %+v, want %+v", size, rank, r.run.Model.Spec, whole.Model.Spec)
			}
			sameParams(t, r.run, results[0].run)
		}
		opened, err := runs.Open(filepath.Join(c.Output, runs.Latest))
		if err != nil {
			t.Fatal(err)
		}
		sameParams(t, opened, results[0].run)
		sameParams(t, opened, whole)
		sameMetrics(t, readMetrics(t, opened.Dir), want)
	}
	if dirs, err := filepath.Glob(filepath.Join(c.Output, "tiny*")); err != nil || len(dirs) != 3 {
		t.Errorf("run folders %v, %v; want 3", dirs, err)
	}
}

// sameParams compares the parameters of two runs, bit by bit.
func sameParams(t *testing.T, a, b *runs.Run) {
	t.Helper()
	most := 0.0
	for i, p := range a.Model.Params.List() {
		for j, v := range b.Model.Params.List()[i].Data {
			most = max(most, math.Abs(float64(v)-float64(p.Data[j])))
		}
	}
	if most != 0 {
		t.Errorf("%s and %s: parameters differ by up to %g", a.Dir, b.Dir, most)
	}
}

// sameMetrics compares two metrics.jsonl, which have the same figures but for the time and
// the ranks.
func sameMetrics(t *testing.T, got, want []runs.Metrics) {
	t.Helper()
	untimed := func(all []runs.Metrics) []runs.Metrics {
		all = slices.Clone(all)
		for i := range all {
			all[i].Seconds, all[i].Together, all[i].Ranks, all[i].Memory = 0, 0, 0, 0
			if b := all[i].Before; b != nil {
				all[i].Before = &runs.Before{Loss: b.Loss}
			}
			if v := all[i].Validation; v != nil {
				same := *v
				same.Seconds = 0
				all[i].Validation = &same
			}
		}
		return all
	}
	if d := cmp.Diff(untimed(want), untimed(got)); d != "" {
		t.Errorf("metrics differ (- want, + got):\n%s", d)
	}
}

// TestRanksStop: a rank that is asked to stop stops all after the same step, and any number
// of ranks goes on from there with the bits that one process trains.
func TestRanksStop(t *testing.T) {
	const size = 2
	start := func(ctx context.Context, c *config.Config, o Options) func(int) (context.Context, *config.Config, Options) {
		return func(int) (context.Context, *config.Config, Options) { return ctx, c, o }
	}
	whole := trainRanks(1, start(t.Context(), tinyConfig(t, rankStages), Options{}))[0]
	for _, stop := range []struct{ rank, lines, resume int }{{1, 0, 0}, {1, 1, 3}, {0, 2, 1}, {1, 4, 2}} {
		c := tinyConfig(t, rankStages)
		results := trainRanks(size, func(rank int) (context.Context, *config.Config, Options) {
			ctx := t.Context()
			if rank == stop.rank {
				ctx = stopAtLine{ctx, filepath.Join(c.Output, c.Name, runs.MetricsFile), stop.lines}
			}
			return ctx, c, Options{}
		})
		for rank, r := range results {
			if !errors.Is(r.err, ErrStopped) {
				t.Fatalf("rank %d is asked to stop after %d steps: rank %d: %v, want ErrStopped", stop.rank, stop.lines, rank, r.err)
			}
		}
		if _, err := os.Stat(results[0].run.Dir); stop.lines == 0 {
			if err == nil {
				t.Errorf("%s was kept, though nothing was trained", results[0].run.Dir)
			}
			continue
		}
		if m := readMetrics(t, results[0].run.Dir); len(m) != stop.lines {
			t.Fatalf("stopped after %d steps, want %d", len(m), stop.lines)
		}
		sameParams(t, results[1].run, results[0].run)
		for rank, r := range trainRanks(stop.resume, start(t.Context(), c, Options{Resume: true})) {
			if r.err != nil {
				t.Fatalf("rank %d: %v", rank, r.err)
			}
			sameParams(t, r.run, whole.run)
			if a, b := losses(t, r.run.Dir), losses(t, whole.run.Dir); a != b {
				t.Errorf("losses %s, want %s", a, b)
			}
		}
	}
}

// TestRanksStopAtOnce: where all ranks are asked to stop before there is a step, as by Ctrl-C,
// none waits for another.
func TestRanksStopAtOnce(t *testing.T) {
	c := tinyConfig(t, rankStages)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for rank, r := range trainRanks(2, func(int) (context.Context, *config.Config, Options) { return ctx, c, Options{} }) {
		if !errors.Is(r.err, errStoppedEarly) {
			t.Errorf("rank %d: %v, want %v", rank, r.err, errStoppedEarly)
		}
	}
}

// TestRankFails: a rank that fails ends all, and none waits for it.
func TestRankFails(t *testing.T) {
	for _, tc := range []struct {
		name string
		rank int
		// fail makes that rank fail; c is its own copy of the configuration.
		fail func(t *testing.T, c *config.Config)
		want string
		dir  bool // the run folder is made
	}{
		{"before the first step", 1, func(_ *testing.T, c *config.Config) { c.Model.Path += "-gone" }, "demo-gone", false},
		{"before the first step", 0, func(_ *testing.T, c *config.Config) { c.Data.Train = data.One(c.Data.Train.String() + "-gone") }, "chats.jsonl-gone", false},
		{"in a step", 1, func(_ *testing.T, c *config.Config) {
			c.Data.MaxTokens = 40 // rank 0 alone checks the rows
		}, "stage 1 (s-sft), step 1: ", true},
		{"while it writes", 0, func(t *testing.T, c *config.Config) {
			made := make(chan struct{})
			t.Cleanup(func() { <-made })
			go func() { // as soon as the run has its folder, something takes the place of the checkpoint
				defer close(made)
				for t.Context().Err() == nil {
					if _, err := os.Stat(runDir(c, 1)); err == nil {
						if err := os.Mkdir(filepath.Join(runDir(c, 1), runs.CheckpointFile), 0o755); err != nil {
							t.Error(err)
						}
						return
					}
					time.Sleep(time.Millisecond)
				}
			}()
		}, "checkpoint: ", true},
		{"in the evaluation", 0, func(_ *testing.T, c *config.Config) { c.Eval.Data = data.One(c.Data.Train.String() + "-gone") }, "evaluation: ", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := tinyConfig(t, "["+sftStage+"]")
			own := *c
			tc.fail(t, &own)
			for rank, r := range trainRanks(3, func(rank int) (context.Context, *config.Config, Options) {
				if rank == tc.rank {
					return t.Context(), &own, Options{}
				}
				return t.Context(), c, Options{}
			}) {
				want := tc.want
				if rank != tc.rank {
					want = fmt.Sprintf("rank %d: ", tc.rank)
				}
				if r.err == nil || !strings.Contains(r.err.Error(), want) || !strings.Contains(r.err.Error(), tc.want) || strings.Contains(r.err.Error(), "in vain") {
					t.Errorf("rank %d: error %v, want one with %q and %q", rank, r.err, want, tc.want)
				}
			}
			if _, err := os.Stat(runDir(c, 1)); (err == nil) != tc.dir {
				t.Errorf("run folder: %v, want one: %v", err, tc.dir)
			}
		})
	}
}

// TestRanksReadOtherData: a rank whose file has other rows than rank 0's ends all before anything is
// made, training file or held-out one.
func TestRanksReadOtherData(t *testing.T) {
	for _, key := range []string{"data.train", "validation.data"} {
		c := watched(t, "["+sftStage+"]")
		own := *c
		files := &own.Data.Train
		if key == "validation.data" {
			files = &own.Validation.Data
		}
		text, err := os.ReadFile(files.String())
		if err != nil {
			t.Fatal(err)
		}
		*files = data.One(filepath.Join(t.TempDir(), "rank1.jsonl"))
		if err := os.WriteFile(files.String(), bytes.Replace(text, []byte("code is"), []byte("code was"), 1), 0o644); err != nil {
			t.Fatal(err)
		}
		for rank, r := range trainRanks(2, func(rank int) (context.Context, *config.Config, Options) {
			return t.Context(), []*config.Config{c, &own}[rank], Options{}
		}) {
			if r.err == nil || !strings.HasPrefix(r.err.Error(), "rank 1 on ") || !strings.Contains(r.err.Error(), " reads "+files.String()+" (hash ") {
				t.Errorf("%s, rank %d: %v", key, rank, r.err)
			}
		}
		if _, err := os.Stat(c.Output); !os.IsNotExist(err) {
			t.Errorf("%s: %s was made: %v", key, c.Output, err)
		}
	}
}

// lostGroup has lost a rank after so many calls.
type lostGroup struct {
	ranks.Alone
	left *int
}

func (l lostGroup) Gather(r []byte) ([][]byte, error) {
	*l.left--
	if *l.left < 0 {
		return nil, errors.New("rank 1 is lost")
	}
	return [][]byte{r}, nil
}

// TestGroupIsLost: what the group says ends training, wherever it is said, and nobody is
// called any more.
func TestGroupIsLost(t *testing.T) {
	c := tinyConfig(t, "[{kind: s-sft, steps: 1}]")
	for calls := 0; ; calls++ {
		left := calls
		_, err := Train(t.Context(), c, Options{Group: lostGroup{left: &left}})
		if err == nil {
			if calls < 5 {
				t.Errorf("training met only %d times", calls)
			}
			return
		}
		if left != -1 || err.Error() != "rank 1 is lost" {
			t.Errorf("lost at call %d: %v, %d more calls", calls+1, err, -left-1)
		}
	}
}

// TestMoreRanksThanSamples is said once.
func TestMoreRanksThanSamples(t *testing.T) {
	c := tinyConfig(t, "["+sftStage+"]")
	warnings := make([][]string, 3)
	trainRanks(3, func(rank int) (context.Context, *config.Config, Options) {
		return t.Context(), c, Options{Warn: func(w string) { warnings[rank] = append(warnings[rank], w) }}
	})
	const want = "stages[0].batch is 2, but 3 ranks train: 1 of them has nothing to do; raise batch to 3 or more"
	if !slices.Contains(warnings[0], want) || len(warnings[1])+len(warnings[2]) > 0 {
		t.Errorf("warnings %q, want %q of rank 0", warnings, want)
	}
}

// ofRanks is a group of which a plan may ask nothing but its size and rank.
type ofRanks struct {
	ranks.Group
	rank, size int
}

func (g ofRanks) Rank() int { return g.rank }
func (g ofRanks) Size() int { return g.size }

// TestPlanOfRanks: the first of several ranks says what all of them will do, and warns of
// those that have nothing to do; the others say nothing.
func TestPlanOfRanks(t *testing.T) {
	c := tinyConfig(t, "["+sftStage+"]")
	var warnings []string
	told := make([]strings.Builder, 2)
	for rank := range told {
		plan, err := Plan(t.Context(), c, Options{Group: ofRanks{rank: rank, size: 3}, Warn: func(w string) { warnings = append(warnings, w) }})
		if err != nil {
			t.Fatal(err)
		}
		if err := plan.Write(&told[rank]); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(told[0].String(), "\nranks ") || told[1].Len() > 0 {
		t.Errorf("rank 0 says\n%s\nand rank 1\n%s", &told[0], &told[1])
	}
	want := []string{"stages[0].batch is 2, but 3 ranks train: 1 of them has nothing to do; raise batch to 3 or more"}
	if !slices.Equal(warnings, want) {
		t.Errorf("warnings %q, want %q", warnings, want)
	}
	for size, want := range map[int]float64{1: 1, 2: 0.6, 4: 0.4, 5: 0.2, 9: 0.2} {
		if got := (&trainer{size: size}).share(outlook{together: 5}); got != want {
			t.Errorf("of %d ranks one reads %v of 5 samples, want %v", size, got, want)
		}
	}
}
