package hf

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
)

// Rope describes a rotary position embedding, as rope_parameters of a
// config.json does. A factor that is 0 is unset.
type Rope struct {
	Type  string  `json:"rope_type"` // one of the RopeTypes; "" is "default"
	Theta float64 `json:"rope_theta"`
	// PartialRotaryFactor is the part of each head, from its start, that is
	// rotated; 0 is 1, the whole head.
	PartialRotaryFactor float64 `json:"partial_rotary_factor,omitempty"`
	// Factor is how many times longer than the original the context is.
	Factor float64 `json:"factor,omitempty"`
	// OriginalMaxPositionEmbeddings is the context before it was extended.
	OriginalMaxPositionEmbeddings int `json:"original_max_position_embeddings,omitempty"`

	LowFreqFactor  float64 `json:"low_freq_factor,omitempty"`  // llama3
	HighFreqFactor float64 `json:"high_freq_factor,omitempty"` // llama3

	BetaFast     float64 `json:"beta_fast,omitempty"`      // yarn; 0 is 32
	BetaSlow     float64 `json:"beta_slow,omitempty"`      // yarn; 0 is 1
	NoTruncate   bool    `json:"no_truncate,omitempty"`    // yarn: the ramp's ends are not rounded to whole dimensions
	MScale       float64 `json:"mscale,omitempty"`         // yarn, with MScaleAllDim
	MScaleAllDim float64 `json:"mscale_all_dim,omitempty"` // yarn, with MScale
	// AttentionFactor multiplies cosines and sines; 0 is the formula of the type.
	AttentionFactor float64 `json:"attention_factor,omitempty"` // yarn, longrope

	// Alpha multiplies theta by alpha^(d/(d-2)) whatever the length (dynamic, in HunYuan);
	// 0: dynamic changes with the length.
	Alpha float64 `json:"alpha,omitempty"`
	Power float64 `json:"power,omitempty"` // ntkmixed

	ShortFactor []float64 `json:"short_factor,omitempty"` // longrope, one per frequency
	LongFactor  []float64 `json:"long_factor,omitempty"`  // longrope, beyond the original length
}

// RopeTypes lists the types that InvFreq computes.
func RopeTypes() []string {
	return []string{"default", "linear", "dynamic", "llama3", "yarn", "longrope", "ntkmixed"}
}

// InvFreq returns the inverse frequencies, one per rotated pair of dimensions,
// and the factor of their cosines and sines, for a sequence within the original
// length. headDim is the size of a head; half of its rotated part is the number
// of frequencies. The error names the field that is wrong.
func (r Rope) InvFreq(headDim int) (invFreq []float32, attentionScale float32, err error) {
	return r.InvFreqAt(headDim, 0)
}

// InvFreqAt is InvFreq for a sequence of length tokens, which matters to the
// types dynamic and longrope beyond the original length.
//
// Sources: RoFormer (arXiv 2104.09864), YaRN (arXiv 2309.00071), LongRoPE
// (arXiv 2402.13753); linear, dynamic (NTK) and llama3 as transformers'
// modeling_rope_utils.py has them, dynamic with alpha as its
// modeling_hunyuan_v1_dense.py; ntkmixed as rotary_embedding.py of vivo-ai-lab/BlueLM.
func (r Rope) InvFreqAt(headDim, length int) (invFreq []float32, attentionScale float32, err error) {
	dim, field, err := r.check(headDim)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", field, err)
	}
	beyond := length > r.OriginalMaxPositionEmbeddings
	theta, scale := r.Theta, 1.0
	if r.Type == "dynamic" && (beyond || r.Alpha != 0) {
		theta *= r.ntkStretch(dim, length)
	}
	inv := make([]float64, dim/2)
	for i := range inv {
		inv[i] = math.Pow(theta, -float64(2*i)/float64(dim))
	}
	switch r.Type {
	case "linear":
		for i := range inv {
			inv[i] /= r.Factor
		}
	case "llama3":
		r.scaleLlama3(inv)
	case "yarn":
		r.scaleYarn(inv)
		scale = r.yarnAttention()
	case "ntkmixed":
		r.scaleMixed(inv)
	case "longrope":
		factors := r.ShortFactor
		if beyond {
			factors = r.LongFactor
		}
		for i := range inv {
			inv[i] /= factors[i]
		}
		scale = r.longRopeAttention()
	}
	invFreq = make([]float32, len(inv))
	for i, f := range inv {
		invFreq[i] = float32(f)
	}
	return invFreq, float32(scale), nil
}

