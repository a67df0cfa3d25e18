// Package manifest describes an exported folder to the host that runs it: its
// graphs with their inputs and outputs, the states between them, its files, and how
// the graphs compared with the model they were made from.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"eisft/internal/atomicfile"
	"eisft/internal/filehash"
	"eisft/internal/head"
	"eisft/model/schedule"
	"eisft/quant/encoding"
)

// Name is the manifest's file name in an exported folder; Key is the
// metadata_props entry of each graph that repeats it, less Files, Golden, Verification and Evaluated.
const (
	Name = "manifest.json"
	Key  = "eisft.manifest"
)

// Producer is what wrote a manifest.
const Producer = "eisft"

// Schema is the schema version that this package writes and reads.
const Schema = 4

// manifestBytes bounds what Read takes: a manifest lists tensors, not values.
const manifestBytes = 16 << 20

// Manifest tells a host all it needs to run an exported folder.
type Manifest struct {
	Schema   int    `json:"schema"`
	Producer string `json:"producer"`
	Model    string `json:"model"`
	// Base and Trained are the identities of the base and of the trained parameters
	// ([model.Base.Identity], [model.Params.Identity]).
	Base    string `json:"base_identity,omitempty"`
	Trained string `json:"trained_identity,omitempty"`
	// Target is what the graphs were made for: "qnn"; empty for any runtime.
	Target    string `json:"target,omitempty"`
	Opset     int    `json:"opset"`
	Positions string `json:"positions"` // compact or absolute
	// Kinds are the kinds of layers that there are, in the order in which they come.
	Kinds []Kind `json:"kinds"`
	// MaskValue is what masks hold where there is nothing to see, finite and negative;
	// Quantization may have another for its graphs.
	MaskValue float64 `json:"mask_value"`
	Features  int     `json:"features"` // F, 0 without a memory
	// MemoryScale is s: the memory's state is s times the means over the tokens written,
	// and the host gives an evicted token s times its weight; 0 without a memory.
	MemoryScale float64 `json:"memory_scale,omitempty"`
	// MemoryColumn is what the mask's last column holds while the memory is in use.
	MemoryColumn string `json:"memory_column"` // zero or log_tokens
	// EmptyTokens is the number whose logarithm the column holds while the memory is in
	// use and nothing has been written; 0 where it holds none.
	EmptyTokens float64 `json:"empty_memory_tokens,omitempty"`
	// RetentionDecay: a token is kept by β^age with β = σ of its retention score; false: by β.
	RetentionDecay bool `json:"retention_decay,omitempty"`
	// Embeddings is the safetensors file with the rows that the host looks up (Embedding,
	// EmbeddingScale); empty where the graphs take ids. Quantization may name another one for
	// its graphs: see EmbeddingsOf.
	Embeddings string `json:"embeddings,omitempty"`
	// Text is how text becomes ids and ids text; nil where the base has no tokenizer.
	Text *Text `json:"text,omitempty"`

	Shapes       []Shape        `json:"shapes"`
	Graphs       []Graph        `json:"graphs"`
	States       []State        `json:"states"`
	Quantization *Quantization  `json:"quantization,omitempty"`
	Files        []File         `json:"files,omitempty"`
	Golden       []Golden       `json:"golden,omitempty"`
	Verification []Verification `json:"verification,omitempty"`
	// Evaluated is what the model that the graphs were made from recalls in the sizes of shapes.
	Evaluated []Evaluated `json:"evaluated,omitempty"`
}

// Text points at the files that turn text into ids and back.
type Text struct {
	Tokenizer string `json:"tokenizer"` // in the form of Hugging Face's tokenizers
	// Config has the texts of the special tokens; empty where there is no such file.
	Config string `json:"config,omitempty"`
	// Template is the file with the chat template (Jinja2); empty where there is none.
	Template string `json:"template,omitempty"`
	// TemplateOptions are variables that the template is given beside the messages, by name:
	// those that the run was trained with.
	TemplateOptions map[string]json.RawMessage `json:"template_options,omitempty"`
	// Turn is what that template writes around a user's turn, for hosts without Jinja; nil
	// where there is none, or where it cannot be taken apart.
	Turn *Turn `json:"turn,omitempty"`
	// StopIDs end an answer: those of the model's configuration, the tokenizer's EOS and
	// what the chat template ends a turn with.
	StopIDs []int32 `json:"stop_ids"`
}

