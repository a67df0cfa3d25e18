package eval

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"eisft/data"
	"eisft/internal/atomicfile"
	"eisft/internal/enum"
	"eisft/internal/ranks"
	"eisft/internal/ranks/rankstest"
	"eisft/model"
)

// demoJob evaluates rows of one, two and one questions into a new folder.
func demoJob(t *testing.T) *Job {
	t.Helper()
	m, tk, tpl := openDemo(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "rows.jsonl")
	rows := []string{chatOf(question), strings.ReplaceAll(conversation, "\n\t", ""), strings.ReplaceAll(chatOf(question), "attic", "cellar")}
	if err := os.WriteFile(path, []byte(strings.Join(rows, "")), 0o666); err != nil {
		t.Fatal(err)
	}
	return &Job{
		Model: m, Tokenizer: tk, Template: tpl, Version: "v1", Dir: filepath.Join(dir, "evals", "rows"),
		Config: Config{Data: data.One(path), MaxNewTokens: 8, Policies: []Policy{PolicyFull, PolicyWindow}},
	}
}

// chatOf words a LongBench row as a chat, so that a file of chats holds both.
func chatOf(row string) string {
	var r struct {
		Context, Input string
		Answers        []string
	}
	if err := json.Unmarshal([]byte(row), &r); err != nil {
		panic(err)
	}
	text, _ := json.Marshal(map[string]any{"messages": []map[string]string{
		{"role": "user", "content": r.Context + "\n\n" + r.Input}, {"role": "assistant", "content": r.Answers[1]},
	}})
	return string(text) + "\n"
}

