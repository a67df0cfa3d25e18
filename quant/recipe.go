package quant

import (
	"eisft/data"
	"eisft/internal/enum"
)

// Recipe says how a model is quantized: the scheme, and the methods that choose what its
// codes stand for. It is a YAML file (configs/quant), read by [LoadRecipe]; the command
// line's flags override its keys. configs/quant/recipe.yaml explains every key.
type Recipe struct {
	// Name is that of the folder that is written; the file's name without its extension, or
	// the scheme's, if not given.
	Name   string `yaml:"name" json:"name"`
	Scheme string `yaml:"scheme" json:"scheme"`
	Target string `yaml:"target" json:"target,omitempty"` // what the graphs are for: signs of activations, what is refused; "": not known
	Ranges Range  `yaml:"ranges" json:"ranges"`           // of activations
	// Transforms rewrite the float model, in this order, into one that computes the same and
	// rounds better.
	Transforms  []string    `yaml:"transforms" json:"transforms,omitempty"`
	SmoothQuant SmoothQuant `yaml:"smoothquant" json:"smoothquant,omitzero"`
	AWQ         AWQ         `yaml:"awq" json:"awq,omitzero"`
	Rotate      Rotate      `yaml:"rotate" json:"rotate,omitzero"`
	// Weights is the rule that chooses scales and codes of a map's weights.
	Weights string `yaml:"weights" json:"weights"`
	SeqMSE  SeqMSE `yaml:"seqmse" json:"seqmse,omitzero"`
	GPTQ    GPTQ   `yaml:"gptq" json:"gptq,omitzero"`
	// Reconstruct fits each quantized block to the float one afterwards.
	Reconstruct Reconstruct `yaml:"reconstruct" json:"reconstruct,omitzero"`
	// Cache is the width of keys and values: auto, int8 or int16; "": the scheme's.
	Cache Cache `yaml:"cache" json:"cache,omitempty"`
	// Exceptions give tensors another width; the last one that matches a name holds.
	Exceptions []Exception `yaml:"exceptions" json:"exceptions,omitempty"`
	Mixed      Mixed       `yaml:"mixed" json:"mixed,omitzero"`
	// Sensitivity is how many tokens of the calibration data the loss is measured on: with
	// each map alone rounded, for mixed precision, and for a cache that is chosen. 0: none.
	Sensitivity int   `yaml:"sensitivity" json:"sensitivity,omitempty"`
	Seed        int64 `yaml:"seed" json:"seed"` // of what is random: rotations, the order of samples
	// Calib are the calibration data's files.
	Calib   data.Files `yaml:"calib" json:"-"`
	Samples int        `yaml:"samples" json:"samples"`
	Eval    Eval       `yaml:"eval" json:"eval,omitzero"`
}

// Cache says how wide the codes of keys and values are in the cache.
type Cache string

// The widths of a cache. CacheAuto chooses one for each layer by the loss that 8 bits cost.
const (
	CacheAuto  Cache = "auto"
	CacheInt8  Cache = "int8"
	CacheInt16 Cache = "int16"
)

var caches = []Cache{CacheAuto, CacheInt8, CacheInt16}

// ParseCache returns the width of that name.
func ParseCache(name string) (Cache, error) {
	return Cache(name), enum.Check("cache", Cache(name), caches...)
}

// SmoothQuant moves outliers of activations into weights (arXiv 2211.10438, eq. 4).
type SmoothQuant struct {
	Alpha float32 `yaml:"alpha" json:"alpha"`
}

// AWQ scales the channels that large activations meet (arXiv 2306.00978, section 3.2).
type AWQ struct {
	Grid int `yaml:"grid" json:"grid"` // exponents that are tried
}

// Rotate turns the residual stream (R1) and the values of each KV head (R2) by orthogonal
// matrices that are folded into weights (QuaRot, arXiv 2404.00456; SpinQuant, 2405.16406).
type Rotate struct {
	R1    string `yaml:"r1" json:"r1"` // hadamard (random signs), learned or none
	R2    string `yaml:"r2" json:"r2"`
	Steps int    `yaml:"steps" json:"steps"` // of learning
}

// SeqMSE chooses the scale of each channel or block by the error of the map's output on
// quantized inputs, one layer after the other (AIMET's sequential MSE).
type SeqMSE struct {
	Candidates int `yaml:"candidates" json:"candidates"` // 0: 30; mse-clip has as many
	Samples    int `yaml:"samples" json:"samples"`       // of the calibration data; 0: all
}

// GPTQ rounds one input after the other and lets those that follow make up for the error
// (arXiv 2210.17323).
type GPTQ struct {
	Scales   string  `yaml:"scales" json:"scales"`       // rule that chooses the scales before: rtn, mse-clip or, by default, seqmse
	Block    int     `yaml:"block" json:"block"`         // columns that are updated at once; 0: 128
	ActOrder bool    `yaml:"act_order" json:"act_order"` // largest diagonal of the Hessian first
	Damping  float32 `yaml:"damping" json:"damping"`     // share of the diagonal's mean that is added to it; 0: 0.01
}

// Reconstruct fits scales and rounding of a layer's weights to the layer's float output
// (BRECQ, arXiv 2102.05426; AdaRound, 2004.10568).
type Reconstruct struct {
	Steps    int     `yaml:"steps" json:"steps"`       // a layer; 0: none
	Tokens   int     `yaml:"tokens" json:"tokens"`     // of the calibration data, those that the fit is judged by included
	Batch    int     `yaml:"batch" json:"batch"`       // stretches of a segment that a step sees
	LR       float32 `yaml:"lr" json:"lr"`             // of the offsets
	ScaleLR  float32 `yaml:"scale_lr" json:"scale_lr"` // of the logarithms of scales
	Rounding bool    `yaml:"rounding" json:"rounding"` // offsets of the rounding are fitted
	Scales   bool    `yaml:"scales" json:"scales"`     // scales are
}

// Exception gives the tensors whose names match a pattern another width.
type Exception struct {
	Match string `yaml:"match" json:"match"` // path.Match on the name of a map ("*.down_proj") or point ("*:in")
	Bits  int    `yaml:"bits" json:"bits"`   // 4, 8 or 16
}

// Mixed promotes maps to 8 bits, those that help most for their bytes first.
type Mixed struct {
	By              Loss    `yaml:"by" json:"by,omitempty"`                     // what helps; "": the text
	MaxLossIncrease float64 `yaml:"max_loss_increase" json:"max_loss_increase"` // of that, in nats a token; 0: no promotion by loss
	MaxBytes        int     `yaml:"max_bytes" json:"max_bytes"`                 // of the quantized model; 0: no limit
}

// on says whether the recipe promotes maps.
func (m Mixed) on() bool { return m.MaxLossIncrease != 0 || m.MaxBytes != 0 }

// Loss says of which tokens a loss is.
type Loss string

// The losses that maps are promoted by.
const (
	LossOfText    Loss = "text"    // all tokens
	LossOfAnswers Loss = "answers" // the right answers among them
)

var lossNames = []Loss{LossOfText, LossOfAnswers}

// Eval is what a model is evaluated on before and after.
type Eval struct {
	Data    data.Files `yaml:"data" json:"-"`          // none: the run's own
	Samples int        `yaml:"samples" json:"samples"` // rows; 0: as many as it takes for 150 questions about far facts
}
