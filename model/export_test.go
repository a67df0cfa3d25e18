package model

// FirstChunk returns the floats of the first rows.
func (r *Rows) FirstChunk() []float32 { return r.chunks[0].floats }
