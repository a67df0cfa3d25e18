package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/eval"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/train/config"
	"eisft/train/runs"
)

// eisftIn runs a command line with a standard input.
func eisftIn(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), append([]string{"eisft"}, args...), strings.NewReader(stdin), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// runFolder changes to a folder that has s.yaml and, as runs/latest, a run of
// it on the demo base, as training leaves it but for the training.
func runFolder(t *testing.T) {
	t.Helper()
	t.Chdir(trainingFolder(t, 1))
	runOf(t)
}

// runOf makes runs/latest of s.yaml, without training.
func runOf(t *testing.T) {
	t.Helper()
	cfg, err := config.Load("s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := runs.OpenUntrained(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(latestRun, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := r.Model.SaveAdapter(latestRun, cfg.Model.Path); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Write(filepath.Join(latestRun, runs.ConfigFile)); err != nil {
		t.Fatal(err)
	}
}

// goldenPrompt returns the golden prompt's conversation and question, and the
// reference's answer.
func goldenPrompt(t *testing.T) (text, question, answer string) {
	t.Helper()
	file, err := os.ReadFile(testfiles.Golden(t, "demo/golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Messages []struct{ Content string }
		Answer   string
	}
	if err := json.Unmarshal(file, &g); err != nil {
		t.Fatal(err)
	}
	text, question, _ = strings.Cut(g.Messages[0].Content, "\n\nQuestion: ")
	return text, "Question: " + question, g.Answer
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.WriteFile(name, []byte(text), 0o666)); err != nil {
		t.Fatal(err)
	}
}

func TestGenerate(t *testing.T) {
	text, question, answer := goldenPrompt(t)
	runFolder(t)
	writeFile(t, "text.txt", text+"\n")
	writeFile(t, "prompt.txt", text+"\n\n"+question)
	for name, args := range map[string][]string{
		"file and prompt": {"--prompt-file", "text.txt", "--prompt", question},
		"file":            {"--prompt-file", "prompt.txt"},
		"stdin":           {"--prompt-file", "-", "--prompt", question},
		"prompt":          {"--prompt", text + "\n\n" + question},
		"untrained":       {"--config", "s.yaml", "--prompt-file", "prompt.txt"},
		"sampled, cold":   {"--prompt-file", "prompt.txt", "--temperature", "0.001", "--top-p", "0.9", "--seed", "7"},
		"raw":             {"--chat=false", "--prompt", "<|user|>\n" + text + "\n\n" + question + "<|end|>\n<|assistant|>\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := eisftIn(t, text, append([]string{"generate", "--policy", "full"}, args...)...)
			if r.code != 0 || r.stdout != answer+"\n" || r.stderr != "" {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %q", r.code, r.stdout, r.stderr, answer)
			}
		})
	}
	sample := func(seed string) string {
		return eisft(t, "generate", "--prompt", "Tell me a story.", "--temperature", "1", "--max-new-tokens", "30", "--seed", seed).stdout
	}
	if a, b, c := sample("1"), sample("1"), sample("2"); a != b || a == c {
		t.Errorf("seed 1 wrote %q and %q, seed 2 %q", a, b, c)
	}
}

// TestGenerateWithoutTemplate: a base without a chat template continues texts
// as they are.
func TestGenerateWithoutTemplate(t *testing.T) {
	text, question, answer := goldenPrompt(t)
	demo, err := filepath.Abs("../../model/demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(trainingFolder(t, 1))
	if err := os.Mkdir("base", 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config.json", "model.safetensors", "tokenizer.json"} {
		if err := os.Symlink(filepath.Join(demo, name), filepath.Join("base", name)); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, "base/tokenizer_config.json", `{"eos_token": "<|end|>"}`)
	writeFile(t, "s.yaml", strings.Replace(string(readFile(t, "s.yaml")), demo, "base", 1))
	r := eisft(t, "generate", "--config", "s.yaml", "--policy", "full", "--prompt", "<|user|>\n"+text+"\n\n"+question+"<|end|>\n<|assistant|>\n")
	if r.code != 0 || r.stdout != answer+"\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q; want %q", r.code, r.stdout, r.stderr, answer)
	}
	if r := eisft(t, "eval", "--config", "s.yaml", "--data", "train.jsonl"); r.code != exitError || !strings.Contains(r.stderr, "\neisft: train.jsonl:line 1: no chat template: ") {
		t.Errorf("eval: exit code %d, stderr %q", r.code, r.stderr)
	}
}

