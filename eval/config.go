package eval

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"eisft/data"
	"eisft/internal/enum"
	"eisft/internal/progress"
	"eisft/internal/ranks"
	"eisft/model"
	"eisft/model/tokenizer"
)

// Config is an evaluation as a configuration describes it.
type Config struct {
	// Data are read in order, a row of each entry in turn; without any there is no evaluation,
	// unless rows are held out.
	Data         data.Files       `yaml:"data,omitempty"`
	data.Options `yaml:",inline"` // of entries that give none of their own
	Before       bool             `yaml:"before"`               // before training, too
	Samples      int              `yaml:"samples"`              // use only the first so many; 0: all
	MaxTokens    int              `yaml:"max_tokens,omitempty"` // longer samples lose their last turns, or are left out; 0: of any length
	MaxNewTokens int              `yaml:"max_new_tokens"`       // answers are cut there
	Policies     []Policy         `yaml:"policies"`
	// BeyondContext lets training evaluate full attention of samples that are longer than the
	// base was trained for.
	BeyondContext bool `yaml:"beyond_context,omitempty"`
	// HeldOut, if not nil, is evaluated on where there is no Data.
	HeldOut *HeldOut `yaml:"-"`
	// Budgets, if any, are those in tokens over all layers that the policies read at in turn,
	// see [WithBudget]; none: that of the block.
	Budgets []int `yaml:"-"`
	// Tasks, if not nil, say how rows are asked and scored, and where answers are cut.
	Tasks *Tasks `yaml:"-"`
}

// set is what is opened: the data, or the set that rows are held out of.
func (c Config) set() data.Set {
	s := data.Set{Files: c.Data, Options: c.Options}
	if c.heldOut() {
		s = c.HeldOut.Set
		s.Base = c.Base
	}
	if c.Tasks != nil {
		s = s.Asked(c.Tasks.prompts())
	}
	return s
}

// HeldOut are the rows that are held out of a data set which is trained on.
type HeldOut struct {
	Set   data.Set
	Share data.Share
}

// Nothing says that there is nothing to evaluate on.
func (c Config) Nothing() bool { return len(c.Data) == 0 && c.HeldOut == nil }

// heldOut says that what is evaluated on are held-out rows.
func (c Config) heldOut() bool { return len(c.Data) == 0 && c.HeldOut != nil }

// Name says what is evaluated on: the data's paths, or which rows of which files.
func (c Config) Name() string {
	if !c.heldOut() {
		return c.Data.String()
	}
	return fmt.Sprintf("%s of %s, held out", c.HeldOut.Share, c.HeldOut.Set.Files)
}

// longFolder is from how many bytes on the names of several files are told by a hash.
const longFolder = 80

// Folder is what the folder of an evaluation is called by its data: other names of files, another
// folder.
func (c Config) Folder() string {
	if len(c.Data) == 0 {
		return "validation"
	}
	var names []string
	for _, f := range c.Data {
		name, _, _ := strings.Cut(filepath.Base(f.Path), ".")
		names = append(names, name)
	}
	name := strings.Join(names, "-and-")
	if len(names) > 1 && len(name) > longFolder {
		sum := sha256.Sum256([]byte(name))
		name = fmt.Sprintf("%s-and-%d-more-%x", names[0], len(names)-1, sum[:4])
	}
	return strings.NewReplacer("*", "_", "?", "_", "[", "_", "]", "_").Replace(name)
}

// Open opens the rows to evaluate on. Of several entries they come from each in turn.
func (c Config) Open(ctx context.Context) (*data.Source, error) {
	all, err := c.set().Open()
	if err != nil {
		return nil, err
	}
	if !c.heldOut() {
		return all.Spread(), nil
	}
	_, held, err := all.Split(ctx, c.HeldOut.Share)
	if err != nil {
		return nil, errors.Join(err, all.Close())
	}
	return held.Spread(), nil // eval.samples takes the first ones
}

