package data_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"eisft/data"
	"eisft/model/tokenizer"
)

// words are n different ones.
func words(name string, n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%s%d", name, i))
	}
	return strings.Join(all, " ")
}

// longRowText is a question about a long context.
func asking(context, question, answer string) data.Sample {
	prompt := "Read this.\n\n" + context + "\n\nQuestion: " + question
	return data.Sample{Where: "a:row 1", Context: context, Messages: []tokenizer.Message{{Role: "user", Content: prompt}, {Role: "assistant", Content: answer}}}
}

func talk(where string, turns ...string) data.Sample {
	s := data.Sample{Where: where}
	for i, content := range turns {
		s.Messages = append(s.Messages, tokenizer.Message{Role: []string{"user", "assistant"}[i%2], Content: content})
	}
	return s
}

// parts encodes a sample, checks that each part fits and that all of its answers are learned, and returns their texts.
func parts(t *testing.T, s data.Sample, most int, l data.Long) ([]data.Encoded, []string) {
	t.Helper()
	tk, tpl := load(t, "demo")
	all, err := data.NewEncoder(tk, tpl, most).Long(l).Parts(s)
	if err != nil {
		t.Fatalf("%s: %v", l, err)
	}
	var shown []string
	for _, e := range all {
		if len(e.IDs) > most {
			t.Errorf("%s: %d tokens, the limit is %d", l, len(e.IDs), most)
		}
		for _, turn := range e.Turns {
			if want := s.Messages[turn.Message].Content; !strings.HasPrefix(tk.Decode(e.IDs[turn.Start:turn.End], true), want) {
				t.Errorf("%s: learned is %q, want %q", l, tk.Decode(e.IDs[turn.Start:turn.End], true), want)
			}
		}
		shown = append(shown, tk.Decode(e.IDs, false))
	}
	return all, shown
}

// TestLongContext: the prompt around a context stays, with the answer; of the context the end
// stays, or both ends, in whole words and as much as fits.
func TestLongContext(t *testing.T) {
	const most = 120
	context := words("w", 400)
	s := asking(context, "Which?", "This one.")
	for _, l := range []data.Long{data.LongKeepEnd, data.LongMiddle} {
		all, shown := parts(t, s, most, l)
		if len(all) != 1 || all[0].Removed == 0 || all[0].Dropped > 0 {
			t.Errorf("%s: %d parts, %d tokens removed", l, len(all), all[0].Removed)
		}
		if n := len(all[0].IDs); n < most-20 {
			t.Errorf("%s: %d tokens are left of %d", l, n, most)
		}
		text := shown[0]
		for _, want := range []string{"Read this.", "w399", "Question: Which?", "This one."} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", l, want, text)
			}
		}
		if got := strings.Contains(text, "w0 w1 w2 "); got != (l == data.LongMiddle) {
			t.Errorf("%s: the beginning is there: %v\n%s", l, got, text)
		}
		_, inner, _ := strings.Cut(text, "Read this.\n\n")
		inner, _, _ = strings.Cut(inner, "\n\nQuestion")
		have := strings.Fields(inner)
		for _, w := range have {
			if !slices.Contains(strings.Fields(context), w) {
				t.Errorf("%s: %q is no word of the context", l, w)
			}
		}
		if l == data.LongMiddle {
			last := 0
			for have[last] == fmt.Sprintf("w%d", last) {
				last++
			}
			tk, _ := load(t, "demo")
			a, b := len(tk.Encode(strings.Join(have[:last], " "), false)), len(tk.Encode(strings.Join(have[last:], " "), false))
			if a-b > 8 || b-a > 8 {
				t.Errorf("%d tokens of the start and %d of the end are left", a, b)
			}
		}
	}
	// A context in a message without a column of its own.
	bare := talk("a:row 1", context+"\n\nQuestion: Which?", "This one.")
	if _, shown := parts(t, bare, most, data.LongKeepEnd); !strings.Contains(shown[0], "w399\n\nQuestion: Which?") || strings.Contains(shown[0], "w0 ") {
		t.Errorf("without a column: %s", shown[0])
	}
	// The fact that was asked for may be gone with the beginning.
	fact := s
	fact.Fact = "w1 w2 w3"
	if all, _ := parts(t, fact, most, data.LongKeepEnd); all[0].Turns[0].Distance != -1 {
		t.Errorf("the distance of a fact that is gone is %d", all[0].Turns[0].Distance)
	}
	fact.Fact = "w398 w399"
	if all, _ := parts(t, fact, most, data.LongKeepEnd); all[0].Turns[0].Distance < 1 || all[0].Turns[0].Distance > 60 {
		t.Errorf("the distance of a fact near the end is %d", all[0].Turns[0].Distance)
	}
}

