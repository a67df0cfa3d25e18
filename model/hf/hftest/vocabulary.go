package hftest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// PutVocabulary adds the tokenizer and the chat template of a Hugging Face folder, as
// llama.cpp's converter does. pre names the way words are split, "" says that the
// vocabulary is SentencePiece's; its scores follow the order of the merges.
func (w *GGUF) PutVocabulary(t testing.TB, dir, pre string) {
	t.Helper()
	var file struct {
		AddedTokens []struct {
			ID      int
			Content string
			Special bool
		} `json:"added_tokens"`
		Model struct {
			Vocab  map[string]int
			Merges []json.RawMessage
		}
	}
	readJSON(t, filepath.Join(dir, "tokenizer.json"), &file)
	for _, a := range file.AddedTokens {
		file.Model.Vocab[a.Content] = a.ID
	}
	tokens := make([]string, len(file.Model.Vocab))
	types := slices.Repeat([]int32{1}, len(tokens))
	for token, id := range file.Model.Vocab {
		tokens[id] = token
	}
	for _, a := range file.AddedTokens {
		types[a.ID] = map[bool]int32{true: 3, false: 4}[a.Special]
		if a.Content == "<unk>" {
			types[a.ID] = 2
		}
	}
	merges := pairs(t, file.Model.Merges)
	w.Put("tokenizer.ggml.tokens", tokens)
	w.Put("tokenizer.ggml.token_type", types)
	if pre == "" {
		w.Put("tokenizer.ggml.model", "llama")
		w.Put("tokenizer.ggml.scores", scores(file.Model.Vocab, merges))
	} else {
		w.Put("tokenizer.ggml.model", "gpt2")
		w.Put("tokenizer.ggml.pre", pre)
		w.Put("tokenizer.ggml.merges", merges)
	}
	var config struct {
		ChatTemplate string `json:"chat_template"`
	}
	readJSON(t, filepath.Join(dir, "tokenizer_config.json"), &config)
	if config.ChatTemplate != "" {
		w.Put("tokenizer.chat_template", config.ChatTemplate)
	}
}

// pairs returns merges as "a b"; newer files have them as ["a", "b"].
func pairs(t testing.TB, raw []json.RawMessage) []string {
	t.Helper()
	out := make([]string, len(raw))
	for i, r := range raw {
		var pair [2]string
		if json.Unmarshal(r, &pair) == nil {
			out[i] = pair[0] + " " + pair[1]
		} else if err := json.Unmarshal(r, &out[i]); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// scores gives a token the negative rank of the first merge that makes it, and the
// lowest of all where there is none.
func scores(vocab map[string]int, merges []string) []float32 {
	out := slices.Repeat([]float32{-1e9}, len(vocab))
	for rank, pair := range slices.Backward(merges) {
		out[vocab[strings.Replace(pair, " ", "", 1)]] = -float32(rank)
	}
	return out
}

func readJSON(t testing.TB, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