// TestReadOnceAskTwice is the example in the help.
func TestReadOnceAskTwice(t *testing.T) {
	text, question, answer := goldenPrompt(t)
	runFolder(t)
	writeFile(t, "book.txt", text)
	if r := eisft(t, "generate", "--policy", "full", "--prompt-file", "book.txt", "--max-new-tokens", "0", "--save-state", "book.state"); r.code != 0 || r.stdout != "" {
		t.Fatalf("exit code %d, stdout %q, stderr %q", r.code, r.stdout, r.stderr)
	}
	for q, want := range map[string]string{question: answer, "Question: What is the door code for the garage?": "7468"} {
		if r := eisft(t, "generate", "--policy", "full", "--state", "book.state", "--prompt", q); r.stdout != want+"\n" {
			t.Errorf("%s exit code %d, stdout %q, stderr %q; want %q", q, r.code, r.stdout, r.stderr, want)
		}
	}
}

func TestGenerateErrors(t *testing.T) {
	runFolder(t)
	writeFile(t, "s2.yaml", strings.Replace(string(readFile(t, "s.yaml")), "slots: 16", "slots: 8", 1))
	writeFile(t, "short.state", string(readFile(t, filepath.Join(latestRun, model.AdapterWeights)))[:500])
	if r := eisft(t, "generate", "--prompt", "Hello.", "--max-new-tokens", "0", "--save-state", "s.state"); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	writeFile(t, "binary.txt", "abc\x00")
	writeFile(t, "utf16.txt", "\xff\xfea\x00")
	hello := []string{"--prompt", "Hello."}
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no prompt", nil, exitUsage, "there is no prompt; give --prompt-file FILE, --prompt TEXT or both\nRun 'eisft generate --help' for usage.\n"},
		{"empty prompt", []string{"--prompt", " "}, exitError, "there is nothing to read: the prompt is empty\n"},
		{"binary prompt file", []string{"--prompt-file", "binary.txt"}, exitError, "--prompt-file: binary.txt: byte 3 is 0: binary data, not a text\n"},
		{"prompt file in UTF-16", []string{"--prompt-file", "utf16.txt"}, exitError, "--prompt-file: utf16.txt: the text is in UTF-16LE from byte 0 on, want UTF-8: convert it, as with iconv -f UTF-16LE -t UTF-8\n"},
		{"prompt in Latin-1", []string{"--prompt", "caf\xe9"}, exitError, "--prompt: byte 3 (0xe9) is not UTF-8\n"},
		{"missing prompt file", []string{"--prompt-file", "none.txt"}, exitError, "--prompt-file: none.txt: no such file or directory\n"},
		{"missing run", append(hello, "--run", "runs/none"), exitError, "there is no run runs/none; train one with eisft train --config FILE, or name its folder with --run\n"},
		{"run and config", append(hello, "--run", "runs/latest", "--config", "s.yaml"), exitUsage, "--run and --config exclude each other"},
		{"missing config", append(hello, "--config", "none.yaml"), exitError, "none.yaml: no such file here"},
		{"negative temperature", append(hello, "--temperature", "-0.5"), exitUsage, "--temperature is -0.5; it must be 0 (always the likeliest token) or more\nRun "},
		{"top-p above one", append(hello, "--top-p", "1.5"), exitUsage, "--top-p is 1.5; it must be more than 0 and at most 1\nRun "},
		{"negative length", append(hello, "--max-new-tokens", "-1"), exitUsage, "--max-new-tokens is -1; it must be at least 0\nRun "},
		{"nothing written", append(hello, "--max-new-tokens", "0"), exitUsage, "--max-new-tokens 0 writes nothing; give --save-state FILE to keep what is read\nRun "},
		{"no name for the state", append(hello, "--save-state", ""), exitUsage, "--save-state is empty; name a file\nRun "},
		{"unknown policy", append(hello, "--policy", "ful"), exitError, `policy is "ful"; did you mean "full"? It must be one of full, window, random, h2o, snapkv, pyramidkv, tova, keydiff, expected, infini, edgeinfinite, slots, eisft` + "\n"},
		{"unknown cache", append(hello, "--cache", "int4"), exitUsage, `--cache is "int4"; did you mean "int8"? It must be one of float32, float16, int8` + "\nRun "},
		{"state of another cache", append(hello, "--state", "s.state", "--cache", "float16"), exitError, "s.state: the state was saved with a cache of float32, but float16 is asked for; leave that out, or read the text again\n"},
		{"no folder for the state", append(hello, "--save-state", "none/s.state"), exitError, "--save-state: write none/s.state: there is no folder none\n"},
		{"missing state", append(hello, "--state", "none.state"), exitError, "open safetensors: none.state: no such file or directory\n"},
		{"damaged state", append(hello, "--state", "short.state"), exitError, "short.state: found a header length of "},
		{"no state", append(hello, "--state", filepath.Join(latestRun, model.AdapterWeights)), exitError, filepath.Join(latestRun, model.AdapterWeights) + `: format is "` + model.AdapterFormat + `", want "eisft-state-2"`},
		{"state of another policy", append(hello, "--state", "s.state", "--policy", "window"), exitError, "s.state: the state was saved with another block (window 32, but 113 here); open it with the same run and policy"},
		{"state of another block", append(hello, "--state", "s.state", "--config", "s2.yaml"), exitError, "s.state: the state was saved with another block (slots 16, but 8 here)"},
		{"state of a conversation", append(hello, "--state", "s.state", "--chat=false"), exitError, "s.state: the state is that of a conversation; go on with it with the chat template\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if r := eisft(t, append([]string{"generate"}, tc.args...)...); r.code != tc.code || !strings.HasPrefix(r.stderr, "eisft: "+tc.want) || r.stdout != "" {
				t.Errorf("exit code %d, stderr %q, stdout %q; want %d and %q", r.code, r.stderr, r.stdout, tc.code, tc.want)
			}
		})
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestChat(t *testing.T) {
	text, question, answer := goldenPrompt(t)
	runFolder(t)
	writeFile(t, "book.txt", text)
	if r := eisft(t, "generate", "--policy", "full", "--prompt-file", "book.txt", "--max-new-tokens", "0", "--save-state", "book.state"); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	in := question + "\n\n/save talk.state\n/sav\nQuestion: What is the door code for the garage?\n/save none/talk.state\n/quit\nnever asked\n"
	r := eisftIn(t, in, "chat", "--policy", "full", "--state", "book.state")
	if want := answer + "\n7468\n"; r.code != 0 || r.stdout != want {
		t.Errorf("exit code %d, stdout %q, want %q", r.code, r.stdout, want)
	}
	if want := "unknown command \"/sav\"; there are /save FILE and /quit\nwrite none/talk.state: "; !strings.HasPrefix(r.stderr, want) {
		t.Errorf("stderr %q, want %q", r.stderr, want)
	}
	r = eisftIn(t, "Question: What is the door code for the garage?", "chat", "--policy", "full", "--state", "talk.state")
	if r.code != 0 || r.stdout != "7468\n" {
		t.Errorf("from the saved state: exit code %d, stdout %q, stderr %q", r.code, r.stdout, r.stderr)
	}
	if r := eisft(t, "chat", "--max-new-tokens", "0"); r.code != exitUsage || !strings.HasPrefix(r.stderr, "eisft: --max-new-tokens is 0; it must be at least 1\n") {
		t.Errorf("exit code %d, stderr %q", r.code, r.stderr)
	}
}