// TestLongTurns: where no message has enough to give, exchanges are left out, or parted into
// samples, each of which begins with the system message and has all of its answers.
func TestLongTurns(t *testing.T) {
	var turns []string
	for i := range 12 {
		turns = append(turns, fmt.Sprintf("question %d?", i), fmt.Sprintf("answer %d.", i))
	}
	s := talk("a:row 1", turns...)
	s.Messages = append([]tokenizer.Message{{Role: "system", Content: "Be brief."}}, s.Messages...)
	const most = 70
	has := func(text string) (all []int) {
		for i := range 12 {
			if strings.Contains(text, fmt.Sprintf("answer %d.", i)) {
				all = append(all, i)
			}
		}
		return all
	}
	tk, _ := load(t, "demo")
	for l, first := range map[data.Long]bool{data.LongKeepEnd: false, data.LongMiddle: true, data.LongKeepStart: true} {
		cut, shown := parts(t, s, most, l)
		e, text := cut[0], shown[0]
		left := has(text)
		if len(e.IDs) > most || len(left)+e.Dropped != 12 || e.Dropped == 0 || !strings.Contains(text, "Be brief.") {
			t.Errorf("%s: %d tokens, answers %v, dropped %d", l, len(e.IDs), left, e.Dropped)
		}
		if slices.Contains(left, 0) != first || slices.Contains(left, 11) != (l != data.LongKeepStart) {
			t.Errorf("%s: answers %v are left", l, left)
		}
	}
	all, shown := parts(t, s, most, data.LongSplit)
	var left []int
	for i, text := range shown {
		if !strings.Contains(text, "Be brief.") || all[i].Where != fmt.Sprintf("a:row 1, part %d of %d", i+1, len(all)) {
			t.Errorf("%s: %s", all[i].Where, text)
		}
		if got := has(text); len(got) != len(all[i].Turns) {
			t.Errorf("part %d has the answers %v, and %d are learned", i, got, len(all[i].Turns))
		}
		left = append(left, has(text)...)
		if i > 0 && len(all[i-1].IDs)+len(tk.Encode(turns[0]+turns[1], false)) < most-20 {
			t.Errorf("part %d has %d tokens: another exchange would fit", i-1, len(all[i-1].IDs))
		}
	}
	if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}; !slices.Equal(left, want) || len(all) < 3 {
		t.Errorf("%d parts with the answers %v", len(all), left)
	}
}

// TestLongText cuts or parts texts; all parts together are the text, and nearly as long as each other.
func TestLongText(t *testing.T) {
	tk, tpl := load(t, "demo")
	s := data.Sample{Where: "a:row 1", Text: words("w", 100)}
	ids := tk.Encode(s.Text, true)
	const most = 64
	encode := func(l data.Long) []data.Encoded {
		all, err := data.NewEncoder(tk, tpl, most).Long(l).Parts(s)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	plain := tk.Encode(s.Text, false)
	around := len(ids) - len(plain)
	for l, want := range map[data.Long][]int32{
		data.LongKeepStart: ids[:most],
		data.LongKeepEnd:   plain[len(plain)-(most-around):],
		data.LongMiddle:    slices.Concat(plain[:(most-around)/2], plain[len(plain)-(most-around+1)/2:]),
	} {
		e := encode(l)[0]
		if got := e.IDs; !e.Cut || len(got) != most || !slices.Equal(got[len(got)-len(want):], want) {
			t.Errorf("%s: %v, want %v at the end", l, got, want)
		}
	}
	var all []int32
	split := encode(data.LongSplit)
	for _, e := range split {
		inner := e.IDs[around:]
		all = append(all, inner...)
		if n := (len(plain) + most - around - 1) / (most - around); len(split) != n || len(inner) < len(plain)/n || len(e.IDs) > most || e.Cut {
			t.Errorf("%d parts, one of %d tokens", len(split), len(e.IDs))
		}
	}
	if !slices.Equal(all, plain) {
		t.Error("the parts together are not the text")
	}
}

// TestLongFails: what cannot be made to fit is said.
func TestLongFails(t *testing.T) {
	tk, tpl := load(t, "demo")
	for _, c := range []struct {
		s    data.Sample
		most int
		l    data.Long
		want string
	}{
		{asking(words("w", 400), "Which?", words("a", 60)), 120, data.LongKeepEnd, "a:row 1: sample is too long: "},
		{asking(words("w", 400), "Which?", "b"), 120, data.LongSplit, "tokens with message 1 and its answer alone, the limit is 120"},
		{talk("a:row 1", "q", "a", words("w", 100), "b"), 60, data.LongSplit, "tokens with message 3 and its answer alone, the limit is 60"},
		{talk("a:row 1", "q", "a", "q", "b"), 12, data.LongDrop, "sample is too long: "},
		{data.Sample{Where: "a:row 1", Text: words("w", 100)}, 12, data.LongDrop, "tokens, the limit is 12"},
	} {
		_, err := data.NewEncoder(tk, tpl, c.most).Long(c.l).Parts(c.s)
		if !errors.Is(err, data.ErrTooLong) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.l, err, c.want)
		}
	}
}

