package synth

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"eisft/internal/enum"
	"eisft/model/tokenizer"
)

// Kind is a kind of fact that is hidden in a long text: those of RULER (Hsieh et al., arXiv
// 2404.06654) whose depth can be chosen.
type Kind string

// The kinds. Each is an entry of the table of kinds.
const (
	KindNeedle     Kind = "needle"     // a key and its number
	KindMultiKey   Kind = "multikey"   // four keys, one of which is asked for
	KindMultiValue Kind = "multivalue" // a key with four numbers, all asked for
	KindMultiQuery Kind = "multiquery" // four keys, all asked for
	KindKeyValue   Kind = "keyvalue"   // one of as many pairs as there is room for
	KindVariables  Kind = "variables"  // a chain of five assignments, all of one value
	// KindConversation is a fact of a conversation of [Generate], among others.
	KindConversation Kind = "conversation_qa"
	// KindInterview are facts of one conversation, at all depths: what is read once is asked
	// for many.
	KindInterview Kind = "interview"
)

var kinds = enum.NewTable[Kind, kind]("kind").
	With(KindNeedle, kind{"one number in the text", numbers(1, 1, 1), "Read this text. It has a secret number in it that is asked for below."}).
	With(KindMultiKey, kind{"one of four numbers", numbers(4, 1, 1), "Read this text. It has secret numbers in it, one of which is asked for below."}).
	With(KindMultiValue, kind{"four numbers of one key", numbers(1, 4, 1), "Read this text. It has secret numbers in it that are asked for below."}).
	With(KindMultiQuery, kind{"four numbers of four keys", numbers(4, 1, 4), "Read this text. It has secret numbers in it that are asked for below."}).
	With(KindKeyValue, kind{"one of many pairs of keys and values, without other text", pairs, "Each of these lines has a key and its value. One of the values is asked for below."}).
	With(KindVariables, kind{"a chain of variables", variables, "Some lines of this text assign a value to a variable. Keep track of them."}).
	With(KindConversation, kind{title: "a fact of a conversation as the demo base knows them, without other text"}).
	With(KindInterview, kind{title: "facts of such a conversation, one at each of the depths"})

// kind is what the table of kinds knows of one.
type kind struct {
	title string
	// hide makes what is hidden in a text, and tell stands before it. Nil for a conversation,
	// which has facts of its own.
	hide func(random *rand.Rand) hidden
	tell string
}

// Kinds lists all kinds.
func Kinds() []Kind { return kinds.Names() }

// Title is what people are told about the kind.
func (k Kind) Title() string { return kinds.Get(k).title }

// Haystacks reports whether a kind hides its facts in a text.
func (k Kind) Haystacks() bool {
	return k != KindKeyValue && k != KindConversation && k != KindInterview
}

// KindPrompts are the prompt templates (data.Options.Prompts) of made files, by kind.
func KindPrompts() map[string]string {
	out := map[string]string{}
	for _, k := range kinds.Names() {
		out[string(k)] = kinds.Get(k).tell + "\n\n{context}\n\n{input}"
	}
	out[string(KindConversation)] = Prompts()[string(KindConversation)]
	out[string(KindInterview)] = out[string(KindConversation)]
	return out
}

// hidden is what a text hides.
type hidden struct {
	asked   []string // the lines that are asked for, in order
	others  []string // lines like them that are not
	input   string
	answers []string
	// more, if not nil, makes the lines around the others; nil: they are the haystack's.
	more func() string
}

// numbers hides so many keys with so many values each, and asks for some of the keys
// (RULER's niah).
func numbers(keys, values, asked int) func(*rand.Rand) hidden {
	return func(random *rand.Rand) hidden {
		var h hidden
		var names []string
		unique := distinct{}
		for k := range keys {
			name := unique.draw(func() string { return "the " + pick(random, adjectives) + " " + pick(random, nouns) })
			for range values {
				v := unique.draw(func() string { return fmt.Sprint(1_000_000 + random.IntN(9_000_000)) })
				line := fmt.Sprintf("The secret number of %s is %s.", name, v)
				if k >= asked {
					h.others = append(h.others, line)
					continue
				}
				h.asked, h.answers = append(h.asked, line), append(h.answers, v)
			}
			if k < asked {
				names = append(names, name)
			}
		}
		if len(h.answers) == 1 {
			h.input = fmt.Sprintf("What is the secret number of %s?", names[0])
		} else {
			h.input = fmt.Sprintf("What are all the secret numbers of %s?", list(names))
		}
		return h
	}
}

