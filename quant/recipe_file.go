package quant

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"eisft/data"
	"eisft/internal/enum"
	"eisft/internal/head"
	similar "eisft/internal/nearest"
	"eisft/internal/relpath"
	"eisft/internal/strictyaml"
	"eisft/model"
	"eisft/quant/encoding"
)

// FindRecipe returns the file that a command line names: a path, or the bare name of one in
// configs/quant.
func FindRecipe(name string) (string, error) {
	return strictyaml.Find(filepath.Join("configs", "quant"), name)
}

// RecipeFile is a recipe with the places of its keys, for what only a model can tell.
type RecipeFile struct {
	*Recipe
	document *strictyaml.Document
}

// Override is a key whose value the command line gives.
type Override struct {
	Key, Flag string // "scheme", "--scheme"
	Set       func(*Recipe)
}

// LoadRecipe reads the recipe in a file, "" for none, overrides keys, and checks what comes
// out. Relative paths in the file are relative to its folder. The error names every problem
// on a line of its own: file:line, key path, what was found and what is wanted.
func LoadRecipe(file string, overrides ...Override) (*RecipeFile, error) {
	if file == "" {
		return ParseRecipe(nil, "", overrides...)
	}
	text, err := head.ReadText(file, strictyaml.MaxSize)
	if err != nil {
		return nil, err
	}
	return ParseRecipe(text, file, overrides...)
}

// defaultRecipe has the values of keys that are not given. Sections of methods have those
// in methodDefaults.
func defaultRecipe() *Recipe {
	return &Recipe{Scheme: "w8a16", Ranges: RangeMinMax, Weights: RoundNearest, Samples: 16}
}

// methodDefaults are the keys of the methods' sections where one is used.
var methodDefaults = Recipe{
	SmoothQuant: SmoothQuant{Alpha: 0.5},
	AWQ:         AWQ{Grid: 20},
	Rotate:      Rotate{R1: "hadamard", R2: "hadamard"},
	SeqMSE:      SeqMSE{Candidates: 30, Samples: 20},
	GPTQ:        GPTQ{Scales: RoundSeqMSE, Block: 128, ActOrder: true, Damping: 0.01},
	Reconstruct: Reconstruct{Steps: 200, Tokens: 16384, Batch: 1, LR: 2e-2, ScaleLR: 3e-3, Rounding: true, Scales: true},
}

const (
	learnedSteps    = 100    // of learned rotations, if not given
	sensitiveToken  = 2048   // tokens for what needs a measured loss, if not given
	sensitiveAnswer = 20_000 // if it is that of answers: one token in hundreds is of one
)

// ParseRecipe reads a recipe from text; file is where it stands ("": no file, and text is
// not read).
func ParseRecipe(text []byte, file string, overrides ...Override) (*RecipeFile, error) {
	d, r := strictyaml.New(file), defaultRecipe()
	if file != "" {
		root, err := d.Parse(text)
		if err != nil {
			return nil, err
		}
		d.Special = func(n ast.Node, t reflect.Type, path string) bool {
			files := t == reflect.TypeFor[data.Files]()
			if files {
				data.CheckFiles(d, n, path)
			}
			return files
		}
		d.Check(root, reflect.TypeFor[Recipe](), "")
		if err := d.Err(); err != nil {
			return nil, err
		}
		r.Name = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		withDefaults(r, d)
		if err := yaml.NodeToValue(root, r); err != nil {
			return nil, d.SyntaxError(err)
		}
		if err := r.absolute(file); err != nil {
			return nil, err
		}
		r.checkSections(d)
	}
	for _, o := range overrides {
		o.Set(r)
		d.Override(o.Key, o.Flag)
	}
	r.Calib.Check(d, "calib", false)
	r.Eval.Data.Check(d, "eval.data", false)
	r.complete(d)
	r.check(d)
	return &RecipeFile{r, d}, d.Err()
}