// ntkStretch is the factor of theta that keeps the highest frequency and brings
// the lowest one to the interpolation that the length needs, or to alpha.
func (r Rope) ntkStretch(dim, length int) float64 {
	stretch := r.Alpha
	if stretch == 0 {
		ratio := float64(length) / float64(r.OriginalMaxPositionEmbeddings)
		stretch = r.Factor*ratio - (r.Factor - 1)
	}
	return math.Pow(stretch, float64(dim)/float64(dim-2))
}

// scaleMixed divides the j-th of n frequencies, from 1 on, by exp(a·j^power), where a makes
// the last divisor the factor.
func (r Rope) scaleMixed(inv []float64) {
	a := math.Log(r.Factor) / math.Pow(float64(len(inv)), r.Power)
	for i := range inv {
		inv[i] /= math.Exp(a * math.Pow(float64(i+1), r.Power))
	}
}

// scaleLlama3 divides frequencies with a wavelength beyond the original context
// by the factor, keeps the short ones and blends in between.
func (r Rope) scaleLlama3(inv []float64) {
	for i, f := range inv {
		turns := float64(r.OriginalMaxPositionEmbeddings) * f / (2 * math.Pi) // within the original context
		keep := (turns - r.LowFreqFactor) / (r.HighFreqFactor - r.LowFreqFactor)
		keep = min(max(keep, 0), 1)
		inv[i] = keep*f + (1-keep)*f/r.Factor
	}
}

// scaleYarn interpolates the frequencies that turn less than BetaSlow times in
// the original context, keeps those that turn more than BetaFast times, and
// ramps linearly between the two.
func (r Rope) scaleYarn(inv []float64) {
	low, high := r.yarnDim(orElse(r.BetaFast, 32), len(inv)), r.yarnDim(orElse(r.BetaSlow, 1), len(inv))
	if !r.NoTruncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(2*len(inv)-1))
	if low == high {
		high += 0.001 // as transformers does: a step rather than 0/0
	}
	for i, f := range inv {
		interpolate := min(max((float64(i)-low)/(high-low), 0), 1)
		inv[i] = interpolate*f/r.Factor + (1-interpolate)*f
	}
}

// yarnDim is the frequency's index, as a fraction, at which the original context holds the given number of turns.
func (r Rope) yarnDim(turns float64, pairs int) float64 {
	wavelength := float64(r.OriginalMaxPositionEmbeddings) / turns
	return float64(pairs) * math.Log(wavelength/(2*math.Pi)) / math.Log(r.Theta)
}

// yarnAttention is the factor that YaRN's section 3.4 proposes, or the quotient
// of the two that DeepSeek's variant has.
func (r Rope) yarnAttention() float64 {
	mscale := func(m float64) float64 { return 1 + 0.1*m*math.Log(max(r.Factor, 1)) }
	switch {
	case r.AttentionFactor != 0:
		return r.AttentionFactor
	case r.MScale != 0 && r.MScaleAllDim != 0:
		return mscale(r.MScale) / mscale(r.MScaleAllDim)
	default:
		return mscale(1)
	}
}

// longRopeAttention is √(1 + ln s / ln L) for a context extended s times from L tokens.
func (r Rope) longRopeAttention() float64 {
	if r.AttentionFactor != 0 {
		return r.AttentionFactor
	}
	return math.Sqrt(1 + math.Log(max(r.Factor, 1))/math.Log(float64(r.OriginalMaxPositionEmbeddings)))
}