// pairs hides a pair among others of the same kind (RULER's niah with needles around).
func pairs(random *rand.Rand) hidden {
	unique := distinct{}
	id := func() string { return unique.draw(func() string { return fmt.Sprintf("%08x", random.Uint32()) }) }
	key, value := id(), id()
	return hidden{
		asked: []string{key + ": " + value}, answers: []string{value},
		input: fmt.Sprintf("What is the value of the key %s?", key),
		more:  func() string { return id() + ": " + id() },
	}
}

// hops is how many variables get their value from another one.
const hops = 4

// variables hides a chain of assignments (RULER's variable tracking).
func variables(random *rand.Rand) hidden {
	var h hidden
	unique := distinct{}
	value := fmt.Sprint(10_000 + random.IntN(90_000))
	for i := range hops + 1 {
		name := unique.draw(func() string {
			letters := make([]byte, 5)
			for i := range letters {
				letters[i] = byte('A' + random.IntN(26))
			}
			return string(letters)
		})
		line := fmt.Sprintf("VAR %s = %s", name, value)
		if i > 0 {
			line = fmt.Sprintf("VAR %s = VAR %s", name, h.answers[i-1])
		}
		h.asked, h.answers = append(h.asked, line), append(h.answers, name)
	}
	h.input = fmt.Sprintf("Find all variables that have the value %s, and give their names.", value)
	return h
}

// distinct remembers what was drawn, so that nothing is twice.
type distinct map[string]bool

func (d distinct) draw(one func() string) string {
	for {
		if v := one(); !d[v] {
			d[v] = true
			return v
		}
	}
}

