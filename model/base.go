// Package model runs frozen Hugging Face models with the EdgeInfinite block in
// place of their attention, so that memory does not grow with the text. [Base]
// is the frozen model, [Spec] the block, [Params] what is trained of it, [Model]
// the three together, and [Stream] a sequence being read. The block is described
// once, in [Forward]; whoever runs it brings a backend, an [Ops].
package model

import (
	"eisft/model/hf"
	"eisft/model/kernels"
)

// Base is a frozen Hugging Face model.
type Base struct {
	Config *hf.Config
	Dims   Dims
	Embed  *Linear // the embedding table, [vocabulary, D]
	// EmbeddingNorm is over the table's rows as they are looked up; nil in most families.
	EmbeddingNorm *Norm
	// EmbeddingScale is what embeddings are multiplied by, after the norm: √D in Gemma, else 1.
	EmbeddingScale float32
	Layers         []*Layer
	Norm           *Norm
	Head           *Linear // logits; shares Embed's table when tied
	// LogitScale is s and LogitSoftcap c of the logits c·tanh(xWᵀ/(s·c)); 0 where a family
	// does not divide, or does not cap.
	LogitScale, LogitSoftcap float32

	// Warnings is what opening the base has found odd, and decided.
	Warnings []string

	copies   *weightCopies
	identity *identity // nil: computed each time
}

// Layer is one decoder layer of the frozen base. The comments are the parts'
// names in a checkpoint, below model.layers.N; where a family has others, the
// loader translates. Maps and Norms list them with their roles.
//
// In a layer with a sliding window w, a query sees the last w visible keys, its
// own included: with full attention these are the last w tokens, as in the base,
// and a block never shows the layer distances that it was not trained for. Its
// sinks and slots are out of sight where S+R+W+L is more than w.
type Layer struct {
	Index          int
	InputNorm      *Norm   // input_layernorm; nil where attention reads the residual stream as it is
	Q, K, V, O     *Linear // self_attn.q_proj, k_proj, v_proj, o_proj
	QNorm, KNorm   *Norm   // self_attn.q_norm, k_norm: over each head or over all of them; nil in most families
	AttentionScale float32 // q·k is multiplied by it: 1/√d in most families
	// QueryWeight [d] multiplies the dimensions of queries after rotary embedding; nil in
	// most families. Where norms over the heads of q and k come after rotary embedding, it is
	// the product of their weights: turning keeps the root mean square, so that the norms
	// themselves, QNorm and KNorm with weights of 1, may come before. Keys are stored without
	// it. The product of a query with a key then depends on their positions, and not on their
	// distance alone: compact positions, which the base has seen, are not those of the text.
	QueryWeight []float32
	// AttentionSoftcap is c of the logits c·tanh(scale·q·k/c), before mask and softmax; 0: not capped.
	AttentionSoftcap float32
	Rotary           *Rotary // without frequencies where keys and queries are not turned (NoPE)
	SlidingWindow    int     // w; 0: a query sees all visible keys
	Gate, Up, Down   *Linear // mlp.gate_proj, up_proj, down_proj
	Activation       Activation
	// PostAttentionNorm is post_attention_layernorm: the norm before the
	// feed-forward layer; nil where that reads the residual stream as it is.
	PostAttentionNorm *Norm
	// AttentionOutputNorm and FeedForwardOutputNorm are over what attention and
	// feed-forward add to the residual stream; nil in most families.
	AttentionOutputNorm, FeedForwardOutputNorm *Norm
	// ResidualScale is what these outputs are multiplied by before they are added, after
	// their norms; 0: they are not.
	ResidualScale float32
}

// Norm is a frozen root-mean-square norm, or a LayerNorm, applied to groups of len(Weight).
type Norm struct {
	Name   string
	Weight []float32
	Eps    float32
	// Center says that the mean is subtracted first: a LayerNorm (arXiv 1607.06450).
	Center bool
	Bias   []float32 // of a LayerNorm, as long as Weight; nil: none
}

// Apply writes the norm of each group of len(n.Weight) values of x.
func (n *Norm) Apply(dst, x []float32) {
	rows, cols := len(x)/len(n.Weight), len(n.Weight)
	if n.Center {
		kernels.LayerNorm(dst, x, n.Weight, n.Bias, rows, cols, n.Eps)
	} else {
		kernels.RMSNorm(dst, x, n.Weight, rows, cols, n.Eps)
	}
}

