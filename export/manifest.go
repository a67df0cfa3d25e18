package export

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"eisft/data/atomicfile"
)

// ManifestName is the manifest's file name in an exported folder; ManifestKey is the
// metadata_props entry of each graph that repeats it, less Files and Verification.
const (
	ManifestName = "manifest.json"
	ManifestKey  = "eisft.manifest"
)

// ManifestSchema is the schema version that this package writes and reads.
const ManifestSchema = 1

// manifestBytes bounds what ReadManifest takes: a manifest lists tensors, not values.
const manifestBytes = 16 << 20

// Manifest tells a host all it needs to run an exported folder.
type Manifest struct {
	Schema    int     `json:"schema"`
	Producer  string  `json:"producer"`
	Model     string  `json:"model"`
	Opset     int     `json:"opset"`
	Positions string  `json:"positions"` // compact or absolute
	Rope      Rope    `json:"rope"`
	MaskValue float64 `json:"mask_value"` // finite and negative
	Features  int     `json:"features"`   // F, 0 without a memory

	Shapes       []Shape       `json:"shapes"`
	Graphs       []Graph       `json:"graphs"`
	States       []State       `json:"states"`
	Quantization *Quantization `json:"quantization,omitempty"`
	Files        []File        `json:"files,omitempty"`
	Verification *Verification `json:"verification,omitempty"`
}

// Rope is how the host computes the cos and sin inputs: the angle of position p and
// pair i is p·InvFreq[i], both tables are multiplied by Scale (half-split rotary).
type Rope struct {
	Theta   float64         `json:"theta"`
	Scaling json.RawMessage `json:"scaling,omitempty"` // the checkpoint's record, as it is
	InvFreq []float32       `json:"inv_freq"`          // d/2
	Scale   float32         `json:"attention_scale"`
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

// The kinds of graphs.
const (
	PromptGraph     = "prompt"
	GenerationGraph = "generation"
	CommitGraph     = "commit"
)

// Graph is a main or commit graph, in one part or several that run one after another.
type Graph struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Shape   string `json:"shape"` // a Shape's name
	Parts   []Part `json:"parts"`
	Inputs  []Port `json:"inputs"`
	Outputs []Port `json:"outputs"`
}

// Part is one ONNX file.
type Part struct {
	File string         `json:"file"`
	Ops  map[string]int `json:"ops"` // number of nodes of each op
}

// Port is an input or output of a graph.
type Port struct {
	Name     string   `json:"name"`
	Role     string   `json:"role"`            // what it carries: "mask", "key", "logits"
	Layer    *int     `json:"layer,omitempty"` // of a state or a score
	Shape    []int    `json:"shape"`
	DType    string   `json:"dtype"`
	Axes     []string `json:"axes"` // what each axis of Shape counts
	Encoding *Affine  `json:"encoding,omitempty"`
}

// Affine is the per-tensor encoding of a quantized port: real = Scale·(code − ZeroPoint).
type Affine struct {
	Scale     float32 `json:"scale"`
	ZeroPoint int     `json:"zero_point"`
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
}

// File is a file of the export.
type File struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Verification says how the exported graphs compared with the Go model.
type Verification struct {
	Runtime       string  `json:"runtime"`
	Tokens        int     `json:"tokens"`       // compared
	EqualTokens   int     `json:"equal_tokens"` // same choice in both
	MaxLogitError float64 `json:"max_logit_error"`
	Tolerance     float64 `json:"tolerance"`
}

// GraphFiles lists the .onnx files in the order of graphs and parts.
func (m *Manifest) GraphFiles() []string {
	var files []string
	for _, g := range m.Graphs {
		for _, p := range g.Parts {
			if !slices.Contains(files, p.File) {
				files = append(files, p.File)
			}
		}
	}
	return files
}

// Mirror is the manifest as each graph repeats it under ManifestKey.
func (m *Manifest) Mirror() (string, error) {
	short := *m
	short.Files, short.Verification = nil, nil
	raw, err := json.Marshal(short)
	return string(raw), err
}

// AddFile puts the file name of folder, with its size and sha256, on the list.
func (m *Manifest) AddFile(folder, name string) error {
	f, err := digest(folder, name)
	if err != nil {
		return err
	}
	m.Files = append(m.Files, f)
	return nil
}

// Write validates the manifest and writes it into folder.
func (m *Manifest) Write(folder string) error {
	if err := m.Validate(); err != nil {
		return fmt.Errorf("write %s: %w", ManifestName, err)
	}
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", ManifestName, err)
	}
	return atomicfile.WriteFile(filepath.Join(folder, ManifestName), append(raw, '\n'))
}

// ReadManifest reads and validates folder's manifest. It does not look at the files;
// VerifyFiles does.
func ReadManifest(folder string) (*Manifest, error) {
	path := filepath.Join(folder, ManifestName)
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, manifestBytes+1))
	if err == nil && len(raw) > manifestBytes {
		err = fmt.Errorf("above %d bytes, which is no manifest", manifestBytes)
	}
	var m *Manifest
	if err == nil {
		m, err = ParseManifest(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return m, nil
}

// ParseManifest decodes and validates a manifest. Errors begin with the key path.
func ParseManifest(raw []byte) (*Manifest, error) {
	var version struct{ Schema int }
	if err := json.Unmarshal(raw, &version); err != nil {
		return nil, fmt.Errorf("not a manifest: %w", err)
	}
	if version.Schema != ManifestSchema {
		return nil, fmt.Errorf("schema: version %d, want %d: export again with this eisft", version.Schema, ManifestSchema)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	m := &Manifest{}
	if err := d.Decode(m); err != nil {
		return nil, err
	}
	return m, m.Validate()
}

// VerifyFiles compares every listed file with its size and sha256.
func (m *Manifest) VerifyFiles(folder string) []error {
	var errs []error
	for i, want := range m.Files {
		got, err := digest(folder, want.Name)
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

func digest(folder, name string) (File, error) {
	file, err := os.Open(filepath.Join(folder, name))
	if err != nil {
		return File{}, err
	}
	defer file.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, file)
	return File{Name: name, Bytes: n, SHA256: hex.EncodeToString(hash.Sum(nil))}, err
}