func run(t *testing.T, j *Job) *Report {
	t.Helper()
	r, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// timeless are records and results without what differs from one time to the next.
func timeless(t *testing.T, j *Job, r *Report) ([]Record, []*Result) {
	t.Helper()
	k, err := ReadKept(j.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range k.Records {
		k.Records[i].ReadSeconds, k.Records[i].WriteSeconds = 0, 0
	}
	for _, result := range r.Results {
		result.Speed.ReadSeconds, result.Speed.WriteSeconds = 0, 0
	}
	return k.Records, r.Results
}

// TestResume: wherever an evaluation was torn off, the same job goes on with just what is
// missing, and ends with the same records and results.
func TestResume(t *testing.T) {
	j := demoJob(t)
	records, results := timeless(t, j, run(t, j))
	if len(records) != 6 || len(records[1].Answers) != 2 || records[0].Answers[0].Text != "6528" {
		t.Fatalf("records %+v", records)
	}
	path := filepath.Join(j.Dir, RecordsFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var note string
	j.Note = func(message string) { note = message }
	line := strings.Index(string(text), "\n") + 1
	for _, c := range []struct {
		cut  int
		want string
	}{
		{0, ""},
		{line / 2, ""},
		{line, "1 of 6 rows were answered before and are taken from "},
		{len(text) - 1, "5 of 6 rows were answered before and are taken from "},
		{len(text), "6 of 6 rows were answered before and are taken from "},
	} {
		// What was kept is taken as it is.
		kept := strings.Replace(string(text[:c.cut]), `"answer":"6528"`, `"answer":"kept"`, 1)
		if c.cut == len(text) {
			kept += `{"policy":"full"` // torn, with nothing to come that would overwrite it
		}
		if err := os.WriteFile(path, []byte(kept), 0o666); err != nil {
			t.Fatal(err)
		}
		note = ""
		gotRecords, gotResults := timeless(t, j, run(t, j))
		if first := &gotRecords[0].Answers[0]; first.Text == "kept" {
			first.Text, gotResults[0].Answers[0].Text = "6528", "6528"
		} else if c.cut >= line {
			t.Errorf("cut at byte %d: the first row was read again", c.cut)
		}
		if !reflect.DeepEqual(gotRecords, records) || !reflect.DeepEqual(gotResults, results) {
			t.Errorf("cut at byte %d of %d: %+v, want %+v", c.cut, len(text), gotRecords, records)
		}
		if whole := readText(t, j, RecordsFile); !strings.HasSuffix(whole, "]}\n") || strings.Count(whole, "\n") != len(records) {
			t.Errorf("cut at byte %d: the file ends with %q", c.cut, whole[max(0, len(whole)-40):])
		}
		if c.want == "" && note != "" || !strings.HasPrefix(note, c.want) {
			t.Errorf("cut at byte %d: %q, want %q", c.cut, note, c.want)
		}
	}
}

// TestGrow: more rows, policies and seeds go into the folder that has some.
func TestGrow(t *testing.T) {
	j := demoJob(t)
	j.Config.Samples, j.Config.Policies = 1, []Policy{PolicyFull}
	run(t, j)
	j.Config.Samples, j.Config.Policies = 2, []Policy{PolicyWindow, PolicyFull}
	if r := run(t, j); r.Results[1].Score(All).N != 3 || len(r.Differences) != 1 || r.Differences[0].Against != "full" || r.Differences[0].Buckets[0].N != 3 {
		t.Errorf("results %+v", r.Results[1].Scores)
	}
	k, err := ReadKept(j.Dir)
	if err != nil || len(k.Records) != 4 {
		t.Errorf("%d records, %v, want 4", len(k.Records), err)
	}
	j.Config.Samples = 1
	if r := run(t, j); r.Results[0].Score(All).N != 1 {
		t.Errorf("of one row %+v", r.Results[0].Scores)
	}
}

// TestStopped: an evaluation that is cancelled leaves whole records and says how it goes on.
func TestStopped(t *testing.T) {
	j := demoJob(t)
	samples, err := j.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	settings, err := j.settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f, err := openFolder(j.Dir, settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err = Run(ctx, j.Model, PolicyFull, j.Tokenizer, samples, Options{MaxNewTokens: 8, Keep: func(r Record) error {
		cancel(errors.New("stopped by Ctrl-C"))
		return f.keep(r)
	}})
	f.close()
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if k, err := ReadKept(j.Dir); err != nil || len(k.Records) != 1 {
		t.Fatalf("%v, want one record", err)
	}
	if _, err := j.Run(ctx); err == nil || err.Error() != "stopped by Ctrl-C; 1 rows are kept in "+j.Dir+": the same command goes on with the rest" {
		t.Errorf("error %v", err)
	}
	if r := run(t, j); r.Results[0].Score(All).N != 4 {
		t.Errorf("after it went on: %+v", r.Results[0].Scores)
	}
}

// TestRefusedFolders: an evaluation goes on with nothing that was made of something else, and
// says what that is.
func TestRefusedFolders(t *testing.T) {
	j := demoJob(t)
	j.Config.Samples, j.Config.Policies = 1, []Policy{PolicyFull}
	run(t, j)
	settings, records := readText(t, j, SettingsFile), readText(t, j, RecordsFile)
	path := func(name string) string { return filepath.Join(j.Dir, name) }
	replace := func(name, old, new string) func(j *Job) {
		return func(j *Job) {
			text := readText(t, j, name)
			if !strings.Contains(text, old) {
				t.Errorf("%s has no %s", name, old)
			}
			write(t, path(name), strings.Replace(text, old, new, 1))
		}
	}
	for _, tc := range []struct {
		name   string
		change func(j *Job)
		want   string
	}{
		{"other data", func(j *Job) { write(t, j.Config.Data.String(), chatOf(question)+chatOf(question)) }, "begun with other settings: the data was "},
		{"a shorter answer", func(j *Job) { j.Config.MaxNewTokens = 7 }, "begun with other settings: max_new_tokens was 8 and is 7; go on with what was there, or name another folder with --out"},
		{"another version", func(j *Job) { j.Version = "v2" }, "the program's version was v1 and is v2"},
		{"a quantized model", func(j *Job) { j.Quantized = strings.Repeat("ab", 32) }, "the quantized model was none and is abababababab"},
		{"another cache", func(j *Job) { j.Stream.Cache = model.CacheInt8 }, "the cache was float32 and is int8"},
		{"no template", func(j *Job) { j.Template = nil }, "chat template"},
		{"another base", replace(SettingsFile, `"base_identity": "`, `"base_identity": "x`), "the base was x"},
		{"another block", replace(SettingsFile, `"window": 256`, `"window": 128`), "the block: window 128, but 256"},
		{"other options", func(j *Job) { j.Config.Format = "messages" }, `the data's options was none and is format: "messages"`},
		{"settings that are none", replace(SettingsFile, "{", ""), SettingsFile + ": not valid JSON"},
		{"another schema", replace(SettingsFile, `"schema": 1`, `"schema": 9`), SettingsFile + ": schema is 9; this version reads 1"},
		{"no policies", replace(SettingsFile, `"full"`, ``), "policies or seeds are missing"},
		{"a damaged record", func(*Job) { write(t, path(RecordsFile), "x\n"+records) }, RecordsFile + ": line 1: not a record: "},
		{"a record of other tokens", func(*Job) {
			k, _, err := ParseRecords([]byte(records))
			if err != nil {
				t.Fatal(err)
			}
			k[0].Answers[0].PromptSHA256 = PromptSHA256(nil)
			write(t, path(RecordsFile), lines(t, k...))
		}, "the record of row 1 was made of other tokens: the SHA-256 of the prompt to answer 0 was e3b0c44298fc and is "},
		{"a folder of somebody else", func(j *Job) {
			j.Dir = t.TempDir()
			write(t, filepath.Join(j.Dir, "thesis.txt"), "x")
		}, "is no evaluation's folder: it has thesis.txt and no settings.json"},
		{"a file", func(j *Job) { j.Dir = j.Config.Data.String() }, "rows.jsonl: not a directory"},
		{"a policy to compare with that is not there", func(j *Job) { j.Against = PolicyWindow }, `against is "window"`},
		{"an unknown policy", func(j *Job) { j.Config.Policies = []Policy{"ful"} }, `policy is "ful"; did you mean "full"?`},
		{"no policy", func(j *Job) { j.Config.Policies = nil }, "there is no policy to evaluate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			write(t, path(SettingsFile), settings)
			write(t, path(RecordsFile), records)
			rows, err := os.ReadFile(j.Config.Data.String())
			if err != nil {
				t.Fatal(err)
			}
			defer write(t, j.Config.Data.String(), string(rows))
			k := *j
			tc.change(&k)
			if _, err := k.Run(t.Context()); err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "open ", ""), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}

	lock, err := atomicfile.TakeLock(path(lockFile))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	if _, err := j.Run(t.Context()); err == nil || !strings.Contains(err.Error(), j.Dir+" is being written: process ") {
		t.Errorf("beside another process: %v", err)
	}
}

func readText(t *testing.T, j *Job, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(j.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// pageReport is a report of two policies over prompts of two lengths.
func pageReport() (*Report, []Record) {
	r, records := &Report{Settings: &Settings{Data: DataFile{Path: "/data/talk<1>.jsonl"}, Samples: 1200}}, []Record(nil)
	for i, p := range []Policy{PolicyWindow, PolicyEdgeInfinite} {
		result := &Result{Reading: Reading{Policy: p}, Bounds: Bounds{NearBelow: 256, FarAbove: 512}}
		for row := range 24 {
			one := recorded(p, 0, row, float64(min(1, (row+1)*i%3)))
			a, depth := &one.Answers[0], float64(row)/24
			a.Prompt, a.Distance, a.Depth, a.Asked = 1000<<(row%2), 100+row*60, &depth, "Who has <the> key?"
			a.Dataset, a.Metric, a.Commits = "needle", MetricExactMatch, row/4
			if one.ReadTokens = a.Prompt; a.Metrics[MetricExactMatch] == 0 {
				a.Text = "nobody"
			}
			result.add(one)
			records = append(records, one)
		}
		result.score()
		r.Results = append(r.Results, result)
	}
	r.compare(PolicyEdgeInfinite)
	r.divide()
	return r, records
}

// TestPage: the page says what was found and needs no network.
func TestPage(t *testing.T) {
	r, records := pageReport()
	dir := t.TempDir()
	if err := r.writePage(dir, records); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, PageFile))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, want := range []string{
		"Evaluation on talk&lt;1&gt;.jsonl", "exact match, far: &gt; 512 tokens back", "Differences from edgeinfinite", "near: &lt; 256 tokens back",
		"Tasks, scores of 100", "<td>needle</td><td>em</td>", "Score by tokens from the fact to the answer", "Score by segments committed since the fact", "<th>512-1023</th>",
		"Recall by length of the prompt, far", "Recall by length of the prompt, near", "Recall by distance", "Cost: seconds", "Recall by depth and length", "<polyline",
		"window, about 1,024 tokens: 0.00 (0.00–0.00), ", "edgeinfinite, about 2,048 tokens: 0.50 s, mean of 12",
		`class="example"`, "Who has &lt;the&gt; key?", "✗ window</td><td>nobody", "✓ edgeinfinite</td><td>Ola", "✗ edgeinfinite", "drawn with seed 1", "the first rows</td><td>1,200",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not contain %s", want)
		}
	}
	for _, bad := range []string{"http:", "https:", "NaN", "ZgotmplZ", "%!", "Inf"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page contains %s", bad)
		}
	}
	// Prompts of 1,000 tokens have the even rows: 12 depths in 10 tenths, two of which hold two.
	if n := strings.Count(page, `<g transform="translate(64 `); n != 2*10 {
		t.Errorf("%d cells in the first columns of two maps, want 20", n)
	}
	// Nothing is known of the facts, and nothing was recorded.
	few := &Report{Settings: &Settings{}, Results: []*Result{asks(1, 1, func(int, int) float64 { return 1 })}}
	if err := few.writePage(dir, nil); err != nil {
		t.Error(err)
	}
}

// TestSeeds: a policy that draws is measured by every seed, and others once.
func TestSeeds(t *testing.T) {
	was := policies
	defer func() { policies = was }()
	var seeds []int
	policies = enum.NewTable[Policy, policy]("policy").With(PolicyFull, full).With("coin", policy{
		title: "a coin", model: full.model,
		seeded: func(m *model.Model, seed int) *model.Model {
			seeds = append(seeds, seed)
			return m
		},
	})
	j := demoJob(t)
	j.Config.Samples, j.Config.Policies, j.Seeds = 1, []Policy{PolicyFull, "coin"}, 3
	r := run(t, j)
	if !slices.Equal(seeds, []int{0, 1, 2}) || r.Results[1].Seeds != 3 || r.Results[0].Seeds != 0 || r.Results[1].Score(All).N != 1 || len(r.Results[1].Answers) != 3 {
		t.Errorf("seeds %v, results %+v and %+v", seeds, r.Results[0], r.Results[1])
	}
	k, err := ReadKept(j.Dir)
	if err != nil || len(k.Records) != 4 || k.Records[3].Seed != 2 || k.results()[1].Seeds != 3 {
		t.Errorf("records %+v, %v", k.Records, err)
	}
}

func TestLengthOf(t *testing.T) {
	for tokens, want := range map[int]int{-1: 0, 0: 0, 1: 1, 1448: 1024, 1449: 2048, 2000: 2048, 2896: 2048, 2897: 4096, 131072: 131072} {
		if got := lengthOf(tokens); got != want {
			t.Errorf("%d tokens are about %d, want %d", tokens, got, want)
		}
	}
}

// TestMarkdown: nothing in a cell ends it.
func TestMarkdown(t *testing.T) {
	var out strings.Builder
	if err := (table{title: "t", columns: []string{"a", "b"}, rows: [][]string{{"x|y\nz *"}}, notes: []string{"* note"}}).markdown(&out); err != nil {
		t.Fatal(err)
	}
	if want := "\n**t**\n\n| a | b |\n|---|---|\n| x\\|y z \\* |  |\n\n\\* note\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// TestRanksEvaluate: ranks answer what one process answers, and rank 0 keeps it in the same
// order, after what there was from before. One rank's failure is told to all.
func TestRanksEvaluate(t *testing.T) {
	alone := demoJob(t)
	records, results := timeless(t, alone, run(t, alone))
	first := *alone // has answered one row
	first.Dir, first.Config.Samples = filepath.Join(t.TempDir(), "evals"), 1
	run(t, &first)
	rankstest.Run(2, func(g ranks.Group) {
		j := *alone
		j.Group, j.Dir = g, ""
		if g.Rank() == 0 {
			j.Dir = first.Dir
		}
		j.Config.Samples = 3
		r, err := j.Run(t.Context())
		if err != nil {
			t.Errorf("rank %d: %v", g.Rank(), err)
			return
		}
		if g.Rank() == 0 {
			gotRecords, gotResults := timeless(t, &j, r)
			slices.SortStableFunc(gotRecords, func(a, b Record) int {
				return cmp.Or(slices.Index(j.Config.Policies, a.Policy)-slices.Index(j.Config.Policies, b.Policy), a.Row-b.Row)
			})
			if d := gocmp.Diff(records, gotRecords); d != "" {
				t.Errorf("records differ (- one process, + ranks):\n%s", d)
			}
			if d := gocmp.Diff(results, gotResults, gocmp.AllowUnexported(Result{})); d != "" {
				t.Errorf("results differ (- one process, + ranks):\n%s", d)
			}
		}
	})
	rankstest.Run(2, func(g ranks.Group) {
		j := *alone
		j.Group, j.Dir = g, ""
		ctx := t.Context()
		if g.Rank() == 1 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			cancel()
		}
		_, err := j.Run(ctx)
		if err = ranks.Tell(g, err); err == nil || !strings.Contains(err.Error(), "context canceled") {
			t.Errorf("rank %d: %v, want that rank 1 was cancelled", g.Rank(), err)
		}
	})
}

// TestRanksAgree: ranks that would evaluate something else than rank 0 are refused, and nothing
// is kept.
func TestRanksAgree(t *testing.T) {
	alone := demoJob(t)
	other := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(other, []byte(chatOf(question)), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		change func(j *Job)
		want   string
	}{
		{func(j *Job) { j.Config.Samples = 1 }, "rank 1 is to evaluate 1 samples, policies [full window], budgets [], 1 seeds, and rank 0 0 samples, "},
		{func(j *Job) { j.Config.Data = data.One(other) }, "rank 1 does not evaluate as rank 0 does, whose value comes first: the data was "},
	} {
		rankstest.Run(2, func(g ranks.Group) {
			j := *alone
			if j.Group = g; g.Rank() == 1 {
				j.Dir = ""
				tc.change(&j)
			}
			if _, err := j.Run(t.Context()); !ranks.Told(err) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("rank %d: %v, want %s", g.Rank(), err, tc.want)
			}
		})
	}
	if _, err := os.Stat(alone.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v, want none", alone.Dir, err)
	}
}

// interrupted is rank 0 of a group that is asked to stop while it waits for one that was.
type interrupted struct {
	ranks.Group
	stop context.CancelFunc
}

func (g interrupted) Gather(record []byte) ([][]byte, error) {
	all, err := g.Group.Gather(record)
	if slices.ContainsFunc(all, func(r []byte) bool { return bytes.Contains(r, []byte("canceled")) }) {
		g.stop()
	}
	return all, err
}

// TestRanksInterrupted: where all ranks are asked to stop, as by Ctrl-C, they meet once more
// and no rank waits for another.
func TestRanksInterrupted(t *testing.T) {
	alone := demoJob(t)
	rankstest.Run(2, func(g ranks.Group) {
		j := *alone
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		if j.Group = g; g.Rank() == 0 {
			j.Group = interrupted{g, stop}
		} else {
			j.Dir = ""
			stop()
		}
		_, err := j.Run(ctx)
		if told := ranks.Tell(g, err); told == nil || strings.Contains(told.Error(), "in vain") || g.Rank() == 0 && !strings.Contains(told.Error(), "rows are kept in "+alone.Dir) {
			t.Errorf("rank %d: %v", g.Rank(), told)
		}
	})
}
