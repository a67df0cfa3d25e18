// Package inspect says what a file or folder is that eisft reads or writes: a
// base model, an adapter, a run, a data set, a quantized model, exported
// graphs, a saved state. It measures what is cheap to measure and reports what
// is wrong with it.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"eisft/data"
	"eisft/eval"
	"eisft/export/manifest"
	"eisft/model"
	"eisft/model/hf"
	"eisft/quant"
	"eisft/train/runs"
)

// Options say what inspection may use beside the path.
type Options struct {
	// Model is a model folder whose tokenizer counts the tokens of a data set, or the base of
	// an adapter or a run that is not where they say; empty: tokens are not counted.
	Model string
}

// inspector describes what lies at path, which is r.Path with links followed.
// Its error says why nothing at all can be said; everything else that is wrong
// becomes a problem of the report.
type inspector func(ctx context.Context, r *Report, path string, o Options) error

// folders lists what a folder can be by the file that tells it. Earlier ones
// win: a run holds an adapter too, and an export a copy of the base's config.json.
var folders = []struct {
	has     string // a pattern of [filepath.Match]
	inspect inspector
}{
	{runs.ConfigFile, inspectRun},
	{manifest.Name, inspectExport},
	{quant.EncodingsFile, inspectQuantized},
	{eval.SettingsFile, inspectEvaluation},
	{model.AdapterConfig, inspectAdapter},
	{"config.json", inspectModel},
	{"*.gguf", inspectModel},
	{"*.onnx", inspectExport},
}

// files lists what a file can be by the end of its name, beside data.
var files = []struct {
	suffix  string
	inspect inspector
}{
	{".gguf", inspectModel},
	{".safetensors", inspectTensors},
	{".onnx", inspectExport},
	{".tflite", inspectLite},
	{".yaml", inspectConfig},
}

// Path describes the file or folder at path.
func Path(ctx context.Context, path string, o Options) (*Report, error) {
	real, err := filepath.EvalSymlinks(path) // runs/latest: paths in a run are relative to the run
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no such file or folder", path)
	}
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, err
	}
	find := inspectorOfFile
	if info.IsDir() {
		find = inspectorOfFolder
		if real, err = hf.Snapshot(real); err != nil {
			return nil, err
		}
	} else if real = path; !info.Mode().IsRegular() { // in Hugging Face's cache, what a link points to has another name
		return nil, fmt.Errorf("%s is neither a file nor a folder", path)
	}
	inspect, err := find(real)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r := &Report{Path: path}
	if err := inspect(ctx, r, real, o); err != nil {
		return r, err
	}
	if info.IsDir() {
		r.leftovers(real, ".", "..")
	}
	return r, nil
}

func inspectorOfFile(path string) (inspector, error) {
	var suffixes []string
	for _, f := range files {
		if strings.HasSuffix(strings.ToLower(path), f.suffix) {
			return f.inspect, nil
		}
		suffixes = append(suffixes, f.suffix)
	}
	for _, ending := range data.Endings() {
		if strings.HasSuffix(strings.ToLower(path), ending) {
			return inspectData, nil
		}
		suffixes = append(suffixes, ending)
	}
	if f, err := hf.OpenFile(path); err == nil { // a saved state has any name
		return inspectTensors, f.Close()
	}
	return nil, fmt.Errorf("neither the name nor the content tells what kind of file it is; want one that ends in %s, or a folder", strings.Join(suffixes, ", "))
}

func inspectorOfFolder(path string) (inspector, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var wanted []string
	merged := hf.BesidePEFT(path)
	for _, f := range folders {
		if merged && f.has == model.AdapterConfig {
			continue
		}
		for _, e := range entries {
			if ok, err := filepath.Match(f.has, e.Name()); ok && err == nil && !strings.HasPrefix(e.Name(), ".") {
				return f.inspect, nil
			}
		}
		wanted = append(wanted, f.has)
	}
	found := hf.Describe(path)
	if found == "" {
		found = listed(entries)
	}
	return nil, fmt.Errorf("found %s, want a folder with one of %s", found, strings.Join(wanted, ", "))
}

// listed names the first entries of a folder.
func listed(entries []os.DirEntry) string {
	const most = 5
	var names []string
	for i, e := range entries {
		if i == most {
			names = append(names, fmt.Sprintf("%d more", len(entries)-most))
			break
		}
		names = append(names, e.Name())
	}
	if names == nil {
		return "an empty folder"
	}
	return strings.Join(names, ", ")
}

// exists tells whether there is a file in a folder.
func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}
