package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

func TestMerges(t *testing.T) {
	// Ids: a 0, b 1, c 2, ab 3, bc 4, abc 5, aa 6, aaaa 7.
	tk := mustParse(t, tokenizerJSON(nil, "abc", "a b", "b c", "ab c", "a a", "aa aa"))
	for text, want := range map[string][]int32{
		"abc":           {5},
		"bcabc":         {4, 5},
		"aab":           {0, 3}, // a b was learnt before a a
		"aaa":           {6, 0}, // from the left
		"aaaaaaaaa":     {7, 7, 0},
		"xaxbx":         {3}, // unknown characters vanish without an unk
		"":              {},
		"cab" + "bcbca": {2, 3, 4, 4, 0},
	} {
		if got := tk.Encode(text, false); !slices.Equal(got, want) {
			t.Errorf("Encode(%q) = %v, want %v", text, got, want)
		}
	}
	// Of a pair listed twice the last counts: b c comes first now.
	tk = mustParse(t, tokenizerJSON(nil, "abc", "a b", "b c", "a b"))
	if got, want := tk.Encode("abc", false), []int32{0, 4}; !slices.Equal(got, want) {
		t.Errorf("repeated merge: %v, want %v", got, want)
	}
}

func TestUnknown(t *testing.T) {
	bytes := `, "byte_fallback": true`
	// Ids: ? 0, a 1; in the last cases the bytes of é are tokens 2 and 3.
	for _, c := range []struct {
		extra, text string
		want        []int32
	}{
		{`, "unk_token": "?"`, "xxaxy", []int32{0, 0, 1, 0, 0}},
		{`, "unk_token": "?", "fuse_unk": true`, "xxaxy", []int32{0, 1, 0}},
		{`, "unk_token": "?"` + bytes, "aé", []int32{1, 2, 3}},
		{`, "unk_token": "?"` + bytes, "aêé", []int32{1, 2, 3, 0}}, // as the library does: the unk waits for a known character
		{`, "unk_token": "?"`, "aé", []int32{1, 0}},
		{bytes, "aêéa", []int32{1, 2, 3, 1}},
	} {
		tk := mustParse(t, tokenizerJSON(parts{
			"model": `{"vocab": {"?": 0, "a": 1, "<0xC3>": 2, "<0xA9>": 3}, "merges": []` + c.extra + `}`,
		}, ""))
		if got := tk.Encode(c.text, false); !slices.Equal(got, c.want) {
			t.Errorf("Encode(%q) with%s = %v, want %v", c.text, c.extra, got, c.want)
		}
	}
}

func TestIgnoreMerges(t *testing.T) {
	// Ids: 256 is "Ġab", which no merge makes of its bytes.
	model := tokenizerJSON(parts{"pre_tokenizer": `{"type": "ByteLevel", "add_prefix_space": false}`, "model extra": `, "ignore_merges": true`}, byteAlphabet)
	model = strings.Replace(model, `"vocab": {`, `"vocab": {"Ġab": 256, `, 1)
	tk := mustParse(t, model)
	a, _ := tk.TokenID("a")
	b, _ := tk.TokenID("b")
	if got, want := tk.Encode("ab ab ab", false), []int32{a, b, 256, 256}; !slices.Equal(got, want) {
		t.Errorf("byte-level: %v, want %v", got, want)
	}
	tk = mustParse(t, tokenizerJSON(parts{
		"pre_tokenizer": `{"type": "WhitespaceSplit"}`,
		"model":         `{"vocab": {"a": 0, "b": 1, "ab": 2, "aab": 3}, "merges": ["a b"], "ignore_merges": true}`,
	}, ""))
	if got, want := tk.Encode("aab aaab", false), []int32{3, 0, 0, 2}; !slices.Equal(got, want) {
		t.Errorf("characters: %v, want %v", got, want)
	}
}

// TestMergeWaysAgree compares the three ways to merge a word: linear, with the heap,
// and cut where no merge applies.
func TestMergeWaysAgree(t *testing.T) {
	for _, dir := range []string{"stories260k", "demo"} {
		tk := load(t, dir)
		linear, queued, cut := newEncoder(tk.model), newEncoder(tk.model), newEncoder(tk.model)
		text := strings.ReplaceAll(conversations(t, 100_000), " ", "▁")
		r := rand.New(rand.NewPCG(3, 4))
		for range 2000 {
			from := r.IntN(len(text) - 200)
			word := strings.ToValidUTF8(text[from:from+1+r.IntN(120)], "")
			if r.IntN(4) == 0 {
				word += randomText(r, 20)
			}
			linear.symbols = tk.model.symbols(linear.symbols[:0], word)
			linear.mergeLinear()
			if len(linear.symbols) == 0 {
				continue
			}
			queued.symbols = tk.model.symbols(queued.symbols[:0], word)
			queued.mergeQueued()
			if !slices.Equal(linear.symbols, queued.symbols) {
				t.Fatalf("%s, %q: linear %v, queued %v", dir, word, linear.symbols, queued.symbols)
			}
			if got := cut.word(nil, word); !slices.Equal(linear.symbols, got) {
				t.Fatalf("%s, %q: whole %v, cut %v", dir, word, linear.symbols, got)
			}
		}
	}
}