// Turn is the form of a conversation: First, a question, End, the answer, Next, the next
// question, End and so on, with the special tokens spelled out.
type Turn struct {
	First string `json:"first"`
	Next  string `json:"next"`
	End   string `json:"end"`
}

// Golden names the golden vectors of a shape and a precision: what the Go model gives,
// step by step, for a host to be tested against.
type Golden struct {
	Shape     string `json:"shape"`
	Precision string `json:"precision"`
	Steps     string `json:"steps"`   // a JSON file, described in runtime.md
	Tensors   string `json:"tensors"` // a safetensors file with the numbers of the steps
}

// Rope is how the host computes the cos and sin inputs: the angle of position p and
// pair i is p·InvFreq[i], both tables are multiplied by Scale. Of each head, elements i
// and i+m turn together (half-split rotary); m is below d/2 for partial rotary.
type Rope struct {
	Theta   float64         `json:"theta"`
	Scaling json.RawMessage `json:"scaling,omitempty"` // the checkpoint's record, as it is
	InvFreq []float32       `json:"inv_freq"`          // [m]
	Scale   float32         `json:"attention_scale"`
	Limit   int             `json:"limit,omitempty"` // first position that is out of reach; 0: there is none
}

// Kind is a kind of layers that share a mask and rotary tables: those whose ports' roles
// end in Suffix.
type Kind struct {
	Suffix string `json:"suffix"`
	Layers []int  `json:"layers"`
	// Window is how many keys in the order stored a token sees at most, its own
	// included; 0: all.
	Window int `json:"window,omitempty"`
	// Slotless layers have a cache without slots, of s+w+l tokens, and the positions
	// that follow from it.
	Slotless bool `json:"slotless,omitempty"`
	// Unrotated layers do not turn their keys and queries: they have no rotary tables, and
	// Rope is empty.
	Unrotated bool `json:"unrotated,omitempty"`
	Rope      Rope `json:"rope,omitzero"`
}

// The parts of a kind's suffix: its ports' names and roles end in it.
const (
	SlidingSuffix   = "_sliding"   // a window of the keys only
	UnrotatedSuffix = "_unrotated" // no rotary embedding
	SlotlessSuffix  = "_slotless"  // no slots
)

// Suffix is the suffix of a kind of layers.
func Suffix(sliding, unrotated, slotless bool) string {
	suffix := ""
	if sliding {
		suffix += SlidingSuffix
	}
	if unrotated {
		suffix += UnrotatedSuffix
	}
	if slotless {
		suffix += SlotlessSuffix
	}
	return suffix
}

// Shape is one pair of graphs: Tokens new ones beside Cache = Sinks+Slots+Window+Segment
// stored ones.
type Shape struct {
	Name    string `json:"name"` // "512x2048"
	Tokens  int    `json:"t"`
	Cache   int    `json:"c"`
	Sinks   int    `json:"s"`
	Slots   int    `json:"r"`
	Window  int    `json:"w"`
	Segment int    `json:"l"`
}

// Sizes are those of what a layer with slots stores.
func (s Shape) Sizes() schedule.Sizes {
	return schedule.Sizes{Sink: s.Sinks, Slots: s.Slots, Window: s.Window, Segment: s.Segment}
}

// The precisions of graphs that are not quantized: in float32, and in float16.
const (
	Float   = "float"
	Float16 = "float16"
)

// EncodingsSuffix stands behind the name of a scheme in the precision of float graphs that
// have its encodings beside them.
const EncodingsSuffix = "+encodings"

