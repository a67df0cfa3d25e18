package eval

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"eisft/data"
	"eisft/internal/enum"
	"eisft/internal/head"
	"eisft/internal/nearest"
	"eisft/internal/strictyaml"
	"eisft/model/tokenizer"
)

// Tasks say how the rows of data sets are asked and their answers scored.
type Tasks struct {
	// Prompts is a file of prompt templates by task, in JSON, as LongBench's
	// dataset2prompt.json: they take the place of those of the tasks it names.
	Prompts string `yaml:"prompts" json:"-"` // Tasks have them
	// MaxPromptTokens bounds a prompt: a longer one loses its middle, as LongBench cuts it:
	// the first and the last half of so many tokens stay. 0: none is cut.
	MaxPromptTokens int `yaml:"max_prompt_tokens"`
	// Tasks are the data sets, by what a row's column dataset says. That of a row may have
	// _e behind it, as LongBench-E's files have.
	Tasks map[string]Task `yaml:"tasks"`
	file  string
}

// Task is a data set.
type Task struct {
	Prompt       string   `yaml:"prompt"`         // {context} and {input} stand for the row's columns
	MaxNewTokens int      `yaml:"max_new_tokens"` // answers are cut there
	Metrics      []Metric `yaml:"metrics"`        // the first one is the task's score
	// Plain asks without a chat template: what is asked for is the text's next words.
	Plain bool `yaml:"plain"`
	// FirstLine scores the first line of an answer that is not empty at its beginning.
	FirstLine bool `yaml:"first_line"`
	// StopAtNewline ends an answer at a token that is a newline. Its first token is another.
	StopAtNewline bool `yaml:"stop_at_newline"`
}

// maxAnswer and maxPrompt are more tokens than anybody waits for.
const (
	maxAnswer = 1 << 16
	maxPrompt = 1 << 22
)

// FindTasks returns the file that a command line names: a path, or the bare name of one in
// configs/eval.
func FindTasks(name string) (string, error) {
	return strictyaml.Find(filepath.Join("configs", "eval"), name)
}

// LoadTasks reads a file of tasks. The error names every problem on a line of its own:
// file:line, key path, what was found and what is wanted.
func LoadTasks(file string) (*Tasks, error) {
	text, err := head.ReadText(file, strictyaml.MaxSize)
	if err != nil {
		return nil, err
	}
	t, err := ParseTasks(text, file)
	if err != nil || t.Prompts == "" {
		return t, err
	}
	return t, t.takePrompts()
}

// ParseTasks reads tasks from text that stands in a file. It does not read the file of
// prompts.
func ParseTasks(text []byte, file string) (*Tasks, error) {
	d := strictyaml.New(file)
	d.Special = func(n ast.Node, t reflect.Type, path string) bool {
		m, ok := n.(ast.MapNode)
		if t != reflect.TypeFor[map[string]Task]() || !ok {
			return false
		}
		d.CheckFields(m, path, func(string, ast.Node) (reflect.Type, string) { return reflect.TypeFor[Task](), "" })
		return true
	}
	root, err := d.Parse(text)
	if err != nil {
		return nil, err
	}
	d.Check(root, reflect.TypeFor[Tasks](), "")
	if err := d.Err(); err != nil {
		return nil, err
	}
	t := &Tasks{file: file}
	if err := yaml.NodeToValue(root, t); err != nil {
		return nil, d.SyntaxError(err)
	}
	if t.Prompts != "" && !filepath.IsAbs(t.Prompts) {
		t.Prompts = filepath.Join(filepath.Dir(file), t.Prompts)
	}
	t.check(d)
	return t, d.Err()
}

func (t *Tasks) check(d *strictyaml.Document) {
	d.Within("max_prompt_tokens", t.MaxPromptTokens, 0, maxPrompt)
	if t.MaxPromptTokens == 1 {
		d.Problem("max_prompt_tokens", "is 1; a prompt is cut to two halves")
	}
	if len(t.Tasks) == 0 {
		d.Problem("tasks", "is empty; name a data set")
	}
	for _, name := range slices.Sorted(maps.Keys(t.Tasks)) {
		at, task := strictyaml.Join("tasks", name), t.Tasks[name]
		if !strings.Contains(task.Prompt, "{context}") {
			d.Problem(strictyaml.Join(at, "prompt"), "is %q; it must contain {context}", task.Prompt)
		}
		d.Within(strictyaml.Join(at, "max_new_tokens"), task.MaxNewTokens, 1, maxAnswer)
		if len(task.Metrics) == 0 {
			d.Problem(strictyaml.Join(at, "metrics"), "is empty; name one or more of %s", enum.List(AllMetrics()))
		}
		for i, m := range task.Metrics {
			strictyaml.OneOf(d, fmt.Sprintf("%s.metrics[%d]", at, i), m, AllMetrics())
		}
	}
}

// maxPromptsFile bounds a file of prompts in bytes.
const maxPromptsFile = 1 << 20

