package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"eisft/train/config"
	"eisft/train/runs"
)

// room is where the ranks of a group meet that are goroutines of a test.
type room struct {
	size int
	mu   sync.Mutex
	now  *meeting
}

// meeting is one call that all ranks make.
type meeting struct {
	brought []any // by rank
	waiting int
	done    chan struct{}
	sum     []float32
	err     error
}

// member is one rank in a room.
type member struct {
	*room
	rank int
}

func (m member) Rank() int { return m.rank }
func (m member) Size() int { return m.size }

func (m member) Sum(x []float32) error {
	met, err := m.meet(x)
	if err == nil {
		copy(x, met.sum)
	}
	return err
}

func (m member) Gather(record []byte) ([][]byte, error) {
	met, err := m.meet(record)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, m.size)
	for i, b := range met.brought {
		out[i] = b.([]byte)
	}
	return out, nil
}

// meet waits until all ranks have brought something, and fails where they do not.
func (m member) meet(brings any) (*meeting, error) {
	m.mu.Lock()
	if m.now == nil {
		m.now = &meeting{brought: make([]any, m.size), done: make(chan struct{})}
	}
	met := m.now
	met.brought[m.rank] = brings
	if met.waiting++; met.waiting == m.size {
		met.finish()
		m.now = nil
		close(met.done)
	}
	m.mu.Unlock()
	select {
	case <-met.done:
		return met, met.err
	case <-time.After(2 * time.Minute):
		return nil, fmt.Errorf("rank %d waits in vain", m.rank)
	}
}

func (met *meeting) finish() {
	for i, b := range met.brought {
		if reflect.TypeOf(b) != reflect.TypeOf(met.brought[0]) {
			met.err = fmt.Errorf("rank %d brings %T, rank 0 %T", i, b, met.brought[0])
			return
		}
	}
	first, ok := met.brought[0].([]float32)
	if !ok {
		return
	}
	met.sum = slices.Clone(first)
	for _, b := range met.brought[1:] {
		x := b.([]float32)
		if len(x) != len(met.sum) {
			met.err = fmt.Errorf("sum of %d and %d values", len(met.sum), len(x))
			return
		}
		for i, v := range x {
			met.sum[i] += v
		}
	}
}

// rankResult is what Train returned on a rank.
type rankResult struct {
	run *runs.Run
	err error
}

// trainRanks runs Train on so many ranks at once, each with what start gives it.
func trainRanks(size int, start func(rank int) (context.Context, *config.Config, Options)) []rankResult {
	r := &room{size: size}
	out := make([]rankResult, size)
	var all sync.WaitGroup
	for rank := range size {
		all.Go(func() {
			ctx, c, o := start(rank)
			o.Group = member{r, rank}
			out[rank].run, out[rank].err = Train(ctx, c, o)
		})
	}
	all.Wait()
	return out
}

const rankStages = "[{kind: distill, steps: 2, batch: 2, tokens: 64}, " + pruneStage + ", {kind: s-sft, steps: 3, batch: 3}]"

// TestRanks: two and three ranks train what one process does but for rounding, each rank
// the same bits, in one run folder. With three ranks, one has nothing of a batch of two.
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
			sameParams(t, r.run, results[0].run, 0)
		}
		opened, err := runs.Open(filepath.Join(c.Output, runs.Latest))
		if err != nil {
			t.Fatal(err)
		}
		sameParams(t, opened, results[0].run, 0)
		most := sameParams(t, opened, whole, 1e-6)
		t.Logf("%d ranks: parameters differ by up to %g", size, most)
		sameMetrics(t, readMetrics(t, opened.Dir), want)
	}
	if dirs, err := filepath.Glob(filepath.Join(c.Output, "tiny*")); err != nil || len(dirs) != 3 {
		t.Errorf("run folders %v, %v; want 3", dirs, err)
	}
}

// sameParams compares the parameters of two runs and returns the greatest difference.
func sameParams(t *testing.T, a, b *runs.Run, tolerance float64) float64 {
	t.Helper()
	most := 0.0
	for i, p := range a.Model.Params.List() {
		for j, v := range b.Model.Params.List()[i].Data {
			most = max(most, math.Abs(float64(v)-float64(p.Data[j])))
		}
	}
	if !(most <= tolerance) {
		t.Errorf("%s and %s: parameters differ by up to %g, want at most %g", a.Dir, b.Dir, most, tolerance)
	}
	return most
}

