// Package eval measures what a model recalls of long input: it reads the
// context of a sample under a policy, answers its questions for real, one
// token after the other, and scores the answers by how far back the fact lies.
package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"eisft/data"
	"eisft/internal/ranks"
	"eisft/model"
	"eisft/model/chat"
	"eisft/model/schedule"
	"eisft/model/tokenizer"
)

// Sample is an encoded conversation with the answers that count as right.
type Sample struct {
	data.Encoded
	Accepted [][]string // of each of Turns
	// Asked are the ends of the messages that Turns answer, for people.
	Asked []string
	// Depth is where in the context the fact of the first question lies, from 0 at its
	// beginning to 1; nil if that is not known.
	Depth *float64
	// Stop are tokens that end an answer, beside those that end any text of the model:
	// what the chat template puts behind one.
	Stop []int32
	// About is what tables divide answers by, Classes are those that a question chooses
	// among, if it does.
	About
	Classes []string
	task    *Task // nil: none
}

// Load encodes the first n samples of a source (0: all).
func Load(s *data.Source, e *data.Encoder, n int) ([]Sample, error) {
	return load(s, n, func(row data.Sample) (Sample, error) { return NewSample(e, row) })
}

func load(s *data.Source, n int, sample func(data.Sample) (Sample, error)) ([]Sample, error) {
	if n == 0 || n > s.Len() {
		n = s.Len()
	}
	out := make([]Sample, 0, n)
	for i := range n {
		row, err := s.At(i)
		if err != nil {
			return nil, err
		}
		one, err := sample(row)
		if errors.Is(err, errLeftOut) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(one.Turns) == 0 {
			return nil, fmt.Errorf("%s: the sample is a plain text; to evaluate recall it needs a question and its answer", one.Where)
		}
		out = append(out, one)
	}
	return out, nil
}

// errLeftOut says of a row that it is no sample.
var errLeftOut = errors.New("left out")

// NewSample encodes a row. A plain text has no questions.
func NewSample(e *data.Encoder, row data.Sample) (Sample, error) {
	enc, err := e.Encode(row)
	if err != nil || len(enc.Turns) == 0 {
		return Sample{Encoded: enc}, err
	}
	ends, err := e.EndsOfTurn()
	if err != nil {
		return Sample{}, err
	}
	s := Sample{Encoded: enc, Stop: ends, About: aboutRow(row), Depth: depthOf(row)}
	for _, t := range enc.Turns {
		s.Asked = append(s.Asked, ending(row.Messages[t.Message-1].Content))
		accepted := []string{row.Messages[t.Message].Content}
		if len(enc.Turns) == 1 && len(row.Answers) > 0 {
			accepted = row.Answers
		}
		s.Accepted = append(s.Accepted, accepted)
	}
	return s, nil
}

// depthOf is a row's depth, nil if it is not known.
func depthOf(row data.Sample) *float64 {
	if row.Depth >= 0 { // not where it is NaN
		return &row.Depth
	}
	return nil
}

// askedBytes is about how much of a message is kept to show what was asked: the question
// stands at its end, behind all that there is to read.
const askedBytes = 240

// ending is the end of a message, from the beginning of a line or of a word on.
func ending(text string) string {
	text = strings.TrimSpace(text)
	if len(text) <= askedBytes {
		return text
	}
	text = text[len(text)-askedBytes:]
	for _, border := range []string{"\n", " "} {
		if _, rest, ok := strings.Cut(text, border); ok {
			return strings.TrimSpace(rest)
		}
	}
	return strings.ToValidUTF8(text, "")
}

// Questions counts the questions of samples.
func Questions(samples []Sample) int {
	n := 0
	for _, s := range samples {
		n += len(s.Turns)
	}
	return n
}

// Options say how answers are generated, and what becomes of them.
type Options struct {
	MaxNewTokens int // bounds an answer
	// Stream is how every sample is read.
	Stream model.StreamOptions
	// Seed is what policies draw by that draw.
	Seed int
	// Budget is that of the reading in tokens over all layers, see [WithBudget]; 0: the
	// block's.
	Budget int
	// Kept are the records that there are from before, by the index of their sample: these
	// are not read again.
	Kept map[int]Record
	// Keep, if not nil, is called with every new record as soon as it is complete.
	Keep func(Record) error
	// Answered, if not nil, is called with every new answer as soon as it is scored.
	Answered func(Answer)
	// Graphs are what PolicyGraph reads with.
	Graphs *Graphs
	// Group are the ranks that answer together (nil: this process alone). All have the same
	// samples, options and Kept, and all get the whole result; Keep is rank 0's.
	Group ranks.Group
}