// Sum is the SHA-256 of what is evaluated on.
func (c Config) Sum(ctx context.Context) (_ string, err error) {
	if !c.heldOut() {
		return c.Data.Sum()
	}
	held, err := c.Open(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	return held.RowsHash(ctx)
}

// Announce writes to w (nil: nobody) how a configuration's data are understood. It fails
// where they cannot be opened.
func Announce(ctx context.Context, c Config, w io.Writer) error {
	source, err := c.Open(ctx)
	if err != nil {
		return err
	}
	source.Announce(w)
	return source.Close()
}

// Job is an evaluation to be carried out: all policies of a configuration over its data.
type Job struct {
	Model     *model.Model
	Tokenizer *tokenizer.Tokenizer
	Template  *tokenizer.Template
	Config    Config
	// Stream is how every sample is read.
	Stream model.StreamOptions
	// WithinContext leaves full attention out, and says so, where a sample is longer than the
	// base was trained for: it takes long, and says little.
	WithinContext bool
	// Seeds is how often a policy that draws is measured, by the seeds from 0 on; 0 is one.
	Seeds int
	// Against is the policy that the others are compared with; "": full attention if it is
	// among them, or else the first.
	Against  Policy
	Progress io.Writer // receives a line a policy (nil: none)

	// Dir is the folder that records go into; "": they are kept nowhere. If it has some from
	// before, made with the same settings, the evaluation goes on with what is missing.
	Dir       string
	Version   string // of the program
	Quantized string // the SHA-256 of the quantized model that Stream rounds by
	// Note, if not nil, is told how much there was from before.
	Note func(message string)
	// Rows, if not nil, are what [Job.Load] has read before.
	Rows *Rows
	// Graphs are what PolicyGraph reads with, if it is among the policies.
	Graphs *Graphs
	// Group are the ranks that evaluate together (nil: this process alone); those beside
	// rank 0 have no Dir.
	Group ranks.Group
}

// Run carries the evaluation out. Where it is cancelled, every record that was complete is
// kept, and the same job goes on after them.
func (j *Job) Run(ctx context.Context) (_ *Report, err error) {
	rows, err := j.rows(ctx)
	if err != nil {
		return nil, err
	}
	texts, samples := rows.texts, rows.samples
	if texts != nil && j.Graphs != nil {
		return nil, fmt.Errorf("%s holds plain texts, which graphs are not scored on: their prompt graph gives the logits of the last token alone; take questions with answers", j.Config.Name())
	}
	j.withinContext(samples)
	against, err := j.against()
	if err != nil {
		return nil, err
	}
	r := &Report{}
	settings, err := j.settings(ctx)
	if err != nil {
		return nil, err
	}
	if err := settings.agree(j.Group); err != nil {
		return nil, err
	}
	var kept *folder
	if j.Dir != "" {
		r.Settings = settings
		if kept, err = openFolder(j.Dir, settings); err != nil {
			return nil, err
		}
		defer kept.close()
		j.note(kept, len(samples)+len(texts))
	}
	if texts != nil {
		r.Texts, err = j.readTexts(ctx, texts, against, kept)
	} else {
		err = j.answer(ctx, r, samples, against, kept)
	}
	if err != nil {
		return nil, j.stopped(ctx, kept, err)
	}
	if kept != nil {
		return r, r.writePage(kept.Dir, kept.Records)
	}
	return r, nil
}

// withinContext leaves full attention out where it is to be.
func (j *Job) withinContext(samples []Sample) {
	trained := j.Model.Base.Config.MaxPositionEmbeddings
	if !j.WithinContext || trained == 0 || len(j.Config.Policies) < 2 || !slices.Contains(j.Config.Policies, PolicyFull) {
		return
	}
	longest := 0
	for _, s := range samples {
		longest = max(longest, len(s.IDs))
	}
	if longest <= trained {
		return
	}
	j.Config.Policies = slices.DeleteFunc(slices.Clone(j.Config.Policies), func(p Policy) bool { return p == PolicyFull })
	j.say("full attention is not evaluated: the longest sample has %d tokens, and the base was trained on texts of %d; eval.beyond_context: true evaluates it, eval.max_tokens shortens samples", longest, trained)
}

// say notes something.
func (j *Job) say(format string, args ...any) {
	if j.Note != nil {
		j.Note(fmt.Sprintf(format, args...))
	}
}

// answer measures what policies answer, and compares them.
func (j *Job) answer(ctx context.Context, r *Report, samples []Sample, against Policy, kept *folder) error {
	for i, p := range j.readings() {
		result, err := j.policy(ctx, i, p, samples, kept)
		if err != nil {
			return err
		}
		r.Results = append(r.Results, result)
	}
	r.compare(against)
	r.divide()
	return nil
}

// readings are those that are asked for.
func (j *Job) readings() []Reading { return readings(j.Config.Policies, j.Config.Budgets) }

// readings are all policies at all budgets; full attention has none.
func readings(policies []Policy, budgets []int) []Reading {
	if len(budgets) == 0 {
		budgets = []int{0}
	}
	var list []Reading
	for i, b := range budgets {
		for _, p := range policies {
			switch {
			case p.Bounded():
				list = append(list, Reading{p, b})
			case i == 0:
				list = append(list, Reading{Policy: p})
			}
		}
	}
	return list
}

// against settles which policy the others are compared with, and checks all of them before
// the first is measured.
func (j *Job) against() (Policy, error) {
	for _, r := range j.readings() {
		if r.Policy == PolicyGraph && j.Graphs == nil {
			return "", errNoGraphs
		}
		if _, err := r.reads(j.Model); err != nil {
			return "", err
		}
	}
	if len(j.Config.Policies) == 0 {
		return "", errors.New("there is no policy to evaluate")
	}
	against := j.Against
	if against == "" {
		against = j.Config.Policies[0]
		if slices.Contains(j.Config.Policies, PolicyFull) {
			against = PolicyFull
		}
	}
	return against, enum.Check("against", against, j.Config.Policies...)
}

// Rows are what is evaluated on: questions, or texts that are read from end to end.
type Rows struct {
	samples []Sample
	texts   []data.Encoded
}

// Load reads and encodes the rows of a job, for this one and others with the same data.
func (j *Job) Load(ctx context.Context) (*Rows, error) {
	texts, err := j.texts(ctx)
	if err != nil || texts != nil {
		return &Rows{texts: texts}, err
	}
	samples, err := j.load(ctx)
	return &Rows{samples: samples}, err
}

// rows are those that were given to the job, or that it loads.
func (j *Job) rows(ctx context.Context) (*Rows, error) {
	if j.Rows != nil {
		return j.Rows, nil
	}
	return j.Load(ctx)
}

// load reads the job's samples.
func (j *Job) load(ctx context.Context) (_ []Sample, err error) {
	source, err := j.Config.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	e := data.NewEncoder(j.Tokenizer, j.Template, j.Config.MaxTokens)
	sample := func(row data.Sample) (Sample, error) { return NewSample(e, row) }
	if t := j.Config.Tasks; t != nil {
		sample = func(row data.Sample) (Sample, error) { return t.sample(e, j.Tokenizer, row) }
	}
	return j.loadShort(source, sample)
}

// loadShort loads the samples that fit into MaxTokens, and says what does not.
func (j *Job) loadShort(source *data.Source, sample func(row data.Sample) (Sample, error)) ([]Sample, error) {
	long, dropped := 0, 0
	samples, err := load(source, j.Config.Samples, func(row data.Sample) (Sample, error) {
		s, err := sample(row)
		if errors.Is(err, data.ErrTooLong) {
			long++
			return Sample{}, errLeftOut
		}
		dropped += s.Dropped
		return s, err
	})
	if err != nil {
		return nil, err
	}
	if len(samples) == 0 && long > 0 {
		return nil, fmt.Errorf("%s: none of %d rows has an answer within eval.max_tokens (%d); raise it", j.Config.Name(), long, j.Config.MaxTokens)
	}
	if long+dropped > 0 {
		j.say("%s: %d rows and %d later answers of others lie beyond eval.max_tokens (%d) and are left out", j.Config.Name(), long, dropped, j.Config.MaxTokens)
	}
	return samples, nil
}

// seeds are those that a policy is measured by.
func (j *Job) seeds(p Reading) int {
	if p.Policy.Random() {
		return max(1, j.Seeds)
	}
	return 1
}

// note says how much of what is asked for there was from before.
func (j *Job) note(kept *folder, samples int) {
	had, all := 0, 0
	for _, p := range j.readings() {
		for seed := range j.seeds(p) {
			for row := range kept.of(p, seed) {
				if row < samples {
					had++
				}
			}
			all += samples
		}
	}
	if had > 0 && j.Note != nil {
		j.Note(fmt.Sprintf("%d of %d rows were answered before and are taken from %s", had, all, kept.Dir))
	}
}

// stopped says of an evaluation that was cancelled how it goes on.
func (j *Job) stopped(ctx context.Context, kept *folder, err error) error {
	if ctx.Err() == nil || kept == nil {
		return err
	}
	return ranks.Instead(err, fmt.Errorf("%w; %d rows are kept in %s: the same command goes on with the rest", context.Cause(ctx), len(kept.Records), kept.Dir))
}

// policy measures a policy, by all its seeds.
func (j *Job) policy(ctx context.Context, i int, p Reading, samples []Sample, kept *folder) (*Result, error) {
	var all *Result
	for seed := range j.seeds(p) {
		o := Options{MaxNewTokens: j.Config.MaxNewTokens, Stream: j.Stream, Seed: seed, Budget: p.Asked, Graphs: j.Graphs, Group: j.Group}
		if kept != nil {
			o.Kept, o.Keep = kept.of(p, seed), kept.keep
		}
		if err := o.shareKept(); err != nil {
			return nil, err
		}
		r, err := show(ctx, j, j.what(i, p), p.Policy, samples, o)
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", p.Title(), err)
		}
		if all == nil {
			all = r
			continue
		}
		all.merge(r)
	}
	return all, nil
}

