package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model/tokenizer"
)

// chatRows writes conversations to chats.jsonl of the working directory: one that can be
// trained on, one that cannot, and one that would work on a terminal's controls.
func chatRows(t *testing.T) {
	t.Helper()
	row := func(question, answer string) string {
		b, err := json.Marshal(map[string]any{"messages": []map[string]string{{"role": "user", "content": question}, {"role": "assistant", "content": answer}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + "\n"
	}
	writeFile(t, "chats.jsonl", row("What pet?", "a red fox\nor two")+row("q", " ")+row("\x1b[2J\u009b", "gone"))
}

func TestDataPreview(t *testing.T) {
	demo := testfiles.Repository(t, "model/demo")
	t.Chdir(t.TempDir())
	chatRows(t)
	r := eisft(t, "data", "preview", "--model", demo, "chats.jsonl")
	const want = `chats.jsonl:line 1: 18 tokens, 8 of them learned (44.4 %), answers: 1
<|user|>
What pet?<|end|>
<|assistant|>
⟦a red fox
or two<|end|>⟧

chats.jsonl:line 2: message 2 is an empty answer

chats.jsonl:line 3: 16 tokens, 3 of them learned (18.8 %), answers: 1
<|user|>
␛[2J�<|end|>
<|assistant|>
⟦gone<|end|>⟧

3 of 3 rows shown, 34 tokens, 11 of them learned (32.4 %)
`
	if r.stdout != want || r.code != exitError || r.stderr != "eisft: chats.jsonl: 1 of the 3 rows shown cannot be trained on\n" {
		t.Errorf("exit code %d, stderr %q, stdout\n%s\nwant\n%s", r.code, r.stderr, r.stdout, want)
	}
	if r := eisft(t, "data", "preview", "--model", demo, "--rows", "1", "chats.jsonl"); r.code != 0 || !strings.Contains(r.stdout, "1 of 3 rows shown") {
		t.Errorf("exit code %d, stdout\n%s", r.code, r.stdout)
	}
}

// TestDataPreviewOfConfig shows what the configuration trains on, with its limit.
func TestDataPreviewOfConfig(t *testing.T) {
	t.Chdir(testfiles.Repository(t, "configs"))
	r := eisft(t, "data", "preview", "--config", "s-sft.yaml", "--max-tokens", "1680", "--rows", "4")
	for _, want := range []string{"train.parquet:row 4: ", "answers: 4\n", "  answers beyond 1680 tokens, left out: 3\n", "\n… ", " characters …\n", "⟦5464<|end|>⟧"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
	for _, want := range []string{
		"  distill reads the last 768 tokens, from token 899 on\n  s-sft streams 1536 tokens and differentiates the tail, 131 tokens from token 1536 on\n",
		"\n… 5 borders of segments and 5394 characters …\n", "┃1536 tail┃",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
	beyond := eisft(t, "data", "preview", "--config", "s-sft.yaml", "--set", "data.samples=20", "--set", "validation.share=25%", "--rows", "30")
	if want := "there is no row 30: 16 are trained on (data.samples: 20 takes the first ones of each entry, validation.share: 25% holds others out), and the first is row 1\n"; beyond.code != exitError || !strings.HasSuffix(beyond.stderr, want) {
		t.Errorf("exit code %d, %q; want %q", beyond.code, beyond.stderr, want)
	}
	full := eisft(t, "data", "preview", "--config", "s-sft.yaml", "--full", "--rows", "4")
	if !strings.Contains(full.stdout, "┃256┃") || strings.Count(full.stdout, "┃") != 2*6 {
		t.Errorf("not 6 borders of segments in\n%s", full.stdout)
	}
	if strings.Contains(full.stdout, "characters …") || len(full.stdout) < len(r.stdout)+4000 || full.code != 0 {
		t.Errorf("exit code %d (%s), as a whole\n%s", full.code, full.stderr, full.stdout)
	}
}

// TestDataStats counts rows, those that repeat others and those beyond the limit among them.
func TestDataStats(t *testing.T) {
	demo := testfiles.Repository(t, "model/demo")
	t.Chdir(t.TempDir())
	chatRows(t)
	rows, err := os.ReadFile("chats.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(rows), "\n")
	long := strings.Replace(first, "What pet?", strings.Repeat("What pet? ", 200), 1)
	other := strings.Replace(first, "a red fox", "a grey cat", 1)
	writeFile(t, "chats.jsonl", strings.Join([]string{first, other, first, long, ""}, "\n"))
	r := eisft(t, "data", "stats", "--model", demo, "--max-tokens", "100", "chats.jsonl")
	for _, want := range []string{
		"rows                                      4\n", "rows that repeat an earlier one           1\n", "rows whose prompt repeats an earlier one  2\n",
		"3 of 4 rows used; 1 left out, 1 of them longer than 100 tokens (data.max_tokens)\n",
		"512              3     75 %\n", "1,024            4     100 %\n",
		"1 of 4 rows cannot be trained on, the first of them line 4: sample is too long: ",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
	if r.code != exitError {
		t.Errorf("exit code %d", r.code)
	}
	if r := eisft(t, "data", "stats", "--model", demo, "--json", "chats.jsonl"); r.code != 0 || !json.Valid([]byte(r.stdout)) || !strings.Contains(r.stdout, `"rows": 4`) {
		t.Errorf("exit code %d, stderr %q, stdout\n%s", r.code, r.stderr, r.stdout)
	}
}

// TestAllDropped: where data.long: drop leaves no row, stats, preview, the plan and training say
// the same.
func TestAllDropped(t *testing.T) {
	t.Chdir(trainingFolder(t, 1))
	config := strings.Replace(string(readFile(t, "s.yaml")), "max_tokens: 512", "max_tokens: 100, long: drop", 1)
	writeFile(t, "s.yaml", config)
	want := "train.jsonl: all of 8 rows are longer than data.max_tokens, which is 100, and left out by data.long: drop; raise it, or take another word for data.long\n"
	for _, args := range [][]string{
		{"data", "stats", "--config", "s.yaml"},
		{"data", "preview", "--config", "s.yaml", "--rows", "2"},
		{"train", "--config", "s.yaml", "--dry-run"},
		{"train", "--config", "s.yaml"},
	} {
		r := eisft(t, args...)
		if text := strings.Join(strings.Fields(r.stdout+r.stderr), " "); r.code != exitError || !strings.Contains(text, strings.TrimSpace(want)) {
			t.Errorf("%q: exit code %d, %s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	if r := eisft(t, "data", "preview", "--config", "s.yaml", "--rows", "2"); !strings.Contains(r.stdout, "train.jsonl:line 2: sample is too long: ") || !strings.Contains(r.stdout, "; it is left out (data.long: drop)\n") {
		t.Errorf("preview shows\n%s", r.stdout)
	}
	writeFile(t, "s.yaml", strings.Replace(config, "max_tokens: 100", "max_tokens: 512", 1))
	if r := eisft(t, "data", "preview", "--config", "s.yaml", "--rows", "2:3"); r.code != 0 || !strings.Contains(r.stdout, "train.jsonl:line 2: ") || !strings.Contains(r.stdout, "train.jsonl:line 3: ") || !strings.Contains(r.stdout, "2 of 8 rows shown") {
		t.Errorf("exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
}

// TestBasePrompt: rows of the demo's conversations are asked as its eisft.json says, in the
// preview, in an evaluation and in training, unless a prompt is given.
func TestBasePrompt(t *testing.T) {
	demo := testfiles.Repository(t, "model/demo")
	t.Chdir(t.TempDir())
	row, err := json.Marshal(map[string]any{"dataset": "conversation_qa", "context": "Ben: The code is 4711.\n" + strings.Repeat("Anna: I see.\n", 40), "input": "What is the code?", "answers": []string{"4711"}})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, "rows.jsonl", string(row)+"\n")
	writeFile(t, "s.yaml", "model: {path: "+demo+"}\nblock: {sink: 4, window: 32, segment: 32, slots: 16}\ndata: {train: rows.jsonl}\nstages: [{kind: s-sft, steps: 1}]\neval: {data: rows.jsonl, policies: [full]}\n")
	r := eisft(t, "data", "preview", "--config", "s.yaml")
	if want := "<|user|>\nRead the conversation, then follow the instruction.\n\nBen: The code"; r.code != 0 || !strings.Contains(r.stdout, want) || !strings.Contains(r.stdout, "\nQuestion:┃224 tail┃ What is the code?<|end|>") {
		t.Errorf("exit code %d, stderr %q, no %q in\n%s", r.code, r.stderr, want, r.stdout)
	}
	tokens := func(args ...string) string {
		r := eisft(t, args...)
		if r.code != 0 {
			t.Fatalf("%q: exit code %d, stderr %q", args, r.code, r.stderr)
		}
		_, rest, _ := strings.Cut(r.stdout, "the longest ")
		n, _, _ := strings.Cut(strings.TrimPrefix(rest, "sample "), "\n")
		return n
	}
	asked := tokens("train", "--config", "s.yaml", "--dry-run")
	if got := tokens("eval", "--config", "s.yaml", "--dry-run"); got != asked || asked == "" {
		t.Errorf("evaluated with %q tokens, trained with %q", got, asked)
	}
	if got := tokens("eval", "--config", "s.yaml", "--dry-run", "--prompt", "{context} {input}"); got == asked {
		t.Errorf("with another prompt as many tokens, %q", got)
	}
	if r := eisft(t, "eval", "--config", "s.yaml", "--columns", "contxt=a"); r.code != exitUsage || !strings.Contains(r.stderr, "did you mean context?") {
		t.Errorf("exit code %d, stderr %q", r.code, r.stderr)
	}
}

// TestTemplateOptions: options of the template are those of the configuration, and ones that
// it does not know are refused.
func TestTemplateOptions(t *testing.T) {
	demo := testfiles.Repository(t, "model/demo")
	t.Chdir(t.TempDir())
	if err := os.CopyFS("base", os.DirFS(demo)); err != nil {
		t.Fatal(err)
	}
	template := `{% for m in messages %}<|{{ m.role }}|>{{ '' if quiet else 'loud ' }}{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}`
	writeFile(t, filepath.Join("base", "chat_template.jinja"), template)
	chatRows(t)
	for option, want := range map[string]string{
		"":                                 "<|user|>loud What pet?",
		"template_options: {quiet: true}":  "<|user|>What pet?",
		"template_options: {quiet: false}": "<|user|>loud What pet?",
	} {
		writeFile(t, "c.yaml", "model: {path: base}\ndata:\n  train: chats.jsonl\n  "+option+"\nstages:\n  - kind: s-sft\n")
		if r := eisft(t, "data", "preview", "--config", "c.yaml", "--rows", "1"); !strings.Contains(r.stdout, want) || r.code != 0 {
			t.Errorf("%s: exit code %d (%s), no %q in\n%s", option, r.code, r.stderr, want, r.stdout)
		}
	}
	for option, want := range map[string]string{
		"{quite: true}":       "data.template_options.quite: the chat template of ",
		"{messages: []}":      "c.yaml:4: data.template_options.messages is no option: it is the sample's",
		"{quiet: }":           "c.yaml:4: data.template_options.quiet has no value; give one or remove the key",
		"quiet":               "c.yaml:4: data.template_options must be a section of keys",
		"{quiet: {a: [1, x]}": "c.yaml",
	} {
		writeFile(t, "c.yaml", "model: {path: base}\ndata:\n  train: chats.jsonl\n  template_options: "+option+"\nstages:\n  - kind: s-sft\n")
		for _, verb := range [][]string{{"data", "preview", "--rows", "1"}, {"generate", "--prompt", "x"}} {
			if r := eisft(t, append(verb, "--config", "c.yaml")...); r.code != exitError || !strings.Contains(r.stderr, want) {
				t.Errorf("%s: exit code %d, stderr %q, want %q", option, r.code, r.stderr, want)
			}
		}
	}
}

// TestTemplateOptionsExported: options of the template go with an exported folder, with their types, so that it
// asks as the run does.
func TestTemplateOptionsExported(t *testing.T) {
	demo := testfiles.Repository(t, "model/demo")
	t.Chdir(trainingFolder(t, 1))
	if err := os.CopyFS("base", os.DirFS(demo)); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join("base", "chat_template.jinja"),
		`{% for m in messages %}<|{{ m.role }}|>{{ '' if quiet else 'loud ' }}{{ mood.of[1] }} {{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}`)
	config := strings.Replace(string(readFile(t, "s.yaml")), demo, "base", 1)
	writeFile(t, "s.yaml", strings.Replace(config, "max_tokens: 512", "max_tokens: 512, template_options: {quiet: true, mood: {of: [1, glad]}}", 1))
	runOf(t)
	wantOutput(t, "", "export", "--shape", "32x84", "--verify=false", "--golden=false")
	out := filepath.Join(latestRun, "export", "32x84")
	template, err := tokenizer.LoadTemplate(out)
	if err != nil {
		t.Fatal(err)
	}
	if template, err = withOptions(template, out); err != nil {
		t.Fatal(err)
	}
	text, err := template.Render([]tokenizer.Message{{Role: "user", Content: "What pet?"}}, tokenizer.RenderOptions{})
	if want := "<|user|>glad What pet?<|end|>"; err != nil || text != want {
		t.Errorf("%q (%v), want %q", text, err, want)
	}
}

func TestDataErrors(t *testing.T) {
	demo := testfiles.Repository(t, "model/demo")
	t.Chdir(t.TempDir())
	chatRows(t)
	preview := func(args ...string) []string { return append([]string{"data", "preview"}, args...) }
	const help = "\nRun 'eisft data preview --help' for usage.\n"
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"data", "previw"}, exitUsage, "eisft: unknown command \"previw\". Did you mean \"preview\"?\nRun 'eisft data --help' for usage.\n"},
		{preview(), exitUsage, "eisft: give --config FILE or --model FOLDER: a chat template says how rows are rendered" + help},
		{preview("--model", demo), exitUsage, "eisft: name a data file" + help},
		{preview("--model", demo, "a", "b"), exitUsage, "eisft: name one file" + help},
		{preview("--model", demo, "--config", "c", "a"), exitUsage, "eisft: --config and --model exclude each other: a configuration names its model" + help},
		{preview("--model", demo, "--rwos", "3", "a"), exitUsage, "eisft: unknown flag --rwos; did you mean --rows?" + help},
		{preview("--model", demo, "--rows", "5:3", "a"), exitUsage, `eisft: --rows is "5:3"; want FROM:TO, such as 1:5, or the number of a row; the first is 1` + help},
		{preview("--model", demo, "--max-tokens", "-1", "a"), exitUsage, "eisft: --max-tokens is -1; it must be at least 1, or 0 for any length" + help},
		{preview("--model", demo, "a.jsonl"), exitError, "eisft: a.jsonl: no such file or directory\n"},
		{preview("--model", demo, "--rows", "4:", "chats.jsonl"), exitError, "eisft: chats.jsonl: there is no row 4: 3 are trained on, and the first is row 1\n"},
		{preview("--model", "nothing", "chats.jsonl"), exitError, "eisft: load tokenizer: "},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			if r := eisft(t, tc.args...); r.code != tc.code || !strings.HasPrefix(r.stderr, tc.want) || r.stdout != "" {
				t.Errorf("exit code %d, stderr %q, stdout %q; want %d and %q", r.code, r.stderr, r.stdout, tc.code, tc.want)
			}
		})
	}
}

func TestParseRows(t *testing.T) {
	for in, want := range map[string][2]int{
		"1:5": {0, 5}, "3": {2, 3}, ":2": {0, 2}, "7:": {6, math.MaxInt}, ":": {0, math.MaxInt}, "2:2": {1, 2},
		"": {}, "x": {}, "0": {}, "0:5": {}, "5:3": {}, "-1": {}, "1:x": {}, "1:2:3": {}, "99999999999999999999": {},
	} {
		from, to, err := parseRows(in)
		if [2]int{from, to} != want || (err != nil) != (want == [2]int{}) {
			t.Errorf("parseRows(%q) = %d, %d, %v; want %v", in, from, to, err, want)
		}
	}
}
