// Package plan predicts what a base with its block would do on a device before there is a
// graph: which shapes fit, what they take, how long a prompt and a token would need. Counts
// come from package shapes; a device is a handful of figures (configs/devices), and a
// prediction is what these allow at best, times the share that programs reach of it.
package plan

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml"

	"eisft/export/check"
	"eisft/internal/head"
	"eisft/internal/strictyaml"
	"eisft/quant"
)

// Device is what is known of a device. Its file says where each figure is from.
type Device struct {
	Name   string       `yaml:"name"`
	Target check.Target `yaml:"target"` // whose rules its graphs keep
	// Rates are trillions of operations a second, two for a multiplication with its addition.
	Rates Rates `yaml:"rates"`
	// Bandwidth is that of the memory in GB/s.
	Bandwidth float64 `yaml:"bandwidth"`
	// Memory is what a model may take, in MB.
	Memory int `yaml:"memory"`
	// ComputeShare and BandwidthShare are the shares of rates and bandwidth that programs are
	// taken to reach.
	ComputeShare   float64 `yaml:"compute_share"`
	BandwidthShare float64 `yaml:"bandwidth_share"`
	// Start is what a run of a graph takes beside its work, in milliseconds.
	Start float64 `yaml:"start"`
	// Ops are what ops take that are no products with weights.
	Ops Ops `yaml:"ops"`
	// MaskBytes bounds an attention mask (2 bytes × heads × T × (C+T)), or a piece of it where
	// graphs for the target add it in pieces; 0: nothing is known.
	MaskBytes int64 `yaml:"mask_bytes"`
	// PartBytes bounds the weights of one graph; 0: nothing is known.
	PartBytes int64 `yaml:"part_bytes"`
	// Sources say where the figures are from and how sure they are.
	Sources []Source `yaml:"sources"`
}

// Ops are what ops take that are no products with weights. Nobody publishes it: it is measured, and
// a file that leaves it out leaves these ops to the shares, products of two activations at the
// rates of others.
type Ops struct {
	// Products are trillions of operations a second of products of two activations, those of
	// attention.
	Products float64 `yaml:"products"`
	// Softmax is how many billions of numbers a softmax makes a second.
	Softmax float64 `yaml:"softmax"`
	// Moved are the GB/s that all other ops read and make, Near those of an op that reads and makes
	// no more than 4 MiB, which caches hold.
	Moved float64 `yaml:"moved"`
	Near  float64 `yaml:"near"`
	// Each is what an op takes beside its work, in microseconds.
	Each float64 `yaml:"each"`
}

// Source is where figures of a device are from.
type Source struct {
	Figures string `yaml:"figures"`
	From    string `yaml:"from"` // an address, or how they were measured
	Date    string `yaml:"date"`
}

// Rates are what a device computes a second by what is multiplied: A16W8 are activations of 16
// and weights of 8 bits. 0 is what it does not have.
type Rates struct {
	A8W4    float64 `yaml:"a8w4" json:"a8w4,omitempty"`
	A8W8    float64 `yaml:"a8w8" json:"a8w8,omitempty"`
	A16W4   float64 `yaml:"a16w4" json:"a16w4,omitempty"`
	A16W8   float64 `yaml:"a16w8" json:"a16w8,omitempty"`
	A16W16  float64 `yaml:"a16w16" json:"a16w16,omitempty"`
	Float16 float64 `yaml:"float16" json:"float16,omitempty"`
	Float32 float64 `yaml:"float32" json:"float32,omitempty"`
}

// kind is what is multiplied: bits of activations and weights, 0 for float.
type kind struct{ activation, weight int }

func (k kind) String() string {
	if k == (kind{}) {
		return "float"
	}
	return fmt.Sprintf("a%dw%d", k.activation, k.weight)
}

// kindsOf are what a scheme multiplies: activations with weights of maps and of the head, and with keys or values. All
// are float without a scheme.
func kindsOf(s *quant.Scheme) (maps, head, attention kind) {
	if s == nil {
		return kind{}, kind{}, kind{}
	}
	of := func(weight int) kind {
		if s.Activation.Bits == 0 || weight == 0 {
			return kind{}
		}
		return kind{s.Activation.Bits, weight}
	}
	return of(s.Weight.Bits), of(s.Head.Bits), of(s.Cache.Bits)
}

// of lists the rates of whole numbers, narrow ones first.
func (r Rates) of() []struct {
	kind
	rate float64
} {
	return []struct {
		kind
		rate float64
	}{{kind{8, 4}, r.A8W4}, {kind{8, 8}, r.A8W8}, {kind{16, 4}, r.A16W4}, {kind{16, 8}, r.A16W8}, {kind{16, 16}, r.A16W16}}
}

