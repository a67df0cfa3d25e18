package train

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"eisft/data"
	"eisft/internal/agenda"
	"eisft/internal/bytesize"
	"eisft/internal/enum"
	"eisft/internal/peakmem"
	"eisft/model"
	"eisft/train/config"
	"eisft/train/runs"
)

// announce says what the run will do, at its head. One that is resumed has said it.
func (t *trainer) announce(ctx context.Context) error {
	if t.options.Progress == nil || t.options.Resume || t.options.Extend {
		return nil
	}
	a, err := t.agenda(ctx, worthMeasuring)
	if err != nil {
		if ctx.Err() != nil {
			return errStoppedEarly
		}
		return err
	}
	return a.Write(t.options.Progress)
}

// worthMeasuring is how many samples a stage has to read for its run to measure one before
// it begins: of fewer, that would take a good part of the time.
var worthMeasuring = 20

// agenda says what a new run will do. It measures stages that read at least so many samples.
func (t *trainer) agenda(ctx context.Context, least int) (*agenda.Agenda, error) {
	dir, err := checkOutput(t.config)
	if err != nil {
		return nil, err
	}
	longest, err := t.longest()
	if err != nil {
		return nil, err
	}
	a, s := &agenda.Agenda{}, t.survey
	a.Add("data", "%s: %s", s.Path, s.Cut())
	t.portionsAgenda(a)
	a.Add("tokens", "%s, %s of them learned; the longest sample has %s", comma(s.Tokens), comma(s.Supervised), comma(len(longest.IDs)))
	if q := t.config.Model.Quantized; q.Folder != "" {
		a.Add("base", "the quantized model in %s", q)
	}
	if dir := t.config.Model.Adapter; dir != "" {
		a.Add("begin", "with the adapter in %s", dir)
	}
	if len(t.validation) > 0 {
		a.Add("validate", "%s", t.validationPlan())
	}
	if err := t.evaluationAgenda(ctx, a); err != nil {
		return nil, err
	}
	if err := t.stagesAgenda(ctx, a, longest, least); err != nil {
		return nil, err
	}
	a.Add("write", "%s, with %s, %s, %s, an adapter of %s and checkpoints of %s", dir, runs.ConfigFile, runs.MetricsFile, runs.CardFile,
		bytesize.Megabytes(4*t.Model.Params.Count()), bytesize.Megabytes(3*4*t.Model.Params.Count()))
	return a, nil
}

// stagesAgenda says what each stage reads, and measures it.
func (t *trainer) stagesAgenda(ctx context.Context, a *agenda.Agenda, longest data.Encoded, least int) error {
	var all time.Duration
	var samples []string
	held, peak, caches := int64(0), int64(0), int64(0)
	var unmeasured []string
	for i, stage := range t.config.Stages {
		o := stages.Get(stage.Kind()).outlook(t, stage)
		tokens, err := t.reads(o)
		if err != nil {
			return err
		}
		kept, inMemory, err := t.keptAgenda(stage, o)
		if err != nil {
			return err
		}
		if caches = max(caches, inMemory); kept != "" {
			a.Add("cache", "of stage %d, %s", i+1, kept)
		}
		text := fmt.Sprintf("%s, %s tokens, %.2g epochs", o.what, comma(tokens), float64(o.samples)/float64(len(t.samples)))
		if o.samples*o.times < least {
			a.Add(string(stage.Kind()), "%s", text)
			unmeasured = append(unmeasured, string(stage.Kind()))
			continue
		}
		once, err := measureOnce(ctx, o, longest)
		if err != nil {
			return fmt.Errorf("stage %d (%s) on the longest sample, %s: %w", i+1, stage.Kind(), longest.Where, err)
		}
		one := o.reads(len(longest.IDs))
		took := time.Duration(float64(once.took) * float64(tokens) / float64(one) * t.share(o))
		a.Add(string(stage.Kind()), "%s: about %s (%s for a sample of %s tokens)", text, roughly(took), roughly(once.took), comma(one))
		all += took
		if peak == 0 {
			held = once.held
		}
		peak = max(peak, once.peak)
		samples = append(samples, fmt.Sprintf("%s a sample of %s", bytesize.Megabytes(max(0, once.peak-held)), stage.Kind()))
	}
	if len(t.config.Stages) > 1 && len(unmeasured) == 0 {
		a.Add("all stages", "about %s, beside evaluation", roughly(all))
	}
	if t.size > 1 && len(unmeasured) < len(t.config.Stages) {
		a.Add("ranks", "%d: times are those of all together, beside what they wait for each other; memory is that of each", t.size)
	}
	state := int64(4 * 4 * t.Model.Params.Count()) // as many numbers again of gradients, and twice of AdamW
	text := fmt.Sprintf("%s of parameters, gradients and AdamW's state", bytesize.Megabytes(state))
	if peak > 0 {
		text = fmt.Sprintf("%s of program, base and data, %s, %s: %s at most", bytesize.Megabytes(held), text, strings.Join(samples, ", "), bytesize.Megabytes(peak+state))
	}
	if caches > 0 {
		text += fmt.Sprintf(", beside %s of model.cache", bytesize.Megabytes(caches))
	}
	if len(unmeasured) > 0 {
		text += fmt.Sprintf(", beside what samples of %s take: too few to measure one first, which --dry-run does", english.WordSeries(unmeasured, "and"))
	}
	if free := model.AvailableMemory(); free < 1<<50 {
		text += fmt.Sprintf("; %s are free", bytesize.Megabytes(free))
	}
	a.Add("memory", "%s", text)
	return nil
}

