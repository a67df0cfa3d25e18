package data

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"eisft/model/tokenizer"
)

// conversation is a rendered conversation whose answers are looked for.
type conversation struct {
	encoder   *Encoder
	messages  []tokenizer.Message
	variables []tokenizer.Field
	text      string
	ends      []tokenizer.Token // that end an answer
	mark      string            // stands in the place of an answer; the text does not have it
}

// span is where an answer stands in a rendered conversation, in bytes.
type span struct {
	message int
	start   int // of what the model has to produce
	own     int // behind the message's own text
	end     tokenizer.Token
	endAt   int    // where the text has the end, at own or behind white space
	unused  string // what the generation prompt has behind start, and the text has not
}

// render renders messages, of which the last is an answer.
func (e *Encoder) render(messages []tokenizer.Message, variables []tokenizer.Field) (*conversation, error) {
	c := &conversation{encoder: e, messages: messages, variables: variables}
	var err error
	if c.ends, err = e.ends(); err != nil {
		return nil, err
	}
	for i, m := range messages {
		for _, end := range c.ends {
			if strings.Contains(m.Content, end.Text) {
				return nil, fmt.Errorf("message %d contains %s, which ends a turn", i+1, end.Text)
			}
		}
	}
	if c.text, err = c.renderPart(messages, false); err != nil {
		return nil, c.nullContent(err)
	}
	for n := 0; c.mark == "" || strings.Contains(c.text, c.mark); n++ {
		c.mark = fmt.Sprintf("Answer%dHere", n)
	}
	return c, nil
}

// nullContent says of an error in rendering that it is for a content that is null, where the
// template renders an empty one.
func (c *conversation) nullContent(failed error) error {
	null := slices.IndexFunc(c.messages, hasNull)
	if null < 0 {
		return failed
	}
	if _, err := c.renderPart(withoutField(c.messages, "content"), false); err != nil {
		return failed
	}
	return fmt.Errorf("message %d: the content is null, at which the chat template fails; it renders the conversation with an empty one, \"\", in its place: %w", null+1, failed)
}

// hasNull reports a content that is null.
func hasNull(m tokenizer.Message) bool {
	return slices.ContainsFunc(m.Fields, func(f tokenizer.Field) bool {
		return f.Name == "content" && string(f.Value) == "null"
	})
}

// renderPart renders messages; prompt asks for the generation prompt behind them.
func (c *conversation) renderPart(messages []tokenizer.Message, prompt bool) (string, error) {
	text, err := c.encoder.template.Render(messages, tokenizer.RenderOptions{GenerationPrompt: prompt, Variables: c.variables})
	if err != nil {
		return "", fmt.Errorf("chat template: %w", err)
	}
	return text, nil
}

// changed renders messages with other words in the place of answer i and returns what
// stands before and behind them; ok is false where the template does not do that.
func (c *conversation) changed(messages []tokenizer.Message, i int) (head, tail string, ok bool) {
	messages = slices.Clone(messages)
	messages[i] = tokenizer.Message{Role: "assistant", Content: c.mark} // without its fields
	text, err := c.renderPart(messages, false)
	if err != nil || strings.Count(text, c.mark) != 1 {
		return "", "", false
	}
	return strings.Cut(text, c.mark)
}

// spans finds all answers.
func (c *conversation) spans() ([]span, error) {
	var spans []span
	for i, m := range c.messages {
		if m.Role != "assistant" {
			continue
		}
		s, err := c.start(i)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i+1, err)
		}
		spans = append(spans, s)
	}
	tails := c.tails(spans)
	for k := range spans {
		limit, behind := len(c.text), -1
		if k+1 < len(spans) {
			limit = spans[k+1].start
		}
		if tails != nil {
			behind = cutSuffix(c.text[:limit], tails[k])
		}
		if err := c.finish(&spans[k], behind); err != nil {
			return nil, fmt.Errorf("message %d: %w", spans[k].message+1, err)
		}
	}
	return spans, nil
}

// start finds where answer i starts: behind its prompt, as far as the text repeats that.
func (c *conversation) start(i int) (span, error) {
	prompt, err := c.renderPart(c.messages[:i], true)
	if err != nil {
		return span{}, err
	}
	if strings.HasPrefix(c.text, prompt) {
		return span{message: i, start: len(prompt)}, nil
	}
	before, err := c.renderPart(c.messages[:i], false)
	if err != nil {
		return span{}, err
	}
	n := commonPrefix([]byte(c.text), []byte(prompt))
	if len(before) > n || !strings.HasPrefix(prompt, before) {
		return span{}, fmt.Errorf("the chat template renders the turns before this answer differently when they are followed by it: at byte %d %q, without it %q; a conversation that ends with this answer may be rendered alike", n, excerpt(c.text[n:]), excerpt(prompt[n:]))
	}
	// What stands before the answer whatever its words are is the template's, not its own.
	head, _, ok := c.changed(c.messages, i)
	if !ok || !strings.HasPrefix(c.text, head) {
		return span{}, fmt.Errorf("the chat template's generation prompt goes on with %q where this answer goes on with %q: with the template's options (data.template_options) as they are, the model is not asked for such an answer", excerpt(prompt[n:]), excerpt(c.text[n:]))
	}
	at := len(head)
	if at > n { // not within a word or a tag
		at = len(before) + 1 + strings.LastIndexAny(c.text[len(before):n], ">] \n")
	}
	return span{message: i, start: at, unused: prompt[at:]}, nil
}

