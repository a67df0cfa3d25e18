package eval

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"eisft/data"
	"eisft/internal/ranks"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/model/tokenizer"
)

// settingsSchema is that of the files that this version writes.
const settingsSchema = 1

// Settings are what answers depend on: with the same ones, each is the same again.
type Settings struct {
	Schema    int        `json:"schema"`
	Version   string     `json:"eisft"`
	Kernels   string     `json:"kernels"` // what the bits of products depend on, see [kernels.Bits]
	Base      string     `json:"base_identity"`
	Adapter   string     `json:"adapter_identity"` // of the trained parameters
	Block     model.Spec `json:"block"`
	Quantized string     `json:"quantized_sha256,omitempty"` // of the quantized model that it reads with
	Cache     string     `json:"cache,omitempty"`            // how keys and values are held, "" if in float32
	Graphs    string     `json:"graphs_sha256,omitempty"`    // of the manifest of the exported graphs among the policies
	Tokenizer string     `json:"tokenizer_sha256"`
	Template  string     `json:"template_sha256,omitempty"` // with the options that it was given
	Data      DataFile   `json:"data"`
	// MaxNewTokens is where answers are cut.
	MaxNewTokens int `json:"max_new_tokens"`
	// MaxTokens is what samples are shortened to, 0: nothing.
	MaxTokens int    `json:"max_tokens,omitempty"`
	Bounds    Bounds `json:"tokens_back"`
	// Tasks are how rows are asked, and how answers are scored.
	Tasks string `json:"tasks_sha256,omitempty"`

	// What was asked for last. Records do not depend on it: more rows, policies and seeds go
	// into the same file.
	Samples  int      `json:"samples"` // the first so many rows; 0: all
	Policies []Policy `json:"policies"`
	Budgets  []int    `json:"budgets,omitempty"` // in tokens; none: the block's
	Seeds    int      `json:"seeds"`
}

// DataFile are the files of questions and how they are read.
type DataFile struct {
	Path    string            `json:"path"`
	SHA256  string            `json:"sha256"`
	Options map[string]string `json:"options,omitempty"` // the keys that are set: "columns.context": "text"
}

// settings are those of the job.
func (j *Job) settings(ctx context.Context) (*Settings, error) {
	s := &Settings{
		Schema: settingsSchema, Version: j.Version, Kernels: kernels.Bits(),
		Base: j.Model.Base.Identity(), Adapter: j.Model.Params.Identity(), Block: j.Model.Spec, Quantized: j.Quantized,
		Tokenizer: j.Tokenizer.Fingerprint(), Template: templateSum(j.Template),
		MaxNewTokens: j.Config.MaxNewTokens, MaxTokens: j.Config.MaxTokens, Bounds: BoundsOf(j.Model.Spec),
		Samples: j.Config.Samples, Policies: j.Config.Policies, Budgets: j.Config.Budgets, Seeds: max(1, j.Seeds),
	}
	if j.Stream.Cache != model.CacheFloat32 {
		s.Cache = string(j.Stream.Cache)
	}
	if j.Graphs != nil {
		s.Graphs = j.Graphs.SHA256
	}
	sum, err := j.Config.Sum(ctx)
	if err != nil {
		return nil, err
	}
	options, err := j.Config.optionKeys()
	if err != nil {
		return nil, err
	}
	if j.Config.Tasks != nil {
		if s.Tasks, err = j.Config.Tasks.sum(); err != nil {
			return nil, err
		}
	}
	s.Data = DataFile{j.Config.Name(), sum, options}
	if files, err := j.Config.Data.Rebased("", func(_, path string) (string, error) { return filepath.Abs(path) }); err == nil && len(files) > 0 {
		s.Data.Path = files.String()
	}
	return s, nil
}

// optionKeys are the keys of options that are set: those of entries that have some are
// called data[0].prompt and so on.
func (c Config) optionKeys() (map[string]string, error) {
	keys, err := keysOf(c.Options)
	for i, file := range c.Data {
		of, failed := keysOf(file.Options)
		err = errors.Join(err, failed)
		for k, v := range of {
			if keys == nil {
				keys = map[string]string{}
			}
			keys[fmt.Sprintf("data[%d].%s", i, k)] = v
		}
	}
	return keys, err
}

