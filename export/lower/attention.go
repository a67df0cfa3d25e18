package lower

import (
	"slices"

	"eisft/export/ir"
	"eisft/model"
	"eisft/quant"
	"eisft/quant/encoding"
)

// view is what one kind of layers sees of the sequence, and how it turns its keys.
type view struct {
	suffix             string
	cache              int         // C, or C-R without slots
	mask, memoryMask   *ir.Value   // [1,1,T,C+T], [1,1,T,1]
	masks              []*ir.Value // the mask in pieces of as many tokens as are added at once
	cos, sin           *ir.Value   // of the new tokens, [1,1,T,m]; nil, as those below, where nothing is turned
	cacheCos, cacheSin *ir.Value   // of the stored ones, [1,1,C,m]; compact positions only
	keyCos, keySin     *ir.Value   // of the keys to be rotated, [1,1,m,C+T] or [1,1,m,T]
}

// prepare cuts the mask and lays the tables of the keys out as the keys are stored,
// once for all layers that share the view.
func (b *builder) prepare(v *view) {
	defer b.inCodes()()
	if keys := v.cache + b.tokens; b.src.Model.Spec.HasMemory() {
		parts := b.split(v.mask, 3, keys, 1)
		v.mask, v.memoryMask = parts[0], parts[1]
	} else {
		v.mask = b.slice(v.mask, 3, 0, keys)
	}
	if sizes := b.maskedAtOnce(v.cache + b.tokens); len(sizes) > 1 {
		v.masks = b.split(v.mask, 2, sizes...)
	}
	if v.cos == nil {
		return
	}
	v.keyCos, v.keySin = v.cos, v.sin
	if v.cacheCos != nil {
		v.keyCos, v.keySin = b.concat(2, v.cacheCos, v.cos), b.concat(2, v.cacheSin, v.sin)
	}
	v.keyCos, v.keySin = b.transpose(v.keyCos, 0, 1, 3, 2), b.transpose(v.keySin, 0, 1, 3, 2)
}

// cut divides x along an axis, and leaves it to the caller what the pieces are encoded as:
// by a Split where the pieces are equal, else by Slices,
// since TFLite's uneven Split (SPLIT_V) is not on MediaTek's list.
func (b *builder) cut(x *ir.Value, axis int, sizes ...int) []*ir.Value {
	if len(slices.Compact(slices.Clone(sizes))) == 1 {
		return b.Split(x, axis, sizes...)
	}
	var parts []*ir.Value
	from := 0
	for _, size := range sizes {
		parts = append(parts, b.Slice(x, axis, from, from+size))
		from += size
	}
	return parts
}

// splitHeads turns [1,T,K·r·d] into [K,r,T,d].
func (b *builder) splitHeads(x *ir.Value, group int) *ir.Value {
	d := b.src.Model.Base.Dims
	return b.transpose(b.reshape(x, b.tokens, d.KVHeads, group, d.HeadDim), 1, 2, 0, 3)
}

// mergeHeads turns [K,r,T,d] into [1,T,K·r·d].
func (b *builder) mergeHeads(x *ir.Value) *ir.Value {
	return b.reshape(b.transpose(x, 2, 0, 1, 3), 1, b.tokens, x.Dim(0)*x.Dim(1)*x.Dim(3))
}

// heads returns the queries [K,r,T,d] before rotary embedding.
func (l *layer) heads(q *ir.Value) *ir.Value {
	if l.query == nil {
		defer l.inCodes()()
		d := l.src.Model.Base.Dims
		l.query = l.splitHeads(q, d.Heads/d.KVHeads)
	}
	return l.query
}

