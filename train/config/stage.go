package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"eisft/internal/enum"
	"eisft/internal/strictyaml"
	"eisft/model"
)

// Stage is one training stage: a [Distill], a [Prune] or an [SSFT].
type Stage interface {
	Kind() Kind
	// NumSteps is how many steps the stage takes: the lines of its own in metrics.jsonl.
	NumSteps() int
	// filled returns the stage with the defaults that depend on the block.
	filled(block model.Spec) Stage
	// validate reports values that no stage of the kind can have in c.
	validate(d *document, path string, c *Config)
}

// Kind is a kind of training stage.
type Kind string

// The kinds. Each is a file of this package, which has its keys and their defaults, and
// an entry in the table of kinds; package train says how it is run.
const (
	KindSSFT    Kind = "s-sft"   // cross-entropy on answers, context streamed
	KindDistill Kind = "distill" // attention transfer, no labels
	KindPrune   Kind = "prune"   // takes the slots from layers that do not need them
)

var kinds = enum.NewTable[Kind, kind]("kind").
	With(KindSSFT, kindOf(defaultSSFT).renaming("slots", "choice")).
	With(KindDistill, kindOf(defaultDistill)).
	With(KindPrune, kindOf(defaultPrune).passingOver(idleInPrune))

// Kinds lists the kinds of stages.
func Kinds() []Kind { return kinds.Names() }

// kind is what the table of kinds knows of one.
type kind struct {
	keys   reflect.Type // the struct whose fields are the keys of a stage
	decode func(n ast.Node) (Stage, error)
	// idle says of a key that the kind does not have whether its value means nothing:
	// earlier versions wrote such keys into the configurations of runs (nil: none).
	idle func(key string, value ast.Node) bool
	// renamed has the names that keys had in earlier versions, and those that they have.
	renamed map[string]string
}

// tagged is a stage as it is written: its kind, and beside it the kind's own keys.
type tagged[S any] struct {
	Kind  Kind `yaml:"kind"`
	Stage S    `yaml:",inline"`
}

// kindOf is the kind of stages of type S, with the defaults of its keys.
func kindOf[S Stage](defaults S) kind {
	return kind{
		keys: reflect.TypeFor[tagged[S]](),
		decode: func(n ast.Node) (Stage, error) {
			s := tagged[S]{Stage: defaults}
			err := yaml.NodeToValue(n, &s)
			return s.Stage, err
		},
	}
}

func (k kind) passingOver(idle func(key string, value ast.Node) bool) kind {
	k.idle = idle
	return k
}

func (k kind) renaming(was, is string) kind {
	k.renamed = map[string]string{was: is}
	return k
}

// Stages are the stages of a configuration, in order.
type Stages []Stage

// UnmarshalYAML reads stages that have been checked, over the defaults of their kinds.
func (s *Stages) UnmarshalYAML(n ast.Node) error {
	var nodes []ast.Node
	if err := yaml.NodeToValue(n, &nodes); err != nil {
		return err
	}
	*s = make(Stages, len(nodes))
	for i, n := range nodes {
		var head struct{ Kind Kind }
		if err := yaml.NodeToValue(n, &head); err != nil {
			return err
		}
		k, err := kinds.Find(head.Kind)
		if err != nil {
			return err
		}
		if (*s)[i], err = k.decode(n); err != nil {
			return err
		}
	}
	return nil
}

// MarshalYAML writes each stage with its kind.
func (s Stages) MarshalYAML() (any, error) {
	out := make([]tagged[Stage], len(s))
	for i, stage := range s {
		out[i] = tagged[Stage]{stage.Kind(), stage}
	}
	return out, nil
}

// checkStage compares a node with the keys of the kind of stage that it names.
func (d *document) checkStage(n ast.Node, path string) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.Problem(path, "must be a section of keys, not %s", strictyaml.Describe(n))
		return
	}
	at := strictyaml.Join(path, "kind")
	for it := m.MapRange(); it.Next(); {
		if it.Key().GetToken().Value != "kind" {
			continue
		}
		if !d.Check(it.Value(), reflect.TypeFor[Kind](), at) {
			return
		}
		if word := Kind(it.Value().GetToken().Value); strictyaml.OneOf(d.Document, at, word, Kinds()) {
			k := kinds.Get(word)
			rename(m, k.renamed)
			d.checkKeys(m, k, path)
		}
		return
	}
	d.Problem(at, "is missing; it must be one of %s", enum.List(Kinds()))
}

// rename gives keys that a section has by an earlier name the name that they have now,
// under which they are checked and read. A section that has a key by both keeps both.
func rename(m ast.MapNode, renamed map[string]string) {
	at := map[string]ast.Node{}
	for it := m.MapRange(); it.Next(); {
		at[it.Key().GetToken().Value] = it.Key()
	}
	for was, is := range renamed {
		if key, ok := at[was].(*ast.StringNode); ok && at[is] == nil {
			key.Value, key.Token.Value = is, is
		}
	}
}

// checkKeys checks the keys of a stage whose kind is known.
func (d *document) checkKeys(m ast.MapNode, k kind, path string) {
	own, names := strictyaml.Keys(k.keys)
	d.CheckFields(m, path, func(key string, value ast.Node) (reflect.Type, string) {
		has := havingKey(key)
		switch {
		case own[key] != nil:
			return own[key], ""
		case k.renamed[key] != "":
			return nil, "is an earlier name of " + k.renamed[key] + ", which is here, too; remove one of them"
		case len(has) == 0:
			return nil, "is not a known key; " + strictyaml.Hint(key, names)
		case k.idle != nil && k.idle(key, value):
			return nil, ""
		default:
			return nil, "belongs to stages of kind " + strings.Join(has, " or ") + "; remove it"
		}
	})
}

// havingKey lists the kinds of stages that have a key.
func havingKey(key string) []string {
	var has []string
	for _, name := range Kinds() {
		if own, _ := strictyaml.Keys(kinds.Get(name).keys); own[key] != nil {
			has = append(has, string(name))
		}
	}
	return has
}

// groups returns the parameter groups that a block has.
func groups(block model.Spec) []model.Group {
	var out []model.Group
	block.SlotLayers, block.FeatureDim = nil, 1 // one layer stands for all, of any size
	for _, p := range model.NewParams(block, model.Dims{Heads: 1, KVHeads: 1, HeadDim: 1, Hidden: 1}, 1).List() {
		if !slices.Contains(out, p.Group) {
			out = append(out, p.Group)
		}
	}
	return out
}
