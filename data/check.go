package data

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"eisft/internal/enum"
	"eisft/internal/progress"
	"eisft/model/tokenizer"
)

// OnBadRow is what becomes of rows that cannot be trained on.
type OnBadRow string

// What becomes of bad rows.
const (
	BadRowFail OnBadRow = "fail" // training does not start
	BadRowSkip OnBadRow = "skip" // they are left out
)

// OnBadRows lists what may become of bad rows.
func OnBadRows() []OnBadRow { return []OnBadRow{BadRowFail, BadRowSkip} }

// Survey is what was found of the rows of a file before anything is trained on them.
type Survey struct {
	Path string
	Rows int // looked at
	Bad  []BadRow
	Lost []Loss // what the chat template renders nothing of
	// UnrepeatedAnswers of UnrepeatedSamples are those of Encoded.Unrepeated, Unused what the
	// prompt of the first of them has besides.
	UnrepeatedAnswers, UnrepeatedSamples int
	Unused                               string
	// DroppedAnswers of DroppedSamples are beyond MaxTokens, as are the ends of CutTexts texts.
	DroppedAnswers, DroppedSamples, CutTexts int
	// CutSamples lost CutTokens, of their context or of whole exchanges.
	CutSamples, CutTokens int
	// Dropped are rows with more than MaxTokens, where Long is LongDrop, and Split those of which
	// several samples are made.
	Dropped            []int
	Split              []SplitRow
	MaxTokens          int
	Long               Long
	Tokens, Supervised int // of all samples
	// Lengths are the tokens of each sample, in the order of [Survey.Use].
	Lengths []int
	// TextEnd is the EOS with which the template ends answers, if it is none of the
	// tokenizer's tokens.
	TextEnd string
	Hash    string
}

// BadRow is a row that cannot be trained on.
type BadRow struct {
	Row     int    // as [Source.At] counts
	Where   string // "row 12", "line 12"
	Reason  string
	TooLong bool // for the Encoder's limit
}

// SplitRow is a row of which several samples are made.
type SplitRow struct{ Row, Parts int }

// Piece is a sample to train on: a row, or a part of it where it was split.
type Piece struct{ Row, Part int }

// Loss is how many samples have something, as [Encoder.Lost] names it, that the template
// does not render.
type Loss struct {
	What    string
	Samples int
}

// CheckOptions say how rows are checked.
type CheckOptions struct {
	Answers  bool      // a row without supervised tokens is bad, too
	Progress io.Writer // receives the progress line (nil: none)
}

// CheckRows reads and encodes rows as training will, on all cores, and says what is wrong
// with them. What took longer than a moment is kept in the user's cache folder, and found
// there if rows ([Source.RowsHash]), tokenizer, template, options and program are the same.
func CheckRows(ctx context.Context, s *Source, e *Encoder, o CheckOptions) (*Survey, error) {
	hash, err := s.RowsHash(ctx)
	if err != nil {
		return nil, err
	}
	kept := e.cacheFile(hash, o)
	if found, ok := readSurvey(kept); ok {
		found.Path = s.name
		for i, b := range found.Bad { // the same rows may stand elsewhere in a file
			found.Bad[i].Where = s.where(b.Row)
		}
		return found, nil
	}
	started := time.Now()
	found := &Survey{Path: s.name, Rows: s.Len(), Hash: hash, MaxTokens: e.max, Long: e.long}
	if err := e.checkAll(ctx, s, o, found); err != nil {
		return nil, err
	}
	if e.template != nil {
		ends, _ := e.ends() // what is wrong with them is said of every row
		for _, end := range ends {
			if end.ID == tokenizer.NoToken {
				found.TextEnd = end.Text
			}
		}
	}
	if time.Since(started) > worthKeeping {
		writeSurvey(kept, found)
	}
	return found, nil
}

