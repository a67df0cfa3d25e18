package eval

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// recorded is a record of one question.
func recorded(policy Policy, seed, row int, em float64) Record {
	return Record{
		Reading: Reading{Policy: policy}, Seed: seed, Row: row, Speed: Speed{ReadTokens: 100, ReadSeconds: 0.5, WrittenTokens: 3, WriteSeconds: 0.1},
		Answers: []Answer{{
			Where: fmt.Sprintf("x.jsonl:line %d", row+1), Distance: 600, Prompt: 90, PromptSHA256: PromptSHA256([]int32{int32(row)}),
			Asked: "Who?", Accepted: []string{"Ola"}, Text: "Ola", Metrics: figures(em, em), NLL: 1, Tokens: 2,
		}},
	}
}

func lines(t testing.TB, records ...Record) string {
	t.Helper()
	var out strings.Builder
	for _, r := range records {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n", text)
	}
	return out.String()
}

func TestPromptSHA256(t *testing.T) {
	// printf '\x01\x00\x00\x00\x00\x01\x00\x00' | sha256sum
	if got, want := PromptSHA256([]int32{1, 256}), "242045e2f1bb37769b514f182fd91b3d215324cb57f187cced1e9c62921dbac3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestParseRecords: what was written is read again; a torn line at the end is none, wherever
// it is torn.
func TestParseRecords(t *testing.T) {
	want := []Record{recorded(PolicyFull, 0, 0, 1), recorded(PolicyFull, 0, 1, 0), recorded(PolicyWindow, 2, 0, 1)}
	text := lines(t, want...)
	got, whole, err := ParseRecords([]byte(text))
	if err != nil || whole != len(text) || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %d of %d bytes, %v", got, whole, len(text), err)
	}
	two := len(lines(t, want[:2]...))
	for cut := two; cut < len(text); cut++ {
		if got, whole, err := ParseRecords([]byte(text[:cut])); err != nil || whole != two || len(got) != 2 {
			t.Fatalf("cut at byte %d: %d records in %d bytes, %v; want 2 in %d", cut, len(got), whole, err, two)
		}
	}
}

func TestBadRecords(t *testing.T) {
	good := recorded(PolicyFull, 0, 0, 1)
	change := func(f func(r *Record)) string {
		r := good
		r.Row, r.Answers = 1, []Answer{good.Answers[0]}
		f(&r)
		return lines(t, r)
	}
	for _, tc := range []struct{ name, line, want string }{
		{"no JSON", "x\n", "line 2: not a record: invalid character"},
		{"an empty line", "\n", "line 2: not a record: unexpected end"},
		{"a list", "[]\n", "line 2: not a record: json: cannot unmarshal array"},
		{"a number as text", strings.Replace(lines(t, good), `"em":1`, `"em":"1"`, 1), "line 2: not a record: json: cannot unmarshal string"},
		{"twice", lines(t, good), "line 2: row 0 under policy full and seed 0, which line 1 has already"},
		{"no policy", change(func(r *Record) { r.Policy = "" }), "line 2: no policy"},
		{"a row before the first", change(func(r *Record) { r.Row = -1 }), "line 2: row -1 under seed 0; both count from 0"},
		{"a seed before the first", change(func(r *Record) { r.Seed = -3 }), "line 2: row 1 under seed -3; both count from 0"},
		{"no answers", change(func(r *Record) { r.Answers = nil }), "line 2: no answers"},
		{"time that runs back", change(func(r *Record) { r.ReadSeconds = -1 }), "line 2: tokens and seconds are "},
		{"another turn", change(func(r *Record) { r.Answers[0].Turn = 1 }), "line 2: answer 0 is to turn 1"},
		{"no hash", change(func(r *Record) { r.Answers[0].PromptSHA256 = "" }), `line 2: answer 0: prompt_sha256 is "", want 64 hexadecimal digits`},
		{"half a hash", change(func(r *Record) { r.Answers[0].PromptSHA256 = strings.Repeat("a", 32) }), "line 2: answer 0: prompt_sha256 is "},
		{"no tokens", change(func(r *Record) { r.Answers[0].Tokens = 0 }), "line 2: answer 0: 0 tokens after a prompt of 90, the fact 600 back"},
		{"a fact behind the answer", change(func(r *Record) { r.Answers[0].Distance = -2 }), "line 2: answer 0: 2 tokens after a prompt of 90, the fact -2 back"},
		{"a loss that is none", change(func(r *Record) { r.Answers[0].NLL = 1e300 }), "line 2: answer 0: a loss of 1e+300 nats over 2 tokens"},
	} {
		got, whole, err := ParseRecords([]byte(lines(t, good) + tc.line + lines(t, good)))
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) || len(got) != 1 || whole != len(lines(t, good)) {
			t.Errorf("%s: %d records, error %v, want %q", tc.name, len(got), err, tc.want)
		}
	}
}

// FuzzRecords: any bytes are records, or an error; what is read can be written, and is the
// same when it is read again.
func FuzzRecords(f *testing.F) {
	text := lines(f, recorded(PolicyFull, 0, 0, 1), recorded(PolicyWindow, 1, 5, 0.25))
	for _, seed := range []string{text, text[:len(text)-20], "", "\n", "{}\n", text + "{\"policy\":\"x\"}\n", strings.ReplaceAll(text, "0.5", "1e400")} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		records, whole, err := ParseRecords(text)
		if whole > len(text) || whole > 0 && text[whole-1] != '\n' || err == nil && strings.Contains(string(text[whole:]), "\n") {
			t.Fatalf("%d of %d bytes are records, %v", whole, len(text), err)
		}
		written := lines(t, records...)
		again, n, err := ParseRecords([]byte(written))
		if err != nil || n != len(written) || lines(t, again...) != written {
			t.Fatalf("read again: %v", err)
		}
	})
}