// IsFloat tells whether graphs of a precision are not quantized.
func IsFloat(precision string) bool {
	return precision == Float || precision == Float16 || strings.HasSuffix(precision, EncodingsSuffix)
}

// The names of the tensors in the file of embeddings: the rows [V,D], in float32 or float16
// or in codes of 16 or 8 bits, which have a scale for each row [V].
const (
	Embedding      = "model.embed_tokens.weight"
	EmbeddingScale = "model.embed_tokens.weight.scale"
)

// What the mask's last column holds while the memory is in use: nothing to add, or
// the natural logarithm of the number of tokens written, since the memory's state
// holds means and the mass gate needs sums. While nothing has been written, for the
// slots have taken all, that number is the manifest's EmptyTokens.
const (
	ColumnZero      = "zero"
	ColumnLogTokens = "log_tokens"
)

// The kinds of graphs.
const (
	PromptGraph     = "prompt"
	GenerationGraph = "generation"
	CommitGraph     = "commit"
)

// Graph is a main or commit graph, in one part or several that run one after another.
type Graph struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Shape string `json:"shape"` // a Shape's name
	// Precision is Float or a quantization scheme's name. The graphs of a shape and a
	// precision belong together.
	Precision string `json:"precision"`
	// FloatMACs is the share of the multiply-accumulates of matrix products that a quantized
	// graph keeps in float.
	FloatMACs float64 `json:"float_macs_share,omitempty"`
	Parts     []Part  `json:"parts"`
	Inputs    []Port  `json:"inputs"`
	Outputs   []Port  `json:"outputs"`
	// Hidden are what one part makes and later ones read: their role is Hidden.
	Hidden []Port `json:"hidden,omitempty"`
}

// Hidden is the role of what passes between the parts of a graph: the residual stream.
const Hidden = "hidden"

// InputsOf and OutputsOf are the ports of a part of the graph, among them what passes between
// parts.
func (g Graph) InputsOf(p Part) []Port { return g.portsOf(p.Inputs, g.Inputs) }

// OutputsOf is the other side; see InputsOf.
func (g Graph) OutputsOf(p Part) []Port { return g.portsOf(p.Outputs, g.Outputs) }

func (g Graph) portsOf(names []string, whole []Port) []Port {
	if len(g.Parts) == 1 {
		return whole
	}
	var ports []Port
	for _, name := range names {
		for _, p := range slices.Concat(g.Hidden, whole) {
			if p.Name == name {
				ports = append(ports, p)
			}
		}
	}
	return ports
}

// Part is one ONNX file, or a signature of a TFLite file.
type Part struct {
	File string `json:"file"`
	// Signature is the name of the graph in a TFLite file, which holds several; empty: the file
	// is one of ONNX.
	Signature string `json:"signature,omitempty"`
	// Encodings are files of AIMET with the encodings of the graph's tensors.
	Encodings []string `json:"encodings,omitempty"`
	// Inputs and Outputs are the names of the part's ports, which are the graph's or pass between
	// its parts; empty where it is the whole graph.
	Inputs  []string       `json:"inputs,omitempty"`
	Outputs []string       `json:"outputs,omitempty"`
	Ops     map[string]int `json:"ops"` // number of nodes of each op
}

// Port is an input or output of a graph.
type Port struct {
	Name  string   `json:"name"`
	Role  string   `json:"role"`            // what it carries: "mask", "key", "logits"
	Layer *int     `json:"layer,omitempty"` // of a state or a score
	Shape []int    `json:"shape"`
	DType string   `json:"dtype"`
	Axes  []string `json:"axes"` // what each axis of Shape counts
	// Encoding says what the codes of a quantized port stand for.
	Encoding *encoding.Encoding `json:"encoding,omitempty"`
}

// The policies of a State: the host appends the output's new tokens to its cache, or
// the output replaces the input.
const (
	Append  = "append"
	Replace = "replace"
)

