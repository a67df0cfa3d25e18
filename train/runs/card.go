package runs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/goccy/go-yaml"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/atomicfile"
	"eisft/internal/bytesize"
	"eisft/model"
)

// CardFile is a model card, in a run's folder and in a base's.
const CardFile = "README.md"

// cardMark stands in a card that training has written, and may write again.
const cardMark = "<!-- written by eisft train; without this line it is left as it is -->"

// cardHead is a card's front matter, as Hugging Face's hub reads it
// (https://huggingface.co/docs/hub/model-cards).
type cardHead struct {
	BaseModel   string   `yaml:"base_model,omitempty"`
	Relation    string   `yaml:"base_model_relation,omitempty"`
	Library     string   `yaml:"library_name"`
	Pipeline    string   `yaml:"pipeline_tag"`
	License     string   `yaml:"license,omitempty"`
	LicenseName string   `yaml:"license_name,omitempty"` // of a license that the hub calls other
	LicenseLink string   `yaml:"license_link,omitempty"`
	Datasets    []string `yaml:"datasets,omitempty"`
	Tags        []string `yaml:"tags"`
}

// WriteCard writes the model card of a run whose training has ended: what it is, what was measured
// and how, and how it is used. It has measured figures alone. dataHash is that of the rows that
// were trained on. A card that a person has written stays.
func (r *Run) WriteCard(e Evaluation, dataHash string) error {
	path := filepath.Join(r.Dir, CardFile)
	switch old, err := os.ReadFile(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !bytes.Contains(old, []byte(cardMark)):
		return nil
	}
	steps, err := ReadSteps(filepath.Join(r.Dir, MetricsFile))
	if err != nil {
		return err
	}
	head, err := yaml.Marshal(r.cardHead())
	if err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "---\n%s---\n%s\n\n# %s\n", head, cardMark, r.Config.Name)
	r.cardText(&b)
	r.cardTraining(&b, steps, dataHash)
	if err := r.cardMeasured(&b, e); err != nil {
		return err
	}
	r.cardUse(&b)
	return atomicfile.WriteFile(path, b.Bytes())
}

// hubName finds ORG/NAME in the path of a folder of Hugging Face's cache.
var hubName = regexp.MustCompile(`(?:^|[/\\])(models|datasets)--([^/\\]+?)--([^/\\]+)(?:[/\\]|$)`)

// hubID is the repository on Hugging Face's hub that a path is the cached copy of, "" if it is none.
func hubID(path, kind string) string {
	if found := hubName.FindStringSubmatch(path); found != nil && found[1] == kind {
		return found[2] + "/" + found[3]
	}
	return ""
}

// cardHead is the front matter. What is no cached copy of a repository of the hub is called as its
// folder or file is.
func (r *Run) cardHead() cardHead {
	h := cardHead{
		BaseModel: hubID(r.Config.Model.Path, "models"), Relation: "adapter", Library: "eisft", Pipeline: "text-generation",
		Tags: []string{"eisft", "adapter", "long-context", "edgeinfinite"},
	}
	base := baseCard(r.Config.Model.Path)
	h.License, h.LicenseName, h.LicenseLink = base.License, base.LicenseName, base.LicenseLink
	h.BaseModel = cmp.Or(h.BaseModel, filepath.Base(r.Config.Model.Path))
	for _, file := range r.Config.Data.Train { // the hub takes names of its own alone: the text names other files
		if id := hubID(file.Path, "datasets"); id != "" && !slices.Contains(h.Datasets, id) {
			h.Datasets = append(h.Datasets, id)
		}
	}
	return h
}

// baseCard has what the front matter of a base's model card says of its license; of a base
// without a card, or one that is no YAML, that is nothing.
func baseCard(folder string) cardHead {
	var read struct {
		License     any    `yaml:"license"`
		LicenseName string `yaml:"license_name"`
		LicenseLink string `yaml:"license_link"`
	}
	text, err := os.ReadFile(filepath.Join(folder, CardFile))
	if err != nil {
		return cardHead{}
	}
	rest, ok := strings.CutPrefix(strings.ReplaceAll(string(text), "\r\n", "\n"), "---\n")
	head, _, closed := strings.Cut(rest, "\n---")
	if !ok || !closed || yaml.Unmarshal([]byte(head), &read) != nil {
		return cardHead{}
	}
	license, _ := read.License.(string)
	if list, ok := read.License.([]any); ok && len(list) == 1 {
		license, _ = list[0].(string)
	}
	return cardHead{License: license, LicenseName: read.LicenseName, LicenseLink: read.LicenseLink}
}