// Answer is one scored question.
type Answer struct {
	Where        string   `json:"where"`                   // the sample
	Turn         int      `json:"turn"`                    // of the assistant's turns, from 0
	Distance     int      `json:"distance"`                // tokens from the fact to the answer; -1: not known
	Depth        *float64 `json:"depth,omitempty"`         // of the fact in the context, from 0 to 1
	Prompt       int      `json:"prompt_tokens"`           // read before the answer
	PromptSHA256 string   `json:"prompt_sha256,omitempty"` // of these tokens (see [PromptSHA256]); earlier versions wrote none
	Asked        string   `json:"question,omitempty"`      // the end of the message that it answers
	Accepted     []string `json:"accepted"`
	Text         string   `json:"answer"`
	Metrics      Figures  `json:"-"`       // in a file beside the others: em, f1
	Commits      int      `json:"commits"` // of segments since the fact was read; -1: not known
	NLL          float64  `json:"nll"`     // of the right answer, summed over its tokens, in nats
	Tokens       int      `json:"tokens"`  // of the right answer, its end included
	About
}

// MarshalJSON writes the metrics as keys of their own.
func (a Answer) MarshalJSON() ([]byte, error) {
	type fields Answer
	return a.Metrics.marshal(fields(a))
}

// UnmarshalJSON reads what MarshalJSON has written.
func (a *Answer) UnmarshalJSON(text []byte) error {
	type fields Answer
	return a.Metrics.unmarshal(text, (*fields)(a))
}

// Run answers all questions of samples under a policy, greedily, and scores
// them. Nothing of a right answer is known while one is generated: not where it ends,
// nor how long it is. A question of a conversation is asked after the right answers to
// those before it. m's block says what is near and far, whatever the policy. The same
// arguments give the same answers. Cancelling ctx ends it with an error.
func Run(ctx context.Context, m *model.Model, p Policy, tk *tokenizer.Tokenizer, samples []Sample, o Options) (*Result, error) {
	reads := Reading{p, o.Budget}
	block, err := reads.model(m)
	if err != nil {
		return nil, err
	}
	if m, err = reads.reads(m); err != nil {
		return nil, err
	}
	if p == PolicyGraph && o.Graphs == nil {
		return nil, errNoGraphs
	}
	m = p.seeded(m, o.Seed)
	e := &evaluation{model: m, plan: o.Stream.Plan(block), reading: reads, budget: BudgetOf(block, m), tokenizer: tk, stop: chat.StopIDs(m.Base.Config, tk, nil), options: o}
	result := &Result{Reading: reads, Bounds: BoundsOf(block.Spec), Budget: e.budget}
	records, err := e.records(ctx, samples)
	if err = errors.Join(err, e.begun.close()); err != nil {
		return nil, err
	}
	for _, r := range records {
		result.add(r)
	}
	result.score()
	return result, nil
}

// evaluation is one Run.
type evaluation struct {
	model     *model.Model
	plan      schedule.Plan // of the block, whatever the policy
	reading   Reading
	budget    Budget
	tokenizer *tokenizer.Tokenizer
	stop      []int32
	options   Options
	begun     begun
}

// records are what comes of all samples, or came of them before.
func (e *evaluation) records(ctx context.Context, samples []Sample) ([]Record, error) {
	out := make([]Record, len(samples))
	var missing []int
	for i, s := range samples {
		r, ok := e.options.Kept[i]
		if !ok {
			missing = append(missing, i)
			continue
		}
		if err := s.same(&r); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Where, err)
		}
		if err := r.keeps(e.budget); err != nil {
			return nil, err
		}
		out[i] = r
	}
	oneText := func(i, next int) bool { return aboutOneText(samples[i], samples[next]) }
	err := inTurn(e.options.Group, missing, oneText, func(i int) (Record, error) {
		r, err := e.sample(ctx, samples[i], samples[i+1:])
		if err != nil {
			return r, fmt.Errorf("%s: %w", samples[i].Where, err)
		}
		r.Row = i
		return r, nil
	}, func(i int, r Record) error {
		out[i] = r
		if err := e.tell(r); err != nil {
			return fmt.Errorf("%s: %w", samples[i].Where, err)
		}
		return nil
	})
	return out, err
}

