package model

import (
	"iter"
	"slices"

	"eisft/model/hf"
)

// Role is what a frozen map does in its layer: its name in a checkpoint, below
// model.layers.N.
type Role string

// The frozen maps of a layer.
const (
	RoleQuery  Role = "self_attn.q_proj"
	RoleKey    Role = "self_attn.k_proj"
	RoleValue  Role = "self_attn.v_proj"
	RoleOutput Role = "self_attn.o_proj"
	RoleGate   Role = "mlp.gate_proj"
	RoleUp     Role = "mlp.up_proj"
	RoleDown   Role = "mlp.down_proj"
)

// mapRole describes the maps of one role.
type mapRole struct {
	role Role
	of   func(l *Layer) **Linear
	// reads is the first of the roles that read the same tensor.
	reads Role
	// stacked names the matrix that some families store the maps of one input in, one
	// above the other; it stands with the first of them.
	stacked string
	shape   func(c *hf.Config) (out, in int, biased bool)
}

// mapRoles is the one list of a layer's frozen maps, in the order of the forward pass.
var mapRoles = []mapRole{
	{role: RoleQuery, of: func(l *Layer) **Linear { return &l.Q }, reads: RoleQuery, stacked: "self_attn.qkv_proj", shape: func(c *hf.Config) (out, in int, biased bool) {
		return c.NumAttentionHeads * c.HeadDim, c.HiddenSize, c.AttentionBias
	}},
	{role: RoleKey, of: func(l *Layer) **Linear { return &l.K }, reads: RoleQuery, shape: keyValueShape},
	{role: RoleValue, of: func(l *Layer) **Linear { return &l.V }, reads: RoleQuery, shape: keyValueShape},
	{role: RoleOutput, of: func(l *Layer) **Linear { return &l.O }, reads: RoleOutput, shape: func(c *hf.Config) (out, in int, biased bool) {
		return c.HiddenSize, c.NumAttentionHeads * c.HeadDim, c.AttentionOutputBias
	}},
	{role: RoleGate, of: func(l *Layer) **Linear { return &l.Gate }, reads: RoleGate, stacked: "mlp.gate_up_proj", shape: feedForwardShape},
	{role: RoleUp, of: func(l *Layer) **Linear { return &l.Up }, reads: RoleGate, shape: feedForwardShape},
	{role: RoleDown, of: func(l *Layer) **Linear { return &l.Down }, reads: RoleDown, shape: func(c *hf.Config) (out, in int, biased bool) {
		return c.HiddenSize, c.IntermediateSize, c.MLPBias
	}},
}

func keyValueShape(c *hf.Config) (out, in int, biased bool) {
	return c.NumKeyValueHeads * c.HeadDim, c.HiddenSize, c.AttentionBias
}

func feedForwardShape(c *hf.Config) (out, in int, biased bool) {
	return c.IntermediateSize, c.HiddenSize, c.MLPBias
}

// Maps lists the layer's frozen maps in the order of the forward pass.
func (l *Layer) Maps() iter.Seq2[Role, *Linear] {
	return func(yield func(Role, *Linear) bool) {
		for _, r := range mapRoles {
			if !yield(r.role, *r.of(l)) {
				return
			}
		}
	}
}

// Map returns the layer's map of a role, nil if there is no such role.
func (l *Layer) Map(role Role) *Linear {
	for r, m := range l.Maps() {
		if r == role {
			return m
		}
	}
	return nil
}

// RoleOf returns the role of one of the layer's maps, "" if m is none of them.
func (l *Layer) RoleOf(m *Linear) Role {
	for r, n := range l.Maps() {
		if n == m {
			return r
		}
	}
	return ""
}

// FirstReader returns the first of the roles whose maps read the same tensor as this
// one's, which may be itself: q_proj for k_proj, gate_proj for up_proj.
func (r Role) FirstReader() Role {
	i := slices.IndexFunc(mapRoles, func(m mapRole) bool { return m.role == r })
	if i < 0 {
		return ""
	}
	return mapRoles[i].reads
}

// WithMaps returns a copy of the layer with f's maps in the place of its own.
func (l *Layer) WithMaps(f func(Role, *Linear) *Linear) *Layer {
	c := *l
	for _, r := range mapRoles {
		at := r.of(&c)
		*at = f(r.role, *at)
	}
	return &c
}

// NormRole is what a norm does in its layer.
type NormRole string

// The norms of a layer.
const (
	NormInput             NormRole = "input"
	NormQuery             NormRole = "query"
	NormKey               NormRole = "key"
	NormAttentionOutput   NormRole = "attention output"
	NormPostAttention     NormRole = "post-attention"
	NormFeedForwardOutput NormRole = "feed-forward output"
)

// Norms lists the norms that the layer has, in a fixed order.
func (l *Layer) Norms() iter.Seq2[NormRole, *Norm] {
	return func(yield func(NormRole, *Norm) bool) {
		for _, n := range []struct {
			role NormRole
			norm *Norm
		}{
			{NormInput, l.InputNorm},
			{NormQuery, l.QNorm},
			{NormKey, l.KNorm},
			{NormAttentionOutput, l.AttentionOutputNorm},
			{NormPostAttention, l.PostAttentionNorm},
			{NormFeedForwardOutput, l.FeedForwardOutputNorm},
		} {
			if n.norm != nil && !yield(n.role, n.norm) {
				return
			}
		}
	}
}

// Norm returns the layer's norm of a role, nil if it has none.
func (l *Layer) Norm(role NormRole) *Norm {
	for r, n := range l.Norms() {
		if r == role {
			return n
		}
	}
	return nil
}

// NormRoleOf returns the role of one of the layer's norms, "" if n is none of them.
func (l *Layer) NormRoleOf(n *Norm) NormRole {
	for r, m := range l.Norms() {
		if m == n {
			return r
		}
	}
	return ""
}