// cardText says what the adapter is.
func (r *Run) cardText(b *bytes.Buffer) {
	s, base := r.Model.Spec, r.Model.Base
	fmt.Fprintf(b, `
An adapter for %s, trained with eisft in the line of [EdgeInfinite](https://arxiv.org/abs/2503.22196): %s parameters
beside a frozen base of %s (%.2f %%). With it the base reads a text of any length segment by segment, and keeps no more of it
than this table says, however long it is.

| block | |
|---|---|
`, filepath.Base(r.Config.Model.Path), humanize.Comma(int64(r.Model.Params.Count())), humanize.Comma(int64(base.Parameters())), 100*float64(r.Model.Params.Count())/float64(base.Parameters()))
	row := func(what string, value any) { fmt.Fprintf(b, "| %s | %v |\n", what, value) }
	row("sinks, window, segment", fmt.Sprintf("%d, %d, %d tokens", s.Sink, s.Window, s.Segment))
	if layers := r.Model.SlotLayers(); len(layers) > 0 {
		row("slots", fmt.Sprintf("%d for each KV head, in %d of %d layers", s.Slots, len(layers), len(base.Layers)))
	}
	if s.HasMemory() {
		row("memory", fmt.Sprintf("%s, %s features, %s gate", s.Memory, s.Feature, s.Gate))
	}
	budget := eval.BudgetOf(r.Model, r.Model)
	row("kept of a text of any length", fmt.Sprintf("%s tokens over all layers, %s in float32", humanize.Comma(int64(budget.Tokens)), humanize.Bytes(uint64(budget.Bytes))))
	row("identity of the base", "`"+base.Identity()+"`")
}

// cardTraining says what was trained, on what, and what that took.
func (r *Run) cardTraining(b *bytes.Buffer, steps []Metrics, dataHash string) {
	fmt.Fprintf(b, "\n## Training\n\n| stage | steps | loss of the last steps | tokens | seconds |\n|---|---|---|---|---|\n")
	for _, s := range ByStage(steps) {
		fmt.Fprintf(b, "| %s | %d | %.4g | %s | %.1f |\n", s.Kind, len(s.Steps), s.LastLoss(), humanize.Comma(int64(s.Tokens)), s.Seconds)
	}
	fmt.Fprintf(b, "\nTrained on %s", baseNames(r.Config.Data.Train))
	if dataHash != "" {
		fmt.Fprintf(b, " (hash of the rows in use: `%s`)", dataHash)
	}
	fmt.Fprintf(b, ", seed %d. `%s` has all settings, `%s` every step.", r.Config.Seed, ConfigFile, MetricsFile)
	if dir := r.Config.Model.Adapter; dir != "" {
		fmt.Fprintf(b, " Training began with the adapter in `%s`.", filepath.Base(dir))
	}
	if peak := PeakMemory(steps); peak > 0 {
		fmt.Fprintf(b, " At most %s of memory were resident.", bytesize.Megabytes(int(peak)))
	}
	b.WriteString("\n")
}

// cardMeasured has the evaluation: the trained block, and at its bytes what it is compared with.
func (r *Run) cardMeasured(b *bytes.Buffer, e Evaluation) error {
	b.WriteString("\n## Measured\n\n")
	before, after := e.Gained()
	if len(after) == 0 {
		b.WriteString("It was not evaluated when it was trained.\n")
		return nil
	}
	before = slices.DeleteFunc(before, func(s *eval.Result) bool { return s.Policy.Trained() })
	all := slices.Concat(before, after)
	if err := (&eval.Report{Results: all}).WriteMarkdown(b); err != nil {
		return err
	}
	fmt.Fprintf(b, "\n%s of %s, answered greedily with at most %d tokens. EM is exact match, *tokens back* how far before the answer the fact stands;\n*tokens kept* and *bytes* are what a policy keeps of the text, over all layers.",
		english.Plural(after[0].Score(eval.All).N, "question", ""), r.evaluatedOn(), r.Config.Eval.MaxNewTokens)
	for _, s := range all {
		fmt.Fprintf(b, " `%s`: %s.", s.Policy, s.Policy.Title())
	}
	b.WriteString(" Tokens a second are those of the machine that the run was trained on.\n")
	return nil
}

// evaluatedOn names the rows that were evaluated on, without folders of the machine.
func (r *Run) evaluatedOn() string {
	c := r.Config.Eval
	if len(c.Data) == 0 && c.HeldOut != nil {
		return fmt.Sprintf("%s of %s, held out of training", c.HeldOut.Share, baseNames(r.Config.Data.Train))
	}
	return baseNames(c.Data)
}

// baseNames names files without their folders.
func baseNames(files data.Files) string {
	var names []string
	for _, file := range files {
		names = append(names, filepath.Base(file.Path))
	}
	return strings.Join(names, ", ")
}

// cardUse says how it is loaded.
func (r *Run) cardUse(b *bytes.Buffer) {
	fmt.Fprintf(b, `
## Use

With this folder as `+"`RUN`"+`, and the base where `+"`base`"+` in `+"`%s`"+` says:

    eisft generate --run RUN --prompt-file book.txt
    eisft quantize --run RUN --calib FILE
    eisft export --run RUN --shape %s

It belongs to the base of the identity above, and is refused beside any other.
`, model.AdapterConfig, r.Model.Spec.ShapeName())
}
