package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/export/ort/orttest"
)

// paddedBase copies the demo base into a folder, with a [PAD] in its tokenizer that has the
// id of the first row that the embedding lacks, as many fine-tuned models have it.
func paddedBase(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../model/demo")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tokenizer.json")
	var file map[string]json.RawMessage
	if err := json.Unmarshal(readFile(t, path), &file); err != nil {
		t.Fatal(err)
	}
	added := strings.TrimSuffix(strings.TrimSpace(string(file["added_tokens"])), "]")
	file["added_tokens"] = json.RawMessage(added + `, {"id": 4096, "content": "[PAD]", "special": true}]`)
	text, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(text))
	return dir
}

const (
	padWarning = `eisft: warning: the tokenizer has tokens beyond the 4096 rows of the model's embedding, "[PAD]" (id 4096): a text with one of them is refused` + "\n"
	padError   = `the text has the token "[PAD]", whose id is 4096, but the model's embedding has 4096 rows, those of the ids 0 to 4095: leave the token out, or take a model that was trained with it` + "\n"
)

// TestTokenWithoutRow: a base whose tokenizer has more tokens than the embedding has rows
// opens everywhere with one warning; only a text with such a token is refused, by every command.
func TestTokenWithoutRow(t *testing.T) {
	orttest.Require(t)
	base := paddedBase(t)
	demo, err := filepath.Abs("../../model/demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(trainingFolder(t, 1))
	writeFile(t, "s.yaml", strings.Replace(string(readFile(t, "s.yaml")), demo, base, 1))
	bad := strings.ReplaceAll(string(readFile(t, "train.jsonl")), "In room ", "In room [PAD]")
	writeFile(t, "bad.jsonl", bad)
	writeFile(t, "bad.yaml", strings.Replace(string(readFile(t, "s.yaml")), "train.jsonl", "bad.jsonl", 1)+"name: bad\n")
	for _, args := range [][]string{
		{"train", "--config", "s.yaml"},
		{"generate", "--prompt", "Where do we meet?", "--max-new-tokens", "2"},
		{"eval", "--data", "train.jsonl", "--samples", "1"},
		{"quantize", "--calib", "train.jsonl", "--samples", "1"},
		{"export", "--shape", "32x84", "--verify=false", "--golden=false"},
		{"run", "--graph", "runs/latest/export/32x84", "--prompt", "Where do we meet?", "--max-new-tokens", "2"},
	} {
		if r := eisft(t, args...); r.code != 0 || args[0] != "export" && strings.Count(r.stderr, padWarning) != 1 {
			t.Fatalf("eisft %v: exit code %d, %s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	if r := eisft(t, "inspect", base); r.code != 0 || strings.Count(r.stdout, strings.TrimSpace(strings.TrimPrefix(padWarning, "eisft: warning: "))) != 1 {
		t.Errorf("inspect: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	for _, args := range [][]string{
		{"train", "--config", "bad.yaml"},
		{"generate", "--prompt", "What is [PAD]?"},
		{"generate", "--chat=false", "--prompt", "What is [PAD]?"},
		{"eval", "--data", "bad.jsonl"},
		{"quantize", "--calib", "bad.jsonl"},
		{"run", "--graph", "runs/latest/export/32x84", "--prompt", "What is [PAD]?"},
	} {
		r := eisft(t, args...)
		if r.code != exitError || !strings.Contains(r.stderr, padError) || strings.Contains(strings.Join(args, " "), "bad.") && !strings.Contains(strings.ReplaceAll(r.stderr, "\n  line", "bad.jsonl:line"), "bad.jsonl:line ") {
			t.Errorf("eisft %v: exit code %d, %s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	r := eisftIn(t, "What is [PAD]?\nWhere do we meet?\n", "chat", "--max-new-tokens", "2")
	if r.code != 0 || strings.Count(r.stderr, "the question is not read: "+padError) != 1 || r.stdout == "" {
		t.Errorf("chat: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	if r := eisft(t, "data", "preview", "--config", "bad.yaml", "--rows", "1"); r.code != exitError || !strings.Contains(r.stdout, "bad.jsonl:line 1: "+padError) {
		t.Errorf("preview: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	if r := eisft(t, "inspect", "--model", base, "bad.jsonl"); !strings.Contains(r.stdout, "bad.jsonl:line 1: "+strings.TrimSpace(padError)) {
		t.Errorf("inspect: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
}

// TestCachedModel: the folder of a model in Hugging Face's cache stands for its snapshot.
func TestCachedModel(t *testing.T) {
	demo, err := filepath.Abs("../../model/demo")
	if err != nil {
		t.Fatal(err)
	}
	root := inCache(t, demo, "r1", "r2")
	t.Chdir(trainingFolder(t, 1))
	plain := eisft(t, "generate", "--config", "s.yaml", "--prompt", "Where do we meet?", "--max-new-tokens", "4")
	writeFile(t, "s.yaml", strings.Replace(string(readFile(t, "s.yaml")), demo, root, 1))
	want := "eisft: " + root + ": found 2 snapshots and no refs/main that names one of them; name the folder of one: snapshots/r1, snapshots/r2\n"
	for _, args := range [][]string{{"train", "--config", "s.yaml"}, {"inspect", root}, {"check", root}} {
		if r := eisft(t, args...); r.code != exitError || r.stderr != want {
			t.Errorf("eisft %v: exit code %d, %q, want %q", args, r.code, r.stderr, want)
		}
	}
	writeFile(t, filepath.Join(root, "refs", "main"), "r2")
	if r := eisft(t, "generate", "--config", "s.yaml", "--prompt", "Where do we meet?", "--max-new-tokens", "4"); r.code != 0 || r.stdout != plain.stdout || r.stderr != "" {
		t.Errorf("exit code %d, %q, %s; want %q", r.code, r.stdout, r.stderr, plain.stdout)
	}
	if r := eisft(t, "inspect", root); r.code != 0 || !strings.Contains(r.stdout, "4,096 tokens") {
		t.Errorf("inspect: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
}