// check returns how many dimensions of a head are rotated. An error is said of a field.
func (r Rope) check(headDim int) (dim int, field string, err error) {
	kind := orElse(r.Type, "default")
	if !slices.Contains(RopeTypes(), kind) {
		return 0, "rope_type", fmt.Errorf("found %q, want one of %s", r.Type, strings.Join(RopeTypes(), ", "))
	}
	part := orElse(r.PartialRotaryFactor, 1)
	dim = int(float64(headDim) * part)
	if part < 0 || part > 1 || dim < 2 || dim%2 != 0 {
		return 0, "partial_rotary_factor", fmt.Errorf("found %g, which rotates %d of %d dimensions, want an even number of at least 2 and at most all", part, dim, headDim)
	}
	type rule struct {
		field string
		value float64
		ok    bool
		want  string
	}
	rules := []rule{{"rope_theta", r.Theta, r.Theta > 1, "a number above 1"}}
	if kind != "default" {
		rules = append(rules, rule{"factor", r.Factor, r.Factor > 0, "a positive number"})
	}
	if kind == "dynamic" {
		rules = append(rules, rule{"alpha", r.Alpha, r.Alpha >= 0 && (r.Alpha == 0 || dim > 2), "a number of at least 0, and more than 2 rotated dimensions"})
	}
	if kind == "ntkmixed" {
		rules = append(rules, rule{"factor", r.Factor, r.Factor == math.Trunc(r.Factor) && r.Factor <= 1<<16, "a whole number, at most 65536: implementations disagree on others"},
			rule{"power", r.Power, r.Power > 0, "a positive number"})
	}
	if kind != "default" && kind != "linear" && kind != "ntkmixed" {
		original := r.OriginalMaxPositionEmbeddings
		rules = append(rules, rule{"original_max_position_embeddings", float64(original), original > 1, "an integer above 1"})
	}
	if kind == "llama3" {
		rules = append(rules, rule{"low_freq_factor", r.LowFreqFactor, r.LowFreqFactor > 0, "a positive number"},
			rule{"high_freq_factor", r.HighFreqFactor, r.HighFreqFactor > r.LowFreqFactor, "a number above low_freq_factor"})
	}
	if kind == "longrope" {
		want := fmt.Sprintf("%d factors, one per frequency", dim/2)
		rules = append(rules, rule{"short_factor", float64(len(r.ShortFactor)), len(r.ShortFactor) == dim/2, want},
			rule{"long_factor", float64(len(r.LongFactor)), len(r.LongFactor) == dim/2, want})
	}
	for _, u := range rules {
		if !u.ok {
			return 0, u.field, fmt.Errorf("found %g, want %s", u.value, u.want)
		}
	}
	return dim, "", nil
}

func orElse[T comparable](v, otherwise T) T {
	var unset T
	if v == unset {
		return otherwise
	}
	return v
}

// readRopes reads the embeddings of layers with full and with sliding attention:
// from rope_parameters, which may hold one record for each, or from the older
// rope_theta and rope_scaling, where Gemma 3 names the second one's theta.
func readRopes(o object, c *Config) (full, local Rope) {
	p, newer := o.child("rope_scaling"), o.child("rope_parameters")
	if len(p.values) == 0 {
		return readRopeRecords(o, newer, c)
	}
	full, local = readRopeRecords(o, p, c)
	if len(newer.values) > 0 {
		if a, b := readRopeRecords(o, newer, c); !reflect.DeepEqual([]Rope{a, b}, []Rope{full, local}) {
			o.fail("rope_parameters", o.values["rope_parameters"], "what rope_scaling says, or one of the two")
		}
	}
	return full, local
}

func readRopeRecords(o, p object, c *Config) (full, local Rope) {
	theta := o.number("rope_theta", 0, 10000)
	if p.has("full_attention") || p.has("sliding_attention") {
		localTheta := o.number("rope_local_base_freq", 0, theta)
		return readRope(o, p.child("full_attention"), theta, c), readRope(o, p.child("sliding_attention"), localTheta, c)
	}
	full = readRope(o, p, theta, c)
	if c.SlidingWindow == 0 || !o.has("rope_local_base_freq") {
		return full, full
	}
	local = Rope{Type: "default", Theta: o.number("rope_local_base_freq", 0, theta), PartialRotaryFactor: full.PartialRotaryFactor}
	o.checkRope(local, c, map[string]string{"rope_theta": o.name("rope_local_base_freq")})
	return full, local
}

// rope returns the record of a configuration's rotary embedding.
func (o object) rope() object {
	if p := o.child("rope_scaling"); len(p.values) > 0 {
		return p
	}
	return o.child("rope_parameters")
}

// checkRope keeps the failure of a record. Fields may have other names in it.
func (o object) checkRope(r Rope, c *Config, names map[string]string) {
	if _, field, err := r.check(c.HeadDim); err != nil && *o.err == nil {
		*o.err = fmt.Errorf("%s: %s: %w", o.file, cmp.Or(names[field], o.name(field)), err)
	}
}