// withDefaults gives sections that the file has their defaults, before the file's own keys.
func withDefaults(r *Recipe, d *strictyaml.Document) {
	for _, s := range r.sections() {
		if d.Has(s.key) {
			s.set(&methodDefaults)
		}
	}
}

// absolute turns paths that are relative to the file.
func (r *Recipe) absolute(file string) error {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return err
	}
	of := func(_, path string) (string, error) { return relpath.Of(dir, path), nil }
	var first, second error
	r.Calib, first = r.Calib.Rebased("", of)
	r.Eval.Data, second = r.Eval.Data.Rebased("", of)
	return errors.Join(first, second)
}

// section are the keys of a method.
type section struct {
	key    string
	used   bool
	use    string         // what the recipe says where the method is used
	absent bool           // nothing of it is set
	set    func(*Recipe)  // to what another recipe has
	check  func(document) // its numbers
}

// document is what the sections' checks write to.
type document struct{ *strictyaml.Document }

// sections lists those of a recipe that belong to a method by name.
func (r *Recipe) sections() []section {
	transform := func(name string) (bool, string) {
		return slices.Contains(r.Transforms, name), "transforms: [" + name + "]"
	}
	rule := func(name string) (bool, string) { return r.Weights == name, "weights: " + name }
	list := []section{
		{key: "smoothquant", absent: r.SmoothQuant == SmoothQuant{}, set: func(o *Recipe) { r.SmoothQuant = o.SmoothQuant }, check: r.SmoothQuant.check},
		{key: "awq", absent: r.AWQ == AWQ{}, set: func(o *Recipe) { r.AWQ = o.AWQ }, check: r.AWQ.check},
		{key: "rotate", absent: r.Rotate == Rotate{}, set: func(o *Recipe) { r.Rotate = o.Rotate }, check: r.Rotate.check},
		{key: "seqmse", absent: r.SeqMSE == SeqMSE{}, set: func(o *Recipe) { r.SeqMSE = o.SeqMSE }, check: r.SeqMSE.check},
		{key: "gptq", absent: r.GPTQ == GPTQ{}, set: func(o *Recipe) { r.GPTQ = o.GPTQ }, check: r.GPTQ.check},
		{key: "reconstruct", absent: r.Reconstruct == Reconstruct{}, set: func(o *Recipe) { r.Reconstruct = o.Reconstruct }, check: r.Reconstruct.check},
	}
	for i := range list {
		s := &list[i]
		switch s.key {
		case "seqmse", "gptq":
			s.used, s.use = rule(s.key)
		case "reconstruct": // has a switch of its own
			s.used = !s.absent
		default:
			s.used, s.use = transform(s.key)
		}
	}
	return list
}

// checkSections reports sections of methods that the file does not use.
func (r *Recipe) checkSections(d *strictyaml.Document) {
	for _, s := range r.sections() {
		if d.Has(s.key) && !s.used && s.use != "" {
			d.Problem(s.key, "is the section of a method that is not used; add %s, or remove the section", s.use)
		}
	}
}

// complete fills in what follows from other keys, and empties sections of methods that are
// not used (any more).
func (r *Recipe) complete(d *strictyaml.Document) {
	if r.Name == "" && !d.Has("name") {
		r.Name = r.Scheme
	}
	for _, s := range r.sections() {
		switch {
		case s.use == "":
		case !s.used:
			s.set(&Recipe{})
		case s.absent && !d.Has(s.key):
			s.set(&methodDefaults)
		}
	}
	if r.Rotate.learned() && r.Rotate.Steps == 0 {
		r.Rotate.Steps = learnedSteps
	}
	if r.Mixed.on() && r.Mixed.By == "" && !d.Has("mixed.by") {
		r.Mixed.By = LossOfText
	}
	switch {
	case r.Sensitivity != 0 || !r.measures():
	case r.Mixed.By == LossOfAnswers:
		r.Sensitivity = sensitiveAnswer
	default:
		r.Sensitivity = sensitiveToken
	}
}