// rotate is kernels.Rotate: half-split rotary embedding of the first 2m elements along
// an axis. Without tables x is not turned. Products, sums and what does not turn have the
// encoding of the result, since a Concat joins the latter; the codes of products are unsigned
// where those of all but keys are (quant.Scheme.For).
func (b *builder) rotate(x *ir.Value, axis int, cos, sin *ir.Value, point string) *ir.Value {
	if cos == nil {
		return x
	}
	m := cos.Dim(axis)
	sizes := []int{m, m}
	if rest := x.Dim(axis) - 2*m; rest > 0 {
		sizes = append(sizes, rest)
	}
	at := func(v *ir.Value) *ir.Value { return b.encode(v, point) }
	parts := b.cut(x, axis, sizes...)
	b.keep(parts[0], x)
	b.keep(parts[1], x)
	product := func(x, y *ir.Value) *ir.Value { return b.encodeProduct(b.Mul(x, y), point) }
	first := at(b.Sub(product(parts[0], cos), product(parts[1], sin)))
	second := at(b.Add(product(parts[1], cos), product(parts[0], sin)))
	joined := []*ir.Value{first, second}
	for _, rest := range parts[2:] {
		joined = append(joined, at(rest))
	}
	return at(b.Concat(axis, joined...))
}

// Remember lays out what the host keeps of the new tokens. The score is that of
// model.TokenScore.
func (l *layer) Remember(_ *model.Layer, h, k, v *ir.Value) {
	d := l.src.Model.Base.Dims
	leave := l.inCodes()
	l.newKey = l.transpose(l.reshape(k, l.tokens, d.KVHeads, 1, d.HeadDim), 1, 2, 3, 0)
	if l.src.Model.Spec.Positions == model.PositionsAbsolute {
		l.newKey = l.rotate(l.newKey, 2, l.view.keyCos, l.view.keySin, "")
	}
	l.newValue = l.splitHeads(v, 1)
	leave()
	s := l.params.TokenScore()
	if s == nil {
		return
	}
	if s.HiddenWeight != nil {
		h = l.hiddenUnits(s, h)
	}
	// The bias is added behind the reshape: ONNX Runtime makes one op of a product and a bias
	// with a Reshape of its own, whose int8 input its next step gets wrong.
	score := l.Reshape(l.Transpose(l.MatMul(h, l.transposed(s.Weight)), 2, 0, 1), d.KVHeads, 1, l.tokens, 1)
	l.score = l.Add(score, l.Const(s.Bias.Name, []int{d.KVHeads, 1, 1, 1}, s.Bias.Data)).Named("score")
}

// hiddenUnits are those of the retention score's MLP [1,T,N], with the bias as above.
func (l *layer) hiddenUnits(s *model.TokenScore, h *ir.Value) *ir.Value {
	n := len(s.HiddenBias.Data)
	units := l.Reshape(l.MatMul(h, l.transposed(s.HiddenWeight)), 1, 1, l.tokens, n)
	units = l.Add(units, l.Const(s.HiddenBias.Name, []int{n}, s.HiddenBias.Data))
	return l.Reshape(l.Mul(units, l.Sigmoid(units)), 1, l.tokens, n)
}

// transposed is a trained matrix [n,m] as a constant [m,n].
func (l *layer) transposed(p *model.Param) *ir.Value {
	n, m := p.Shape[0], p.Shape[1]
	return l.Const(p.Name, []int{m, n}, encoding.Transpose(p.Data, n, m))
}

// Attend is model.Attention.Forward over the whole cache, the new tokens and the
// memory's column, with the mask in the place of what is not there. What is between its
// steps has the encodings of quant.InnerPoints, where there are any.
func (l *layer) Attend(_ *model.Layer, q, _, _ *ir.Value, column *model.Column[*ir.Value]) *ir.Value {
	defer l.inCodes()()
	scores := l.maskedScores(q)
	values := l.keep(l.Concat(2, l.pastValue[l.index], l.newValue), l.newValue)
	local := l.points.Local
	if !l.src.Model.Spec.HasMemory() {
		local = quant.InputPoint(l.frozen, l.frozen.O)
	}
	if column == nil {
		return l.encode(l.MatMul(l.shares(scores), values), local)
	}
	logit := l.encode(l.floatAdd(column.Logit, l.view.memoryMask), l.points.Scores) // [K,r,T,1]
	all := l.encode(l.Concat(3, scores, logit), l.points.Scores)
	parts := l.split(l.shares(all), 3, scores.Dim(3), 1)
	weighed := l.encode(l.MatMul(parts[0], values), local)
	defer l.FloatRegion()()
	return gates.Get(l.src.Model.Spec.Gate).join(l, columnShares{keys: parts[0], local: weighed, column: parts[1], read: column.Read})
}