// FloatOnly says whether nothing is known of whole numbers.
func (r Rates) FloatOnly() bool {
	for _, i := range r.of() {
		if i.rate > 0 {
			return false
		}
	}
	return true
}

// LoadDevice reads a device's file: a path, or the name of one in configs/devices.
func LoadDevice(name string) (*Device, error) {
	d := &Device{ComputeShare: 0.5, BandwidthShare: 0.7}
	document, err := load("devices", name, d)
	if err != nil {
		return nil, err
	}
	d.check(document)
	return d, document.Err()
}

// maxRate is a million times what phones have.
const maxRate = 1e6

func (d *Device) check(at *strictyaml.Document) {
	at.Required("name", d.Name)
	if d.Target != check.NoTarget {
		strictyaml.OneOf(at, "target", d.Target, check.Targets())
	}
	for _, r := range d.Rates.of() {
		at.Between(strictyaml.Join("rates", r.String()), r.rate, 0, maxRate)
	}
	at.Between("rates.float16", d.Rates.Float16, 0, maxRate)
	at.Between("rates.float32", d.Rates.Float32, 0, maxRate)
	if d.Rates.Float16 == 0 && d.Rates.Float32 == 0 {
		at.Problem("rates", "has neither float16 nor float32; norms, gates and the memory stay in float, so want one of them")
	}
	if !(d.Bandwidth > 0 && d.Bandwidth < 1e6) {
		at.Problem("bandwidth", "is %g; it must be above 0 and below 1,000,000 GB/s", d.Bandwidth)
	}
	at.AtLeast("memory", d.Memory, 1)
	at.Between("compute_share", d.ComputeShare, 0, 1)
	at.Between("bandwidth_share", d.BandwidthShare, 0, 1)
	at.NotNegative("start", d.Start)
	at.Between("ops.products", d.Ops.Products, 0, maxRate)
	at.Between("ops.softmax", d.Ops.Softmax, 0, maxRate)
	at.Between("ops.moved", d.Ops.Moved, 0, maxRate)
	at.Between("ops.near", d.Ops.Near, 0, maxRate)
	at.NotNegative("ops.each", d.Ops.Each)
	at.NotNegative("mask_bytes", float64(d.MaskBytes))
	at.NotNegative("part_bytes", float64(d.PartBytes))
	if len(d.Sources) == 0 {
		at.Problem("sources", "is empty; say where the figures are from")
	}
}

// load reads a file of configs/KIND into v, strictly.
func load(kind, name string, v any) (*strictyaml.Document, error) {
	if filepath.Ext(name) == "" {
		name += ".yaml"
	}
	file, err := strictyaml.Find(filepath.Join("configs", kind), name)
	if err != nil {
		return nil, err
	}
	text, err := head.ReadText(file, strictyaml.MaxSize)
	if err != nil {
		return nil, err
	}
	d := strictyaml.New(file)
	root, err := d.Parse(text)
	if err != nil {
		return nil, err
	}
	d.Check(root, reflect.TypeOf(v).Elem(), "")
	if err := d.Err(); err != nil {
		return nil, err
	}
	if err := yaml.NodeToValue(root, v); err != nil {
		return nil, d.SyntaxError(err)
	}
	return d, nil
}

// lacks lists the products of a scheme, such as a16w8, for which the device has no rate; nil without a scheme.
func (d *Device) lacks(s *quant.Scheme) (kinds []string) {
	maps, head, attention := kindsOf(s)
	all := []kind{maps, head}
	if d.Ops.Products == 0 { // else those of attention have a rate of their own
		all = append(all, attention)
	}
	for _, k := range all {
		if _, ok := d.rate(k); !ok && !slices.Contains(kinds, k.String()) {
			kinds = append(kinds, k.String())
		}
	}
	return kinds
}

// runs lists, for people, the schemes whose products the device has rates for and that its target runs.
func (d *Device) runs() []string {
	list := []string{"none (float)"}
	for _, name := range quant.SchemeNames() {
		s, err := quant.ParseScheme(name)
		if err == nil && d.Target != check.NoTarget {
			s, err = s.For(string(d.Target))
		}
		if err == nil && len(d.lacks(&s)) == 0 {
			list = append(list, name)
		}
	}
	return list
}

// rate returns how many operations a second a device computes. What it does not have is
// computed as the next wider kind that it has; false if there is none.
func (d *Device) rate(k kind) (float64, bool) {
	found := max(d.Rates.Float16, d.Rates.Float32)
	if k != (kind{}) {
		found = 0
		for _, r := range d.Rates.of() {
			if found == 0 && r.activation >= k.activation && r.weight >= k.weight {
				found = r.rate
			}
		}
	}
	return found * 1e12 * d.ComputeShare, found > 0
}
