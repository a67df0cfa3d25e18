package model

import (
	"fmt"
	"math"
	"math/rand/v2"

	"eisft/internal/enum"
	"eisft/internal/scratch"
	"eisft/model/kernels"
)

// Retention is how the retention score ρ of a token follows from its normed input, and
// whether what it says of the token decays with the token's age (docs/method.md, section 4).
// The zero value is a linear score without decay.
type Retention struct {
	Form RetentionForm `yaml:"form,omitempty" json:"form,omitempty"`
	// Hidden is N, the hidden units of the MLP; 0 for the linear form.
	Hidden int `yaml:"hidden,omitempty" json:"hidden,omitempty"`
	// Decay makes β = σ(ρ) what a token is kept by for each step of its age, β^age in all
	// (TRIM-KV, arXiv 2512.03324, its retention gate). Else it is kept by β at any age.
	Decay bool `yaml:"decay,omitempty" json:"decay,omitempty"`
}

// RetentionForm is what computes the retention score.
type RetentionForm string

// The forms; "" is the linear one.
const (
	RetentionLinear RetentionForm = "linear" // x·w + c
	RetentionMLP    RetentionForm = "mlp"    // silu(xVᵀ + e)·w + c, the hidden units shared by the KV heads
)

// IsZero says whether it is the linear score without decay, which is written nowhere.
func (r Retention) IsZero() bool { return r.canonical() == Retention{} }

// canonical has the linear form without its name.
func (r Retention) canonical() Retention {
	if r.Form == RetentionLinear {
		r.Form = ""
	}
	return r
}

// String is for messages: "mlp of 64 with decay".
func (r Retention) String() string {
	out := string(RetentionLinear)
	if r.Form == RetentionMLP {
		out = fmt.Sprintf("%s of %d", r.Form, r.Hidden)
	}
	if r.Decay {
		out += " with decay"
	}
	return out
}

// maxRetentionHidden bounds N, and with it what a damaged adapter could make us allocate.
const maxRetentionHidden = 1 << 14

// validate begins its message with the field's name, as [Spec.Validate] does.
func (r Retention) validate(slots int) error {
	if r.Form != "" {
		if err := enum.Check("retention.form", r.Form, RetentionLinear, RetentionMLP); err != nil {
			return err
		}
	}
	switch {
	case r.Form == RetentionMLP && (r.Hidden < 1 || r.Hidden > maxRetentionHidden):
		return fmt.Errorf("retention.hidden is %d; an mlp must have 1 to %d hidden units", r.Hidden, maxRetentionHidden)
	case r.Form != RetentionMLP && r.Hidden != 0:
		return fmt.Errorf("retention.hidden is %d, but the form is linear and has no hidden units; set retention.form: mlp or leave hidden out", r.Hidden)
	case slots == 0 && !r.IsZero():
		return fmt.Errorf("retention is %v, but there are no slots that it could choose tokens for; set slots above 0 or leave retention out", r)
	}
	return nil
}

// Where the bias of the retention score starts. β^age has to be of the order of 1 at the ages
// that training reads, or there is no gradient; an MLP starts by keeping nearly all.
const (
	initialDecay = 8 // β^1000 = 0.71
	initialMLP   = 4 // β = 0.98
)

func (r Retention) initialBias() float32 {
	switch {
	case r.Decay:
		return initialDecay
	case r.Form == RetentionMLP:
		return initialMLP
	default:
		return 0
	}
}

// Decays says whether what the slots keep decays with age.
func (s Spec) Decays() bool { return s.Slots > 0 && s.Retention.Decay }

// TokenScore are the parameters of the score that is kept with every token: the retention
// score ρ or the write gate's logit (docs/method.md, section 4).
type TokenScore struct {
	HiddenWeight, HiddenBias *Param // V [N,D] and e [N]; nil of a linear score
	Weight, Bias             *Param // w [K,N], or [K,D], and c [K]
}

// TokenScore returns that of the layer; nil without any.
func (l *LayerParams) TokenScore() *TokenScore {
	switch {
	case l.RetentionWeight != nil:
		return &TokenScore{l.RetentionHidden, l.RetentionHiddenBias, l.RetentionWeight, l.RetentionBias}
	case l.WriteWeight != nil:
		return &TokenScore{Weight: l.WriteWeight, Bias: l.WriteBias}
	default:
		return nil
	}
}

// Reader returns weight [n,D] and bias [n] of what reads the normed input.
func (s *TokenScore) Reader() (weight, bias *Param) {
	if s.HiddenWeight != nil {
		return s.HiddenWeight, s.HiddenBias
	}
	return s.Weight, s.Bias
}

