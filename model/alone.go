package model

// Alone returns the model of a layer of m alone, or of one that takes its place (l, with the
// same index): its tokens are the rows of what the layer reads, of which a text has at most
// the given number, and its output, which no norm follows, is what the next layer reads. A
// stream over it gets the rows by [StreamOptions.Embed], and gives them the bits that they have
// in a stream over m.
func (m *Model) Alone(l *Layer, rows int) *Model {
	i, alone, b := l.Index, *l, *m.Base
	alone.Index = 0
	b.Layers, b.Norm = []*Layer{&alone}, nil
	b.Embed = NewLinear(b.Embed.Name, b.Embed.In, rows, nil, nil)
	return &Model{Base: &b, Spec: m.Spec.Alone(i), Params: m.Params.Alone(i)}
}

// Embeddings returns what the first layer reads of a text [len(ids),D].
func (b *Base) Embeddings(ids []int32) ([]float32, error) {
	if err := b.checkIDs(ids, 0); err != nil {
		return nil, err
	}
	x := make([]float32, len(ids)*b.Dims.Hidden)
	b.embed(x, ids)
	return x, nil
}
