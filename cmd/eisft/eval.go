package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/atomicfile"
	"eisft/internal/progress"
	"eisft/internal/ranks"
)

// configured stands in the help for a default that the configuration has.
const configured = "the configuration's"

func evalCommand() *cli.Command {
	return &cli.Command{
		Name:      "eval",
		Usage:     "measure what a model recalls of long input",
		ArgsUsage: "[--compare A B]",
		Description: `Reads the samples of a data file, answers their questions token by token and
prints ` + metricTitles() + ` and perplexity by how far back the fact lies: near is inside
the block's window, far is beyond window and segment. Every figure has its interval, and
policies are compared on the same conversations. What no flag says is taken from the
eval section of the run's configuration. A policy is a way to read:

` + policyTitles() + `
   eisft eval --policy window --policy edgeinfinite --samples 50

Every answer is kept as it comes, with report.html, in evals/NAME of the run's folder,
where NAME is that of the data: the same command, or one that asks for more, goes on with
what is missing.

Of plain texts it prints, and keeps, the perplexity by position.

With several budgets the page shows recall by budget:

   eisft eval --policy eisft --policy h2o --budget 2624 --budget 4160

Rows of LongBench's form are asked and scored as LongBench's are by

   eisft eval --tasks longbench.yaml --data FILE

Exported graphs are scored in ONNX Runtime, or LiteRT, as a policy of their own, graph, beside
the model in the sizes of their shape:

   eisft eval --graph runs/latest/export/512x2048

Several processes answer the questions of one evaluation together over Open MPI:

   mpirun -n 4 eisft eval

Two evaluations, or runs that have some, are compared on the questions of
both by

   eisft eval --compare runs/a runs/b`,
		Flags: append(
			append(runFlags(), graphFlags()...),
			filesFlag("data", "evaluate on `FILE` ("+data.EndingsForHelp()+", or a pattern of names); may be given several times: then a row of each comes in turn", configured),
			&cli.StringFlag{Name: "columns", Usage: "read parts of a row from other columns: `NAME=COLUMN,…`, such as context=document,input=question", DefaultText: configured},
			&cli.StringFlag{Name: "prompt", Usage: "ask by `TEMPLATE`, in which {context} and {input} stand for a row's columns", DefaultText: "the configuration's, or what the model's eisft.json says"},
			&cli.StringFlag{Name: "tasks", Usage: "ask and score rows as `FILE` says for their dataset, a path or a name in configs/eval"},
			&cli.IntFlag{Name: "max-prompt-tokens", Usage: "take the middle out of a prompt beyond `N` tokens; 0: of none", DefaultText: "what --tasks says"},
			&cli.StringSliceFlag{Name: "policy", Usage: "read under policy `NAME`; may be given several times"},
			&cli.IntSliceFlag{Name: "budget", Usage: "give policies slots for `N` tokens kept over all layers; may be given several times", DefaultText: "the block's"},
			cacheFlag(),
			&cli.StringFlag{Name: "against", Usage: "compare the other policies with `POLICY`", DefaultText: "full, or else the first"},
			&cli.IntFlag{Name: "samples", Aliases: []string{"limit"}, Usage: "use only the first `N` samples; 0: all", DefaultText: configured},
			&cli.IntFlag{Name: "seeds", Usage: "measure a policy that draws by `N` seeds", Value: 1},
			&cli.IntFlag{Name: "max-new-tokens", Usage: "cut answers at `N` tokens", DefaultText: configured},
			&cli.PathFlag{Name: "out", Usage: "keep answers and report in `FOLDER`", DefaultText: "evals/NAME of the run's; with --config none"},
			&cli.PathFlag{Name: "json", Usage: "write scores, differences and every answer to `FILE`"},
			&cli.PathFlag{Name: "markdown", Usage: "write the tables to `FILE` in Markdown"},
			&cli.BoolFlag{Name: "compare", Usage: "compare the evaluations or runs A and B, and evaluate nothing"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be read under which policies, and evaluate nothing"},
		),
		Action: evaluate,
	}
}

// metricTitles lists the metrics for the help.
func metricTitles() string {
	var titles []string
	for _, m := range eval.Metrics() {
		titles = append(titles, m.Title())
	}
	return strings.Join(titles, ", ")
}

// policyNames lists the policies for the help of a flag.
func policyNames() string {
	var names []string
	for _, p := range eval.Policies() {
		names = append(names, string(p))
	}
	return strings.Join(names, ", ")
}

// policyTitles lists the policies for the help, a line each.
func policyTitles() string {
	var lines strings.Builder
	for _, p := range eval.Policies() {
		fmt.Fprintf(&lines, "   %-14s %s\n", p, p.Title())
	}
	return lines.String()
}

func evaluate(c *cli.Context) (err error) {
	first := group(c).Rank() == 0 // which alone compares, and writes
	if c.Bool("compare") && !first {
		return nil
	}
	for _, flag := range []string{"json", "markdown"} {
		if err := checkFile(flag, c.Path(flag)); err != nil {
			return ranks.Tell(group(c), err)
		}
	}
	if c.Bool("compare") {
		return compareEvaluations(c)
	}
	graphs, err := openGraphs(c)
	if err := ranks.Tell(group(c), err); err != nil {
		return err
	}
	if graphs != nil {
		defer func() { err = errors.Join(err, graphs.Close()) }()
	}
	job, err := evalJob(c, graphs)
	if err := ranks.Tell(group(c), err); err != nil {
		return err
	}
	if c.Bool("dry-run") {
		if !first {
			return nil
		}
		plan, err := job.Plan(c.Context)
		if err != nil {
			return err
		}
		return plan.Write(c.App.Writer)
	}
	report, err := job.Run(c.Context)
	if err := ranks.Tell(group(c), err); err != nil || !first {
		return err
	}
	if err := writeFindings(c, report); err != nil || job.Dir == "" {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "\n%s\n", filepath.Join(job.Dir, eval.PageFile))
	return err
}

// findings are what an evaluation or a comparison found.
type findings interface {
	WriteTable(w io.Writer) error
	WriteMarkdown(w io.Writer) error
}

// writeFindings writes them where the command line says.
func writeFindings(c *cli.Context, found findings) error {
	if err := found.WriteTable(c.App.Writer); err != nil {
		return err
	}
	if path := c.Path("markdown"); path != "" {
		var text bytes.Buffer
		if err := found.WriteMarkdown(&text); err != nil {
			return err
		}
		if err := atomicfile.WriteFile(path, text.Bytes()); err != nil {
			return err
		}
	}
	if path := c.Path("json"); path != "" {
		return writeJSON(path, found)
	}
	return nil
}

// compareEvaluations carries out eval --compare.
func compareEvaluations(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef(c, "--compare wants two folders, of evaluations or runs; there are %d", c.NArg())
	}
	found, err := eval.Compare(c.Args().Get(0), c.Args().Get(1))
	if err != nil {
		return err
	}
	for _, n := range found.Notes {
		warn(c, n)
	}
	return writeFindings(c, found)
}