// maskedScores returns what the softmax reads of the keys [K,r,T,C+T].
func (l *layer) maskedScores(q *ir.Value) *ir.Value {
	scores := l.MatMul(l.scaledQuery(q), l.visibleKeys()).Named("scores")
	if c := l.frozen.AttentionSoftcap; c != 0 {
		l.encode(scores, l.points.Products)
		leave := l.FloatRegion()
		scores = l.softcap(scores, c)
		leave()
	}
	l.encode(scores, l.points.Scores)
	if l.view.masks == nil {
		return l.encode(l.Add(scores, l.view.mask), l.points.Scores)
	}
	var sums []*ir.Value
	for i, x := range l.split(scores, 2, l.maskedAtOnce(scores.Dim(3))...) {
		sums = append(sums, l.encode(l.Add(x, l.view.masks[i]), l.points.Scores))
	}
	return l.encode(l.Concat(2, sums...), l.points.Scores)
}

// MaskedRows is how many of the new tokens at most have their mask over so many keys added at
// once, where that may take no more bytes than limit (Source.MaskBytes).
func MaskedRows(tokens, keys, heads, limit int) int {
	if limit == 0 {
		return tokens
	}
	return min(tokens, max(1, limit/(2*heads*keys)))
}

// maskedAtOnce cuts the new tokens into pieces whose mask over the given number of keys,
// tiled over all heads, takes no more than Source.MaskBytes: equal ones, where that makes
// them less than twice as many.
func (b *builder) maskedAtOnce(keys int) []int {
	most := MaskedRows(b.tokens, keys, b.src.Model.Base.Dims.Heads, b.src.MaskBytes)
	size := most
	for size > most/2+1 && b.tokens%size != 0 {
		size--
	}
	if b.tokens%size != 0 {
		size = most
	}
	sizes := slices.Repeat([]int{size}, b.tokens/size)
	if rest := b.tokens % size; rest > 0 {
		sizes = append(sizes, rest)
	}
	return sizes
}

// shares are the softmax of scores.
func (l *layer) shares(scores *ir.Value) *ir.Value {
	return l.encode(l.Softmax(scores), l.points.Probabilities)
}

// floatAdd is a sum that is kept in float.
func (l *layer) floatAdd(x, y *ir.Value) *ir.Value {
	defer l.FloatRegion()()
	return l.Add(x, y)
}

// scaledQuery returns the queries after rotary embedding, times the attention's scale.
func (l *layer) scaledQuery(q *ir.Value) *ir.Value {
	scale := l.constant(l.frozen.Q.Name+".rotated_weight", quant.QueryScale(l.frozen))
	turned := l.rotate(l.heads(q), 3, l.view.cos, l.view.sin, l.points.Rotated)
	return l.encode(l.Mul(turned, scale), l.points.Scaled)
}

// visibleKeys returns cache and new keys after rotary embedding [K,1,d,C+T].
func (l *layer) visibleKeys() *ir.Value {
	keys := l.keep(l.Concat(3, l.pastKey[l.index], l.newKey), l.newKey)
	if l.src.Model.Spec.Positions == model.PositionsAbsolute {
		return keys
	}
	return l.rotate(keys, 2, l.view.keyCos, l.view.keySin, l.points.Keys)
}
