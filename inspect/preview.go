package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"eisft/data"
	"eisft/internal/utf8text"
	"eisft/model/schedule"
	"eisft/model/tokenizer"
	"eisft/train/config"
	"eisft/train/runs"
)

// PreviewOptions say which rows of a data file are shown, and how.
type PreviewOptions struct {
	// Config is the configuration that the rows would be trained with. Of a base alone, it
	// has the path of that.
	Config    config.Config
	From, To  int // rows, counted from 0: from From to before To; what the file has not is left out
	MaxTokens int // of a sample; 0: no limit
	Full      bool
	Color     bool // learned text is coloured, otherwise it stands in ⟦ ⟧
}

// Preview writes rows of a data file as they are trained on: the text that the chat template
// renders, the tokens that are learned marked, and what is left out of it. It fails if a
// row cannot be trained on, after all were shown.
func Preview(ctx context.Context, w io.Writer, o PreviewOptions) (err error) {
	tk, template, err := runs.OpenText(&o.Config)
	if err != nil {
		return err
	}
	if err := limit(tk, o.Config.Model.Path, o.Config.Model.Ignore); err != nil {
		return err
	}
	section := o.Config.Data
	source, _, err := o.Config.OpenData(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	if o.From >= source.Len() {
		return fmt.Errorf("%s: there is no row %d: %s, and the first is row 1", section.Train, o.From+1, trainedRows(o.Config, source.Len()))
	}
	p := preview{writer: w, options: o, tokenizer: tk, encoder: data.NewEncoder(tk, template, o.MaxTokens).Long(section.Long)}
	to := min(o.To, source.Len())
	for i := o.From; i < to; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		sample, err := source.At(i)
		if err == nil {
			err = p.sample(sample)
		}
		switch {
		case errors.Is(err, data.ErrTooLong) && section.Long == data.LongDrop:
			p.dropped++
			p.printf("%s; it is left out (data.long: %s)\n\n", utf8text.Visible(err.Error()), section.Long)
		case err != nil:
			p.bad++
			p.printf("%s\n\n", utf8text.Visible(err.Error()))
		}
	}
	p.printf("%d of %d rows shown, %d tokens, %d of them learned (%s)\n", to-o.From, source.Len(), p.tokens, p.learned, share(p.learned, p.tokens))
	if p.err == nil && p.bad > 0 {
		return fmt.Errorf("%s: %d of the %d rows shown cannot be trained on", section.Train, p.bad, to-o.From)
	}
	if p.err == nil && p.dropped == to-o.From {
		return p.anyLeft(ctx, source)
	}
	return p.err
}

// trainedRows says how many rows are trained on, and why not all.
func trainedRows(c config.Config, n int) string {
	text := fmt.Sprintf("%d are trained on", n)
	var why []string
	if c.Data.Samples > 0 {
		why = append(why, fmt.Sprintf("data.samples: %d takes the first ones of each entry", c.Data.Samples))
	}
	if c.Validation.Share > 0 {
		why = append(why, fmt.Sprintf("validation.share: %s holds others out", c.Validation.Share))
	}
	if len(why) > 0 {
		text += " (" + strings.Join(why, ", ") + ")"
	}
	return text
}

// anyLeft fails as training does if none of the rows is left to train on.
func (p *preview) anyLeft(ctx context.Context, source *data.Source) error {
	all, err := data.CheckRows(ctx, source, p.encoder, data.CheckOptions{})
	if err != nil {
		return err
	}
	_, err = all.Use(data.BadRowSkip)
	return err
}

// preview is one call of Preview.
type preview struct {
	writer          io.Writer
	options         PreviewOptions
	tokenizer       *tokenizer.Tokenizer
	encoder         *data.Encoder
	tokens, learned int
	bad, dropped    int // rows
	err             error
}

func (p *preview) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.writer, format, args...)
	}
}

// sample shows a row.
func (p *preview) sample(s data.Sample) error {
	parts, err := p.encoder.Parts(s)
	if err != nil {
		return err
	}
	lost, err := p.encoder.Lost(s)
	if err != nil {
		return err
	}
	for _, e := range parts {
		p.part(e, lost)
	}
	return nil
}

