package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"eisft/internal/enum"
	"eisft/internal/progress"
	"eisft/model"
	"eisft/quant"
	"eisft/quant/fit"
	"eisft/train"
	"eisft/train/config"
	"eisft/train/runs"
)

// quantizedFolder returns the folder that --from-quantized names: itself, or that of a
// scheme, or name, of the newest run, which may have been trained beside it.
func quantizedFolder(c *cli.Context, cfg *config.Config) (string, error) {
	name := c.String("from-quantized")
	if info, err := os.Stat(name); err == nil && info.IsDir() || strings.ContainsRune(name, filepath.Separator) {
		return filepath.Abs(name)
	}
	run, err := filepath.EvalSymlinks(filepath.Join(cfg.Output, runs.Latest))
	folder := filepath.Join(run, runs.QuantDir, name)
	if err == nil {
		_, err = os.Stat(folder)
	}
	if err != nil {
		if was, err := config.Load(filepath.Join(run, runs.ConfigFile)); err == nil && filepath.Base(was.Model.Quantized.Folder) == name {
			return was.Model.Quantized.Folder, nil
		}
		if _, err := quant.ParseScheme(name); err != nil {
			return "", usagef(c, "--from-quantized %s (or a folder)", enum.Mismatch(name, quant.SchemeNames()))
		}
		return "", fmt.Errorf("--from-quantized %s: %w; run eisft quantize with this scheme first, or name a folder", name, err)
	}
	return filepath.Abs(folder)
}

// openQuantizedBase puts the weights that the codes in a folder stand for in the place of a
// base's.
func openQuantizedBase(m *model.Model, folder string) (*train.Quantized, error) {
	q, err := quant.Load(folder)
	if err != nil {
		return nil, err
	}
	sum, err := quant.Sum(folder)
	if err != nil {
		return nil, err
	}
	frozen, _, err := quant.Apply(m, q)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	if frozen.Params.Identity() != m.Params.Identity() {
		return nil, fmt.Errorf("%s: transforms were folded into the parameters of its block, so that what is trained beside it would fit no other model; quantize without transforms to train beside it", folder)
	}
	return &train.Quantized{Model: frozen, Rounding: fit.Rounding(frozen, q), SHA256: sum}, nil
}

// trainedBeside opens the quantized model that a run was trained beside, nil if there was
// none, or if it has changed, of which it warns.
func trainedBeside(c *cli.Context, run *runs.Run) *quant.Quantized {
	section := run.Config.Model.Quantized
	if section.Folder == "" {
		return nil
	}
	q, err := quant.Load(section.Folder)
	if err == nil {
		var sum string
		if sum, err = quant.Sum(section.Folder); err == nil && sum != section.SHA256 {
			err = fmt.Errorf("its sha256 was %.12s and is %.12s", section.SHA256, sum)
		}
	}
	if err != nil {
		warn(c, fmt.Sprintf("%s was trained beside the quantized model in %s, which is not there as it was: %v", run.Dir, section.Folder, err))
		return nil
	}
	return q
}

// sayPair says whether the weights of q are those that the run was trained beside.
func sayPair(c *cli.Context, run *runs.Run, q *quant.Quantized) {
	if q == nil {
		return
	}
	was := trainedBeside(c, run)
	if was == nil {
		return
	}
	folder := run.Config.Model.Quantized.Folder
	if d := q.WeightsDiffer(was); d != "" {
		warn(c, fmt.Sprintf("%s was trained beside other codes, those in %s: %s", run.Dir, folder, d))
		return
	}
	progress.Println(c.App.ErrWriter, fmt.Sprintf("eisft: these are the weights that %s was trained beside, those in %s", run.Dir, folder))
}

// asTrained returns the model of a run with the weights that it was trained beside, and what
// rounds its activations.
func asTrained(c *cli.Context, run *runs.Run) (*model.Model, model.StreamOptions, error) {
	q := trainedBeside(c, run)
	if q == nil {
		return run.Model, model.StreamOptions{}, nil
	}
	m, wrap, err := quant.Apply(run.Model, q)
	if err != nil {
		return nil, model.StreamOptions{}, fmt.Errorf("%s: %w", run.Config.Model.Quantized.Folder, err)
	}
	if run.Config.Model.Quantized.WeightsOnly {
		wrap = nil
	}
	progress.Println(c.App.ErrWriter, fmt.Sprintf("eisft: %s reads with the quantized model that it was trained beside, %s", run.Dir, run.Config.Model.Quantized.Folder))
	return m, model.StreamOptions{Wrap: wrap}, nil
}
