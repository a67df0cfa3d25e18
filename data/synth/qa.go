package synth

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"eisft/data"
	"eisft/model/tokenizer"
)

// templateTokens is left free for what a chat template puts around the turns.
const templateTokens = 32

// QA makes count conversations, each with one question about a fact in it. A sample has
// at most tokens tokens, counted with tk and with 32 left for the chat template, and
// falls short of them by less than two lines. The facts lie evenly over the depths: the i-th
// sample asks for the one that is nearest to depth (i+½)/count. The same arguments make
// the same samples. It fails if tokens are too few for a fact and a question.
func QA(seed uint64, tokens, count int, tk *tokenizer.Tokenizer) ([]data.Sample, error) {
	samples := make([]data.Sample, count)
	for i := range samples {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		depth := (float64(i) + 0.5) / float64(count)
		s, err := needle(random, tokens, depth, tk)
		if err != nil {
			return nil, err
		}
		s.ID = fmt.Sprintf("needle-%d-%d", tokens, i)
		s.Where = fmt.Sprintf("synth seed %d:%s", seed, s.ID)
		samples[i] = s
	}
	return samples, nil
}

// needle makes one sample whose fact is as near to depth as there is one.
func needle(random *rand.Rand, tokens int, depth float64, tk *tokenizer.Tokenizer) (data.Sample, error) {
	c, lines := conversation(random, tokens, tk)
	f, ok := factNear(c.Facts, lines, depth)
	if !ok {
		return data.Sample{}, tooFew(tokens)
	}
	return c.sample(f, lines, tk), nil
}

// Interview makes one conversation and count questions about facts that lie evenly over
// it, each a sample of its own as from QA; fewer if it has not so many facts. The samples
// begin alike, so that the conversation has to be read only once.
func Interview(seed uint64, tokens, count int, tk *tokenizer.Tokenizer) ([]data.Sample, error) {
	random := rand.New(rand.NewPCG(seed, 0))
	c, lines := conversation(random, tokens, tk)
	facts := c.Facts[:0:0]
	for _, f := range c.Facts {
		if f.Line < lines {
			facts = append(facts, f)
		}
	}
	if len(facts) == 0 {
		return nil, tooFew(tokens)
	}
	count = min(count, len(facts))
	samples := make([]data.Sample, count)
	for i := range samples {
		samples[i] = c.sample(facts[(2*i+1)*len(facts)/(2*count)], lines, tk)
		samples[i].ID = fmt.Sprintf("interview-%d-%d", tokens, i)
		samples[i].Where = fmt.Sprintf("synth seed %d:%s", seed, samples[i].ID)
	}
	return samples, nil
}

// conversation makes one that, cut to the returned number of lines, leaves room in tokens
// for a question.
func conversation(random *rand.Rand, tokens int, tk *tokenizer.Tokenizer) (Conversation, int) {
	factEvery := pick(random, []float64{3, 4, 6})
	for chars := max(1000, 5*tokens); ; chars *= 2 { // about 4 characters a token
		c := Generate(random, chars, factEvery)
		if lines := fitting(c, tokens, tk); lines < len(c.Lines) { // else a coarser tokenizer: more text is needed
			return c, lines
		}
	}
}

func tooFew(tokens int) error {
	return fmt.Errorf("synth: %d tokens are too few for a conversation with a fact: want 256 or more", tokens)
}

// sample asks for a fact of the conversation's first lines.
func (c Conversation) sample(f Fact, lines int, tk *tokenizer.Tokenizer) data.Sample {
	text := UserMessage(strings.Join(c.Lines[:lines], "\n"), question(f.Question))
	return data.Sample{
		Dataset:  "conversation_qa",
		Messages: []tokenizer.Message{{Role: "user", Content: text}, {Role: "assistant", Content: f.Answer}},
		Answers:  []string{f.Answer},
		Depth:    float64(f.Line) / float64(lines),
		Fact:     c.Lines[f.Line],
		Length:   len(tk.Encode(text, false)),
	}
}

// fitting is how many lines leave room for the longest question with its answer.
func fitting(c Conversation, tokens int, tk *tokenizer.Tokenizer) int {
	count := func(text string) int { return len(tk.Encode(text, false)) }
	longest := 0
	for _, f := range c.Facts {
		longest = max(longest, count(question(f.Question))+count(f.Answer))
	}
	room := tokens - templateTokens - count(UserMessage("", "")) - longest
	for i, line := range c.Lines {
		if room -= count(line + "\n"); room < 0 {
			return i
		}
	}
	return len(c.Lines)
}

// factNear returns the fact in the first lines that is nearest to depth.
func factNear(facts []Fact, lines int, depth float64) (Fact, bool) {
	distance := func(f Fact) float64 { return math.Abs(float64(f.Line) - depth*float64(lines)) }
	var best Fact
	found := false
	for _, f := range facts {
		if f.Line < lines && (!found || distance(f) < distance(best)) {
			best, found = f, true
		}
	}
	return best, found
}