// part shows a sample, which may be a part of a row, with what of the row is not rendered.
func (p *preview) part(e data.Encoded, lost []string) {
	learned := 0
	for _, t := range e.Turns {
		learned += t.End - t.Start
	}
	p.tokens, p.learned = p.tokens+len(e.IDs), p.learned+learned
	p.printf("%s: %d tokens, %d of them learned (%s), answers: %d\n", e.Where, len(e.IDs), learned, share(learned, len(e.IDs)), len(e.Turns))
	if len(lost) > 0 {
		p.printf("  not rendered by the chat template: %s\n", strings.Join(lost, ", "))
	}
	if e.Unrepeated > 0 {
		p.printf("  answers that do not repeat %q, with which the generation prompt ends: %d\n", e.Unused, e.Unrepeated)
	}
	if e.Dropped > 0 {
		p.printf("  answers beyond %d tokens, left out: %d\n", p.options.MaxTokens, e.Dropped)
	}
	if e.Cut {
		p.printf("  the text is cut off at %d tokens\n", p.options.MaxTokens)
	}
	if e.Removed > 0 {
		p.printf("  tokens beyond %d, left out (data.long: %s): %d\n", p.options.MaxTokens, p.options.Config.Data.Long, e.Removed)
	}
	p.stages(e)
	p.text(e)
}

// tail is the first token of what S-SFT differentiates, -1 if no stage does.
func (p *preview) tail(e data.Encoded) int {
	ssft := slices.ContainsFunc(p.options.Config.Stages, func(s config.Stage) bool { return s.Kind() == config.KindSSFT })
	if !ssft || len(e.Turns) == 0 {
		return -1
	}
	segment := p.options.Config.Block.Segment
	return segment * schedule.FirstLive(e.Turns[0].Start, segment)
}

// stages says what the configuration's stages take of a sample.
func (p *preview) stages(e data.Encoded) {
	for _, s := range p.options.Config.Stages {
		if d, ok := s.(config.Distill); ok {
			p.printf("  distill reads the last %d tokens, from token %d on\n", len(e.IDs)-d.From(len(e.IDs)), d.From(len(e.IDs)))
		}
	}
	if from := p.tail(e); from >= 0 {
		p.printf("  s-sft streams %d tokens and differentiates the tail, %d tokens from token %d on\n", from, len(e.IDs)-from, from)
	}
}

// text shows the sample's tokens as text, with the borders of the block's segments.
func (p *preview) text(e data.Encoded) {
	at, shown := 0, ""
	decode := func(to int) string {
		text := p.tokenizer.Decode(e.IDs[:to], false)
		part, ok := strings.CutPrefix(text, shown)
		if !ok { // a character of several tokens ends beyond the border
			part = p.tokenizer.Decode(e.IDs[at:to], false)
		}
		at, shown = to, text
		return part
	}
	segment, tail := p.options.Config.Block.Segment, p.tail(e)
	border := segment
	piece := func(to int, learned bool) {
		var text strings.Builder
		for ; segment > 0 && border < to; border += segment {
			text.WriteString(decode(border))
			if border == tail {
				fmt.Fprintf(&text, "┃%d tail┃", border)
			} else {
				fmt.Fprintf(&text, "┃%d┃", border)
			}
		}
		text.WriteString(decode(to))
		p.printf("%s", p.marked(text.String(), learned))
	}
	for _, t := range e.Turns {
		piece(t.Start, false)
		piece(t.End, true)
	}
	piece(len(e.IDs), false)
	if !strings.HasSuffix(shown, "\n") {
		p.printf("\n")
	}
	p.printf("\n")
}

// borders are the marks of segments' borders: the number of tokens before each.
var borders = regexp.MustCompile(`┃\d+( tail)?┃`)

// What learned text is marked with.
const (
	colorOn, colorOff = "\x1b[1;32m", "\x1b[0m"
	colorBorder       = "\x1b[2m"
	openMark, endMark = "⟦", "⟧"
)

// marked is a piece of text as it is shown.
func (p *preview) marked(text string, learned bool) string {
	if !learned && !p.options.Full {
		text = abridged(text)
	}
	text = utf8text.Visible(text)
	if p.options.Color {
		again := ""
		if learned {
			again = colorOn
		}
		text = borders.ReplaceAllString(text, colorOff+colorBorder+"$0"+colorOff+again)
	}
	switch {
	case !learned || text == "":
		return text
	case p.options.Color:
		// A terminal's colour may end with the line.
		return colorOn + strings.ReplaceAll(text, "\n", colorOff+"\n"+colorOn) + colorOff
	default:
		return openMark + text + endMark
	}
}

// ends is how many characters are shown of both ends of a long text that is not learned.
const ends = 400

func abridged(text string) string {
	all := []rune(text)
	if len(all) <= 3*ends {
		return text
	}
	left := string(all[ends : len(all)-ends])
	what := fmt.Sprintf("%d characters", len(all)-2*ends)
	if n := len(borders.FindAllString(left, -1)); n > 0 {
		what = english.Plural(n, "border", "") + " of segments and " + what
	}
	return fmt.Sprintf("%s\n… %s …\n%s", string(all[:ends]), what, string(all[len(all)-ends:]))
}

// share is a part of a whole in percent.
func share(part, whole int) string {
	if whole == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}