func comma(n int) string { return humanize.Comma(int64(n)) }

// roughly leaves a time what one measurement is good for.
func roughly(d time.Duration) time.Duration {
	for _, unit := range []time.Duration{time.Minute, time.Second, 100 * time.Millisecond, time.Millisecond} {
		if d >= 10*unit {
			return d.Round(unit)
		}
	}
	return d.Round(100 * time.Microsecond)
}

// longest is the longest sample in use, the first one of several.
func (t *trainer) longest() (data.Encoded, error) {
	at := 0
	for i, n := range t.survey.Lengths {
		if n > t.survey.Lengths[at] {
			at = i
		}
	}
	return t.source.Encode(t.samples[at], t.encoder)
}

// reads is how many tokens a stage will read, sample by sample in the order in which they
// will come.
func (t *trainer) reads(o outlook) (int, error) {
	sampler, err := t.source.Sampler(t.samples, uint64(t.config.Seed), data.Cursor{})
	if err != nil {
		return 0, err
	}
	tokens := 0
	for range o.samples {
		tokens += o.times * o.reads(t.survey.Lengths[sampler.Next()])
	}
	return tokens, nil
}

// warmUp is how long the first pass may take, which also builds what is used again, for a
// second one to be measured.
const warmUp = 5 * time.Second

// measured is what a stage took for one sample: time, and bytes that were resident before
// (the base as it is used among them) and at most.
type measured struct {
	took       time.Duration
	held, peak int64
}

// measureOnce does once what a stage does with each sample.
func measureOnce(ctx context.Context, o outlook, e data.Encoded) (m measured, err error) {
	for range 2 {
		debug.FreeOSMemory()
		peakmem.Reset()
		m.held = peakmem.Now()
		started := time.Now()
		if err := o.once(ctx, e); err != nil {
			return m, err
		}
		m.took, m.peak = time.Since(started), peakmem.Peak()
		if m.took > warmUp {
			break
		}
	}
	return m, nil
}

// share is how much of what a stage reads the rank reads that has the most of it.
func (t *trainer) share(o outlook) float64 {
	n := max(1, t.size)
	return float64((o.together+n-1)/n) / float64(o.together)
}

// warnOfRanks says of a stage that some ranks have nothing to do in it.
func (t *trainer) warnOfRanks(i int, s config.Stage) {
	key, n := "batch", stages.Get(s.Kind()).outlook(t, s).together
	if s.Kind() == config.KindPrune {
		key = "samples"
	}
	if n < t.size {
		t.options.Warn(fmt.Sprintf("stages[%d].%s is %d, but %d ranks train: %d of them %s nothing to do; raise %[2]s to %[4]d or more",
			i, key, n, t.size, t.size-n, english.PluralWord(t.size-n, "has", "have")))
	}
}

// warnOfContext says of a stage that the base sees more at once than it was trained for.
func (t *trainer) warnOfContext(i int, s config.Stage) {
	trained, sees := t.Model.Base.Config.MaxPositionEmbeddings, stages.Get(s.Kind()).outlook(t, s).sees(slices.Max(t.survey.Lengths))
	if trained == 0 || sees <= trained {
		return
	}
	advice := fmt.Sprintf("lower data.max_tokens to %d", trained)
	switch s := s.(type) {
	case config.SSFT:
		if s.Choice == config.ChoiceSoft && t.config.Block.Slots > 0 && t.config.Block.Capacity() <= trained {
			advice = fmt.Sprintf("set stages[%d].choice: hard, or %s", i, advice)
		}
	case config.Distill:
		advice = fmt.Sprintf("lower stages[%d].tokens to %d", i, trained)
	}
	t.options.Warn(fmt.Sprintf("stages[%d] (%s) shows the base up to %d tokens at once, and it was trained on texts of %d: what is learned there may be nonsense; %s", i, s.Kind(), sees, trained, advice))
}

// evaluationAgenda says what is evaluated.
func (t *trainer) evaluationAgenda(ctx context.Context, a *agenda.Agenda) error {
	section := t.config.Eval
	if section.Nothing() {
		return nil
	}
	source, err := section.Open(ctx)
	if err != nil {
		return fmt.Errorf("evaluation: %w", err)
	}
	n := source.Len()
	if section.Samples > 0 {
		n = min(n, section.Samples)
	}
	before := "nothing"
	if section.Before {
		before = enum.List(section.Policies)
	}
	a.Add("evaluate", "%s of %s: %s before, %s after", english.Plural(n, "row", ""), section.Name(),
		before, cmp.Or(enum.List(policiesAfter(t.config)), "nothing"))
	return source.Close()
}
