package data

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"eisft/model/tokenizer"
)

// Long is what becomes of a sample with more tokens than the [Encoder]'s limit.
type Long string

// What becomes of long samples.
const (
	// LongKeepStart: a conversation loses its last turns until it fits, and cannot be used
	// if not even the first answer does; a plain text is cut off.
	LongKeepStart Long = "keep-start"
	// LongKeepEnd: the context loses its beginning, a plain text as well.
	LongKeepEnd Long = "keep-end"
	// LongMiddle: the context loses its middle (LongBench, arXiv 2308.14508, section 4.1), a
	// plain text as well.
	LongMiddle Long = "middle"
	// LongSplit makes several samples of it: of a plain text pieces of about the same length, of a
	// conversation runs of turns, each behind the system message.
	LongSplit Long = "split"
	// LongDrop leaves it out.
	LongDrop Long = "drop"
)

// Longs lists what may become of long samples.
func Longs() []Long { return []Long{LongKeepStart, LongKeepEnd, LongMiddle, LongSplit, LongDrop} }

// Long returns an encoder that does so with samples beyond its limit.
//
// The context, of which LongKeepEnd and LongMiddle take words away, is [Sample.Context] within
// its message, so that the words of the prompt around it stay; of a row without one it is the
// longest message that is no answer and not the system's. If that message alone has too
// little to give, the first exchanges are left out (LongKeepEnd) or those in the middle
// (LongMiddle).
func (e *Encoder) Long(l Long) *Encoder {
	own := *e
	own.long = cmp.Or(l, LongKeepStart)
	return &own
}

// Parts encodes all samples that a row becomes: one, or with LongSplit perhaps several. See
// [Encoder.Encode].
func (e *Encoder) Parts(s Sample) ([]Encoded, error) {
	parts, err := e.parts(s)
	if failed := e.tokenizer.Err(); failed != nil {
		err = fmt.Errorf("%s: %w", s.Where, failed)
	}
	if err != nil {
		return nil, err
	}
	for i := range parts {
		if err := e.tokenizer.Check(parts[i].IDs); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Where, err)
		}
		if len(parts) > 1 {
			parts[i].Where = fmt.Sprintf("%s, part %d of %d", s.Where, i+1, len(parts))
		}
	}
	return parts, nil
}

func (e *Encoder) parts(s Sample) ([]Encoded, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if s.Messages == nil {
		return e.textParts(s)
	}
	if e.template == nil {
		return nil, fmt.Errorf("%s: %w: the sample is a conversation, which only a template turns into text; add a chat_template.jinja to the model's folder", s.Where, tokenizer.ErrNoTemplate)
	}
	enc, err := e.encodeMessages(s, s.Messages)
	parts := []Encoded{enc}
	if err == nil && e.tooLong(enc) {
		switch e.long {
		case LongDrop:
			err = e.overLimit(enc)
		case LongSplit:
			parts, err = e.splitMessages(s)
		case LongKeepEnd, LongMiddle:
			parts[0], err = e.shorten(s, enc)
		default:
			parts[0], err = e.keepStart(s, enc)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Where, err)
	}
	return parts, nil
}

func (e *Encoder) tooLong(enc Encoded) bool { return e.max > 0 && len(enc.IDs) > e.max }

// overLimit is ErrTooLong for a sample that is to fit as a whole.
func (e *Encoder) overLimit(enc Encoded) error {
	return fmt.Errorf("%w: %d tokens, the limit is %d", ErrTooLong, len(enc.IDs), e.max)
}

// keepStart leaves out the last turns of a conversation that is encoded as enc.
func (e *Encoder) keepStart(s Sample, enc Encoded) (Encoded, error) {
	answers := len(enc.Turns)
	for e.tooLong(enc) {
		if len(enc.Turns) == 1 {
			return enc, fmt.Errorf("%w: %d tokens with the first answer, the limit is %d", ErrTooLong, len(enc.IDs), e.max)
		}
		var err error
		if enc, err = e.encodeMessages(s, s.Messages[:e.lastFitting(enc.Turns).Message+1]); err != nil {
			return enc, err
		}
		answers = max(answers, len(enc.Turns))
	}
	enc.Dropped = answers - len(enc.Turns)
	return enc, nil
}

