package hf

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/internal/testfiles"
)

var update = flag.Bool("update", false, "write docs/models.md anew")

// TestModelsDoc holds docs/models.md to the code: to what families ask for, and to the
// tables of harmless keys.
func TestModelsDoc(t *testing.T) {
	path := filepath.Join(testfiles.Repository(t, "docs"), "models.md")
	got := modelsDoc(t)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Error("docs/models.md is not what the code says; go test ./model/hf -run TestModelsDoc -update writes it anew")
	}
}

const docIntro = `# Models: what of a configuration is used

<!-- Written by go test ./model/hf -run TestModelsDoc -update: change the code, not this file. -->

Every key of a model's configuration, a config.json or the metadata of a GGUF file, is one of these:

- **used**: the family's reader asked for it;
- **ignored**: it is in the tables below, with the reason why it changes nothing, and it has a value for which that is true. A null is absent;
- **unknown**: in no table, and no word of its name speaks of something that is computed. A warning names it;
- **refused**: in no table, or with another value than the table allows, and it may change what the model computes. The model is not opened, and the error names the key.

` + "`eisft inspect MODEL`" + ` lists the keys of a model with what became of each. Where you know that a refused key changes
nothing, or want a used one to be left out, list it in the training configuration:

    model:
      path: ...
      ignore: [rope_scaling.attn_factor]

`

