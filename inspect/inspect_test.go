package inspect_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/data"
	"eisft/inspect"
	"eisft/internal/testfiles"
	"eisft/model"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

const demoBase = "../model/demo"

// describe inspects a path and returns what is printed.
func describe(t *testing.T, path string, o inspect.Options) (*inspect.Report, string) {
	t.Helper()
	r, err := inspect.Path(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	return r, printed(t, r)
}

func printed(t testing.TB, r *inspect.Report) string {
	t.Helper()
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestGolden(t *testing.T) {
	for _, tc := range []struct {
		name, path string
		options    inspect.Options
	}{
		{"base", demoBase, inspect.Options{}},
		{"chats", "../data/demo/train.parquet", inspect.Options{Model: demoBase}},
		{"questions", "../data/demo/test.parquet", inspect.Options{Model: demoBase}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, got := describe(t, tc.path, tc.options)
			golden := filepath.Join("testdata", tc.name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("output differs from %s (go test ./inspect -update writes it anew)\ngot:\n%s\nwant:\n%s", golden, got, want)
			}
		})
	}
}

// TestOthers describes models of other families and kinds of tensor files.
func TestOthers(t *testing.T) {
	for path, want := range map[string][]string{
		"hf/llama31":                  {": model", "LlamaForCausalLM", "llama3, theta", "there is no tokenizer.json"},
		"hf/mistral":                  {"MistralForCausalLM", "lm_head.weight"},
		"hf/qwen2":                    {"Qwen2ForCausalLM", "self_attn.q_proj.bias"},
		"hf/qwen3":                    {"Qwen3ForCausalLM", "self_attn.q_norm.weight"},
		"stories260k/model":           {"260,032", "chat template         no"},
		"edge/elu-scalar.safetensors": {": safetensors file", "metadata gate", "base.model.layers.N.mlp.up_proj.weight"},
	} {
		t.Run(path, func(t *testing.T) {
			r, got := describe(t, testfiles.Golden(t, path), inspect.Options{})
			wantText(t, got, want...)
			if r.Err() != nil {
				t.Errorf("problems: %q", r.Problems)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	r, _ := describe(t, demoBase, inspect.Options{})
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Kind  string
		Facts struct {
			Parameters   int
			HiddenSize   int  `json:"hidden_size"`
			ChatTemplate bool `json:"chat_template"`
		}
		Tables []struct{ Rows [][]any }
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Kind != "model" || got.Facts.Parameters != 7344384 || got.Facts.HiddenSize != 256 || !got.Facts.ChatTemplate || len(got.Tables[0].Rows) != 11 {
		t.Errorf("found %+v", got)
	}
}

func TestState(t *testing.T) {
	base, err := model.LoadBase(demoBase)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(base, model.Spec{Sink: 2, Window: 8, Segment: 8, Slots: 4, SlotLayers: []int{0, 1, 2, 6}, Positions: model.PositionsCompact, Memory: model.MemoryLinear, Feature: model.FeatureELU, Gate: model.GateScalar}, nil)
	if err != nil {
		t.Fatal(err)
	}
	stream := m.NewStream(model.StreamOptions{})
	if _, err := stream.Read(t.Context(), make([]int32, 45), nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "book.state") // the name of eisft generate's help
	if err := stream.Save(path, map[string]string{"title": "Emma"}); err != nil {
		t.Fatal(err)
	}
	_, got := describe(t, path, inspect.Options{})
	wantText(t, got, ": saved state", "tokens read", "45", "19: 2 sinks, 4 slots, 8 in the window, 5 of the current segment", "memory in use", "yes", "slots in layers 0-2, 6 alone", "linear memory of elu features", "note title", "Emma")
}

// TestBadPrompts: what a base's eisft.json has wrong is found with the rest of the folder.
func TestBadPrompts(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(demoBase)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, data.BaseFile), `{"prompts": {"x": "{input}"}}`)
	r, _ := describe(t, dir, inspect.Options{})
	if got := strings.Join(r.Problems, "\n"); !strings.Contains(got, `eisft.json: prompts: x: template "{input}" does not contain {context}`) {
		t.Errorf("problems %q", got)
	}
}

func wantText(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("found no %q in\n%s", p, got)
		}
	}
}

// TestLinkedFile: in Hugging Face's cache files are links to others without an ending.
func TestLinkedFile(t *testing.T) {
	dir := t.TempDir()
	blob, link := filepath.Join(dir, "0a1b"), filepath.Join(dir, "model.safetensors")
	text, err := os.ReadFile(filepath.Join(demoBase, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, blob, string(text))
	if err := os.Symlink(blob, link); err != nil {
		t.Fatal(err)
	}
	if r, _ := describe(t, link, inspect.Options{}); r.Err() != nil {
		t.Error(r.Err())
	}
}
