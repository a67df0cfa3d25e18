// Package quant quantizes a trained model after training: it calibrates
// on streamed samples, chooses scales, quantizes the frozen weights, and
// evaluates what comes out under fake quantization, which computes in float32
// exactly what ONNX's QuantizeLinear and DequantizeLinear do.
//
// Quantized are the frozen maps and what flows between them and, in schemes with integer
// attention, all of the block but what stays in float in every scheme: the statistics of
// norms, caps by tanh and the tanh of GELU, retention scores, gates, and the memory with its
// parameters and reads. A trained gate is lost by coarse rounding.
//
// Before it is rounded, the float model may be transformed into one that computes the same
// and rounds better: see [Transform].
package quant

import (
	"fmt"
	"slices"
	"strings"

	"eisft/internal/enum"
	"eisft/quant/encoding"
)

// Scheme says how every kind of tensor is encoded. Weights have a scale for each
// output channel, or for each block of it, and codes of 4 or 8 signed bits;
// activations and the KV cache have one for the whole tensor, or stay in float.
type Scheme struct {
	Name       string          `json:"name"`
	Weight     encoding.Format `json:"weight"`
	Head       encoding.Format `json:"head"`       // lm_head's weights
	Activation encoding.Format `json:"activation"` // between maps
	Cache      encoding.Format `json:"cache"`      // keys and values as the cache holds them
	// Attention is how queries, scores and probabilities are encoded, with masks and rotary
	// tables; none leaves all that is not a map or its neighbour in float, and the
	// following three with it.
	Attention encoding.Format `json:"attention,omitzero"`
	// Keys is how keys are encoded as they meet queries: symmetric, since of two 16-bit
	// factors of a product an NPU wants one to be.
	Keys      encoding.Format `json:"keys,omitzero"`
	Residual  encoding.Format `json:"residual,omitzero"`
	Embedding encoding.Format `json:"embedding,omitzero"` // rows as they enter the first layer
	// Target is what the scheme was adapted to by For, "" for none.
	Target string `json:"target,omitempty"`
	// Targets can run the scheme.
	Targets []string `json:"targets,omitempty"`
}

// The targets that graphs are made for.
const (
	Generic  = "generic" // any runtime of ONNX
	QNN      = "qnn"
	MediaTek = "mediatek"
	LiteRT   = "litert"
	OpenVINO = "openvino"
	CoreML   = "coreml"
)

// Targets lists the targets.
func Targets() []string { return []string{Generic, QNN, MediaTek, LiteRT, OpenVINO, CoreML} }

// unsigned16 are the targets whose 16-bit activations are unsigned, with a zero point.
var unsigned16 = []string{QNN}

// phones are the targets with 16-bit activations.
var phones = []string{Generic, QNN, MediaTek, LiteRT}

// The formats of schemes.
var (
	int4  = encoding.Format{Bits: 4}
	int8s = encoding.Format{Bits: 8}
	wide  = encoding.Format{Bits: 16}
)

// schemes are all schemes.
var schemes = enum.NewTable[string, Scheme]("scheme").
	With("w8a16", wholeNumbers("w8a16", int8s, wide, phones)).
	With("w8a16-mixed", Scheme{Name: "w8a16-mixed", Weight: int8s, Head: int8s, Activation: wide, Cache: int8s, Targets: phones}).
	With("w4a16", wholeNumbers("w4a16", int4, wide, phones)).
	With("w4a16-lpbq16", lowPower(16)).
	With("w4a16-lpbq32", lowPower(32)).
	With("w4a16-lpbq64", lowPower(64)).
	With("w4-g32", weightOnly(32)).
	With("w4-g64", weightOnly(64)).
	With("w4-g128", weightOnly(128)).
	With("w8a8", wholeNumbers("w8a8", int8s, int8s, phones)).
	With("w4a8", wholeNumbers("w4a8", int4, int8s, []string{Generic, QNN}))

// wholeNumbers is a scheme with integer attention. Residual stream, queries, scores and
// probabilities have 16 bits whatever maps read: a residual stream has a few channels that
// are hundreds of times as large as the rest, and of 8-bit probabilities nothing is left
// where a query sees a thousand keys.
func wholeNumbers(name string, weight, activation encoding.Format, targets []string) Scheme {
	return Scheme{
		Name: name, Weight: weight, Head: int8s, Activation: activation, Cache: int8s,
		Attention: wide, Keys: wide, Residual: wide, Embedding: wide, Targets: targets,
	}
}

// lowPower is 4-bit weights in blocks, whose scales are whole multiples of one of the row.
func lowPower(block int) Scheme {
	weight := encoding.Format{Bits: 4, Block: block, LowPower: true}
	return wholeNumbers(fmt.Sprintf("w4a16-lpbq%d", block), weight, wide, []string{Generic, QNN})
}

