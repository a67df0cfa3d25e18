package eval

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/data"
	"eisft/data/synth"
	"eisft/model"
	"eisft/model/tokenizer"
)

// TestTaskFiles: the shipped files are read, and those of conversations ask as the demo base
// was trained.
func TestTaskFiles(t *testing.T) {
	files, err := filepath.Glob("../configs/eval/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%v: %v", files, err)
	}
	for _, f := range files {
		if _, err := LoadTasks(f); err != nil {
			t.Error(err)
		}
	}
	conversations, err := LoadTasks("../configs/eval/conversations.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, prompt := range synth.Prompts() {
		if got := conversations.Tasks[name].Prompt; got != prompt {
			t.Errorf("%s is asked by %q, want %q", name, got, prompt)
		}
	}
	made, err := LoadTasks("../configs/eval/synth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, prompt := range synth.KindPrompts() {
		if got := made.Tasks[name]; got.Prompt != prompt || got.Metrics[0] != MetricMatchAll {
			t.Errorf("%s is asked by %q and scored by %v, want %q", name, got.Prompt, got.Metrics, prompt)
		}
	}
	long, err := LoadTasks("../configs/eval/longbench.yaml")
	if err != nil || len(long.Tasks) != 21 {
		t.Fatalf("%d data sets, want LongBench's 21 (%v)", len(long.Tasks), err)
	}
	if plain := long.Tasks["samsum"]; !plain.Plain || !plain.FirstLine || !plain.StopAtNewline || plain.Metrics[0] != MetricRougeL || plain.MaxNewTokens != 128 {
		t.Errorf("samsum %+v", plain)
	}
}

func TestBadTasks(t *testing.T) {
	for text, want := range map[string]string{
		"":               "t.yaml: the file is empty",
		"tasks: [":       "t.yaml:1: sequence end token ']' not found",
		"task:\n  a: 1":  `t.yaml:1: task is not a known key; did you mean "tasks"?`,
		"tasks: 3":       "t.yaml:1: tasks must be a section of keys, not 3",
		"tasks: {}":      "t.yaml:1: tasks is empty; name a data set",
		"tasks:\n  a: 3": "t.yaml:2: tasks.a must be a section of keys, not 3",
		"max_prompt_tokens: 1\ntasks: {a: {prompt: '{context}', max_new_tokens: 1, metrics: [f1]}}":       "t.yaml:1: max_prompt_tokens is 1; a prompt is cut to two halves",
		"max_prompt_tokens: -2\ntasks: {a: {prompt: '{context}', max_new_tokens: 1, metrics: [f1]}}":      "t.yaml:1: max_prompt_tokens is -2; it must be at least 0",
		"tasks:\n  a:\n    prompt: Say it\n    max_new_tokens: 1\n    metrics: [f1]":                      `t.yaml:3: tasks.a.prompt is "Say it"; it must contain {context}`,
		"tasks:\n  a:\n    prompt: '{context}'\n    max_new_tokens: 0\n    metrics: [f1]":                 "t.yaml:4: tasks.a.max_new_tokens is 0; it must be at least 1",
		"tasks:\n  a:\n    prompt: '{context}'\n    max_new_tokens: 1\n    metrics: []":                   "t.yaml:5: tasks.a.metrics is empty; name one or more of em, f1,",
		"tasks:\n  a:\n    prompt: '{context}'\n    max_new_tokens: 1\n    metrics: [rouge]":              `t.yaml:5: tasks.a.metrics[0] is "rouge"; did you mean`,
		"tasks:\n  a:\n    prompt: '{context}'\n    max_new_tokens: 1\n    metric: f1\n    metrics: [f1]": `t.yaml:5: tasks.a.metric is not a known key; did you mean "metrics"?`,
		"tasks:\n  a:\n    prompt: '{context}'\n    max_new_tokens: 1\n    metrics: [f1]\n    plain: 2":   "t.yaml:6: tasks.a.plain must be true or false, not 2",
	} {
		if _, err := ParseTasks([]byte(text), "t.yaml"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v\nwant %s", text, err, want)
		}
	}
}