// finish finds where an answer ends: where what follows it, whatever its words are,
// begins. behind is where that was found with other words in the place of all answers;
// -1 if it was not. Where the template does not render these (it may want tool calls
// in their place), other words in the place of this answer alone tell the same, or the text
// without the messages behind it.
func (c *conversation) finish(s *span, behind int) error {
	failed := error(nil)
	for _, find := range []func() int{
		func() int { return behind },
		func() int { return c.behindChanged(s.message) },
		func() int { return c.ownEnd(s) },
	} {
		own := find()
		if own < s.start {
			continue
		}
		err := c.close(s, own)
		if err == nil {
			return errors.Join(c.hasWords(*s), c.isAlone(*s))
		}
		if failed == nil {
			failed = err
		}
	}
	if failed != nil {
		return failed
	}
	return fmt.Errorf("the chat template does not end this answer with %s", c.endNames())
}

// behindChanged is where the text goes on behind answer i, found with other words in its
// place; -1 if it cannot be found so.
func (c *conversation) behindChanged(i int) int {
	_, tail, ok := c.changed(c.messages, i)
	if !ok {
		return -1
	}
	return cutSuffix(c.text, tail)
}

// ownEnd is where the special token stands that ends the text without the messages behind
// an answer; -1 if there is none. Tool calls may end with a token of their own.
func (c *conversation) ownEnd(s *span) int {
	alone, err := c.renderPart(c.messages[:s.message+1], false)
	if err != nil || len(alone) < s.start || !strings.HasPrefix(c.text, strings.TrimSpace(alone)) {
		return -1
	}
	own := strings.TrimRightFunc(alone[s.start:], unicode.IsSpace)
	at := strings.LastIndexByte(own, '<') // of tokens as they are written today
	for ; at >= 0; at = strings.LastIndexByte(own[:at], '<') {
		if end, ok := c.encoder.tokenizer.SpecialAt(own[at:]); ok && end.Text == own[at:] {
			s.end = end
			return s.start + at
		}
		if len(own)-at > 64 {
			break
		}
	}
	return -1
}

// close settles that an answer's own text ends at own, where a token that ends answers
// must follow.
func (c *conversation) close(s *span, own int) error {
	rest := c.text[own:]
	end, ok := c.encoder.tokenizer.SpecialAt(rest)
	if !ok || end != s.end && !slices.Contains(c.ends, end) {
		return fmt.Errorf("the chat template does not end this answer with %s: %q follows", c.endNames(), excerpt(rest))
	}
	for _, e := range append([]tokenizer.Token{end}, c.ends...) {
		if strings.Contains(c.text[s.start:own], e.Text) {
			return fmt.Errorf("this answer contains %s, which ends a turn", e.Text)
		}
	}
	s.own, s.end = own, end
	s.endAt = own + strings.Index(rest, end.Text)
	return nil
}

// hasWords reports an answer of which the template has rendered nothing, or a content that
// is null as Python's None.
func (c *conversation) hasWords(s span) error {
	m, text := c.messages[s.message], strings.TrimSpace(c.text[s.start:s.own])
	if text == "" {
		return errors.New("the chat template renders nothing of this answer")
	}
	if hasNull(m) && strings.HasPrefix(text, "None") {
		return fmt.Errorf("the content is null, for which the chat template writes %q; it does not know such messages, give the answer a content", excerpt(text))
	}
	return nil
}

// isAlone reports an answer that holds what the tool behind it has said: the rendered
// answer changes with that.
func (c *conversation) isAlone(s span) error {
	next := s.message + 1
	if next == len(c.messages) || c.messages[next].Role == "user" {
		return nil
	}
	messages := slices.Clone(c.messages)
	for ; next < len(messages) && messages[next].Role != "assistant"; next++ {
		messages[next].Content = c.mark
	}
	text, err := c.renderPart(messages, false)
	if err != nil || strings.HasPrefix(text, c.text[:s.own]) { // some templates read what a tool says
		return nil
	}
	n := commonPrefix([]byte(c.text), []byte(text))
	return fmt.Errorf("the chat template renders message %d within this answer, so that it would be learned: %q", s.message+2, excerpt(c.text[n:]))
}

// endNames lists the tokens that end an answer, for messages.
func (c *conversation) endNames() string {
	var names []string
	for _, e := range c.ends {
		names = append(names, e.Text)
	}
	return strings.Join(names, " or ")
}

// tails renders the conversation with other words, each its own, in the place of all its
// answers and returns what follows each of them, up to the next one; nil if the template
// does not render that.
func (c *conversation) tails(spans []span) (tails []string) {
	messages := slices.Clone(c.messages)
	words := make([]string, len(spans))
	for k, s := range spans {
		words[k] = c.mark + strconv.Itoa(k) + "."
		messages[s.message] = tokenizer.Message{Role: "assistant", Content: words[k]}
	}
	text, err := c.renderPart(messages, false)
	if err != nil {
		return nil
	}
	for k := range spans {
		head, tail, ok := strings.Cut(text, words[k])
		if !ok {
			return nil
		}
		if k > 0 {
			tails = append(tails, head)
		}
		text = tail
	}
	return append(tails, text)
}

// cutSuffix is where a text's suffix begins; -1 if it does not end with that.
func cutSuffix(text, suffix string) int {
	if before, ok := strings.CutSuffix(text, suffix); ok {
		return len(before)
	}
	return -1
}

// excerpt is the beginning of a text, for messages.
func excerpt(s string) string { return strings.ToValidUTF8(s[:min(len(s), 40)], "") }