// weightOnly is 4-bit weights in blocks with float scales; all else stays in float.
func weightOnly(block int) Scheme {
	return Scheme{
		Name: fmt.Sprintf("w4-g%d", block), Weight: encoding.Format{Bits: 4, Block: block}, Head: int8s,
		Targets: []string{Generic, OpenVINO, CoreML},
	}
}

// SchemeNames lists the schemes.
func SchemeNames() []string { return schemes.Names() }

// ParseScheme returns the scheme of that name.
func ParseScheme(name string) (Scheme, error) { return schemes.Find(name) }

// IntegerAttention says whether what is between maps is computed in codes, too.
func (s Scheme) IntegerAttention() bool { return !s.Attention.None() }

// SchemesFor lists the schemes that a target runs.
func SchemesFor(target string) []string {
	return slices.DeleteFunc(SchemeNames(), func(name string) bool { return !slices.Contains(schemes.Get(name).Targets, target) })
}

// For adapts the scheme to a target: for Qualcomm's, 16-bit activations are unsigned with a
// zero point, but for keys, which stay symmetric. It fails where the target cannot run the
// scheme.
func (s Scheme) For(target string) (Scheme, error) {
	if err := enum.Check("target", target, Targets()...); err != nil {
		return s, err
	}
	if !slices.Contains(s.Targets, target) {
		return s, fmt.Errorf("scheme %s does not run on %s, but on %s; %s runs %s", s.Name, target, strings.Join(s.Targets, ", "), target, strings.Join(SchemesFor(target), ", "))
	}
	if target != Generic {
		s.Target = target
	}
	if slices.Contains(unsigned16, target) {
		s.sign(true)
	}
	return s, nil
}

// sign makes 16-bit activations but for keys unsigned, with a zero point, or signed without.
func (s *Scheme) sign(unsigned bool) {
	for _, f := range []*encoding.Format{&s.Activation, &s.Attention, &s.Residual, &s.Embedding} {
		if f.Bits == 16 {
			f.Unsigned, f.ZeroPoint = unsigned, unsigned
		}
	}
}

// RunsOn tells why what was quantized by the scheme, as it was adapted, is not for a target:
// the target cannot run the scheme, or wants other codes. Whatever the codes are, any runtime
// of ONNX takes them.
func (s Scheme) RunsOn(target string) error {
	if target == Generic || target == s.Target {
		return nil
	}
	plain := s
	plain.sign(false)
	wanted, err := plain.For(target)
	if err != nil {
		return fmt.Errorf("%w; quantize again by one of these, for --target %s", err, target)
	}
	if wanted.formats() != s.formats() {
		made := s.Target
		if made == "" {
			made = Generic
		}
		return fmt.Errorf("the model was quantized as %s for %s, and %s wants its 16-bit activations %s; quantize again for --target %s", s.Name, made, target, signs[wanted.Activation.Unsigned || wanted.Attention.Unsigned], target)
	}
	return nil
}

// signs says in words whether codes are unsigned.
var signs = map[bool]string{false: "signed and symmetric", true: "unsigned, with a zero point"}

// Equal tells whether two schemes encode everything alike.
func (s Scheme) Equal(o Scheme) bool {
	return slices.Equal(s.Targets, o.Targets) && s.formats() == o.formats() && s.Name == o.Name && s.Target == o.Target
}

// formats lists the formats of all kinds of tensors.
func (s Scheme) formats() [8]encoding.Format {
	return [...]encoding.Format{s.Weight, s.Head, s.Activation, s.Cache, s.Attention, s.Keys, s.Residual, s.Embedding}
}

// pointFormats lists the formats that points may have.
func (s Scheme) pointFormats() []encoding.Format {
	formats := s.formats()
	list := formats[2:]
	if s.IntegerAttention() {
		list = append(list, int8s, wide) // of a cache whose widths were chosen
	}
	return list
}

// WithCache returns the scheme with keys and values of 8 or 16 bits.
func (s Scheme) WithCache(bits int) (Scheme, error) {
	var err error
	s.Cache, err = s.cacheLike(encoding.Format{Bits: bits})
	return s, err
}

// cacheLike checks the format of a cache.
func (s Scheme) cacheLike(f encoding.Format) (encoding.Format, error) {
	if f == s.Cache || s.IntegerAttention() && (f == int8s || f == wide) {
		return f, nil
	}
	return f, fmt.Errorf("the cache is %s; scheme %s has %s, and schemes with integer attention int8 or int16", f, s.Name, s.Cache)
}

// String says in words what a scheme does with each kind of tensor.
func (s Scheme) String() string {
	text := fmt.Sprintf("%s: weights %s, head %s, activations %s, cache %s", s.Name, s.Weight, s.Head, s.Activation, s.Cache)
	if s.IntegerAttention() {
		text += fmt.Sprintf(", attention %s, turned keys %s, residual stream %s, embeddings %s", s.Attention, s.Keys, s.Residual, s.Embedding)
	}
	if s.Target != "" {
		text += ", for " + s.Target
	}
	return text
}
