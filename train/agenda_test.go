package train

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"eisft/data"
	"eisft/internal/ranks"
	"eisft/train/config"
)

// longChat adds a chat to the configuration's data that is beyond its limit.
func longChat(t *testing.T, c *config.Config) {
	t.Helper()
	c.Data.MaxTokens, c.Data.OnBadRow = 200, data.BadRowSkip
	f, err := os.OpenFile(c.Data.Train.String(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, `{"messages":[{"role":"user","content":%q},{"role":"assistant","content":"It is 4711."}]}`+"\n", strings.Repeat("The garage code is 4711. ", 99)); err != nil {
		t.Fatal(err)
	}
}

// TestPlan says of a run beforehand what its metrics say afterwards, and leaves nothing.
func TestPlan(t *testing.T) {
	c := tinyConfig(t, "["+distillStage+", "+sftStage+"]")
	longChat(t, c)
	plan, err := Plan(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Output); !os.IsNotExist(err) {
		t.Errorf("a plan has made %s: %v", c.Output, err)
	}
	var told strings.Builder
	if err := plan.Write(&told); err != nil {
		t.Fatal(err)
	}
	run, err := Train(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string]int{}
	for _, m := range readMetrics(t, run.Dir) {
		tokens[m.Kind] += m.Tokens
	}
	for _, want := range []string{
		"4 of 5 rows used; 1 left out, 1 of them longer than 200 tokens (data.max_tokens)\n",
		fmt.Sprintf("2 steps of 1 sample, %d tokens, 0.5 epochs: about ", tokens["distill"]),
		fmt.Sprintf("3 steps of 2 samples, %d tokens, 1.5 epochs: about ", tokens["s-sft"]),
		"write ", run.Dir + ", with config.yaml, metrics.jsonl, README.md, an adapter of ",
	} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("the plan does not say %q:\n%s", want, &told)
		}
	}
}

// TestAnnouncedSameBits: a run whose head has measured its stages trains the same.
func TestAnnouncedSameBits(t *testing.T) {
	c := tinyConfig(t, "["+distillStage+", "+sftStage+"]")
	defer func(was int) { worthMeasuring = was }(worthMeasuring)
	worthMeasuring = 0
	var head bytes.Buffer
	told, err := Train(t.Context(), c, Options{Progress: &head})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4 of 4 rows used\n", "all stages ", " a sample of s-sft: "} {
		if !strings.Contains(head.String(), want) {
			t.Errorf("the head of the run does not say %q:\n%s", want, &head)
		}
	}
	silent, err := Train(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range told.Model.Params.List() {
		if !slices.Equal(p.Data, silent.Model.Params.List()[i].Data) {
			t.Errorf("%s differs after stages were measured", p.Name)
		}
	}
}

// TestHeadSaysWhatItHasNotMeasured: the most of memory is not told without the stages that
// were not measured.
func TestHeadSaysWhatItHasNotMeasured(t *testing.T) {
	c := tinyConfig(t, "["+distillStage+", "+sftStage+"]") // 2 and 6 samples
	defer func(was int) { worthMeasuring = was }(worthMeasuring)
	worthMeasuring = 3
	var head bytes.Buffer
	if _, err := Train(t.Context(), c, Options{Progress: &head}); err != nil {
		t.Fatal(err)
	}
	if want := " at most, beside what samples of distill take: too few to measure one first, which --dry-run does"; !strings.Contains(head.String(), want) {
		t.Errorf("the head of the run does not say %q:\n%s", want, &head)
	}
}

// TestContextWarnings warns of stages in which the base sees more than it was trained for,
// with what would help.
func TestContextWarnings(t *testing.T) {
	const hard = "{kind: s-sft, steps: 1, choice: hard}"
	for name, test := range map[string]struct {
		stages  string
		trained int
		want    []string
	}{
		"trained for it": {"[" + distillStage + ", " + sftStage + "]", 2048, nil},
		"soft slots":     {"[" + sftStage + "]", 50, []string{"stages[0] (s-sft) shows the base up to 127 tokens at once, and it was trained on texts of 50: what is learned there may be nonsense; set stages[0].choice: hard, or lower data.max_tokens to 50"}},
		"hard slots":     {"[" + hard + "]", 50, nil},
		"a large block":  {"[" + hard + "]", 40, []string{"stages[0] (s-sft) shows the base up to 42 tokens at once, and it was trained on texts of 40: what is learned there may be nonsense; lower data.max_tokens to 40"}},
		"distill":        {"[" + distillStage + "]", 50, []string{"stages[0] (distill) shows the base up to 64 tokens at once, and it was trained on texts of 50: what is learned there may be nonsense; lower stages[0].tokens to 50"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			tr := &trainer{config: tinyConfig(t, test.stages), group: ranks.Alone{}}
			if err := tr.open(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer tr.source.Close()
			tr.Model.Base.Config.MaxPositionEmbeddings = test.trained
			tr.options.Warn = func(message string) { got = append(got, message) }
			if err := tr.checkRows(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("warnings %q, want %q", got, test.want)
			}
		})
	}
}
