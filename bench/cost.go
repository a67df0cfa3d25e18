package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"text/tabwriter"
	"time"

	"eisft/internal/peakmem"
	"eisft/internal/progress"
	"eisft/model"
)

// Policy is a way to read, under a name.
type Policy struct {
	Name  string
	Model *model.Model
}

// Cost is what a policy takes for an input of so many tokens. Times are medians over the runs.
type Cost struct {
	Policy string `json:"policy"`
	Tokens int    `json:"tokens"` // read before the first one is written
	// FirstToken is the time in seconds from the input to the logits of the first token of the
	// answer, ReadPerSecond the tokens a second until then.
	FirstToken    float64 `json:"first_token_seconds"`
	ReadPerSecond float64 `json:"read_tokens_per_second"`
	// WrittenPerSecond are the tokens of an answer a second, one by one after the input.
	WrittenPerSecond float64 `json:"written_tokens_per_second"`
	// FirstTokenCPU and WrittenCPU are the seconds that all cores together worked until the first
	// token and for the 64 that were written; 0: the system does not tell.
	FirstTokenCPU float64 `json:"first_token_cpu_seconds,omitempty"`
	WrittenCPU    float64 `json:"written_cpu_seconds,omitempty"`
	// State are the bytes that the answer has to go on from, see [model.Stream.StateBytes].
	State int64 `json:"state_bytes"`
	// Peak is the most memory that was resident, in bytes, weights included; 0: the system
	// does not tell.
	Peak int64 `json:"peak_bytes,omitempty"`
}

// Costs measures policies over random tokens, each at each of the lengths. Of the options,
// Runs, Seed, Cache and Progress count. Before it is timed, a policy reads two segments.
func Costs(ctx context.Context, policies []Policy, lengths []int, o Options) ([]Cost, error) {
	if o.Runs < 1 {
		return nil, fmt.Errorf("runs is %d; it must be at least 1", o.Runs)
	}
	for _, n := range lengths {
		if n < 1 {
			return nil, fmt.Errorf("tokens is %d; it must be at least 1", n)
		}
	}
	var out []Cost
	line := progress.Start(o.Progress, progress.Task{What: "measuring", Unit: "readings", Total: len(policies) * len(lengths)})
	defer line.End()
	for _, p := range policies {
		if _, err := costOf(ctx, p, 2*p.Model.Spec.Segment, o); err != nil {
			return nil, fmt.Errorf("policy %s: %w", p.Name, err)
		}
		for _, n := range lengths {
			c, err := medianCost(ctx, p, n, o)
			if err != nil {
				return nil, fmt.Errorf("policy %s, %d tokens: %w", p.Name, n, err)
			}
			out = append(out, c)
			line.Add(1)
		}
	}
	return out, nil
}

func medianCost(ctx context.Context, p Policy, tokens int, o Options) (Cost, error) {
	var first, written, firstCPU, writtenCPU []float64
	var c Cost
	debug.FreeOSMemory()
	peakmem.Reset()
	for range o.Runs {
		var err error
		if c, err = costOf(ctx, p, tokens, o); err != nil {
			return c, err
		}
		first, written = append(first, c.FirstToken), append(written, c.WrittenPerSecond)
		firstCPU, writtenCPU = append(firstCPU, c.FirstTokenCPU), append(writtenCPU, c.WrittenCPU)
	}
	c.FirstTokenCPU, c.WrittenCPU = median(firstCPU), median(writtenCPU)
	c.FirstToken, c.WrittenPerSecond, c.Peak = median(first), median(written), peakmem.Peak()
	c.ReadPerSecond = float64(tokens) / c.FirstToken
	return c, nil
}

// costOf reads and writes once.
func costOf(ctx context.Context, p Policy, tokens int, o Options) (Cost, error) {
	c := Cost{Policy: p.Name, Tokens: tokens}
	r, ids := rand.New(rand.NewPCG(o.Seed, 0)), make([]int32, tokens)
	for i := range ids {
		ids[i] = firstID + r.Int32N(int32(p.Model.Base.Embed.Out)-firstID)
	}
	st, start, cpu := p.Model.NewStream(model.StreamOptions{Cache: o.Cache}), time.Now(), cpuSeconds()
	next, err := st.Read(ctx, ids, nil)
	if err != nil {
		return c, err
	}
	c.FirstToken, c.FirstTokenCPU, c.State = time.Since(start).Seconds(), cpuSeconds()-cpu, st.StateBytes()
	start, cpu = time.Now(), cpuSeconds()
	_, err = st.Generate(ctx, next, model.GenerateOptions{MaxNewTokens: decoded})
	c.WrittenPerSecond, c.WrittenCPU = decoded/time.Since(start).Seconds(), cpuSeconds()-cpu
	return c, err
}

// WriteCosts prints costs for people.
func WriteCosts(w io.Writer, costs []Cost) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, err := fmt.Fprintln(t, "policy\ttokens\tfirst token s\tread tokens/s\twritten tokens/s\tstate MiB\tpeak MiB\t")
	for _, c := range costs {
		_, more := fmt.Fprintf(t, "%s\t%d\t%.2f\t%.0f\t%.0f\t%.1f\t%s\t\n", c.Policy, c.Tokens, c.FirstToken, c.ReadPerSecond,
			c.WrittenPerSecond, float64(c.State)/(1<<20), orDash("%.0f", float64(c.Peak)/(1<<20)))
		err = errors.Join(err, more)
	}
	return errors.Join(err, t.Flush())
}