// inTurn lets the ranks (nil: this process alone) read rows in turn, and takes the record of each
// on all of them, row by row. Neighbours that are about one text are read by one rank, so that
// the text is read once.
func inTurn(g ranks.Group, rows []int, oneText func(row, next int) bool, read func(row int) (Record, error), take func(row int, r Record) error) error {
	g = ranks.Or(g)
	for round := range slices.Chunk(shares(rows, g.Size(), oneText), g.Size()) {
		var mine []Record
		if g.Rank() < len(round) {
			for _, row := range round[g.Rank()] {
				r, err := read(row)
				if err != nil {
					return err
				}
				mine = append(mine, r)
			}
		}
		all, err := together(g, mine)
		if err != nil {
			return err
		}
		for k, share := range round {
			for j, row := range share {
				if err := take(row, all[k][j]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// shares divides rows into those that one of so many ranks reads before all meet: those of a
// text, or one. A process that is alone keeps each as soon as it is read.
func shares(rows []int, size int, oneText func(row, next int) bool) (list [][]int) {
	for i, row := range rows {
		if i > 0 && size > 1 && oneText(rows[i-1], row) {
			list[len(list)-1] = append(list[len(list)-1], row)
			continue
		}
		list = append(list, []int{row})
	}
	return list
}

// aboutOneText says whether two samples are about one text.
func aboutOneText(a, b Sample) bool { return a.Context != "" && a.Context == b.Context }

// together returns the records of all ranks. They are sent as they are kept.
func together(g ranks.Group, mine []Record) ([][]Record, error) {
	if g.Size() == 1 {
		return [][]Record{mine}, nil
	}
	line, err := json.Marshal(mine)
	if err != nil {
		return nil, err
	}
	lines, err := ranks.Meet(g, line)
	if err != nil {
		return nil, err
	}
	all := make([][]Record, len(lines))
	for rank, line := range lines {
		if err := json.Unmarshal(line, &all[rank]); err != nil {
			return nil, fmt.Errorf("what rank %d has answered: %w", rank, err)
		}
	}
	return all, nil
}

// tell hands a new record to whom it may concern.
func (e *evaluation) tell(r Record) error {
	if e.options.Keep != nil {
		if err := e.options.Keep(r); err != nil {
			return err
		}
	}
	for _, a := range r.Answers {
		if e.options.Answered != nil {
			e.options.Answered(a)
		}
	}
	return nil
}

// same fails if a record is of other questions than those of the sample.
func (s Sample) same(r *Record) error {
	if len(r.Answers) != len(s.Turns) {
		return fmt.Errorf("the record of row %d has %d answers, the row %d questions", r.Row+1, len(r.Answers), len(s.Turns))
	}
	for i, t := range s.Turns {
		if sum := PromptSHA256(s.IDs[:t.Start]); sum != r.Answers[i].PromptSHA256 {
			return fmt.Errorf("the record of row %d was made of other tokens: the SHA-256 of the prompt to answer %d was %.12s and is %.12s", r.Row+1, i, r.Answers[i].PromptSHA256, sum)
		}
		r.Answers[i].Where = s.Where     // which depends on where the command runs
		r.Answers[i].Context = s.Context // earlier versions wrote none
	}
	return nil
}

// sample reads a sample and answers its questions.
func (e *evaluation) sample(ctx context.Context, s Sample, next []Sample) (_ Record, err error) {
	started, had := time.Now(), len(e.begun.of(s))
	st, at, err := e.begin(ctx, s, next)
	if err != nil {
		return Record{}, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	r := Record{Reading: e.reading, Budget: e.budget, Seed: e.options.Seed}
	texts := make([]string, len(s.Turns))
	nll, err := readTurns(ctx, st, at, e.model, s, func(i int, st stream, next []float32) (err error) {
		texts[i], err = e.write(ctx, st, next, s, &r.Speed)
		return err
	})
	if err != nil {
		return r, err
	}
	r.ReadTokens, r.ReadSeconds = s.Turns[len(s.Turns)-1].End-had, time.Since(started).Seconds()-r.WriteSeconds
	for i, t := range s.Turns {
		a := Answer{
			Where: s.Where, Turn: i, Distance: t.Distance, Prompt: t.Start, PromptSHA256: PromptSHA256(s.IDs[:t.Start]), Accepted: s.Accepted[i], Text: texts[i],
			Metrics: figuresOf(s.task.scored(texts[i]), Right{s.Accepted[i], s.Classes}, s.task.metrics()...),
			Commits: commitsSince(e.plan, t.Start, t.Distance), NLL: nll[i], Tokens: len(s.answer(i)), About: s.About,
		}
		if i < len(s.Asked) {
			a.Asked = s.Asked[i]
		}
		if i == 0 {
			a.Depth = s.Depth
		}
		r.Answers = append(r.Answers, a)
	}
	return r, nil
}

// write generates an answer, up to a token that ends the model's texts or one of the
// sample's.
func (e *evaluation) write(ctx context.Context, st stream, next []float32, s Sample, speed *Speed) (string, error) {
	started, o := time.Now(), model.GenerateOptions{MaxNewTokens: s.maxNewTokens(e.options.MaxNewTokens), Stop: slices.Concat(e.stop, s.Stop)}
	if s.task != nil && s.task.StopAtNewline { // the first token is another
		for _, id := range o.Stop {
			next[id] = -math.MaxFloat32
		}
	}
	ids, err := st.Generate(ctx, next, o)
	speed.WrittenTokens += len(ids)
	speed.WriteSeconds += time.Since(started).Seconds()
	return e.tokenizer.Decode(ids, true), err
}

// maxNewTokens bounds an answer: by the task, if it has one.
func (s Sample) maxNewTokens(usual int) int {
	if s.task != nil {
		return s.task.MaxNewTokens
	}
	return usual
}

// answer returns the tokens of the right answer to question i, its end included.
func (s Sample) answer(i int) []int32 { return s.IDs[s.Turns[i].Start:s.Turns[i].End] }