// State is an input that the host feeds from an output.
type State struct {
	In     string  `json:"in"`
	Out    string  `json:"out"`
	Policy string  `json:"policy"`
	Reset  float32 `json:"reset"` // real value at the start of a sequence
}

// Quantization records how the weights were quantized.
type Quantization struct {
	Scheme      string `json:"scheme"`
	Calibration string `json:"calibration_sha256"`
	// Embeddings is the file in the place of Manifest.Embeddings for the graphs of this
	// scheme, where a rotation of the residual stream is folded into them; "" elsewhere.
	Embeddings string `json:"embeddings,omitempty"`
	// MaskValue is that of the scheme's graphs; 0: the manifest's.
	MaskValue float64 `json:"mask_value,omitempty"`
}

// EmbeddingsOf returns the file of the embedding table that graphs of a precision read rows
// of, "" where they take ids.
func (m *Manifest) EmbeddingsOf(precision string) string {
	if q := m.Quantization; q != nil && q.Embeddings != "" && q.has(precision) {
		return q.Embeddings
	}
	return m.Embeddings
}

// has tells whether graphs of a precision are of the scheme, in any form.
func (q *Quantization) has(precision string) bool {
	return strings.TrimSuffix(precision, EncodingsSuffix) == q.Scheme
}

// MaskOf is the mask value of the graphs of a precision.
func (m *Manifest) MaskOf(precision string) float64 {
	if q := m.Quantization; q != nil && q.has(precision) && q.MaskValue != 0 {
		return q.MaskValue
	}
	return m.MaskValue
}

