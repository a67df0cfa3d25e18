package synth

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Conversation is a talk of two to four people, one line a turn: "Name: what they say".
type Conversation struct {
	Lines     []string
	Facts     []Fact
	Actions   []string // the items of a summary, in the order they were said
	Decisions []string
}

// Fact is something said once that can be asked for. No other line of the conversation
// answers the question.
type Fact struct {
	Line             int // index in Lines
	Question, Answer string
}

// Generate makes a conversation of about chars characters in which every factEvery-th
// line, on average, states a fact. It is determined by the random source's state.
func Generate(random *rand.Rand, chars int, factEvery float64) Conversation {
	g := newGenerator(random, chars)
	for slot, size := 0, 0; size < chars; slot++ {
		g.nextSpeaker()
		text, ok := g.say(slot, factEvery)
		if !ok {
			continue
		}
		line := g.speaker + ": " + text
		g.out.Lines = append(g.out.Lines, line)
		size += len(line) + 1
	}
	return g.out
}

// generator is a conversation being made.
type generator struct {
	*world
	random   *rand.Rand
	speakers []string
	others   []string // people who are only talked about
	speaker  string
	planned  map[int]*plan // by slot: a turn that announces something
	used     map[string]bool
	out      Conversation
}

// plan says what kind of thing a turn announces and where its summary goes.
type plan struct {
	announcement
	items *[]string
}

func newGenerator(random *rand.Rand, chars int) *generator {
	g := &generator{world: load(), random: random, planned: map[int]*plan{}, used: map[string]bool{}}
	names := slices.Clone(g.Lists["name"])
	random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	n := 2 + random.IntN(3)
	g.speakers, g.others = names[:n], names[n:]
	g.speaker = pick(random, g.speakers)
	const charsPerLine = 50
	slots := max(4, chars/charsPerLine)
	for range pick(random, []int{0, 2, 3, 4, 5, 6}) {
		g.planned[random.IntN(slots)] = &plan{g.world.Actions, &g.out.Actions}
	}
	for range random.IntN(4) {
		g.planned[random.IntN(slots)] = &plan{g.world.Decisions, &g.out.Decisions}
	}
	return g
}

func (g *generator) nextSpeaker() {
	for last := g.speaker; g.speaker == last; {
		g.speaker = pick(g.random, g.speakers)
	}
}

// say returns what the speaker says in a slot; false if it would repeat a fact.
func (g *generator) say(slot int, factEvery float64) (string, bool) {
	env := map[string]string{"name": g.speaker}
	if p := g.planned[slot]; p != nil {
		text := g.fill(pick(g.random, p.Say), env)
		*p.items = append(*p.items, g.fill(p.Item, env))
		return text, true
	}
	if g.random.Float64() < 1/factEvery {
		return g.fact(env)
	}
	text := g.filler()
	if g.random.IntN(3) == 0 {
		text += " " + g.filler()
	}
	return text, true
}

func (g *generator) filler() string {
	return g.fill(pick(g.random, g.Filler), map[string]string{"name": g.speaker})
}

// fact states a fact about something no other fact of its kind was about.
func (g *generator) fact(env map[string]string) (string, bool) {
	f := pick(g.random, g.world.Facts)
	env["name2"] = pick(g.random, g.others)
	text := g.fill(pick(g.random, f.Say), env)
	key := f.ID
	for _, slot := range f.Key {
		key += "\x00" + env[slot]
	}
	if g.used[key] {
		return "", false
	}
	g.used[key] = true
	g.out.Facts = append(g.out.Facts, Fact{len(g.out.Lines), g.fill(pick(g.random, f.Ask), env), g.fill(f.Answer, env)})
	if g.random.Float64() < 0.4 {
		text += " " + g.filler()
	}
	return text, true
}

// fill replaces the slots of a template. A slot has one value in an env; new ones are
// drawn and may have slots themselves.
func (g *generator) fill(template string, env map[string]string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(template, "{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		slot, after, _ := strings.Cut(rest, "}")
		if _, ok := env[slot]; !ok {
			env[slot] = g.fill(g.value(slot), env)
		}
		b.WriteString(env[slot])
		template = after
	}
}

// value draws a value for a slot.
func (g *generator) value(slot string) string {
	r := g.random
	switch slot {
	case "money": // 1,000 to 99,900
		return fmt.Sprintf("%d,%d00", 1+r.IntN(99), r.IntN(10))
	case "date":
		return pick(r, g.Lists["month"]) + " " + strconv.Itoa(1+r.IntN(28))
	case "time":
		return fmt.Sprintf("%d:%02d %s", 1+r.IntN(12), 15*r.IntN(4), pick(r, []string{"am", "pm"}))
	case "n4":
		return strconv.Itoa(1000 + r.IntN(9000))
	case "num":
		return strconv.Itoa(2 + r.IntN(59))
	case "name2":
		return pick(r, g.Lists["name"])
	}
	return pick(r, g.Lists[slot])
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }
