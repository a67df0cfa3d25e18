"""Llama in PyTorch, with Hugging Face's names of weights and its half-split rotary embedding."""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Config:
    """Sizes; the defaults are those of the demo base."""

    vocab: int = 4096
    dim: int = 256
    layers: int = 8
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    ffn: int = 768
    theta: float = 10000.0
    eps: float = 1e-5
    ctx: int = 2048


def precise(x):
    """x in float32 or better: what norms and angles are computed in."""
    return x if x.dtype == torch.float64 else x.float()


def rope_tables(n, d, theta, like):
    """Cosines and sines [n,d] of the positions 0 to n-1, on the device of a tensor and as precise as it is."""
    like = precise(like)
    inv = 1.0 / theta ** (torch.arange(0, d, 2, device=like.device, dtype=like.dtype) / d)
    angle = torch.arange(n, device=like.device, dtype=like.dtype)[:, None] * inv[None]
    angle = torch.cat([angle, angle], -1)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


def causal_attention(q, k, v):
    """q [B,H,T,d], k and v [B,K,T,d] after rotary embedding, to [B,H,T,d]."""
    if hasattr(F, "scaled_dot_product_attention"):  # PyTorch 2.5
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    group, tokens = q.shape[1] // k.shape[1], q.shape[2]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    hidden = ~torch.ones(tokens, tokens, dtype=torch.bool, device=q.device).tril()
    return scores.masked_fill(hidden, -1e30).softmax(-1) @ v


class Norm(nn.Module):
    """Root-mean-square norm, in float32 if the rest is less, as Hugging Face computes it."""

    def __init__(self, d, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(d)), eps

    def forward(self, x):
        y = precise(x)
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return (y * precise(self.weight)).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.q_proj = nn.Linear(c.dim, c.heads * c.head_dim, bias=False)
        self.k_proj = nn.Linear(c.dim, c.kv_heads * c.head_dim, bias=False)
        self.v_proj = nn.Linear(c.dim, c.kv_heads * c.head_dim, bias=False)
        self.o_proj = nn.Linear(c.heads * c.head_dim, c.dim, bias=False)

    def qkv(self, x):
        """q [B,H,T,d], k and v [B,K,T,d] before rotary embedding, of x [B,T,D] after the input norm."""
        batch, tokens, _ = x.shape
        c = self.c
        q = self.q_proj(x).view(batch, tokens, c.heads, c.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(batch, tokens, c.kv_heads, c.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(batch, tokens, c.kv_heads, c.head_dim).transpose(1, 2)
        return q, k, v

    def project(self, o):
        """o [B,H,T,d] to [B,T,D]."""
        batch, _, tokens, _ = o.shape
        return self.o_proj(o.transpose(1, 2).reshape(batch, tokens, -1))

    def forward(self, x, cos, sin):
        q, k, v = self.qkv(x)
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        return self.project(causal_attention(q, k, v))


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c.dim, c.ffn, bias=False)
        self.up_proj = nn.Linear(c.dim, c.ffn, bias=False)
        self.down_proj = nn.Linear(c.ffn, c.dim, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm, self.self_attn = Norm(c.dim, c.eps), Attention(c)
        self.post_attention_layernorm, self.mlp = Norm(c.dim, c.eps), MLP(c)

    def after_attention(self, x, attention):
        x = x + attention
        return x + self.mlp(self.post_attention_layernorm(x))

    def forward(self, x, cos, sin):
        return self.after_attention(x, self.self_attn(self.input_layernorm(x), cos, sin))


class Llama(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed_tokens = nn.Embedding(c.vocab, c.dim)
        self.layers = nn.ModuleList([Layer(c) for _ in range(c.layers)])
        self.norm = Norm(c.dim, c.eps)
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02)
        for layer in self.layers:
            for w in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
                nn.init.normal_(w, std=0.02 / (2 * c.layers) ** 0.5)

    def hidden(self, ids):
        cos, sin = rope_tables(ids.shape[1], self.c.head_dim, self.c.theta, self.embed_tokens.weight)
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)

    def logits(self, hidden):
        return F.linear(hidden, self.embed_tokens.weight)

    def forward(self, ids):
        return self.logits(self.hidden(ids))

    def loss(self, ids):
        logits = self.forward(ids[:, :-1])
        return F.cross_entropy(logits.float().view(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))