// Backward writes the gradient of the input x, given that of the output.
func (n *Norm) Backward(dx, dOut, x []float32) {
	rows, cols := len(x)/len(n.Weight), len(n.Weight)
	if n.Center {
		kernels.LayerNormGrad(dx, dOut, x, n.Weight, rows, cols, n.Eps)
	} else {
		kernels.RMSNormGrad(dx, dOut, x, n.Weight, rows, cols, n.Eps)
	}
}

// Parameters returns the number of the norm's scalars.
func (n *Norm) Parameters() int { return len(n.Weight) + len(n.Bias) }

// Activation is the nonlinearity of a gated feed-forward layer.
type Activation string

// The activations of the supported families, by their Hugging Face names.
const (
	SiLU     Activation = "silu"
	GELUTanh Activation = "gelu_pytorch_tanh"
)

// Scaled multiplies what attention or feed-forward puts out, or its gradient, by the
// layer's ResidualScale.
func (l *Layer) Scaled(x []float32) {
	if l.ResidualScale != 0 {
		kernels.Scale(l.ResidualScale, x)
	}
}

// mostLogits bounds the logits that are held at once where only what follows from them is wanted.
const mostLogits = 1 << 22

// LogitRows is how many rows' logits are computed at once where only losses or statistics of them are
// wanted: of a vocabulary of 150,000 they take at most 17 MB.
func (b *Base) LogitRows() int { return min(rowBlock, max(1, mostLogits/b.Head.Out)) }

// FinishLogits turns products xWᵀ of the head into logits, in place.
func (b *Base) FinishLogits(x []float32) {
	if b.LogitScale != 0 {
		kernels.Scale(1/b.LogitScale, x)
	}
	if c := b.LogitSoftcap; c != 0 {
		kernels.Parallel(len(x), 4096, func(lo, hi int) { kernels.Softcap(x[lo:hi], c) })
	}
}

// FinishLogitsBackward turns the gradient dx of the logits y into that of the head's
// products, in place.
func (b *Base) FinishLogitsBackward(dx, y []float32) {
	if c := b.LogitSoftcap; c != 0 {
		kernels.Parallel(len(dx), 4096, func(lo, hi int) { kernels.SoftcapGrad(dx[lo:hi], y[lo:hi], c) })
	}
	if b.LogitScale != 0 {
		kernels.Scale(1/b.LogitScale, dx)
	}
}

// CopyWeights bounds the float32 copies of weights in bytes, before the first of
// them is used: there is one of every weight if all of them take less, and a second
// one for gradients if that fits too. [Base.Hold] sets a bound. Without copies weights
// are widened each time they are used, in registers where package kernels knows how they
// are stored (16 bits, or GGUF's blocks from Q4_0 to Q8_0 and Q4_K to Q6_K): that costs a
// few per cent where segments are read. Other types cost much where tokens are written one
// by one.
func (b *Base) CopyWeights(bytes int64) {
	n := 4 * int64(b.Head.In) * int64(b.Head.Out)
	for _, layer := range b.Layers {
		for _, l := range layer.Maps() {
			n += 4 * int64(l.In) * int64(l.Out)
		}
	}
	*b.copies = weightCopies{forward: n <= bytes, backward: n <= bytes/2}
}

// WithoutCopies returns the base as one that keeps no float32 copies of the maps that
// [Base.Coded] makes of it.
func (b *Base) WithoutCopies() *Base {
	c := *b
	c.copies = &weightCopies{}
	return &c
}

// copiesForward says whether all layers' weights are kept for Apply.
func (b *Base) copiesForward() bool {
	for _, l := range b.Layers {
		for _, m := range l.Maps() {
			if !m.copiesForward() {
				return false
			}
		}
	}
	return true
}

// embed writes the embeddings of ids [T,D].
func (b *Base) embed(x []float32, ids []int32) {
	d := b.Dims.Hidden
	for t, id := range ids {
		b.Embed.Rows(x[t*d:(t+1)*d], int(id), int(id)+1)
	}
	b.FinishEmbeddings(x)
}

// FinishEmbeddings turns rows of the embedding table x [n,D] into what the first layer
// reads.
func (b *Base) FinishEmbeddings(x []float32) {
	if b.EmbeddingNorm != nil {
		b.EmbeddingNorm.Apply(x, x)
	}
	if b.EmbeddingScale != 1 {
		kernels.Scale(b.EmbeddingScale, x)
	}
}

// Norms lists the norms of the whole base, but for those of its layers.
func (b *Base) Norms() []*Norm {
	if b.EmbeddingNorm == nil {
		return []*Norm{b.Norm}
	}
	return []*Norm{b.EmbeddingNorm, b.Norm}
}