// list joins names as a sentence does.
func list(names []string) string {
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

var (
	adjectives = strings.Fields("amber brave calm clever cold crimson dusty eager early faint fancy gentle giant golden grand hasty hidden hollow humble icy jolly late lively lonely lucky mellow misty narrow noble odd pale patient plain proud quick quiet rapid rusty sandy shy silent silver simple sleepy small steady stormy sunny swift tidy tiny warm wild wise young")
	nouns      = strings.Fields("anchor badger bakery barrel beacon bicycle bridge cabin candle canyon castle cellar clock comet compass cottage desert eagle engine falcon farmer ferry forest fountain garden glacier harbor hedgehog island kettle ladder lantern library lighthouse market meadow mill mirror museum orchard otter paddle parrot pepper piano pilot quarry raven river rocket sailor shelter stable statue tailor temple tower tractor tunnel turtle valley violin wagon walrus whistle window wizard")
)

// lineWords is how many words a line of a haystack has at most.
const lineWords = 25

// Haystack is a text in lines: its sentences, long ones in pieces.
type Haystack struct {
	lines  []string
	tokens []int // of each line with its end; 0: not counted yet
}

// NewHaystack cuts a text into lines. It fails for one without words.
func NewHaystack(text string) (*Haystack, error) {
	h := &Haystack{}
	var line []string
	for _, w := range strings.Fields(text) {
		line = append(line, w)
		if len(line) == lineWords || strings.ContainsAny(w[len(w)-1:], ".!?") || strings.HasSuffix(w, "。") {
			h.lines, line = append(h.lines, strings.Join(line, " ")), nil
		}
	}
	if len(line) > 0 {
		h.lines = append(h.lines, strings.Join(line, " "))
	}
	if len(h.lines) == 0 {
		return nil, fmt.Errorf("synth: the text has no words to hide facts between")
	}
	h.tokens = make([]int, len(h.lines))
	return h, nil
}

// at is a line and its tokens; behind the last comes the first.
func (h *Haystack) at(i int, tk *tokenizer.Tokenizer) (string, int) {
	i %= len(h.lines)
	if h.tokens[i] == 0 {
		h.tokens[i] = lineTokens(h.lines[i], tk)
	}
	return h.lines[i], h.tokens[i]
}

func lineTokens(line string, tk *tokenizer.Tokenizer) int { return len(tk.Encode(line+"\n", false)) }

// Row is a row of LongBench's form.
type Row struct {
	ID      string   `json:"_id" parquet:"_id"`
	Dataset string   `json:"dataset" parquet:"dataset,dict"`
	Context string   `json:"context" parquet:"context"`
	Input   string   `json:"input" parquet:"input"`
	Answers []string `json:"answers" parquet:"answers,list"`
	Length  int      `json:"length" parquet:"length"` // in tokens
	Depth   float64  `json:"depth" parquet:"depth"`   // of the first line that is asked for
}

// Hide makes a row of a kind: the question, put by its prompt template, has at most so many
// tokens, counted with tk and with 32 left for the chat template, and falls short of them by
// less than a line. The first line that is asked for lies as near to depth, from 0 for the
// beginning of the text to 1 for its end, as lines allow, further ones at random behind it.
// The text begins anywhere in the haystack (nil for kinds that have none) and goes round. The
// same arguments make the same row. It fails where tokens are too few.
func Hide(k Kind, random *rand.Rand, tokens int, depth float64, text *Haystack, tk *tokenizer.Tokenizer) (Row, error) {
	made, err := kinds.Find(k)
	if err != nil {
		return Row{}, err
	}
	if made.hide == nil {
		return talk(k, random, tokens, depth, tk)
	}
	h := made.hide(random)
	room := tokens - templateTokens - len(tk.Encode(made.tell+"\n\n\n\n"+h.input, false))
	for _, line := range slices.Concat(h.asked, h.others) {
		room -= lineTokens(line, tk)
	}
	if room < 0 {
		return Row{}, fmt.Errorf("synth: %d tokens are too few for %s: what is hidden and asked takes %d more", tokens, k, -room)
	}
	around := h.fill(random, room, text, tk)
	lines, at := h.insert(random, around, depth)
	return Row{
		Dataset: string(k), Context: strings.Join(lines, "\n"), Input: h.input, Answers: h.answers,
		Length: tokens, Depth: float64(at) / float64(len(lines)),
	}, nil
}

// talk makes a row of the fact of a conversation that is nearest to depth.
func talk(k Kind, random *rand.Rand, tokens int, depth float64, tk *tokenizer.Tokenizer) (Row, error) {
	c, lines := conversation(random, tokens, tk)
	f, ok := factNear(c.Facts, lines, depth)
	if !ok {
		return Row{}, tooFew(tokens)
	}
	return Row{
		Dataset: string(k), Context: strings.Join(c.Lines[:lines], "\n"), Input: f.Question, Answers: []string{f.Answer},
		Length: tokens, Depth: float64(f.Line) / float64(lines),
	}, nil
}

// fill makes as many lines as there is room for.
func (h hidden) fill(random *rand.Rand, room int, text *Haystack, tk *tokenizer.Tokenizer) []string {
	var out []string
	start := 0
	if h.more == nil {
		start = random.IntN(len(text.lines))
	}
	for i := start; ; i++ {
		var line string
		var n int
		if h.more != nil {
			line = h.more()
			n = lineTokens(line, tk)
		} else {
			line, n = text.at(i, tk)
		}
		if room -= n; room < 0 {
			return out
		}
		out = append(out, line)
	}
}

// insert puts what is hidden between lines, and returns where the first line that is asked
// for is.
func (h hidden) insert(random *rand.Rand, around []string, depth float64) (lines []string, at int) {
	n := len(around)
	first := int(depth*float64(n) + 0.5)
	gaps := make([][]string, n+1) // what stands before each line, and at the end
	later := []int{first}
	for range h.asked[1:] {
		later = append(later, first+random.IntN(n+1-first))
	}
	slices.Sort(later) // a chain stays in order
	for i, gap := range later {
		gaps[gap] = append(gaps[gap], h.asked[i])
	}
	for _, line := range h.others {
		gap := random.IntN(n + 1)
		gaps[gap] = append(gaps[gap], line)
	}
	for i, gap := range gaps {
		lines = append(lines, gap...)
		if i < n {
			lines = append(lines, around[i])
		}
	}
	return lines, slices.Index(lines, h.asked[0])
}
