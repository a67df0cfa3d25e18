package main

import (
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"eisft/eval"
	"eisft/export"
	"eisft/export/host"
	"eisft/export/manifest"
	"eisft/internal/filehash"
	"eisft/model/hf"
	"eisft/train/runs"
)

// graphFlags choose exported graphs to be scored.
func graphFlags() []cli.Flag {
	return []cli.Flag{
		&cli.PathFlag{Name: "graph", Usage: "score the exported graphs in `FOLDER`, beside the model in the sizes of their shape; the run is the one that they lie in, or --run"},
		&cli.StringFlag{Name: "shape", Usage: "with --graph: the graphs for `TxC`; the default is the folder's first shape"},
		&cli.StringFlag{Name: "precision", Usage: "with --graph: the graphs in `NAME`: float, float16, or the quantization scheme of the folder, which is the default where there is one"},
	}
}

// evaluatedGraphs are the graphs that graphFlags name, nil if there are none. Close frees them.
type evaluatedGraphs struct {
	*host.Model
	dir  string
	info *manifest.Manifest
}

// openGraphs opens what graphFlags name. It makes the run in whose folder they lie the one that
// the command opens, unless it names another.
func openGraphs(c *cli.Context) (*evaluatedGraphs, error) {
	dir := c.Path("graph")
	if dir == "" {
		for _, flag := range []string{"shape", "precision"} {
			if c.IsSet(flag) {
				return nil, usagef(c, "--%s is for exported graphs; name their folder with --graph", flag)
			}
		}
		return nil, nil
	}
	for _, flag := range []string{"config", "budget"} {
		if c.IsSet(flag) {
			return nil, usagef(c, "--graph and --%s exclude each other: the graphs are those of a run, and their shape says how many tokens they keep", flag)
		}
	}
	dir, err := hf.Snapshot(dir)
	if err != nil {
		return nil, err
	}
	info, err := manifest.Read(dir)
	if err != nil {
		return nil, err
	}
	run := ""
	if !c.IsSet("run") && inRun(dir, &run) {
		if err := c.Set("run", run); err != nil {
			return nil, err
		}
	}
	m, err := host.Open(dir, host.Options{Shape: c.String("shape"), Precision: c.String("precision")})
	if err != nil {
		return nil, err
	}
	return &evaluatedGraphs{m, dir, info}, nil
}

// score makes a job score the graphs, beside the model in their sizes where the command line
// asks for no policies.
func (g *evaluatedGraphs) score(c *cli.Context, job *eval.Job, run *runs.Run) error {
	base, trained := job.Model.Base.Identity(), run.Model.Params.Identity()
	if g.info.Base != base || g.info.Trained != trained {
		return fmt.Errorf("%s was exported from another model than that of %s: its base is %s and its trained parameters %s, there they are %s and %s; name its run with --run",
			g.dir, run.Dir, g.info.Base, g.info.Trained, base, trained)
	}
	sum, err := filehash.Compute(filepath.Join(g.dir, manifest.Name))
	if err != nil {
		return err
	}
	if job.Model, err = (export.Size{Tokens: g.Shape.Tokens, Cache: g.Shape.Cache}).Of(job.Model); err != nil {
		return err
	}
	if !c.IsSet("policy") {
		job.Config.Policies = []eval.Policy{eval.PolicyEISFT}
	}
	job.Config.Policies = append(job.Config.Policies, eval.PolicyGraph)
	job.Graphs = &eval.Graphs{SHA256: sum, Open: func() (eval.GraphStream, error) {
		st, err := g.NewStream()
		return graphStream{st}, err
	}}
	if job.Dir != "" && !c.IsSet("out") {
		job.Dir += "-" + g.Shape.Name + "-" + g.Precision
	}
	return nil
}

// graphStream is a stream of exported graphs as evaluations want it.
type graphStream struct{ *host.Stream }

// Clone implements [eval.GraphStream].
func (s graphStream) Clone() (eval.GraphStream, error) {
	same, err := s.Stream.Clone()
	return graphStream{same}, err
}