// Params lists the parameters.
func (s *TokenScore) Params() []*Param {
	if s.HiddenWeight == nil {
		return []*Param{s.Weight, s.Bias}
	}
	return []*Param{s.HiddenWeight, s.HiddenBias, s.Weight, s.Bias}
}

// Apply writes the scores [T,K] of normed inputs h [T,D].
func (s *TokenScore) Apply(dst, h []float32, rows int) {
	if s.HiddenWeight == nil {
		ScoreHeads(dst, h, s.Weight.Data, s.Bias.Data, rows)
		return
	}
	units := scratch.Borrow(rows * len(s.HiddenBias.Data))
	defer scratch.Release(units)
	HiddenUnits(units, h, s.HiddenWeight.Data, s.HiddenBias.Data, rows)
	SiLU1(units, units)
	ScoreHeads(dst, units, s.Weight.Data, s.Bias.Data, rows)
}

// ScoreHeads writes hWᵀ + c [T,K] of h [T,n], w [K,n] and c [K].
func ScoreHeads(dst, h, w, c []float32, rows int) {
	in, out := len(h)/rows, len(c)
	kernels.Parallel(rows, 32, func(lo, hi int) { // a product computes sixteen columns for these few
		for t := lo; t < hi; t++ {
			for j, bias := range c {
				dst[t*out+j] = kernels.Dot(h[t*in:(t+1)*in], w[j*in:(j+1)*in]) + bias
			}
		}
	})
}

// HiddenUnits writes hVᵀ + e [T,N] of h [T,D], v [N,D] and e [N].
func HiddenUnits(dst, h, v, e []float32, rows int) {
	in, out := len(h)/rows, len(e)
	kernels.Gemm(false, true, rows, out, in, 1, h, in, v, in, 0, dst, out)
	for t := range rows {
		kernels.Add(dst[t*out:(t+1)*out], e)
	}
}

// SiLU1 writes x·σ(x); dst may be x.
func SiLU1(dst, x []float32) {
	ones := scratch.Borrow(len(x))
	defer scratch.Release(ones)
	fill(ones, 1)
	kernels.SiLUMul(dst[:len(x)], x, ones)
}

// SiLU1Backward writes the gradient of x for that of SiLU1's result.
func SiLU1Backward(dx, dy, x []float32) {
	ones, unused := scratch.Borrow(len(x)), scratch.Borrow(len(x))
	defer scratch.Release(ones, unused)
	fill(ones, 1)
	kernels.SiLUMulGrad(dx, unused, dy[:len(x)], x, ones)
}

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}

// scatter draws the hidden units' weights anew, the same for the same layer: with zeros all
// units would stay alike. Their number's share of the variance is that of the inputs, which
// are normed.
func (l *LayerParams) scatter(layer int) {
	if l.RetentionHidden == nil {
		return
	}
	random := rand.New(rand.NewPCG(uint64(layer), 15))
	spread := 1 / math.Sqrt(float64(l.RetentionHidden.Shape[1]))
	for i := range l.RetentionHidden.Data {
		l.RetentionHidden.Data[i] = float32(spread * random.NormFloat64())
	}
}

// Kept is what a token of some age counts as kept by with decay, β^age with β = σ(ρ), its
// derivative by ρ, and the rest to 1.
func Kept(score float32, age int) (kept, slope, rest float32) {
	log := -float64(age) * lossOf(score)
	k := math.Exp(log)
	return float32(k), float32(k * float64(age) / (1 + math.Exp(float64(score)))), float32(-math.Expm1(log))
}

// lossOf is -log β, exact for β near 1, too.
func lossOf(score float32) float64 {
	s := float64(score)
	return math.Log1p(math.Exp(-math.Abs(s))) + math.Max(-s, 0)
}

// Rank is what retention scores are compared by, in thousandths (1/1024). The first layer's
// scores of the same token at two places are equal but for their last bits, which depend
// on how many rows were multiplied at once and on the machine; rounded, they are ties,
// which fall the same way everywhere (see [schedule.Turnover.Choose]). Scores beyond
// ±2^20 rank as these, and NaN as the lowest.
func Rank(score float32) int { return rank(float64(score)) }

// RankAt is the rank with decay of a token of some age, at least 1: it is higher where
// β^age, with β = σ(ρ), is. In its place stands -log(-age·log β), which is near ρ - log age
// where β is near 1, so that ranks tell tokens apart whose β differ in their last bits.
func RankAt(score float32, age int) int {
	return rank(-math.Log(float64(age) * lossOf(score)))
}

func rank(score float64) int {
	const most = 1 << 20
	if score != score {
		return -1024 * most
	}
	return int(math.RoundToEven(1024 * max(-most, min(most, score))))
}