// RowsHash is the SHA-256, in hexadecimal digits, of what training learns from in the
// rows, in their order: messages with their fields, variables, texts and answers,
// after columns and prompts were applied. A row that cannot be read counts by its error. Not
// covered are names and form of the file, ids, datasets, lengths and depths. Where entries have
// weights, it covers which row belongs to which.
func (s *Source) RowsHash(ctx context.Context) (string, error) {
	sum := sha256.New()
	rows := json.NewEncoder(sum)
	last := 0
	for i := range s.Len() {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if e := s.entry(i); e != last && s.entries[e].weight > 0 {
			fmt.Fprintf(sum, "entry %d\n", e)
			last = e
		}
		sample, err := s.At(i)
		if err == nil {
			err = rows.Encode(learnedOf(sample))
		}
		if err != nil {
			fmt.Fprintf(sum, "row %d: %s\n", i, s.reason(i, err))
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// learned is what training learns from in a sample.
type learned struct {
	Messages  []tokenizer.Message
	Variables []tokenizer.Field
	Text      string
	Answers   []string
}

func learnedOf(s Sample) learned { return learned{s.Messages, s.Variables, s.Text, s.Answers} }

// reason is an error of a row without the name of file and row.
func (s *Source) reason(i int, err error) string {
	p, row := s.at(i)
	return strings.TrimPrefix(err.Error(), p.path+":"+p.table.where(row)+": ")
}

// check is what was found of one row.
type check struct {
	err        error
	parts      []Encoded // without their tokens
	lengths    []int
	supervised int
	lost       []string
}

// checkAll reads rows one after the other, encodes them on all cores, and adds what was found
// in their order. No more of it is kept than of the rows that are being encoded.
func (e *Encoder) checkAll(ctx context.Context, s *Source, o CheckOptions, found *Survey) error {
	n := s.Len()
	line := progress.Start(o.Progress, progress.Task{What: "checking data", Unit: "rows", Total: n})
	defer line.End()
	type job struct {
		sample Sample
		done   chan<- check
	}
	jobs := make(chan job, 2*runtime.GOMAXPROCS(0))
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for j := range jobs {
				j.done <- e.check(j.sample)
			}
		})
	}
	defer workers.Wait()
	defer close(jobs)
	var ahead []chan check // of the rows that are on their way, the oldest first
	add := func(i int) {
		found.add(i, s, <-ahead[0], o)
		ahead = ahead[1:]
		line.Add(1)
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		done := make(chan check, 1) // to put something in never waits
		if sample, err := s.At(i); err != nil {
			done <- check{err: err}
		} else {
			jobs <- job{sample, done}
		}
		if ahead = append(ahead, done); len(ahead) > 64*runtime.GOMAXPROCS(0) { // enough for others to go on beside a long one
			add(i + 1 - len(ahead))
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for len(ahead) > 0 {
		add(n - len(ahead))
	}
	return nil
}

// check encodes a sample and finds what its template loses.
func (e *Encoder) check(s Sample) check {
	parts, err := e.Parts(s)
	if err != nil {
		return check{err: err}
	}
	c := check{parts: parts}
	for i := range parts {
		p := &parts[i]
		c.lengths = append(c.lengths, len(p.IDs))
		for _, t := range p.Turns {
			c.supervised += t.End - t.Start
		}
		p.IDs, p.Loss = nil, nil // nobody needs them, and there are many
	}
	c.lost, c.err = e.Lost(s)
	return c
}

// add counts a row.
func (f *Survey) add(i int, s *Source, c check, o CheckOptions) {
	if c.err == nil && o.Answers && c.supervised == 0 {
		c.err = errors.New("no answer to learn from: the stages s-sft and prune need conversations, this is a plain text")
	}
	long := errors.Is(c.err, ErrTooLong)
	switch {
	case long && f.Long == LongDrop:
		f.Dropped = append(f.Dropped, i)
		return
	case c.err != nil:
		f.Bad = append(f.Bad, BadRow{i, s.where(i), s.reason(i, c.err), long})
		return
	}
	if len(c.parts) > 1 {
		f.Split = append(f.Split, SplitRow{i, len(c.parts)})
	}
	f.Supervised += c.supervised
	for _, what := range c.lost {
		at := slices.IndexFunc(f.Lost, func(l Loss) bool { return l.What == what })
		if at < 0 {
			at, f.Lost = len(f.Lost), append(f.Lost, Loss{What: what})
		}
		f.Lost[at].Samples++
	}
	for k, p := range c.parts {
		f.Tokens += c.lengths[k]
		f.Lengths = append(f.Lengths, c.lengths[k])
		f.addPart(p)
	}
}

// addPart counts what of a sample is shortened or not learned.
func (f *Survey) addPart(p Encoded) {
	if p.Unrepeated > 0 {
		if f.UnrepeatedSamples == 0 {
			f.Unused = p.Unused
		}
		f.UnrepeatedSamples++
		f.UnrepeatedAnswers += p.Unrepeated
	}
	if p.Dropped > 0 {
		f.DroppedSamples++
		f.DroppedAnswers += p.Dropped
	}
	if p.Removed > 0 {
		f.CutSamples++
		f.CutTokens += p.Removed
	}
	if p.Cut {
		f.CutTexts++
	}
}

// Use returns the samples to train on. Bad rows fail it, or are left out.
func (f *Survey) Use(bad OnBadRow) ([]Piece, error) {
	if len(f.Bad)+len(f.Dropped) == f.Rows || len(f.Bad) > 0 && bad != BadRowSkip {
		return nil, f.failure(bad)
	}
	use := make([]Piece, 0, len(f.Lengths))
	nextBad, nextDropped, nextSplit := f.Bad, f.Dropped, f.Split
	for i := range f.Rows {
		parts := 1
		switch {
		case len(nextBad) > 0 && nextBad[0].Row == i:
			nextBad, parts = nextBad[1:], 0
		case len(nextDropped) > 0 && nextDropped[0] == i:
			nextDropped, parts = nextDropped[1:], 0
		case len(nextSplit) > 0 && nextSplit[0].Row == i:
			nextSplit, parts = nextSplit[1:], nextSplit[0].Parts
		}
		for part := range parts {
			use = append(use, Piece{i, part})
		}
	}
	return use, nil
}

// failure says which rows cannot be trained on, and what to do.
func (f *Survey) failure(bad OnBadRow) error {
	if len(f.Bad) == 0 {
		return tooLong{fmt.Errorf("%s: all of %s are longer than data.max_tokens, which is %d, and left out by data.long: drop; raise it, or take another word for data.long",
			f.Path, english.Plural(f.Rows, "row", "rows"), f.MaxTokens)}
	}
	advice := "mend or remove them"
	if bad != BadRowSkip && len(f.Bad)+len(f.Dropped) < f.Rows {
		advice += ", or leave them out with data.on_bad_row: skip"
	}
	long := f.TooLong()
	if long > 0 {
		advice += fmt.Sprintf("; %s longer than data.max_tokens, which is %d: raise it", english.Plural(long, "is", "are"), f.MaxTokens)
		if f.Long == LongKeepStart {
			advice += fmt.Sprintf(", or say with data.long (%s) what becomes of long ones", enum.List(Longs()))
		}
	}
	err := fmt.Errorf("%s: %d of %s cannot be trained on:%s\n%s", f.Path, len(f.Bad), english.Plural(f.Rows, "row", "rows"), f.list(), advice)
	if long > 0 {
		return tooLong{err}
	}
	return err
}

// TooLong is how many of the bad rows are longer than the Encoder's limit.
func (f *Survey) TooLong() (n int) {
	for _, b := range f.Bad {
		if b.TooLong {
			n++
		}
	}
	return n
}

// Cut says which of the rows are shortened to the Encoder's limit, and which are left out:
// "33 of 315 rows used, 4 of them shortened; 282 left out, 280 of them longer than 8,192 tokens".
func (f *Survey) Cut() string {
	out := len(f.Bad) + len(f.Dropped)
	text := fmt.Sprintf("%s of %s used", humanize.Comma(int64(f.Rows-out)), english.Plural(f.Rows, "row", "rows"))
	if n := f.DroppedSamples + f.CutTexts; n > 0 && f.Long == LongKeepStart {
		text += fmt.Sprintf(", %s of them shortened to %s tokens", humanize.Comma(int64(n)), humanize.Comma(int64(f.MaxTokens)))
	}
	if n := f.CutSamples + f.CutTexts; n > 0 && f.Long != LongKeepStart {
		text += fmt.Sprintf(", %s of them cut to %s tokens (data.long: %s)", humanize.Comma(int64(n)), humanize.Comma(int64(f.MaxTokens)), f.Long)
	}
	if n := len(f.Split); n > 0 {
		parts := 0
		for _, s := range f.Split {
			parts += s.Parts
		}
		text += fmt.Sprintf(", %s of them split into %s samples of at most %s tokens (data.long: split)", humanize.Comma(int64(n)), humanize.Comma(int64(parts)), humanize.Comma(int64(f.MaxTokens)))
	}
	if out > 0 {
		text += fmt.Sprintf("; %s left out", humanize.Comma(int64(out)))
	}
	if n := f.TooLong() + len(f.Dropped); n > 0 {
		text += fmt.Sprintf(", %s of them longer than %s tokens (data.max_tokens)", humanize.Comma(int64(n)), humanize.Comma(int64(f.MaxTokens)))
	}
	return text
}

// tooLong is an error that is also ErrTooLong.
type tooLong struct{ error }

func (tooLong) Is(target error) bool { return target == ErrTooLong }

// list writes the first bad rows, a line each.
func (f *Survey) list() string {
	const most = 10
	var lines strings.Builder
	for _, b := range f.Bad[:min(len(f.Bad), most)] {
		fmt.Fprintf(&lines, "\n  %s: %s", b.Where, b.Reason)
	}
	if more := len(f.Bad) - most; more > 0 {
		fmt.Fprintf(&lines, "\n  and %d more", more)
	}
	return lines.String()
}

// Warnings say what of the rows in use is not learned.
func (f *Survey) Warnings() []string {
	var all []string
	warn := func(format string, args ...any) {
		all = append(all, f.Path+": "+fmt.Sprintf(format, args...))
	}
	if len(f.Bad) > 0 {
		warn("%d of %s cannot be trained on, left out (data.on_bad_row: skip):%s", len(f.Bad), english.Plural(f.Rows, "row", "rows"), f.list())
	}
	for _, l := range f.Lost {
		what := l.What
		switch what {
		case LostThinking:
			what = "the thinking (<think>…</think>) in answers"
		case LostContent:
			what = "the content of answers"
		}
		warn("%s of %s is not rendered by the chat template, and not learned", what, english.Plural(l.Samples, "sample", "samples"))
	}
	if f.UnrepeatedSamples > 0 {
		warn("the chat template's generation prompt ends in %q, which %s of %s not repeat: they are learned without it; options of the template (data.template_options) may change its prompt",
			f.Unused, english.Plural(f.UnrepeatedAnswers, "answer", "answers"), english.Plural(f.UnrepeatedSamples, "sample does", "samples do"))
	}
	if f.TextEnd != "" {
		warn("the chat template ends answers with %s, which the tokenizer's vocabulary does not have: it is learned as the words that it is written with, and no generated answer will end with it", f.TextEnd)
	}
	f.warnOfLong(warn)
	return all
}

// warnOfLong says what of long samples is not learned.
func (f *Survey) warnOfLong(warn func(format string, args ...any)) {
	if f.DroppedSamples > 0 {
		which := map[Long]string{LongKeepEnd: "first", LongMiddle: "middle"}[f.Long]
		warn("the %s %s of %s beyond data.max_tokens, which is %d, and not learned", cmp.Or(which, "last"),
			english.Plural(f.DroppedAnswers, "answer", "answers"), english.Plural(f.DroppedSamples, "sample are", "samples are"), f.MaxTokens)
	}
	if f.CutSamples > 0 {
		warn("%s longer than data.max_tokens, which is %d: %s tokens are left out of them (data.long: %s)",
			english.Plural(f.CutSamples, "sample is", "samples are"), f.MaxTokens, humanize.Comma(int64(f.CutTokens)), f.Long)
	}
	if f.CutTexts > 0 {
		where := map[Long]string{LongKeepEnd: "cut at the start", LongMiddle: "cut in the middle"}[f.Long]
		warn("%s longer than data.max_tokens, which is %d, and %s", english.Plural(f.CutTexts, "text is", "texts are"), f.MaxTokens, cmp.Or(where, "cut off there"))
	}
	if n := len(f.Dropped); n > 0 {
		warn("%s longer than data.max_tokens, which is %d, and left out (data.long: drop)", english.Plural(n, "row is", "rows are"), f.MaxTokens)
	}
}