// File is a file of the export.
type File struct {
	Name   string `json:"name"` // with slashes where it lies in a folder of the export
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Evaluated is what the Go model, in float32, answers to questions with the sinks, slots, window
// and segment of a shape.
type Evaluated struct {
	Shape  string  `json:"shape"`
	Data   string  `json:"data_sha256"` // of the file of questions
	Scores []Score `json:"scores"`
}

// Score is that of questions about facts some way back: "far" beyond window and segment,
// "near" inside the window, or "all".
type Score struct {
	Bucket     string             `json:"bucket"`
	Questions  int                `json:"questions"`
	Metrics    map[string]float64 `json:"metrics"`    // means by name: em, f1
	Perplexity float64            `json:"perplexity"` // of the right answers
}

// Verification says how the graphs of a shape and a precision compared with the Go
// model, under the same fake quantization where they are quantized.
type Verification struct {
	Shape     string `json:"shape"`
	Precision string `json:"precision"`
	Runtime   string `json:"runtime"`
	Read      int    `json:"read_tokens"`
	// Written counts the tokens that each layer's memory had taken up in the end.
	Written int `json:"memory_tokens"`
	Slots   int `json:"slots_in_use"`
	// Compared logit rows, those of them with the same best token, and the largest
	// and the mean difference of a logit.
	Compared       int     `json:"compared_rows"`
	EqualTokens    int     `json:"equal_tokens"`
	MaxLogitError  float64 `json:"max_logit_error"`
	MeanLogitError float64 `json:"mean_logit_error"`
	// Codes are those of the first segment's stored keys and values, of graphs with a cache
	// in codes, and OtherCodes the share of them that the Go model does not have.
	Codes      int     `json:"compared_codes,omitempty"`
	OtherCodes float64 `json:"other_codes,omitempty"`
	// LogitRange is the largest magnitude of a logit of the Go model.
	LogitRange float64   `json:"logit_range"`
	Tolerance  Tolerance `json:"tolerance"`
	// Levels are the runtime's levels of optimization at which the graphs were loaded and
	// some steps compared.
	Levels []Level `json:"levels,omitempty"`
	// RoundTrip is the same comparison of the graphs with everything that stays in float
	// rounded to float16, nil where nothing is float32.
	RoundTrip *RoundTrip `json:"float16_round_trip,omitempty"`
}

// Level is a level of optimization, and the largest difference of a logit there.
type Level struct {
	Name          string  `json:"name"`
	MaxLogitError float64 `json:"max_logit_error"`
}

// RoundTrip says what rounding to float16 changes.
type RoundTrip struct {
	Compared       int     `json:"compared_rows"`
	EqualTokens    int     `json:"equal_tokens"`
	MaxLogitError  float64 `json:"max_logit_error"`
	MeanLogitError float64 `json:"mean_logit_error"`
	// Lost is the first number that is beyond float16, or 0 there, where tokens are not kept.
	Lost string `json:"lost,omitempty"`
}

// Finite gives what is not a number, which JSON does not have, the largest value.
func (r *RoundTrip) Finite() {
	for _, v := range []*float64{&r.MaxLogitError, &r.MeanLogitError} {
		if !(*v <= math.MaxFloat64) {
			*v = math.MaxFloat64
		}
	}
}

// KeepsTokens tells whether at least 99 % of the best tokens stay equal when all floats are
// rounded to float16, and every logit is a number. Of few rows, three may be near ties; and
// what the graphs' own rounding to codes changes, twice as much may change again.
func (v Verification) KeepsTokens() bool {
	r := v.RoundTrip
	if r == nil {
		return true
	}
	allowed := max(3, r.Compared/100) + 2*(v.Compared-v.EqualTokens)
	return r.MaxLogitError < math.MaxFloat64 && r.Compared-r.EqualTokens <= allowed
}

// Tolerance bounds the differences of logits and codes. It follows from the Go model alone.
type Tolerance struct {
	Max   float64 `json:"max"`
	Mean  float64 `json:"mean"`
	Codes float64 `json:"other_codes,omitempty"` // share of them
}

// Passed tells whether all differences are within the tolerance, those of logits at every level.
func (v Verification) Passed() bool {
	for _, l := range v.Levels {
		if !(l.MaxLogitError <= v.Tolerance.Max) {
			return false
		}
	}
	return v.OtherCodes <= v.Tolerance.Codes && v.MaxLogitError <= v.Tolerance.Max && v.MeanLogitError <= v.Tolerance.Mean
}

// Of returns the graphs of a shape and a precision by their kind.
func (m *Manifest) Of(shape, precision string) map[string]Graph {
	graphs := map[string]Graph{}
	for _, g := range m.Graphs {
		if g.Shape == shape && g.Precision == precision {
			graphs[g.Kind] = g
		}
	}
	return graphs
}

// PrecisionOf returns the precision of the graph that a file is a part of, "" for a
// file that is none.
func (m *Manifest) PrecisionOf(file string) string {
	for _, g := range m.Graphs {
		if slices.ContainsFunc(g.Parts, func(p Part) bool { return p.File == file }) {
			return g.Precision
		}
	}
	return ""
}

// Precisions lists the precisions that the manifest has graphs of, in order.
func (m *Manifest) Precisions() []string {
	var list []string
	for _, g := range m.Graphs {
		if !slices.Contains(list, g.Precision) {
			list = append(list, g.Precision)
		}
	}
	return list
}

// GraphFiles lists the .onnx files in the order of graphs and parts.
func (m *Manifest) GraphFiles() []string {
	return m.filesOf(func(p Part) bool { return p.Signature == "" })
}

// TFLiteFiles lists the .tflite files in the order of graphs and parts.
func (m *Manifest) TFLiteFiles() []string {
	return m.filesOf(func(p Part) bool { return p.Signature != "" })
}

func (m *Manifest) filesOf(wanted func(Part) bool) []string {
	var files []string
	for _, g := range m.Graphs {
		for _, p := range g.Parts {
			if wanted(p) && !slices.Contains(files, p.File) {
				files = append(files, p.File)
			}
		}
	}
	return files
}

// InTFLite tells whether the graphs of a precision are signatures of a TFLite file.
func (m *Manifest) InTFLite(precision string) bool {
	return slices.ContainsFunc(m.Graphs, func(g Graph) bool { return g.Precision == precision && g.Parts[0].Signature != "" })
}

// Mirror is the manifest as each graph repeats it under Key.
func (m *Manifest) Mirror() (string, error) {
	short := *m
	short.Files, short.Golden, short.Verification, short.Evaluated = nil, nil, nil, nil
	raw, err := json.Marshal(short)
	return string(raw), err
}

// AddFile puts the file name of folder, with its size and sha256, on the list.
func (m *Manifest) AddFile(folder, name string) error {
	f, err := digest(folder, name, filehash.Compute)
	if err != nil {
		return err
	}
	m.Files = append(m.Files, f)
	return nil
}

// Write validates the manifest and writes it into folder.
func (m *Manifest) Write(folder string) error {
	if err := m.Validate(); err != nil {
		return fmt.Errorf("write %s: %w", Name, err)
	}
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", Name, err)
	}
	return atomicfile.WriteFile(filepath.Join(folder, Name), append(raw, '\n'))
}