// readRope reads one record p of a configuration o.
func readRope(o, p object, theta float64, c *Config) Rope {
	r := Rope{
		Type:                p.text("rope_type", p.text("type", "default")),
		Theta:               p.number("rope_theta", 0, theta),
		PartialRotaryFactor: p.number("partial_rotary_factor", 0, o.number("partial_rotary_factor", 0, 1)),
	}
	if r.Type == "su" || c.ModelType == "phi3" && r.Type == "yarn" {
		r.Type = "longrope" // its names in Phi-3's first releases
	}
	switch r.Type {
	case "linear":
		r.Factor = p.number("factor", 0, 0)
	case "dynamic":
		r.readDynamic(p, c)
	case "llama3":
		r.Factor = p.number("factor", 0, 0)
		r.OriginalMaxPositionEmbeddings = readOriginal(o, p, 0)
		r.LowFreqFactor, r.HighFreqFactor = p.number("low_freq_factor", 0, 0), p.number("high_freq_factor", 0, 0)
	case "yarn":
		r.readExtended(o, p, c)
		r.readYarn(p)
	case "ntkmixed":
		r.Factor, r.Power = p.number("factor", 0, 0), p.number("power", 0, 0)
	case "longrope":
		r.readExtended(o, p, c)
		r.AttentionFactor = p.number("attention_factor", 0, 0)
		r.ShortFactor, r.LongFactor = p.factors("short_factor"), p.factors("long_factor")
	}
	beside := map[string]string{}
	for _, field := range []string{"rope_theta", "partial_rotary_factor"} {
		if !p.has(field) {
			beside[field] = o.name(field)
		}
	}
	p.checkRope(r, c, beside)
	return r
}

// readOriginal reads the context before it was extended, which Phi-3 has beside the record.
func readOriginal(o, p object, otherwise int) int {
	beside := o.integer("original_max_position_embeddings", 0, maxSize, 0)
	return orElse(p.integer("original_max_position_embeddings", 0, maxSize, beside), otherwise)
}

// readExtended reads how far the context was extended.
func (r *Rope) readExtended(o, p object, c *Config) {
	r.OriginalMaxPositionEmbeddings = readOriginal(o, p, c.MaxPositionEmbeddings)
	r.Factor = p.number("factor", 0, float64(c.MaxPositionEmbeddings)/float64(r.OriginalMaxPositionEmbeddings))
}

// readDynamic: transformers measures the stretch by the configured length.
func (r *Rope) readDynamic(p object, c *Config) {
	r.Factor, r.OriginalMaxPositionEmbeddings = p.number("factor", 0, 0), c.MaxPositionEmbeddings
	const key = "original_max_position_embeddings"
	if n := p.integer(key, 0, maxSize, c.MaxPositionEmbeddings); n != c.MaxPositionEmbeddings {
		p.fail(key, n, fmt.Sprintf("max_position_embeddings, which is %d: that is what rope_type dynamic measures by", c.MaxPositionEmbeddings))
	}
}

// readYarn reads what YaRN alone has. Of the two keys with nearly one name,
// attention_factor is the factor of cosines and sines (transformers), and attn_factor
// multiplies the one of the formula (YaRN's own code, vLLM and llama.cpp).
func (r *Rope) readYarn(p object) {
	r.BetaFast, r.BetaSlow = p.number("beta_fast", 0, 0), p.number("beta_slow", 0, 0)
	r.NoTruncate = !p.boolean("truncate", true)
	r.MScale, r.MScaleAllDim = p.number("mscale", 0, 0), p.number("mscale_all_dim", 0, 0)
	if r.MScaleAllDim == 0 && r.MScale != 0 && r.MScale != 1 {
		p.fail("mscale", r.MScale, "1, or mscale_all_dim beside it: alone it is read in more than one way")
	}
	if r.MScale == 0 && r.MScaleAllDim != 0 {
		p.fail("mscale_all_dim", r.MScaleAllDim, "mscale beside it: alone it is read in more than one way")
	}
	if f := p.number("extrapolation_factor", 0, 1); f != 1 {
		p.fail("extrapolation_factor", f, "1: frequencies that turn often are kept as they are")
	}
	times, product := p.number("attn_factor", 0, 1), r.yarnAttention()
	r.AttentionFactor = p.number("attention_factor", 0, 0)
	switch product *= times; {
	case times == 1:
	case times == 0:
		p.fail("attn_factor", times, "a positive number")
	case r.AttentionFactor == 0 && r.MScaleAllDim == 0:
		r.AttentionFactor = product
	case math.Abs(product/r.AttentionFactor-1) > 1e-6:
		p.fail("attn_factor", times, "none beside attention_factor or mscale, which set the same to something else")
	}
}