// evalJob is what the command line asks for; graphs, if not nil, are scored, too.
func evalJob(c *cli.Context, graphs *evaluatedGraphs) (*eval.Job, error) {
	if c.Args().Present() {
		return nil, usagef(c, "unexpected argument %q", c.Args().First())
	}
	if c.Int("seeds") < 1 {
		return nil, usagef(c, "--seeds is %d; it must be at least 1", c.Int("seeds"))
	}
	run, err := openRun(c)
	if err != nil {
		return nil, err
	}
	section, err := evalSection(c, run.Config.Eval)
	if err != nil {
		return nil, err
	}
	if err := eval.Announce(c.Context, section, c.App.ErrWriter); err != nil {
		return nil, err
	}
	m, streams, err := asTrained(c, run)
	if err != nil {
		return nil, err
	}
	if streams.Cache, err = cacheOf(c, m.Base, run.Config.Block.Cache); err != nil {
		return nil, err
	}
	job := &eval.Job{
		Model: m, Tokenizer: run.Tokenizer, Template: run.Template, Config: section, Stream: streams,
		Seeds: c.Int("seeds"), Against: eval.Policy(c.String("against")), Progress: c.App.ErrWriter,
		Dir: c.Path("out"), Version: version(),
		Note:  func(message string) { progress.Println(c.App.ErrWriter, "eisft: "+message) },
		Group: group(c),
	}
	if streams.Wrap != nil || m != run.Model {
		job.Quantized = run.Config.Model.Quantized.SHA256
	}
	if job.Dir == "" && run.Dir != "" {
		if !c.Bool("dry-run") {
			sweep(run)
		}
		job.Dir = filepath.Join(run.Dir, eval.EvaluationsDir, section.Folder())
	}
	if graphs != nil {
		if err := graphs.score(c, job, run); err != nil {
			return nil, err
		}
	}
	if job.Group.Rank() > 0 {
		job.Dir = ""
	}
	return job, nil
}