// shorten takes words out of the context of a conversation that is encoded as enc, or whole
// exchanges.
func (e *Encoder) shorten(s Sample, enc Encoded) (Encoded, error) {
	answers, whole := len(enc.Turns), len(enc.IDs)
	s.Messages = slices.Clone(s.Messages)
	var numbers []int // of the messages, in the row
	for i := range s.Messages {
		numbers = append(numbers, i)
	}
	for extra := 0; e.tooLong(enc); extra++ { // what is left may take a few tokens more than it took in its place
		over := len(enc.IDs) - e.max + extra
		if !e.cutContext(&s, over) {
			head, exchanges := exchangesOf(s.Messages)
			if len(exchanges) < 2 {
				return enc, fmt.Errorf("%w: %d tokens, the limit is %d, and the longest message before the answer has too few to leave out", ErrTooLong, len(enc.IDs), e.max)
			}
			out := 0
			if e.long == LongMiddle {
				out = len(exchanges) / 2
			}
			from := len(head) + len(slices.Concat(exchanges[:out]...))
			s.Messages = slices.Delete(s.Messages, from, from+len(exchanges[out]))
			numbers = slices.Delete(numbers, from, from+len(exchanges[out]))
			s.Fact = "" // the first question may be another one now
		}
		var err error
		if enc, err = e.encodeMessages(s, s.Messages); err != nil {
			return enc, err
		}
	}
	for i := range enc.Turns {
		enc.Turns[i].Message = numbers[enc.Turns[i].Message]
	}
	enc.Dropped, enc.Removed = answers-len(enc.Turns), whole-len(enc.IDs)
	return enc, nil
}

// leastLeft is how many tokens of a context are left at least: of fewer an answer would be
// learned without what it is about.
const leastLeft = 32

// cutContext takes about so many tokens out of the context, if it has enough of them.
func (e *Encoder) cutContext(s *Sample, tokens int) bool {
	at, most := -1, 0
	for i, m := range s.Messages {
		if n := len(m.Content); m.Role != "assistant" && m.Role != "system" && m.Role != "developer" && n > most {
			at, most = i, n
		}
	}
	if at < 0 {
		return false
	}
	content := s.Messages[at].Content
	from, to := 0, len(content)
	if i := strings.Index(content, s.Context); s.Context != "" && i >= 0 {
		from, to = i, i+len(s.Context)
	}
	text := content[from:to]
	all := e.count(text)
	left := all - tokens
	if left < leastLeft {
		return false
	}
	var kept string
	if e.long == LongMiddle {
		kept = text[:wordStart(text, e.offset(text, left/2), false)] + text[wordStart(text, e.offset(text, all-left+left/2), true):]
	} else {
		kept = text[wordStart(text, e.offset(text, tokens), true):]
	}
	s.Messages[at].Content = content[:from] + kept + content[to:]
	if s.Context != "" {
		s.Context = kept
	}
	if !strings.Contains(kept, s.Fact) {
		s.Fact = ""
	}
	return true
}

// count is how many tokens a text has.
func (e *Encoder) count(text string) int { return len(e.tokenizer.Encode(text, false)) }

// offset is where about so many tokens of a text end, between two characters. It halves what it
// looks at, so that it encodes no more than twice the text.
func (e *Encoder) offset(text string, tokens int) int {
	from, to := 0, len(text)
	for to-from > utf8.UTFMax {
		middle := from + (to-from)/2
		for !utf8.RuneStart(text[middle]) {
			middle--
		}
		if middle == from {
			break
		}
		if n := e.count(text[from:middle]); n > tokens {
			to = middle
		} else {
			from, tokens = middle, tokens-n
		}
	}
	return from
}

// wordStart moves an offset to where a word begins: the next one, or the last one before it.
// Texts without spaces stay as they are.
func wordStart(text string, at int, next bool) int {
	const most = 64 // bytes, which no word has
	if at == 0 || at == len(text) {
		return at
	}
	if next {
		for i, r := range text[at:min(len(text), at+most)] {
			if unicode.IsSpace(r) {
				return at + i + utf8.RuneLen(r)
			}
		}
		return at
	}
	if i := strings.LastIndexFunc(text[max(0, at-most):at], unicode.IsSpace); i >= 0 {
		return max(0, at-most) + i + 1
	}
	return at
}

