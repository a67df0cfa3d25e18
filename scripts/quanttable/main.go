// Quanttable writes the table of docs/quantization.md from the reports of quantized models,
// and the data and configuration of the small base of stories that it is made on, too
// (scripts/quant-table.sh).
//
//	quanttable stories DIR BASE TEXT
//	quanttable table DOC REPORT...
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"eisft/model"
	"eisft/model/chat"
	"eisft/model/tokenizer"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 4 && args[0] == "stories":
		return stories(context.Background(), args[1], args[2], args[3])
	case len(args) > 2 && args[0] == "table":
		return table(args[1], args[2:])
	default:
		return errors.New("usage: quanttable stories DIR BASE TEXT | quanttable table DOC REPORT, more of them")
	}
}

// plain is a chat template for a model that continues texts.
const plain = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"

const (
	written    = 260 // stories that the base writes
	calibrated = 20  // the first ones: the run is trained on them, and all methods are calibrated on them
	heldOut    = 40  // the next ones; what is behind them is for recipes that fit more
	longest    = 320 // tokens of a story
)

// stories copies the base into a folder, with a template, and writes rows and a
// configuration. Most stories are the base's own, sampled at temperature 1 with seeds: text
// that it was not fitted to and that it knows how to continue (LLM-QAT, arXiv 2305.17888, does
// the same for calibration). The real ones are held out.
func stories(ctx context.Context, dir, base, text string) error {
	copied := filepath.Join(dir, "base")
	if err := os.CopyFS(copied, os.DirFS(base)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(copied, "chat_template.jinja"), []byte(plain), 0o644); err != nil {
		return err
	}
	own, err := write(ctx, base)
	if err != nil {
		return err
	}
	read, err := os.ReadFile(text)
	if err != nil {
		return err
	}
	held := slices.Concat(own[calibrated:calibrated+heldOut], strings.Split(strings.TrimSpace(string(read)), "<|endoftext|>"))
	config := `name: stories
model: {path: base}
block: {sink: 4, window: 64, segment: 64, slots: 32}
data: {train: train.jsonl, max_tokens: 512}
stages:
  - {kind: distill, steps: 30, batch: 1, tokens: 192, warmup: 5}
output: ` + filepath.Join(dir, "runs") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "s.yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	more := slices.Concat(own[:calibrated], own[calibrated+heldOut:])
	for name, part := range map[string][]string{"train.jsonl": own[:calibrated], "more.jsonl": more, "test.jsonl": held} {
		var rows strings.Builder
		for _, story := range part {
			if story = strings.TrimSpace(story); story == "" {
				continue
			}
			row, err := json.Marshal(map[string]string{"text": story})
			if err != nil {
				return err
			}
			rows.Write(append(row, '\n'))
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(rows.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// write has the base write stories, one with each seed.
func write(ctx context.Context, dir string) ([]string, error) {
	tk, err := tokenizer.Load(dir)
	if err != nil {
		return nil, err
	}
	b, err := model.LoadBase(dir)
	if err != nil {
		return nil, err
	}
	m, err := model.New(b, model.FullAttention(longest), nil)
	if err != nil {
		return nil, err
	}
	list := make([]string, written)
	for i := range list {
		sampler, err := model.NewSampler(1, 1, uint64(i))
		if err != nil {
			return nil, err
		}
		st := m.NewStream(model.StreamOptions{})
		next, err := st.Read(ctx, tk.Encode("Once upon a time", true), nil)
		if err != nil {
			return nil, err
		}
		ids, err := st.Generate(ctx, next, model.GenerateOptions{MaxNewTokens: longest, Stop: chat.StopIDs(b.Config, tk, nil), Sampler: sampler})
		if err != nil {
			return nil, err
		}
		list[i] = "Once upon a time" + tk.Decode(ids, false)
	}
	return list, nil
}

// report is what the table has of a report.json.
type report struct {
	Recipe struct {
		Name string
		Seed int64
	}
	Bytes      struct{ Before, After int }
	Evaluation struct {
		Comparisons []comparison
	}
}

type estimate struct{ Value, Lo, Hi float64 }

type comparison struct {
	Key        string
	N, Rows    int
	Change     struct{ Before, After estimate }
	Difference estimate
}

// table puts a row for each report into a document, between the lines that mark its place.
func table(doc string, paths []string) error {
	var rows strings.Builder
	rows.WriteString("| base, recipe | seed | perplexity before | after | increase (95 %) | far recall before | after | change (95 %) | size |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var r report
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		base := filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(path))))
		fmt.Fprintf(&rows, "| %s, %s | %d | %s | %s | %.1f MB |\n", base, strings.TrimPrefix(r.Recipe.Name, "table-"), r.Recipe.Seed, r.cells("perplexity/text", true), r.cells("em/far", false), float64(r.Bytes.After)/1e6)
	}
	old, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	const begin, end = "<!-- scripts/quant-table.sh -->\n", "<!-- end -->\n"
	head, rest, ok := strings.Cut(string(old), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s: it has no place for the table, between %q and %q", doc, begin, end)
	}
	return os.WriteFile(doc, []byte(head+begin+"\n"+rows.String()+"\n"+end+tail), 0o644)
}

// cells are before, after and the change of a figure.
func (r report) cells(key string, relative bool) string {
	for _, c := range r.Evaluation.Comparisons {
		if c.Key != key {
			continue
		}
		d := c.Difference
		change := fmt.Sprintf("%+.3f (%+.3f to %+.3f)", d.Value, d.Lo, d.Hi)
		if relative {
			change = fmt.Sprintf("%+.2f %% (%+.2f to %+.2f)", 100*d.Value, 100*d.Lo, 100*d.Hi)
		}
		return fmt.Sprintf("%.3f of %d | %.3f | %s", c.Change.Before.Value, c.N, c.Change.After.Value, change)
	}
	return "| |"
}