// SetReconstruction sets the steps of reconstruction a layer, 0 for none, as a flag does.
func (r *Recipe) SetReconstruction(steps int) {
	if (r.Reconstruct == Reconstruct{}) {
		r.Reconstruct = methodDefaults.Reconstruct
	}
	if r.Reconstruct.Steps = steps; steps == 0 {
		r.Reconstruct = Reconstruct{}
	}
}

// measures says whether something is chosen by the loss.
func (r *Recipe) measures() bool { return r.Mixed.on() || r.Cache == CacheAuto }

func (s Rotate) learned() bool { return s.R1 == rotationLearned || s.R2 == rotationLearned }

// The rotations.
const (
	rotationNone    = "none"
	rotationLearned = "learned"
)

var rotations = []string{"hadamard", rotationLearned, rotationNone}

// check reports values that no model can be quantized with, and what contradicts itself.
func (r *Recipe) check(d *strictyaml.Document) {
	if r.Name == "" || r.Name == "." || r.Name == ".." || strings.ContainsAny(r.Name, `/\`) || strings.HasPrefix(r.Name, ".") {
		d.Problem("name", "is %q; it must be the name of a folder that is not hidden, since the quantized model is written to one", r.Name)
	}
	strictyaml.OneOf(d, "ranges", r.Ranges, RangeNames())
	strictyaml.OneOf(d, "weights", r.Weights, RoundingNames())
	if r.Cache != "" || d.Has("cache") {
		strictyaml.OneOf(d, "cache", r.Cache, caches)
	}
	for i, t := range r.Transforms {
		at := fmt.Sprintf("transforms[%d]", i)
		if strictyaml.OneOf(d, at, t, TransformNames()) && slices.Contains(r.Transforms[:i], t) {
			d.Problem(at, "is %s, which is there already; name each transform once", t)
		}
	}
	for _, s := range r.sections() {
		if s.used {
			s.check(document{d})
		}
	}
	d.Within("samples", r.Samples, 0, strictyaml.MaxCount)
	d.Within("sensitivity", r.Sensitivity, 0, strictyaml.MaxCount)
	d.Within("eval.samples", r.Eval.Samples, 0, strictyaml.MaxCount)
	if r.Mixed.By != "" || d.Has("mixed.by") {
		strictyaml.OneOf(d, "mixed.by", r.Mixed.By, lossNames)
	}
	d.Between("mixed.max_loss_increase", r.Mixed.MaxLossIncrease, 0, 10)
	d.Within("mixed.max_bytes", r.Mixed.MaxBytes, 0, maxModelBytes)
	for i, e := range r.Exceptions {
		e.check(document{d}, fmt.Sprintf("exceptions[%d]", i))
	}
	if strictyaml.OneOf(d, "scheme", r.Scheme, SchemeNames()) {
		r.checkScheme(d, schemes.Get(r.Scheme))
	}
}

// maxModelBytes bounds a quantized model: more than any phone holds.
const maxModelBytes = 1 << 40

func (s SmoothQuant) check(d document) { d.Between("smoothquant.alpha", short(s.Alpha), 0, 1) }

func (s AWQ) check(d document) { d.Within("awq.grid", s.Grid, 1, 1000) }

func (s Rotate) check(d document) {
	known := strictyaml.OneOf(d.Document, "rotate.r1", s.R1, rotations)
	known = strictyaml.OneOf(d.Document, "rotate.r2", s.R2, rotations) && known
	d.Within("rotate.steps", s.Steps, 0, 100_000)
	switch {
	case !known:
	case s.R1 == rotationNone && s.R2 == rotationNone:
		d.Problem("rotate", "turns nothing: r1 and r2 are none; name a rotation, or take rotate out of transforms")
	case s.Steps > 0 && !s.learned():
		d.Problem("rotate.steps", "is %d, but neither r1 nor r2 is learned; remove it, or set one of them to learned", s.Steps)
	}
}

func (s SeqMSE) check(d document) {
	d.Within("seqmse.candidates", s.Candidates, 2, 1000)
	d.Within("seqmse.samples", s.Samples, 1, strictyaml.MaxCount)
}

func (s GPTQ) check(d document) {
	strictyaml.OneOf(d.Document, "gptq.scales", s.Scales, scaleRules.Names())
	d.Within("gptq.block", s.Block, 1, 1<<16)
	d.above("gptq.damping", s.Damping, 1)
}

func (s Reconstruct) check(d document) {
	d.Within("reconstruct.steps", s.Steps, 0, 1_000_000)
	if s.Steps == 0 {
		return
	}
	d.Within("reconstruct.tokens", s.Tokens, 1, strictyaml.MaxCount)
	d.Within("reconstruct.batch", s.Batch, 1, 1<<16)
	d.above("reconstruct.lr", s.LR, 1)
	d.above("reconstruct.scale_lr", s.ScaleLR, 1)
	if !s.Rounding && !s.Scales {
		d.Problem("reconstruct", "fits nothing: rounding and scales are false; set one of them, or steps: 0")
	}
}

func (e Exception) check(d document, at string) {
	d.Required(at+".match", e.Match)
	if _, err := path.Match(e.Match, ""); err != nil {
		d.Problem(at+".match", "is %q, which is no pattern; * stands for any part of a name, ? for a character, [ab] for one of several", e.Match)
	}
	widths, of := []int{4, 8}, "the name of a map"
	if e.point() {
		widths, of = []int{8, 16}, "the name of a point"
	}
	if !slices.Contains(widths, e.Bits) {
		d.Problem(at+".bits", "is %d; it must be %d or %d, since %q is %s", e.Bits, widths[0], widths[1], e.Match, of)
	}
}

// point says whether the pattern is of points; else it is of maps.
func (e Exception) point() bool { return strings.Contains(e.Match, ":") }

// above reports a number that is not above 0 and at most most.
func (d document) above(path string, v float32, most float64) {
	if !(v > 0) || float64(v) > most {
		d.Problem(path, "is %v; it must be above 0 and at most %v", v, most)
	}
}

// short is the float64 that prints as v does.
func short(v float32) float64 {
	var x float64
	_, _ = fmt.Sscan(fmt.Sprint(v), &x)
	return x
}

// checkScheme reports methods that a scheme has no use for, and a target that cannot run it.
func (r *Recipe) checkScheme(d *strictyaml.Document, s Scheme) {
	if r.Target != "" && strictyaml.OneOf(d, "target", r.Target, Targets()) && !slices.Contains(s.Targets, r.Target) {
		d.Problem("target", "is %s, which cannot run %s: that is for %s; %s runs %s", r.Target, s.Name, enum.List(s.Targets), r.Target, enum.List(SchemesFor(r.Target)))
	}
	floats := s.Activation.None()
	if floats {
		for _, key := range []string{"ranges", "cache"} {
			if d.Has(key) {
				d.Problem(key, "is there, but %s leaves activations and cache in float; remove it", s.Name)
			}
		}
		for i, t := range r.Transforms {
			if t == "smoothquant" {
				d.Problem(fmt.Sprintf("transforms[%d]", i), "is smoothquant, but %s rounds weights alone: there are no activations to smooth; take it out, or awq in its place", s.Name)
			}
		}
	}
	for i, e := range r.Exceptions {
		if e.point() && floats {
			d.Problem(fmt.Sprintf("exceptions[%d].match", i), "is %q, a pattern of points, but %s leaves activations in float", e.Match, s.Name)
		}
	}
	if !r.Mixed.on() && d.Has("mixed") {
		d.Problem("mixed", "promotes nothing: it has no bound; give max_loss_increase, max_bytes or both, or remove the section")
	}
	if r.Mixed.on() && s.Weight.Bits >= promoted {
		d.Problem("mixed", "promotes maps to %d bits, but %s has no weights of fewer; remove the section", promoted, s.Name)
	}
}

// adapted is the recipe's scheme as its target wants it.
func (r *Recipe) adapted() (Scheme, error) {
	s, err := ParseScheme(r.Scheme)
	if err == nil && r.Target != "" {
		return s.For(r.Target)
	}
	return s, err
}

// Fit reports what a model cannot be quantized with: exceptions that match nothing, and a bound
// that even the smallest model of the scheme is beyond.
func (f *RecipeFile) Fit(m *model.Model) error {
	f.fit(f.document, m)
	return f.document.Err()
}

// fit is Fit, to d.
func (r *Recipe) fit(d *strictyaml.Document, m *model.Model) {
	var maps, all []string
	for _, f := range frozen(m.Base) {
		maps = append(maps, f.name)
	}
	s := schemes.Get(r.Scheme)
	least := plannedSize(m, func(name string, head bool) encoding.Format { return r.mapFormat(s, name, head) }).After
	if most := r.Mixed.MaxBytes; most > 0 && least > most {
		d.Problem("mixed.max_bytes", "is %d, but %s takes %d of this model without any promotion; raise it, or choose a smaller scheme", most, r.Scheme, least)
	}
	for _, p := range points(m) {
		if !p.given() && !p.format(s).None() {
			all = append(all, p.name)
		}
	}
	for i, e := range r.Exceptions {
		names, kind := maps, "map"
		if e.point() {
			names, kind = all, "point"
		}
		if slices.ContainsFunc(names, e.matches) {
			continue
		}
		d.Problem(fmt.Sprintf("exceptions[%d].match", i), "is %q, which matches no %s of this model; %s", e.Match, kind, alike(e.Match, names))
	}
}

// alike suggests a pattern for one that matches nothing.
func alike(pattern string, names []string) string {
	var known []string
	for _, n := range names { // one of each kind: what follows the layer's number
		tail := n
		if rest, ok := strings.CutPrefix(n, "model.layers."); ok {
			_, tail, _ = strings.Cut(rest, ".")
			if _, last, ok := strings.Cut(tail, "."); ok {
				tail = last
			}
			tail = "*." + tail
		}
		if !slices.Contains(known, tail) {
			known = append(known, tail)
		}
	}
	if near := similar.Name(pattern, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "there are " + strings.Join(known, ", ")
}

func (e Exception) matches(name string) bool {
	ok, err := path.Match(e.Match, name)
	return ok && err == nil
}

// promoted is the width in bits of maps that exceptions or mixed precision raise.
const promoted = 8

// mapFormat is the format of a map's weights by scheme and exceptions.
func (r *Recipe) mapFormat(s Scheme, name string, head bool) encoding.Format {
	f := s.Weight
	if head {
		f = s.Head
	}
	for _, e := range r.Exceptions {
		if !e.point() && e.matches(name) {
			f = s.weightOf(e.Bits)
		}
	}
	return f
}

// weightOf is the format of weights with so many bits: the scheme's own, or else a scale
// for each output channel.
func (s Scheme) weightOf(bits int) encoding.Format {
	switch bits {
	case s.Weight.Bits:
		return s.Weight
	case s.Head.Bits:
		return s.Head
	default:
		return encoding.Format{Bits: bits}
	}
}

// pointFormats gives the format of a model's points by scheme, cache and exceptions, for
// [EncodePoints]. Where the cache's widths are chosen, they are by [ChooseCache].
func (r *Recipe) pointFormats(m *model.Model) func(point string, f encoding.Format) encoding.Format {
	kinds := map[string]kind{}
	for _, p := range points(m) {
		kinds[p.name] = p.kind
	}
	return func(point string, f encoding.Format) encoding.Format {
		switch {
		case kinds[point] != cached:
		case r.Cache == CacheInt8:
			f.Bits = 8
		case r.Cache == CacheInt16:
			f.Bits = 16
		}
		for _, e := range r.Exceptions {
			if e.point() && e.matches(point) {
				f.Bits = e.Bits
			}
		}
		return f
	}
}
