// Ablation trains the variants of a study and measures what each recalls of
// conversations of several lengths:
//
//	go run ./scripts/ablation configs/ablation/slots.yaml configs/ablation/infini.yaml
//
// Every configuration is a variant; its eval.policies say what is measured of
// it. Questions are about generated conversations, or those of a file. A run
// that is there already is not trained again, and what the file of results has is
// not measured again. Results are appended to it as JSON lines, and printed as a table.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"eisft/data"
	"eisft/eval"
	"eisft/train"
	"eisft/train/config"
	"eisft/train/runs"
)

// study are the arguments.
type study struct {
	lengths, seeds []int
	data           string
	samples        int
	tokens         int
	out            string
	results        string
}

func main() {
	log.SetFlags(0)
	var s study
	var lengths, seeds string
	flag.StringVar(&lengths, "lengths", "2048,4096,8192", "measure at these `LENGTHS` in tokens")
	flag.StringVar(&seeds, "seeds", "0", "train each variant with these `SEEDS`")
	flag.StringVar(&s.data, "data", "", "take the questions from `FILE` in place of generated conversations")
	flag.IntVar(&s.samples, "samples", 0, "take only the first `N` questions of each length from the file; 0: all")
	flag.IntVar(&s.tokens, "tokens", 64<<10, "generate conversations of `N` tokens in all for each length")
	flag.StringVar(&s.out, "runs", "runs/ablation", "keep the runs in `FOLDER`")
	flag.StringVar(&s.results, "results", "", "append the results to `FILE` (default FOLDER/results.jsonl)")
	flag.Parse()
	var err error
	if s.lengths, err = numbers(lengths); err != nil {
		log.Fatalf("ablation: -lengths: %v", err)
	}
	if s.seeds, err = numbers(seeds); err != nil {
		log.Fatalf("ablation: -seeds: %v", err)
	}
	if s.results == "" {
		s.results = filepath.Join(s.out, "results.jsonl")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err = s.run(ctx, flag.Args())
	stop()
	if err != nil {
		log.Fatalf("ablation: %v", err)
	}
}

func numbers(list string) ([]int, error) {
	var out []int
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is not a number from 0 up", text)
		}
		out = append(out, n)
	}
	return out, nil
}

// run carries out the study, seed by seed, so that one that is stopped has
// something of every variant.
func (s study) run(ctx context.Context, files []string) error {
	var configs []*config.Config
	for _, f := range files {
		c, err := config.Load(f)
		if err != nil {
			return err
		}
		configs = append(configs, c)
	}
	if len(configs) == 0 {
		return errors.New("name the configurations of the variants, such as configs/ablation/*.yaml")
	}
	var lines []result
	bounds := widest(configs)
	for _, seed := range s.seeds {
		for _, c := range configs {
			found, err := s.variant(ctx, *c, seed, bounds)
			if err != nil {
				return fmt.Errorf("%s, seed %d: %w", c.Name, seed, err)
			}
			lines = append(lines, found...)
		}
	}
	return writeTable(os.Stdout, s.lengths, bounds, lines)
}

// widest returns the bounds of the largest window, and of the largest window with its
// segment: all variants are asked the same near and far questions.
func widest(configs []*config.Config) (b eval.Bounds) {
	for _, c := range configs {
		own := eval.BoundsOf(c.Block.Spec)
		b.NearBelow, b.FarAbove = max(b.NearBelow, own.NearBelow), max(b.FarAbove, own.FarAbove)
	}
	return b
}

// variant trains a configuration with a seed and measures it.
func (s study) variant(ctx context.Context, c config.Config, seed int, bounds eval.Bounds) ([]result, error) {
	name := c.Name
	c.Seed, c.Name, c.Output = int64(seed), fmt.Sprintf("%s-seed%d", name, seed), s.out
	policies := c.Eval.Policies
	c.Eval = eval.Config{Samples: c.Eval.Samples, MaxNewTokens: c.Eval.MaxNewTokens}
	run, err := trained(ctx, &c)
	if err != nil {
		return nil, err
	}
	seconds, err := trainSeconds(run.Dir)
	if err != nil {
		return nil, err
	}
	questions, err := s.questions(run)
	if err != nil {
		return nil, err
	}
	earlier, err := s.earlier()
	if err != nil {
		return nil, err
	}
	var out []result
	for _, p := range policies {
		m, err := eval.WithPolicy(run.Model, p)
		if err != nil {
			return nil, err
		}
		for _, length := range s.lengths {
			r := result{Variant: name, Policy: p, Seed: seed, Parameters: m.Params.Count(), Length: length, Questions: s.about(), measured: measured{Bounds: bounds}}
			if i := slices.IndexFunc(earlier, r.same); i >= 0 {
				out = append(out, earlier[i])
				continue
			}
			if r.measured, err = measure(ctx, m, questions[length], bounds); err != nil {
				return nil, err
			}
			if p.Trained() {
				r.TrainSeconds = seconds
			}
			log.Printf("%s, %s, seed %d, %d tokens: far %s, near %s", name, p, seed, length, r.Far, r.Near)
			if err := s.append(r); err != nil {
				return nil, err
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// trained opens the run of a configuration, or trains it.
func trained(ctx context.Context, c *config.Config) (*runs.Run, error) {
	dir := filepath.Join(c.Output, c.Name)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return train.Train(ctx, c, train.Options{Progress: os.Stderr})
	}
	if _, err := os.Stat(filepath.Join(dir, runs.CheckpointFile)); err == nil {
		return train.Train(ctx, c, train.Options{Resume: true, Progress: os.Stderr})
	}
	return runs.Open(dir)
}

// trainSeconds adds up what the steps of a run took.
func trainSeconds(dir string) (float64, error) {
	f, err := os.Open(filepath.Join(dir, runs.MetricsFile))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	total := 0.0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var m runs.Metrics
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return 0, fmt.Errorf("%s: %w", f.Name(), err)
		}
		total += m.Seconds
	}
	return total, nil
}

// about says what the questions are about.
func (s study) about() string {
	switch {
	case s.data != "" && s.samples > 0:
		return fmt.Sprintf("the first %d of %s", s.samples, s.data)
	case s.data != "":
		return s.data
	}
	return fmt.Sprintf("%d tokens of conversation", s.tokens)
}

func (s study) questions(run *runs.Run) (tests, error) {
	e := data.NewEncoder(run.Tokenizer, run.Template, 0)
	if s.data != "" {
		return fromFile(s.data, e, s.lengths, s.samples)
	}
	return interviews(run.Tokenizer, e, s.lengths, s.tokens)
}