// evalSection puts the flags over a configuration's section.
func evalSection(c *cli.Context, e eval.Config) (eval.Config, error) {
	if c.IsSet("data") {
		named, err := files(c, "data")
		if err != nil {
			return e, err
		}
		e.Data = named
	}
	if c.IsSet("samples") {
		e.Samples = c.Int("samples")
	}
	if c.IsSet("max-new-tokens") {
		e.MaxNewTokens = c.Int("max-new-tokens")
	}
	if c.IsSet("columns") {
		columns, err := data.ParseColumns(c.String("columns"))
		if err != nil {
			return e, usagef(c, "--columns: %w", err)
		}
		e.Columns = columns
	}
	if c.IsSet("prompt") {
		e.Prompt, e.Prompts = c.String("prompt"), nil
	}
	e.Data = slices.Clone(e.Data)
	for i := range e.Data { // flags are for all entries
		if c.IsSet("columns") {
			e.Data[i].Columns = data.Columns{}
		}
		if c.IsSet("prompt") {
			e.Data[i].Prompt, e.Data[i].Prompts = "", nil
		}
	}
	if err := evalTasks(c, &e); err != nil {
		return e, err
	}
	if c.IsSet("policy") {
		e.Policies = nil
		for _, p := range c.StringSlice("policy") {
			e.Policies = append(e.Policies, eval.Policy(p))
		}
	}
	e.Budgets = c.IntSlice("budget")
	if err := checkBudgets(c, e.Budgets); err != nil {
		return e, err
	}
	switch {
	case e.Nothing():
		return e, usagef(c, "there is nothing to evaluate on: the configuration has no eval.data and no validation.share; give --data FILE")
	case len(e.Data) == 0 && (c.IsSet("columns") || c.IsSet("prompt")):
		return e, usagef(c, "--columns and --prompt are for --data FILE: rows that are held out are read as those that are trained on")
	case e.Samples < 0:
		return e, usagef(c, "--samples is %d; it must be at least 1, or 0 for all", e.Samples)
	case e.MaxNewTokens < 1:
		return e, usagef(c, "--max-new-tokens is %d; it must be at least 1", e.MaxNewTokens)
	}
	return e, nil
}

// checkBudgets refuses budgets that say nothing.
func checkBudgets(c *cli.Context, budgets []int) error {
	for i, n := range budgets {
		if n < 1 {
			return usagef(c, "--budget is %d; it must be at least 1", n)
		}
		if slices.Contains(budgets[:i], n) {
			return usagef(c, "--budget %d is given twice", n)
		}
	}
	return nil
}

// evalTasks reads what --tasks names.
func evalTasks(c *cli.Context, e *eval.Config) error {
	if !c.IsSet("tasks") {
		if c.IsSet("max-prompt-tokens") {
			return usagef(c, "--max-prompt-tokens is for prompts of --tasks, and that is not given")
		}
		return nil
	}
	if c.IsSet("prompt") {
		return usagef(c, "--tasks says how rows are asked; --prompt cannot be given, too")
	}
	if c.IsSet("max-new-tokens") {
		return usagef(c, "--tasks says how long answers may become; --max-new-tokens cannot be given, too")
	}
	file, err := eval.FindTasks(c.String("tasks"))
	if err != nil {
		return err
	}
	if e.Tasks, err = eval.LoadTasks(file); err != nil || !c.IsSet("max-prompt-tokens") {
		return err
	}
	if n := c.Int("max-prompt-tokens"); n < 0 || n == 1 {
		return usagef(c, "--max-prompt-tokens is %d; it must be at least 2, or 0 for any length", n)
	}
	e.Tasks.MaxPromptTokens = c.Int("max-prompt-tokens")
	return nil
}