// Read reads and validates folder's manifest. It does not look at the files;
// VerifyFiles does.
func Read(folder string) (*Manifest, error) {
	path := filepath.Join(folder, Name)
	raw, err := head.Read(path, manifestBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: want the folder of exported graphs, such as RUN/export/512x2048", err)
	}
	if err != nil {
		return nil, err
	}
	m, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Parse decodes and validates a manifest. Errors begin with the key path.
func Parse(raw []byte) (*Manifest, error) {
	var version struct{ Schema int }
	if err := json.Unmarshal(raw, &version); err != nil {
		return nil, fmt.Errorf("not a manifest: %w", err)
	}
	if version.Schema != Schema {
		return nil, fmt.Errorf("schema: version %d, want %d: export again with this eisft", version.Schema, Schema)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	m := &Manifest{}
	if err := d.Decode(m); err != nil {
		return nil, err
	}
	return m, m.Validate()
}

// VerifyFiles compares every listed file with its size and sha256, which sum finds:
// filehash.Compute, or filehash.Sum where what was found before will do.
func (m *Manifest) VerifyFiles(folder string, sum func(path string) (string, error)) []error {
	var errs []error
	for i, want := range m.Files {
		got, err := digest(folder, want.Name, sum)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("files[%d]: %w", i, err))
		case got.Bytes != want.Bytes:
			errs = append(errs, fmt.Errorf("files[%d]: %s has %d bytes, want %d", i, want.Name, got.Bytes, want.Bytes))
		case got.SHA256 != want.SHA256:
			errs = append(errs, fmt.Errorf("files[%d]: %s has sha256 %s, want %s", i, want.Name, got.SHA256, want.SHA256))
		}
	}
	return errs
}

func digest(folder, name string, sum func(path string) (string, error)) (File, error) {
	path := filepath.Join(folder, filepath.FromSlash(name))
	info, err := os.Stat(path)
	if err != nil {
		return File{}, err
	}
	hash, err := sum(path)
	return File{Name: name, Bytes: info.Size(), SHA256: hash}, err
}

// Stray returns the name of an entry of an exported folder that its manifest does not
// list, "" if there is none; the manifest may be of any version. It fails if the folder
// has entries, but no manifest that eisft wrote.
func Stray(folder string) (string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) == 0 {
		return "", err
	}
	raw, err := head.Read(filepath.Join(folder, Name), manifestBytes)
	if err != nil {
		return "", err
	}
	var m struct {
		Producer string
		Files    []File
	}
	if err := json.Unmarshal(raw, &m); err != nil || m.Producer != Producer {
		return "", fmt.Errorf("its %s was not written by eisft export", Name)
	}
	stray := ""
	err = fs.WalkDir(os.DirFS(folder), ".", func(name string, e fs.DirEntry, err error) error {
		listed := slices.ContainsFunc(m.Files, func(f File) bool { return f.Name == name || e.IsDir() && strings.HasPrefix(f.Name, name+"/") })
		if err != nil || name == "." || listed || name == Name {
			return err
		}
		stray = name
		return fs.SkipAll
	})
	return stray, err
}