// TestTaskPrompts: a file of LongBench's form takes the place of prompts, and only of those
// that it names.
func TestTaskPrompts(t *testing.T) {
	dir := t.TempDir()
	tasks := "prompts: p.json\ntasks:\n  a: {prompt: 'A {context}', max_new_tokens: 1, metrics: [f1]}\n  b: {prompt: 'B {context}', max_new_tokens: 1, metrics: [f1]}\n"
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("t.yaml", tasks)
	write("p.json", `{"a": "other {context}{input}", "c": "{context}"}`)
	got, err := LoadTasks(filepath.Join(dir, "t.yaml"))
	if err != nil || got.Tasks["a"].Prompt != "other {context}{input}" || got.Tasks["b"].Prompt != "B {context}" || len(got.Tasks) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	for text, want := range map[string]string{
		`{"a": 3}`:      "p.json: want a JSON object of prompt templates by task",
		`{"a": "none"}`: `p.json: a: the prompt "none" does not contain {context}`,
	} {
		write("p.json", text)
		if _, err := LoadTasks(filepath.Join(dir, "t.yaml")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := os.Remove(filepath.Join(dir, "p.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadTasks(filepath.Join(dir, "t.yaml")); err == nil || !strings.Contains(err.Error(), "t.yaml: prompts: ") {
		t.Errorf("no file of prompts: %v", err)
	}
}

const taskRows = `{"dataset": "chat", "context": "Nathan: How is your family doing?\nMark: To open the attic, type 6528.\nNathan: No, not yet.", "input": "Question: What is the door code for the attic?", "answers": ["none", "6528"], "depth": 0.34, "length": 3999, "all_classes": null}
{"dataset": "chat_e", "context": "Nathan: How is your family doing?\nMark: To open the attic, type 6528.\nNathan: No, not yet.", "input": "Question: What is the door code for the attic?", "answers": ["6528"], "depth": 0.34, "length": 4000}
{"dataset": "code", "context": "x = 1\n", "input": "", "answers": ["x = 1"], "length": 8000, "all_classes": ["a"]}
`

func tasksFile(t *testing.T, text string) *Tasks {
	t.Helper()
	tasks, err := ParseTasks([]byte(text), "t.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return tasks
}

const chatTasks = `
tasks:
  chat: {prompt: "{context}\n\n{input}", max_new_tokens: 12, metrics: [match-any]}
  code: {prompt: "{context}", max_new_tokens: 5, metrics: [edit-similarity, f1], plain: true, first_line: true, stop_at_newline: true}
`

// taskJob asks the rows by tasks.
func taskJob(t *testing.T, rows string, tasks *Tasks) (*Report, error) {
	t.Helper()
	m, tk, tpl := openDemo(t)
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte(rows), 0o666); err != nil {
		t.Fatal(err)
	}
	job := Job{Model: m, Tokenizer: tk, Template: tpl, Config: Config{Data: data.One(path), Policies: []Policy{PolicyFull}, Tasks: tasks}}
	return job.Run(t.Context())
}

// TestTaskRun: rows are asked and scored as the task of their data set says, LongBench-E's
// among them, and divided by their length.
func TestTaskRun(t *testing.T) {
	r, err := taskJob(t, taskRows, tasksFile(t, chatTasks))
	if err != nil {
		t.Fatal(err)
	}
	a := r.Results[0].Answers
	if len(a) != 3 || a[0].Metrics[MetricMatchAny] != 1 || a[1].Metrics[MetricMatchAny] != 1 || a[0].Commits != 0 {
		t.Fatalf("answers %+v", a)
	}
	if _, ok := a[0].Metrics[MetricEditSimilarity]; ok || a[2].Metric != MetricEditSimilarity || a[2].Prompt != 5 || strings.Contains(a[2].Text, "\n") || a[2].Text == "" {
		t.Errorf("plain answer %+v", a[2])
	}
	var datasets []string
	for _, s := range r.Tasks {
		datasets = append(datasets, s.Dataset)
	}
	if !slices.Equal(datasets, []string{"chat", "chat_e", "code"}) {
		t.Errorf("tasks of %v", datasets)
	}
	for i, want := range []string{"0-4k", "4-8k", "8k+"} {
		if l := r.Tasks[i].Lengths; len(l) != 1 || l[0].Part != want || l[0].N != 1 {
			t.Errorf("%s: lengths %+v, want %s", datasets[i], l, want)
		}
	}
	var out strings.Builder
	if err := r.WriteTable(&out); err != nil || !strings.Contains(trimLines(out.String()), "full    chat     match-any        1  100.00  100.00  –       –\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestBadTaskRows(t *testing.T) {
	const classes = `tasks: {c: {prompt: "{context}{input}", max_new_tokens: 1, metrics: [classification, retrieval]}}`
	const counted = `tasks: {qasper: {prompt: "{context}", max_new_tokens: 1, metrics: [f1]}, trec: {prompt: "{context}", max_new_tokens: 1, metrics: [f1]}}`
	const passages = `tasks: {c: {prompt: "{context}{input}", max_new_tokens: 1, metrics: [retrieval]}}`
	for _, c := range []struct{ rows, tasks, want string }{
		{`{"dataset":"c","context":"x","input":"y","answers":["a"]}`, classes, "line 1: metric classification: column all_classes has no classes"},
		{`{"dataset":"c","context":"x","input":"y","answers":["5"]}`, passages, `line 1: metric retrieval: the answer "5" has no "Paragraph" with a number behind it`},
		{`{"dataset":"qasp","context":"x","input":"","answers":["a"]}`, counted, `line 1: the row's dataset is "qasp", and t.yaml has no task of that name; did you mean qasper? It has qasper, trec`},
		{`{"context":"x","input":"","answers":["a"]}`, counted, `line 1: the row's dataset is "", and t.yaml has no task of that name; it has qasper, trec`},
		{`{"dataset":"trec","context":"x","input":"y","answers":["a"]}`, counted, `line 1: the row has an input, and the prompt template "{context}" does not contain {input}`},
		{`{"dataset":"trec","messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, counted, "line 1: a task asks one question about a context"},
		{`{"dataset":"trec","text":"x"}`, counted, "line 1: a task asks one question about a context"},
	} {
		if _, err := taskJob(t, c.rows, tasksFile(t, c.tasks)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.rows, err, c.want)
		}
	}
}

// TestCutMiddle: of a prompt that is too long the first and the last half of the tokens
// stay, and a fact that was between them has no place any more.
func TestCutMiddle(t *testing.T) {
	_, tk, tpl := openDemo(t)
	context := strings.Repeat("Nathan: No, not yet.\n", 40) + "Mark: To open the attic, type 6528.\n" + strings.Repeat("Nathan: Okay.\n", 40)
	row := func() data.Sample {
		return data.Sample{
			Where: "here", Dataset: "c", Messages: []tokenizer.Message{{Role: "user", Content: context}, {Role: "assistant", Content: "6528"}},
			Answers: []string{"6528"}, Depth: 0.5, Fact: "Mark: To open the attic, type 6528.",
		}
	}
	all := tk.Encode(context, true)
	for _, c := range []struct {
		most, cut int
		fact      bool
	}{{0, 0, true}, {len(all), 0, true}, {len(all) - 1, 1 + (len(all)-1)%2, true}, {101, len(all) - 100, false}} {
		tasks := tasksFile(t, `tasks: {c: {prompt: "{context}", max_new_tokens: 1, metrics: [f1]}}`)
		tasks.MaxPromptTokens = c.most
		s, err := tasks.sample(data.NewEncoder(tk, tpl, 0), tk, row())
		if err != nil {
			t.Fatal(err)
		}
		if known := s.Turns[0].Distance >= 0; s.CutTokens != c.cut || known != c.fact && c.most == 101 {
			t.Errorf("at most %d of %d: cut %d, want %d; the fact's place is known: %v", c.most, len(all), s.CutTokens, c.cut, known)
		}
		if c.most == 101 {
			want := tk.Decode(all[:50], true) + tk.Decode(all[len(all)-50:], true)
			if text := tk.Decode(s.IDs, true); !strings.Contains(text, strings.TrimSpace(want)) {
				t.Errorf("the prompt is %q, want %q in it", text, want)
			}
		}
	}
}

// TestCommits: the number of commits since a fact follows from the schedule alone.
func TestCommits(t *testing.T) {
	m, _, _ := openDemo(t)
	m.Spec.Sink, m.Spec.Window, m.Spec.Segment = 4, 64, 32
	p := model.StreamOptions{}.Plan(m)
	for _, c := range []struct{ tokens, distance, want int }{
		{100, 100, 0}, // a short prompt is held
		{101, 101, 3}, // its three whole segments are committed before the 101st token
		{101, 6, 1},   // the last one that was read before the commit at 96
		{101, 5, 0},
		{128, 128, 3}, // the fourth is due before the next token only
		{129, 129, 4},
		{129, 64, 2},
		{129, -1, -1},
	} {
		if got := commitsSince(p, c.tokens, c.distance); got != c.want {
			t.Errorf("%d tokens, %d back: %d commits, want %d", c.tokens, c.distance, got, c.want)
		}
	}
}

func FuzzTasks(f *testing.F) {
	for _, name := range []string{"longbench", "conversations"} {
		text, err := os.ReadFile("../configs/eval/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("tasks: {a: {prompt: '{context}', max_new_tokens: 1, metrics: [f1]}}")
	f.Add("max_prompt_tokens: 1e9\ntasks: {? [a] : b}")
	f.Fuzz(func(t *testing.T, text string) {
		tasks, err := ParseTasks([]byte(text), "t.yaml")
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "t.yaml") && !strings.HasPrefix(line, " ") && strings.HasPrefix(err.Error(), line) {
					t.Errorf("the error does not name the file: %v", err)
				}
			}
			return
		}
		for name, task := range tasks.Tasks {
			if len(task.Metrics) == 0 || task.MaxNewTokens < 1 || metrics.Get(task.Metrics[0]).score == nil {
				t.Errorf("task %s was read: %+v", name, task)
			}
		}
	})
}

// TestTaskStops: an answer that ends at a newline has the newline's token among those that
// end it, and LongBench-E's rows are asked by the same prompt.
func TestTaskStops(t *testing.T) {
	_, tk, tpl := openDemo(t)
	tasks := tasksFile(t, chatTasks)
	if got := tasks.prompts(); got["code_e"] != "{context}" || got["chat_e"] != got["chat"] || len(got) != 4 {
		t.Errorf("prompts %q", got)
	}
	row := data.Sample{
		Where: "here", Dataset: "code", Answers: []string{"x = 1"},
		Messages: []tokenizer.Message{{Role: "user", Content: "x = 1\n"}, {Role: "assistant", Content: "x = 1"}},
	}
	s, err := tasks.sample(data.NewEncoder(tk, tpl, 0), tk, row)
	if err != nil {
		t.Fatal(err)
	}
	if newline := tk.Encode("\n", false); len(s.Stop) != 1 || s.Stop[0] != newline[len(newline)-1] {
		t.Errorf("stops at %v, want %v", s.Stop, newline)
	}
}