// TestLongWord merges a word of a megabyte, which must not take quadratic time.
func TestLongWord(t *testing.T) {
	tk := load(t, "demo")
	word := strings.Repeat("lalaland", 1<<17)
	if got := tk.Decode(tk.Encode(word, false), false); got != word {
		t.Error("a long word did not come back")
	}
}

func TestCacheIsBounded(t *testing.T) {
	tk := mustParse(t, tokenizerJSON(nil, "abcdefghij ", "a b"))
	e := newEncoder(tk.model)
	r := rand.New(rand.NewPCG(5, 6))
	for range maxCachedWords + 100 {
		word := make([]byte, 8)
		for i := range word {
			word[i] = "abcdefghij"[r.IntN(10)]
		}
		e.part(nil, string(word))
	}
	if n := len(e.cache); n > maxCachedWords || n < 50 {
		t.Errorf("the cache has %d words", n)
	}
	if got, want := e.part(nil, "abab"), []int32{11, 11}; !slices.Equal(got, want) {
		t.Errorf("after the cache was emptied: %v, want %v", got, want)
	}
}

func TestInvalidUTF8(t *testing.T) {
	for _, c := range benchTokenizers {
		tk := load(t, c.dir)
		if got, want := tk.Encode("a\xff\xfeb\xe4\xbd", true), tk.Encode("a��b��", true); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
}

func TestValidUTF8(t *testing.T) {
	for in, want := range map[string]string{
		"aé你🙂":                 "aé你🙂",
		"\xe4\xbd":             "�",
		"\xe4\xbda":            "�a",
		"\xf0\x9f\x99\xf0":     "��",
		"\xff\xfe":             "��",
		"\xed\xa0\x80":         "���", // a surrogate
		"\xc0\x80":             "��",  // overlong
		"\xf4\x90\x80\x80":     "����",
		"\xe4\xbd\xa0\xbd":     "你�",
		"\xf0\x9f\x99\x82\xf0": "🙂�",
	} {
		if got := validUTF8([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestConcurrentEncode lets goroutines share a tokenizer.
func TestConcurrentEncode(t *testing.T) {
	tk := load(t, "demo")
	text := conversations(t, 50_000)
	want := tk.Encode(text, true)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if !slices.Equal(tk.Encode(text, true), want) {
					t.Error("goroutines disturb each other")
				}
			}
		})
	}
	wg.Wait()
}

// TestStreamIsDecode checks that pieces of a stream are UTF-8 and together the text.
func TestStreamIsDecode(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, c := range benchTokenizers {
		tk := load(t, c.dir)
		for range 300 {
			text := randomText(r, 1+r.IntN(40))
			ids := tk.Encode(text, true)
			s := tk.NewStream()
			var got strings.Builder
			for _, id := range ids {
				part := s.Add(id)
				if !utf8.ValidString(part) || strings.ContainsRune(part, utf8.RuneError) && !strings.ContainsRune(text, utf8.RuneError) {
					t.Fatalf("%s: %q gave the piece %q", c.name, text, part)
				}
				got.WriteString(part)
			}
			got.WriteString(s.Flush())
			if want := tk.Decode(ids, true); got.String() != want {
				t.Fatalf("%s: streamed %q, want %q", c.name, got.String(), want)
			}
		}
	}
}

// TestStreamOfStrayBytes gives a stream bytes that belong to no character.
func TestStreamOfStrayBytes(t *testing.T) {
	tk := load(t, "stories260k")
	s := tk.NewStream()
	var got []string
	for _, token := range []string{"<0xE5>", "<0x8F>", "<0xAB>", "<0xFF>", "<0xE5>", "<0xAB>", "▁a", "<0xE5>"} {
		id, ok := tk.TokenID(token)
		if !ok {
			t.Fatalf("no token %s", token)
		}
		got = append(got, s.Add(id))
	}
	got = append(got, s.Flush())
	if want := []string{"", "", "叫", "�", "", "", "�� a", "", "�"}; !slices.Equal(got, want) {
		t.Errorf("pieces %q, want %q", got, want)
	}
}

// FuzzRoundTrip checks that byte-level encoding loses nothing.
func FuzzRoundTrip(f *testing.F) {
	f.Add("It's 2025's  best   day.\n\n\tCafé 你好 🙂🙂 DON'T")
	f.Add("\x00\u0085 ſ'S\u2028e\u0301<|end|>")
	tk := load(f, "demo")
	f.Fuzz(func(t *testing.T, text string) {
		want := string([]rune(text))
		ids := tk.Encode(text, false)
		if got := tk.Decode(ids, false); got != want {
			t.Errorf("%q came back as %q", text, got)
		}
		if got := streamed(tk, ids); got != tk.Decode(ids, true) {
			t.Errorf("%q was streamed as %q", text, got)
		}
	})
}