func modelsDoc(t *testing.T) string {
	var b strings.Builder
	b.WriteString(docIntro)
	b.WriteString("## config.json\n\n")
	asked, rope := map[string][]string{}, map[string][]string{}
	for arch := range families {
		asked[arch] = askedOfConfig(t, arch, rope)
	}
	writeAsked(&b, "architecture", asked)
	b.WriteString("### Rotary embedding\n\nIn `rope_scaling` or `rope_parameters`, which may hold a record for `full_attention` and one for `sliding_attention`. Of other keys in it each is refused.\n\n| rope_type | used |\n|---|---|\n")
	for _, kind := range slices.Sorted(maps.Keys(rope)) {
		fmt.Fprintf(&b, "| %s | %s |\n", kind, codes(rope[kind]))
	}
	b.WriteString("\nHere they change nothing:\n\n")
	writeHarmless(&b, ropeRules)
	b.WriteString("### Known to change nothing\n\nWhere nothing reads them:\n\n")
	writeHarmless(&b, configRules)
	writeIgnored(&b)
	fmt.Fprintf(&b, "### Words of what is computed\n\nA key that is in no table is refused if its name has one of these words:\n%s.\n\n", strings.Join(computingWords, ", "))
	fmt.Fprintf(&b, "## GGUF\n\nWeights may have the types %s. A model in parts (NAME-00001-of-00003.gguf, as llama-gguf-split writes them) is opened by its folder or by any of the parts, which lie in one folder.\n\n", ggmlFloats())
	b.WriteString("Below the name of the architecture, `llama.` for example. What begins with `rope.` or `attention.` or ends with `softcapping` is used or refused.\n\n")
	metadata := map[string][]string{}
	for arch := range ggufArchitectures {
		metadata[arch] = askedOfMetadata(t, arch)
	}
	writeAsked(&b, "general.architecture", metadata)
	b.WriteString("### Known to change nothing\n\nWhere nothing reads them:\n\n")
	writeHarmless(&b, metadataRules)
	b.WriteString("Outside of the architecture:\n\n")
	writeHarmless(&b, fileRules)
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// writeAsked lists what all readers ask for, and what each asks for besides.
func writeAsked(b *strings.Builder, what string, asked map[string][]string) {
	names := slices.Sorted(maps.Keys(asked))
	common := slices.Clone(asked[names[0]])
	for _, name := range names {
		common = slices.DeleteFunc(common, func(key string) bool { return !slices.Contains(asked[name], key) })
	}
	fmt.Fprintf(b, "### Used\n\nOf all: %s.\n\n| %s | besides |\n|---|---|\n", codes(common), what)
	for _, name := range names {
		fmt.Fprintf(b, "| %s | %s |\n", name, codes(slices.DeleteFunc(asked[name], func(key string) bool { return slices.Contains(common, key) })))
	}
	b.WriteString("\n")
}

func writeHarmless(b *strings.Builder, r rules) {
	byReason := map[[2]string][]string{}
	for key, h := range r.harmless {
		why := [2]string{h.reason, h.when.text}
		byReason[why] = append(byReason[why], key)
	}
	b.WriteString("| keys | want | why |\n|---|---|---|\n")
	for _, why := range slices.SortedFunc(maps.Keys(byReason), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		fmt.Fprintf(b, "| %s | %s | %s |\n", codes(byReason[why]), cmp.Or(why[1], "anything"), why[0])
	}
	for _, p := range r.patterns {
		fmt.Fprintf(b, "| %s | anything | %s |\n", codes(strings.Split(p.text, ", ")), p.reason)
	}
	b.WriteString("\n")
}

// writeIgnored lists what single families ignore.
func writeIgnored(b *strings.Builder) {
	b.WriteString("Of single architectures:\n\n| architecture | key | why |\n|---|---|---|\n")
	for _, arch := range slices.Sorted(maps.Keys(families)) {
		for _, key := range slices.Sorted(maps.Keys(families[arch].ignored)) {
			fmt.Fprintf(b, "| %s | `%s` | %s |\n", arch, key, families[arch].ignored[key])
		}
	}
	b.WriteString("\n")
}

func codes(keys []string) string {
	keys = slices.Compact(slices.Sorted(slices.Values(keys)))
	if len(keys) == 0 {
		return "–"
	}
	return "`" + strings.Join(keys, "`, `") + "`"
}

// askedOfConfig lists the keys that an architecture's reader asks for, outside of records of
// rotary embedding; those in them it adds to rope, by the type of embedding.
func askedOfConfig(t *testing.T, arch string, rope map[string][]string) []string {
	const sizes = `"vocab_size":10,"hidden_size":64,"intermediate_size":8,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":16,
		"max_position_embeddings":512,"sliding_window":8,"use_sliding_window":%v,"rope_scaling":{"rope_type":%q,"factor":2}`
	var out []string
	for _, slides := range []bool{false, true} {
		for _, kind := range RopeTypes() {
			text := fmt.Sprintf(sizes, slides, kind)
			if record := families[arch].text; record != "" {
				text = fmt.Sprintf(`%q:{%s}`, record, text)
			}
			o, err := parseObject("config.json", fmt.Appendf(nil, `{"architectures":[%q],%s}`, arch, text))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = newConfig(o) // what is wrong with it has been asked for, too
			for key := range o.read {
				_, inRope, ok := strings.Cut(key, "rope_scaling.")
				switch {
				case !ok && !strings.Contains(key, "rope_parameters."):
					out = append(out, strings.TrimPrefix(key, families[arch].text+"."))
				case ok:
					rope[kind] = append(rope[kind], inRope)
				}
			}
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(out)))
}

// askedOfMetadata lists the metadata that are read of an architecture of llama.cpp.
func askedOfMetadata(t *testing.T, arch string) []string {
	var out []string
	for _, kind := range []string{"", "linear", "yarn", "none", "longrope"} {
		g := &GGUF{path: "model.gguf", Metadata: map[string]any{"general.architecture": arch}, tensors: map[string]Tensor{
			"token_embd.weight": {Name: "token_embd.weight", DType: DTypeF32, Shape: []int{10, 64}},
		}}
		for key, n := range map[string]int64{
			"embedding_length": 64, "feed_forward_length": 8, "block_count": 2, "attention.head_count": 4, "attention.head_count_kv": 2,
			"attention.key_length": 16, "context_length": 512, "attention.sliding_window": 8, "rope.dimension_count": 16, "rope.dimension_count_swa": 16,
			"attention.value_length": 16, "attention.key_length_swa": 16, "attention.value_length_swa": 16, "rope.scale_linear": 2,
		} {
			g.Metadata[arch+"."+key] = n
		}
		if kind != "" {
			g.Metadata[arch+".rope.scaling.type"], g.Metadata[arch+".rope.scaling.factor"] = kind, 2.0
		}
		if kind == "longrope" {
			for _, name := range []string{ropeShort, ropeLong} {
				g.tensors[name] = Tensor{Name: name, DType: DTypeF32, Shape: []int{8}, Data: make([]byte, 32)}
			}
		}
		o, err := g.object(nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = newConfig(o)
		for name := range o.read {
			key, ours := strings.CutPrefix(name, arch+".")
			if known := slices.Contains(slices.Collect(maps.Values(o.source)), name); ours && key != "rope.scaling" && (known || o.root[name] != nil) || strings.HasPrefix(name, "tokenizer.") {
				out = append(out, key)
			}
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(out)))
}