// takePrompts replaces the prompts of tasks by those of the file Prompts. It may name tasks
// that there are none of.
func (t *Tasks) takePrompts() error {
	text, err := head.ReadText(t.Prompts, maxPromptsFile)
	if err != nil {
		return fmt.Errorf("%s: prompts: %w", t.file, err)
	}
	var prompts map[string]string
	if err := json.Unmarshal(text, &prompts); err != nil {
		return fmt.Errorf("%s: want a JSON object of prompt templates by task, as LongBench's dataset2prompt.json: %w", t.Prompts, err)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Tasks)) {
		prompt, ok := prompts[name]
		if !ok {
			continue
		}
		if !strings.Contains(prompt, "{context}") {
			return fmt.Errorf("%s: %s: the prompt %q does not contain {context}", t.Prompts, name, prompt)
		}
		task := t.Tasks[name]
		task.Prompt = prompt
		t.Tasks[name] = task
	}
	return nil
}

// sum is the SHA-256 of all that the tasks say.
func (t *Tasks) sum() (string, error) {
	text, err := json.Marshal(t) // the keys of a map in their order
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// extended is what stands behind a data set's name in LongBench-E.
const extended = "_e"

// prompts are the templates by what a row's column dataset says.
func (t *Tasks) prompts() map[string]string {
	out := map[string]string{}
	for name, task := range t.Tasks {
		out[name+extended] = task.Prompt
	}
	for name, task := range t.Tasks {
		out[name] = task.Prompt
	}
	return out
}

// of returns the task of a row.
func (t *Tasks) of(row data.Sample) (Task, error) {
	if task, ok := t.Tasks[row.Dataset]; ok {
		return task, nil
	}
	if task, ok := t.Tasks[strings.TrimSuffix(row.Dataset, extended)]; ok {
		return task, nil
	}
	names := slices.Sorted(maps.Keys(t.Tasks))
	hint := "it"
	if near := nearest.Name(row.Dataset, names); near != "" {
		hint = fmt.Sprintf("did you mean %s? It", near)
	}
	return Task{}, fmt.Errorf("%s: the row's dataset is %q, and %s has no task of that name; %s has %s",
		row.Where, row.Dataset, t.file, hint, strings.Join(names, ", "))
}

// sample encodes a row as its task asks it.
func (t *Tasks) sample(e *data.Encoder, tk *tokenizer.Tokenizer, row data.Sample) (Sample, error) {
	task, err := t.of(row)
	if err != nil {
		return Sample{}, err
	}
	if len(row.Messages) != 2 || len(row.Answers) == 0 {
		return Sample{}, fmt.Errorf("%s: a task asks one question about a context; the row must have the columns context, input and answers", row.Where)
	}
	right := Right{row.Answers, row.Classes}
	for _, m := range task.Metrics {
		if check := metrics.Get(m).check; check != nil {
			if err := check(right); err != nil {
				return Sample{}, fmt.Errorf("%s: metric %s: %w", row.Where, m, err)
			}
		}
	}
	cut := t.cutMiddle(tk, &row)
	s, err := task.encode(e, tk, row)
	s.CutTokens, s.Metric, s.Classes, s.task = cut, task.Metrics[0], row.Classes, &task
	return s, err
}

// encode makes the sample of a row, with a chat template or without.
func (t Task) encode(e *data.Encoder, tk *tokenizer.Tokenizer, row data.Sample) (s Sample, err error) {
	if t.Plain {
		s = Sample{Accepted: [][]string{row.Answers}, Asked: []string{ending(row.Messages[0].Content)}, About: aboutRow(row), Depth: depthOf(row)}

		s.Encoded, err = e.EncodePlain(row)
	} else {
		s, err = NewSample(e, row)
	}
	if t.StopAtNewline && err == nil {
		newline := tk.Encode("\n", false)
		if len(newline) == 0 {
			return s, errors.New("stop_at_newline: the tokenizer has no token for a newline")
		}
		s.Stop = append(s.Stop, newline[len(newline)-1])
	}
	return s, err
}

// cutMiddle takes the middle out of a prompt that is too long and returns how many tokens
// that were. Where it takes the fact out, too, the fact's place is no longer known.
func (t *Tasks) cutMiddle(tk *tokenizer.Tokenizer, row *data.Sample) int {
	if t.MaxPromptTokens == 0 {
		return 0
	}
	ids, half := tk.Encode(row.Messages[0].Content, true), t.MaxPromptTokens/2
	if len(ids) <= t.MaxPromptTokens {
		return 0
	}
	prompt := tk.Decode(ids[:half], true) + tk.Decode(ids[len(ids)-half:], true)
	row.Messages = slices.Clone(row.Messages)
	row.Messages[0].Content = prompt
	if !strings.Contains(prompt, row.Fact) {
		row.Fact = ""
	}
	return len(ids) - 2*half
}

// scored is what of an answer the metrics see.
func (t *Task) scored(text string) string {
	if t == nil || !t.FirstLine {
		return text
	}
	line, _, _ := strings.Cut(strings.TrimLeft(text, "\n"), "\n")
	return line
}

// metrics are those that a sample's task wants beside Metrics.
func (t *Task) metrics() []Metric {
	if t == nil {
		return nil
	}
	return t.Metrics
}