// TestLongSurvey says of how many rows how much became what, and a loader hands out the parts.
func TestLongSurvey(t *testing.T) {
	var turns []string
	for i := range 12 {
		turns = append(turns, fmt.Sprintf("question %d?", i), fmt.Sprintf("answer %d.", i))
	}
	source := chats(t, []string{"q", "a"}, turns, []string{words("w", 200) + "?", "b"}, []string{"q", " "})
	for l, want := range map[data.Long]struct {
		use int
		cut string
	}{
		data.LongDrop:      {1, "1 of 4 rows used; 3 left out, 2 of them longer than 70 tokens (data.max_tokens)"},
		data.LongKeepStart: {2, "2 of 4 rows used, 1 of them shortened to 70 tokens; 2 left out, 1 of them longer than 70 tokens (data.max_tokens)"},
		data.LongKeepEnd:   {3, "3 of 4 rows used, 2 of them cut to 70 tokens (data.long: keep-end); 1 left out"},
		data.LongMiddle:    {3, "3 of 4 rows used, 2 of them cut to 70 tokens (data.long: middle); 1 left out"},
		data.LongSplit:     {5, "2 of 4 rows used, 1 of them split into 4 samples of at most 70 tokens (data.long: split); 2 left out, 1 of them longer than 70 tokens (data.max_tokens)"},
	} {
		e := demoEncoder(t, 70).Long(l)
		found := survey(t, source, e, data.CheckOptions{Answers: true})
		use, err := found.Use(data.BadRowSkip)
		if err != nil {
			t.Fatal(err)
		}
		if d := gocmp.Diff(want.cut, found.Cut()); d != "" || len(use) != want.use || len(found.Lengths) != want.use {
			t.Errorf("%s: %d samples, %d lengths %s", l, len(use), len(found.Lengths), d)
		}
		loader, err := data.NewLoader(source, use, e, 0, data.Cursor{})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		tokens := 0
		for range use {
			got, err := loader.Next()
			if err != nil {
				t.Fatal(err)
			}
			seen[got.Where] = true
			tokens += len(got.IDs)
		}
		if len(seen) != len(use) || tokens != found.Tokens {
			t.Errorf("%s: %d samples of %d tokens, want %d of %d", l, len(seen), tokens, len(use), found.Tokens)
		}
	}
	found := survey(t, chats(t, turns), demoEncoder(t, 70).Long(data.LongDrop), data.CheckOptions{})
	if _, err := found.Use(data.BadRowFail); !errors.Is(err, data.ErrTooLong) || !strings.Contains(err.Error(), "left out by data.long: drop") {
		t.Errorf("all are dropped: %v", err)
	}
}

// FuzzLong cuts arbitrary texts to arbitrary limits: what comes out fits, or it is said.
func FuzzLong(f *testing.F) {
	tk, tpl := load(f, "demo")
	f.Add("one two three four\n\nfive", "six", 20, uint8(1))
	f.Add(strings.Repeat("für 😀 ", 40), "七", 60, uint8(2))
	f.Add(strings.Repeat("\u00a0x", 90), "", 50, uint8(3))
	f.Fuzz(func(t *testing.T, context, question string, most int, which uint8) {
		l := data.Longs()[int(which)%len(data.Longs())]
		most = 1 + max(most, -most)%300
		for _, s := range []data.Sample{asking(context, question, "a"), talk("a:row 1", context, "a", question, "b"), {Where: "a:row 1", Text: context + question}} {
			all, err := data.NewEncoder(tk, tpl, most).Long(l).Parts(s)
			for _, e := range all {
				if len(e.IDs) > most {
					t.Errorf("%s: %d tokens, the limit is %d", l, len(e.IDs), most)
				}
			}
			if err == nil && len(all) == 0 {
				t.Errorf("%s: nothing came of it", l)
			}
		}
	})
}
