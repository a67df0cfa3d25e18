package runs

import (
	"fmt"

	"eisft/model"
)

// Metrics is one line of metrics.jsonl.
type Metrics struct {
	Stage        int     `json:"stage"`
	Kind         string  `json:"kind"`
	Step         int     `json:"step"` // steps taken, this one included
	Loss         float64 `json:"loss"` // nats a token (s-sft), relative error (distill)
	AnswerTokens int     `json:"answer_tokens,omitempty"`
	Tokens       int     `json:"tokens"` // tokens read; of prune see docs/metrics.md
	Kept         float64 `json:"kept"`   // mean σ(ρ) of what left the window
	// Layers says what the gate and the retention score of each layer do.
	Layers   []model.LayerStats `json:"layers"`
	GradNorm float64            `json:"grad_norm"`
	Rate     float64            `json:"lr_scale"` // share of the learning rates
	Seconds  float64            `json:"seconds"`
	// Memory is how many bytes of the process were resident at most until then; 0 where the
	// system does not tell.
	Memory int64 `json:"peak_bytes,omitempty"`
	// Ranks is how many processes have trained the step, Together the seconds of it that rank 0
	// has waited for the others and exchanged gradients with them; neither for one process.
	Ranks    int     `json:"ranks,omitempty"`
	Together float64 `json:"together_seconds,omitempty"`
	Pruned   *Pruned `json:"pruned,omitempty"` // of pruning
	// Before is the loss on held-out samples before a stage's first step, whose line has it.
	Before *Before `json:"validation_before,omitempty"`
	// Validation is the loss on held-out samples after the step, if it was taken. It is the
	// last key of a line.
	Validation *Validation `json:"validation,omitempty"`
}

// Before is a loss on held-out samples before a stage has trained anything.
type Before struct {
	Loss    float64 `json:"loss"`
	Seconds float64 `json:"seconds"`
}

// Validation is a loss on held-out samples: that of a batch of all of them, as the stage has
// it.
type Validation struct {
	Loss         float64 `json:"loss"`
	Samples      int     `json:"samples"`
	AnswerTokens int     `json:"answer_tokens,omitempty"`
	Kept         float64 `json:"kept"`
	Best         float64 `json:"best"`              // of the stage so far
	BestStep     int     `json:"best_step"`         // after which it was taken
	Waited       int     `json:"waited"`            // losses since the best one
	Stopped      bool    `json:"stopped,omitempty"` // they were too many: the stage ends here
	Seconds      float64 `json:"seconds"`
}

// Pruned is what a stage of kind prune found. Losses are means over the answers' tokens,
// in nats, with slots chosen as at inference.
type Pruned struct {
	All     float64   `json:"loss_all"`     // with all slots
	None    float64   `json:"loss_none"`    // without slots
	Without []float64 `json:"loss_without"` // without those of one layer, for each of Layers
	Layers  []int     `json:"layers"`       // that had slots
	Kept    []int     `json:"kept"`         // the fewest that keep the gain
	Loss    float64   `json:"loss"`         // with the slots of these
}

// String says where slots are left, and what that costs.
func (p *Pruned) String() string {
	return fmt.Sprintf("slots stay in layers %v of %v: loss %.3f, with all of them %.3f, without any %.3f", p.Kept, p.Layers, p.Loss, p.All, p.None)
}