// TestEval: an evaluation is shown, kept and written, a second one goes on with it, and both
// can be compared.
func TestEval(t *testing.T) {
	runFolder(t)
	const said = "train.jsonl: 8 rows of the form messages (columns messages)\n"
	args := []string{"eval", "--data", "train.jsonl", "--policy", "full", "--policy", "eisft", "--json", "eval.json", "--markdown", "eval.md"}
	r := eisft(t, append(args, "--samples", "2")...)
	if r.code != 0 || r.stderr != said {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	folder := filepath.Join(latestRun, eval.EvaluationsDir, "train")
	page := filepath.Join(folder, eval.PageFile)
	if !strings.HasPrefix(r.stdout, "policy ") || !strings.Contains(r.stdout, "\nfull ") || !strings.Contains(r.stdout, "\nagainst full\n") || !strings.HasSuffix(r.stdout, "\n\n"+page+"\n") || !exists(page) {
		t.Errorf("table\n%s", r.stdout)
	}
	var report eval.Report
	if err := json.Unmarshal(readFile(t, "eval.json"), &report); err != nil {
		t.Fatal(err)
	}
	if got := report.Results; len(got) != 2 || got[1].Score(eval.All).N != 2 || len(got[1].Answers) != 2 || got[1].Answers[1].Where != "train.jsonl:line 2" || report.Settings.Samples != 2 {
		t.Errorf("results %+v", got)
	}
	if text := string(readFile(t, "eval.md")); !strings.HasPrefix(text, "| policy |") || !strings.Contains(text, "**against full**") {
		t.Errorf("Markdown\n%s", text)
	}
	r = eisft(t, append(args, "--limit", "3")...)
	if r.code != 0 || r.stderr != said+"eisft: 4 of 6 rows were answered before and are taken from "+folder+"\n" {
		t.Errorf("of one row more: exit code %d: %s", r.code, r.stderr)
	}
	r = eisft(t, append(args, "--max-new-tokens", "3")...)
	if r.code != exitError || !strings.Contains(r.stderr, "eisft: "+folder+" was begun with other settings: max_new_tokens was 32 and is 3; ") || r.stdout != "" {
		t.Errorf("with another length: exit code %d: %s", r.code, r.stderr)
	}
	if r = eisft(t, append(args, "--max-new-tokens", "3", "--samples", "1", "--out", "other")...); r.code != 0 || !exists("other/records.jsonl") {
		t.Fatalf("into another folder: exit code %d: %s", r.code, r.stderr)
	}
	r = eisft(t, "eval", "--json", "both.json", "--compare", latestRun, "other")
	if r.code != 0 || !strings.HasPrefix(r.stdout, "other against ") || !strings.Contains(r.stderr, "eisft: warning: max_new_tokens was 32 and is 3\n") || !strings.Contains(r.stderr, "full: 1 questions are in both, of 3 and 1\n") {
		t.Errorf("compare: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	var both eval.Comparison
	if err := json.Unmarshal(readFile(t, "both.json"), &both); err != nil || both.B != "other" || len(both.Differences) != 2 {
		t.Errorf("comparison %+v, %v", both, err)
	}
}

func TestEvalErrors(t *testing.T) {
	runFolder(t)
	writeFile(t, "question.jsonl", `{"context": "A text.", "input": "Question?"}`+"\n")
	rows := []string{"--data", "train.jsonl"}
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no data", nil, exitUsage, "there is nothing to evaluate on: the configuration has no eval.data and no validation.share; give --data FILE\nRun "},
		{"missing data", []string{"--data", "none.parquet"}, exitError, "none.parquet: no such file or directory\n"},
		{"missing column", []string{"--data", "question.jsonl"}, exitError, "question.jsonl: no column answers: the file has context, input"},
		{"missing run", append(rows, "--run", "none"), exitError, "there is no run none; train one"},
		{"negative samples", append(rows, "--samples", "-1"), exitUsage, "--samples is -1; it must be at least 1, or 0 for all\nRun "},
		{"no answer", append(rows, "--max-new-tokens", "0"), exitUsage, "--max-new-tokens is 0; it must be at least 1\nRun "},
		{"unknown policy", append(rows, "--policy", "full", "--policy", "windows"), exitError, `policy is "windows"; did you mean "window"? It must be one of full, window, random, h2o, snapkv, pyramidkv, tova, keydiff, expected, infini, edgeinfinite, slots, eisft` + "\n"},
		{"no tasks", append(rows, "--tasks", "none.yaml"), exitError, "none.yaml: no such file here, nor in a configs/eval folder in or above "},
		{"tasks and a length", append(rows, "--tasks", "x.yaml", "--max-new-tokens", "3"), exitUsage, "--tasks says how long answers may become; --max-new-tokens cannot be given, too\nRun "},
		{"a prompt's length alone", append(rows, "--max-prompt-tokens", "3"), exitUsage, "--max-prompt-tokens is for prompts of --tasks, and that is not given\nRun "},
		{"no budget", append(rows, "--budget", "0"), exitUsage, "--budget is 0; it must be at least 1\nRun "},
		{"a budget twice", append(rows, "--budget", "5000", "--budget", "5000"), exitUsage, "--budget 5000 is given twice\nRun "},
		{"a budget without slots", append(rows, "--policy", "keydiff", "--budget", "5"), exitError, "budget: a budget of 5 tokens leaves no slot: sinks and windows take "},
		{"no seed", append(rows, "--seeds", "0"), exitUsage, "--seeds is 0; it must be at least 1\nRun "},
		{"against nobody", append(rows, "--policy", "full", "--against", "windo"), exitError, `against is "windo"`},
		{"an argument", append(rows, "x"), exitUsage, "unexpected argument \"x\"\nRun "},
		{"one to compare", []string{"--compare", "x"}, exitUsage, "--compare wants two folders, of evaluations or runs; there are 1\nRun "},
		{"nothing to compare", []string{"--compare", "x", "y"}, exitError, "x: no such file or directory\n"},
		{"a run without evaluations", []string{"--compare", latestRun, latestRun}, exitError, latestRun + " is no evaluation's folder and has none: eisft eval --run " + latestRun + " makes one\n"},
		{"a folder that is none", append(rows, "--out", "s.yaml"), exitError, "s.yaml: not a directory\n"},
		{"somebody's folder", append(rows, "--out", "."), exitError, ". is no evaluation's folder: it has "},
		{"no folder for Markdown", append(rows, "--markdown", "none/eval.md"), exitError, "--markdown: write none/eval.md: there is no folder none\n"},
		{"no folder for scores", append(rows, "--json", "none/eval.json"), exitError, "--json: write none/eval.json: there is no folder none\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if r := eisft(t, append([]string{"eval"}, tc.args...)...); r.code != tc.code || !strings.Contains("\n"+r.stderr, "\neisft: "+tc.want) || r.stdout != "" {
				t.Errorf("exit code %d, stderr %q, stdout %q; want %d and %q", r.code, r.stderr, r.stdout, tc.code, tc.want)
			}
		})
	}
}

// endless is a text without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestPromptIsBounded(t *testing.T) {
	if _, err := readText(endless{}); err == nil || err.Error() != "more than 268435456 bytes, too many for a prompt; is it a text?" {
		t.Errorf("got %v", err)
	}
}