// keysOf lists the keys of options that are set, as a configuration writes them, and their
// values.
func keysOf(o data.Options) (map[string]string, error) {
	text, err := yaml.Marshal(o)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	var keys map[string]string
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, w := range v {
				walk(strings.TrimPrefix(path+"."+k, "."), w)
			}
		default:
			if v == nil || v == "" {
				return
			}
			if keys == nil {
				keys = map[string]string{}
			}
			keys[path] = fmt.Sprint(v)
		}
	}
	walk("", tree)
	return keys, nil
}

// templateSum is the SHA-256 of a chat template with its options; "" if there is none.
func templateSum(t *tokenizer.Template) string {
	if t == nil {
		return ""
	}
	h := sha256.New()
	fmt.Fprint(h, t.Source())
	for _, v := range t.Variables() {
		fmt.Fprintf(h, "\x00%s=%s", v.Name, v.Value)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// part is something that answers depend on.
type part struct{ what, value string }

// parts lists all that answers depend on; what says which rows are asked is no part of it.
func (s *Settings) parts() []part {
	return []part{
		{"the program's version", s.Version},
		{"what computes products", s.Kernels},
		{"the base", s.Base},
		{"the adapter", s.Adapter},
		{"the quantized model", s.Quantized},
		{"the cache", cmp.Or(s.Cache, string(model.CacheFloat32))},
		{"the exported graphs", s.Graphs},
		{"the tokenizer", s.Tokenizer},
		{"the chat template", s.Template},
		{"the data", s.Data.SHA256},
		{"the data's options", optionsText(s.Data.Options)},
		{"max_new_tokens", fmt.Sprint(s.MaxNewTokens)},
		{"max_tokens", fmt.Sprint(s.MaxTokens)},
		{"the tasks", s.Tasks},
	}
}

// asked is what was asked for last, in words.
func (s *Settings) asked() string {
	return fmt.Sprintf("%d samples, policies %v, budgets %v, %d seeds", s.Samples, s.Policies, s.Budgets, s.Seeds)
}

// agree fails where a rank would evaluate something else than rank 0.
func (s *Settings) agree(g ranks.Group) error {
	if ranks.Or(g).Size() == 1 {
		return nil
	}
	all, err := ranks.Meet(g, *s)
	if err != nil {
		return err
	}
	first := &all[0]
	for rank := range all {
		other := &all[rank]
		if a, b := other.asked(), first.asked(); a != b {
			return ranks.Failed(fmt.Errorf("rank %d is to evaluate %s, and rank 0 %s", rank, a, b))
		}
		if d := other.differences(first); len(d) > 0 {
			return ranks.Failed(fmt.Errorf("rank %d does not evaluate as rank 0 does, whose value comes first: %s", rank, strings.Join(d, "; ")))
		}
	}
	return nil
}

// optionsText lists options in the order of their names.
func optionsText(keys map[string]string) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		list = append(list, fmt.Sprintf("%s: %q", k, keys[k]))
	}
	return strings.Join(list, ", ")
}

// differences says what of s is other than in was, part by part.
func (s *Settings) differences(was *Settings) []string {
	var list []string
	then := was.parts()
	for i, now := range s.parts() {
		if now.value != then[i].value {
			list = append(list, fmt.Sprintf("%s was %s and is %s", now.what, shown(then[i].value), shown(now.value)))
		}
	}
	if d := was.Block.Difference(s.Block); d != "" {
		list = append(list, "the block: "+d)
	}
	return list
}

// shown is a value as errors show it: of a hash, the beginning.
func shown(value string) string {
	if value == "" {
		return "none"
	}
	if b, err := hex.DecodeString(value); err == nil && len(b) >= 16 {
		return value[:12]
	}
	return value
}

// check says what of settings that were read cannot be.
func (s *Settings) check() error {
	switch {
	case s.Schema != settingsSchema:
		return fmt.Errorf("schema is %d; this version reads %d", s.Schema, settingsSchema)
	case s.Base == "" || s.Data.SHA256 == "" || len(s.Policies) == 0 || s.Seeds < 1:
		return fmt.Errorf("base_identity, data.sha256, policies or seeds are missing")
	}
	for _, p := range s.Policies {
		if strings.TrimSpace(string(p)) == "" {
			return fmt.Errorf("a policy has no name")
		}
	}
	return nil
}