// exchangesOf cuts messages where a user speaks after an answer. Those before the first that is not the system's are the head.
func exchangesOf(messages []tokenizer.Message) (head []tokenizer.Message, exchanges [][]tokenizer.Message) {
	n := 0
	for n < len(messages) && (messages[n].Role == "system" || messages[n].Role == "developer") {
		n++
	}
	head, messages = messages[:n:n], messages[n:]
	from := 0
	for i := 1; i <= len(messages); i++ {
		if i == len(messages) || messages[i].Role == "user" && messages[i-1].Role == "assistant" {
			exchanges, from = append(exchanges, messages[from:i:i]), i
		}
	}
	return head, exchanges
}

// splitMessages makes samples of runs of exchanges, each as long as the limit lets it be.
func (e *Encoder) splitMessages(s Sample) (parts []Encoded, err error) {
	head, rest := exchangesOf(s.Messages)
	for first := 0; len(rest) > 0; {
		n, fits := len(rest), Encoded{}
		for {
			messages := slices.Concat(head, slices.Concat(rest[:n]...))
			if fits, err = e.encodeMessages(s, messages); err != nil {
				return nil, err
			}
			if !e.tooLong(fits) {
				break
			}
			if n == 1 {
				return nil, fmt.Errorf("%w: %d tokens with message %d and its answer alone, the limit is %d", ErrTooLong, len(fits.IDs), len(head)+first+1, e.max)
			}
			n = e.fitting(fits, rest[:n], len(head))
		}
		for i := range fits.Turns { // as they are counted in the row
			fits.Turns[i].Message += first
		}
		for _, exchange := range rest[:n] {
			first += len(exchange)
		}
		parts, rest = append(parts, fits), rest[n:]
		s.Fact = "" // that of the first question
	}
	return parts, nil
}

// fitting is how many of the exchanges of a conversation that is too long end within the limit:
// at least one, and not all.
func (e *Encoder) fitting(enc Encoded, exchanges [][]tokenizer.Message, head int) int {
	last := head - 1 // message of the exchange
	for n, exchange := range exchanges {
		last += len(exchange)
		at := slices.IndexFunc(enc.Turns, func(t Turn) bool { return t.Message == last })
		if at >= 0 && enc.Turns[at].End > e.max {
			return min(max(n, 1), len(exchanges)-1)
		}
	}
	return len(exchanges) - 1
}

// textParts encodes a plain text. What the tokenizer puts around one stands around each part
// of it, other than where its start is kept.
func (e *Encoder) textParts(s Sample) ([]Encoded, error) {
	ids := e.tokenizer.Encode(s.Text, true)
	part := func(ids []int32, cut bool) Encoded {
		return Encoded{Where: s.Where, IDs: ids, Loss: make([]bool, len(ids)), Cut: cut}
	}
	if e.max == 0 || len(ids) <= e.max {
		return []Encoded{part(ids, false)}, nil
	}
	switch e.long {
	case LongDrop:
		return nil, fmt.Errorf("%s: %w", s.Where, e.overLimit(part(ids, false)))
	case LongKeepEnd, LongMiddle, LongSplit:
	default:
		return []Encoded{part(ids[:e.max], true)}, nil
	}
	before, text, after := e.around(s.Text, ids)
	most := e.max - len(before) - len(after)
	if most < 1 {
		return nil, fmt.Errorf("%s: %w: the tokenizer puts %d tokens around a text, and the limit is %d", s.Where, ErrTooLong, len(before)+len(after), e.max)
	}
	switch e.long {
	case LongKeepEnd:
		text = text[len(text)-most:]
	case LongMiddle:
		text = slices.Concat(text[:most/2], text[len(text)-(most-most/2):])
	default:
		n := (len(text) + most - 1) / most
		parts := make([]Encoded, n)
		for i := range parts {
			parts[i] = part(slices.Concat(before, text[i*len(text)/n:(i+1)*len(text)/n], after), false)
		}
		return parts, nil
	}
	return []Encoded{part(slices.Concat(before, text, after), true)}, nil
}

// around divides the tokens of a text from what the tokenizer puts before and behind it.
func (e *Encoder) around(text string, ids []int32) (before, inner, after []int32) {
	inner = e.tokenizer.Encode(text, false)
	n := len(inner)
	more := len(ids) - n
	if more <= 0 {
		return nil, ids, nil
	}
	lead := 0
	for lead < more && !slices.Equal(ids[lead:lead+n], inner) {
		lead++
	}
	return ids[:lead], ids[lead : lead+n], ids[lead+n:]
}