// sameMetrics compares two metrics.jsonl: the first step of a stage on the same parameters
// has the same figures, later ones differ by rounding. The time differs.
func sameMetrics(t *testing.T, got, want []runs.Metrics) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d lines of metrics, want %d", len(got), len(want))
	}
	near := func(line int, what string, got, want float64) {
		tolerance := 1e-5 * math.Abs(want)
		if line == 0 && what != "gradient" {
			tolerance = 0
		}
		if !(math.Abs(got-want) <= tolerance) {
			t.Errorf("line %d: %s %v, want %v", line+1, what, got, want)
		}
	}
	for i, w := range want {
		g := got[i]
		near(i, "loss", g.Loss, w.Loss)
		near(i, "kept", g.Kept, w.Kept)
		near(i, "gradient", g.GradNorm, w.GradNorm)
		for l := range w.Layers {
			near(i, "kept of a layer", g.Layers[l].Kept, w.Layers[l].Kept)
			near(i, "gate of a layer", g.Layers[l].Gate.Mean, w.Layers[l].Gate.Mean)
			if g.Layers[l].Gate.N != w.Layers[l].Gate.N {
				t.Errorf("line %d: layer %d: gates of %d, want %d", i+1, l, g.Layers[l].Gate.N, w.Layers[l].Gate.N)
			}
		}
		if g.Pruned != nil && w.Pruned != nil && !slices.Equal(g.Pruned.Kept, w.Pruned.Kept) {
			t.Errorf("line %d: pruned to %v, want %v", i+1, g.Pruned.Kept, w.Pruned.Kept)
		}
		type exact struct {
			stage, step, answers, tokens, layers int
			kind                                 string
			rate                                 float64
			pruned                               bool
		}
		of := func(m runs.Metrics) exact {
			return exact{m.Stage, m.Step, m.AnswerTokens, m.Tokens, len(m.Layers), m.Kind, m.Rate, m.Pruned != nil}
		}
		if of(g) != of(w) {
			t.Errorf("line %d: %+v, want %+v", i+1, of(g), of(w))
		}
	}
}

// TestRanksStop: a rank that is asked to stop stops all after the same step, and all go on
// from there with the same bits.
func TestRanksStop(t *testing.T) {
	const size = 2
	start := func(ctx context.Context, c *config.Config, o Options) func(int) (context.Context, *config.Config, Options) {
		return func(int) (context.Context, *config.Config, Options) { return ctx, c, o }
	}
	whole := trainRanks(size, start(t.Context(), tinyConfig(t, rankStages), Options{}))
	for _, stop := range []struct{ rank, lines int }{{1, 0}, {1, 1}, {0, 2}, {1, 4}} {
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
		sameParams(t, results[1].run, results[0].run, 0)
		for rank, r := range trainRanks(size, start(t.Context(), c, Options{Resume: true})) {
			if r.err != nil {
				t.Fatalf("rank %d: %v", rank, r.err)
			}
			sameParams(t, r.run, whole[rank].run, 0)
			if a, b := losses(t, r.run.Dir), losses(t, whole[rank].run.Dir); a != b {
				t.Errorf("losses %s, want %s", a, b)
			}
		}
	}
}

// TestOtherRanks: a run that goes on with another number of ranks says so.
func TestOtherRanks(t *testing.T) {
	c := tinyConfig(t, "["+sftStage+"]")
	results := trainRanks(2, func(int) (context.Context, *config.Config, Options) {
		return stopAtLine{t.Context(), filepath.Join(c.Output, c.Name, runs.MetricsFile), 1}, c, Options{}
	})
	for _, r := range results {
		if !errors.Is(r.err, ErrStopped) {
			t.Fatalf("got %v, want ErrStopped", r.err)
		}
	}
	var said []string
	if _, err := Train(t.Context(), c, Options{Resume: true, Warn: func(m string) { said = append(said, m) }}); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(said, "\n"); !strings.Contains(all, "was trained by 2 ranks and goes on with 1") {
		t.Errorf("warnings %q, want one of another number of ranks", all)
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
		{"before the first step", 0, func(_ *testing.T, c *config.Config) { c.Data.Train += "-gone" }, "chats.jsonl-gone", false},
		{"in a step", 1, func(t *testing.T, c *config.Config) {
			c.Data.Train = filepath.Join(t.TempDir(), "text.jsonl")
			if err := os.WriteFile(c.Data.Train, []byte(`{"text":"`+strings.Repeat("The garage code is 4711. ", 10)+`"}`+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "stage 1 (s-sft), step 1: ", true},
		{"while it writes", 0, func(t *testing.T, c *config.Config) {
			made := make(chan struct{})
			t.Cleanup(func() { <-made })
			go func() { // as soon as the run has its folder, something takes the place of the link
				defer close(made)
				for t.Context().Err() == nil {
					if _, err := os.Stat(runDir(c, 1)); err == nil {
						if err := os.Mkdir(filepath.Join(c.Output, runs.Latest), 0o755); err != nil {
							t.Error(err)
						}
						return
					}
					time.Sleep(time.Millisecond)
				}
			}()
		}, "checkpoint: ", true},
		{"in the evaluation", 0, func(_ *testing.T, c *config.Config) { c.Eval.Data = c.Data.Train + "-gone" }, "evaluation: ", false},
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

// lostGroup has lost a rank after so many calls.
type lostGroup struct {
	alone
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

// TestShare: each sample is one rank's, in order, and no rank has two more than another.
func TestShare(t *testing.T) {
	for size := 1; size < 6; size++ {
		for n := range 12 {
			batch := make([]int, n)
			for i := range batch {
				batch[i] = i
			}
			var all []int
			for rank := range size {
				part := share(member{&room{size: size}, rank}, batch)
				if len(part) < n/size || len(part) > (n+size-1)/size {
					t.Errorf("rank %d of %d has %d samples of %d", rank, size, len(part), n)
				}
				all = append(all, part...)
			}
			if !slices.Equal(all, batch) {
				t.Errorf("%d ranks share %d samples as %v", size, n, all)
			}
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
	const want = "stages[0].batch is 2, but 3 ranks train: 1 of them have nothing to do; raise batch to 3 or more"
	if !slices.Contains(warnings[0], want) || len(warnings[1])+len(warnings[2]) > 0 {
		t.Errorf("warnings %q, want %q of rank 0", warnings, want)
	}
}