// what a progress line calls the i-th reading.
func (j *Job) what(i int, p Reading) string {
	what := "eval " + p.Title()
	if n := len(j.readings()); n > 1 {
		what += fmt.Sprintf(" (%d of %d)", i+1, n)
	}
	return what
}

// shareKept gives all ranks what rank 0 has kept.
func (o *Options) shareKept() error {
	if ranks.Or(o.Group).Size() == 1 {
		return nil
	}
	text, err := ranks.OnFirst(o.Group, func() ([]byte, error) { return json.Marshal(o.Kept) })
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &o.Kept)
}

// show is Run with a progress line.
func show(ctx context.Context, j *Job, what string, p Policy, samples []Sample, o Options) (*Result, error) {
	before := 0
	for row := range o.Kept {
		if row < len(samples) {
			before += len(samples[row].Turns)
		}
	}
	line := progress.Start(j.Progress, progress.Task{What: what, Unit: "answers", Total: Questions(samples), From: before})
	defer line.End()
	first := Metrics()[0]
	n, sum := 0, 0.0
	o.Answered = func(a Answer) {
		n, sum = n+1, sum+a.Metrics[first]
		line.Add(1)
		line.Figures("%s %.2f", first.Title(), sum/float64(n))
	}
	return Run(ctx, j.Model, p, j.Tokenizer, samples, o)
}
