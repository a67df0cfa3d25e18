"""The EdgeInfinite block in PyTorch: docs/method.md, sections 2 to 5, written down once more and independently.

Options of a block (a dict; a golden's metadata are these):
  sink, window, segment  S, W, L in tokens
  retain                 R, slots of each KV head; absent: none
  slot_layers            the layers that have slots; absent: all
  both                   with slots: a memory beside them (without slots there always is one)
  update                 linear | delta
  feature, df            elu | hedgehog; columns f of the hedgehog map (default d)
  gate, g0               none | scalar | vector | query | slot | mass; where its bias starts
  map, write             read map; write gate (without slots)
  positions              compact (default) | absolute
  keep, keep_weight      penalty on mean σ(ρ) with soft slots
"""

from typing import NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F

from llama import rope_tables, rotate

EPS = 1e-6
GATE_START = {"scalar": -4.0, "vector": -4.0, "query": -4.0, "slot": 0.0, "mass": 0.0}


class Tokens(NamedTuple):
    """Tokens as each KV head keeps them: k and v [B,K,n,d] before rotary embedding, score [B,K,n] (ρ, or the
    write gate's logit; zero without either) and index [B,K,n] in the sequence."""

    k: torch.Tensor
    v: torch.Tensor
    score: torch.Tensor
    index: torch.Tensor

    @property
    def n(self):
        return self.index.shape[2]

    def part(self, start, end):
        return Tokens(*(x[:, :, start:end] for x in self))

    def pick(self, rows):
        """The rows [B,K,m] of each KV head."""
        wide = rows.unsqueeze(-1).expand(-1, -1, -1, self.k.shape[-1])
        return Tokens(
            self.k.gather(2, wide), self.v.gather(2, wide), self.score.gather(2, rows), self.index.gather(2, rows)
        )


def join(*parts):
    parts = [p for p in parts if p is not None]
    return Tokens(*(torch.cat(x, 2) for x in zip(*parts)))


class State:
    """What a layer keeps of a sequence (section 2); None until something has come there."""

    def __init__(self):
        self.seen = 0
        self.sinks = self.slots = self.window = None
        self.memory = None  # M [B,K,F,d] and z [B,K,F]

    def stored(self):
        return [p for p in (self.sinks, self.slots, self.window) if p is not None]


class Block(nn.Module):
    """The trained part of one layer."""

    def __init__(self, c, o, layer):
        super().__init__()
        self.c, self.o, self.layer = c, o, layer
        self.slots = 0 if layer not in o.get("slot_layers", [layer]) else o.get("retain", 0)
        self.has_memory = not o.get("retain") or bool(o.get("both"))
        heads, kv, d = c.heads, c.kv_heads, c.head_dim
        if o["feature"] == "hedgehog":
            eye = torch.eye(d, o.get("df", d))
            self.wq, self.wk = nn.Parameter(eye.repeat(heads, 1, 1)), nn.Parameter(eye.repeat(kv, 1, 1))
        gate = o["gate"]
        if gate in ("query", "slot"):
            self.u = nn.Parameter(torch.zeros(heads, d))
        shape = {"scalar": (heads, 1, 1), "vector": (heads, 1, d)}.get(gate, (heads, 1))
        self.b = nn.Parameter(torch.full(shape, o.get("g0", GATE_START[gate])))
        if o.get("map"):
            self.map = nn.Parameter(torch.zeros(heads, d, d))
        if self.slots:
            self.rg = scorer(c, 0.0)
        if o.get("write"):
            self.wg = scorer(c, 2.0)

    def score(self, h):
        """ρ or the write gate's logit [B,K,T] of normed inputs h [B,T,D]."""
        if self.slots:
            return self.rg(h).transpose(1, 2)
        if self.o.get("write"):
            return self.wg(h).transpose(1, 2)
        return h.new_zeros(h.shape[0], self.c.kv_heads, h.shape[1])

    def weight(self, tokens):
        """ω [B,K,n]: how much of each token enters the memory (section 4, step 2)."""
        if self.slots:
            return 1 - torch.sigmoid(tokens.score)
        if self.o.get("write"):
            return torch.sigmoid(tokens.score)
        return None

    def phi(self, x, a):
        if self.o["feature"] == "elu":
            return F.elu(x) + 1
        y = torch.einsum("bhtd,hdf->bhtf", x, a)
        return torch.cat([y.softmax(-1), (-y).softmax(-1)], -1)

    def write(self, memory, tokens):
        """The memory after tokens have been written to it (section 4, step 3)."""
        f, v, w = self.phi(tokens.k, getattr(self, "wk", None)), tokens.v, self.weight(tokens)
        if self.o["update"] == "delta" and memory is not None:
            M, z = memory
            v = v - (f @ M) / ((f @ z.unsqueeze(-1)) + EPS)
        if w is not None:
            f = f * w.unsqueeze(-1)
        M, z = f.transpose(2, 3) @ v, f.sum(2)
        return (M, z) if memory is None else (memory[0] + M, memory[1] + z)

    def read(self, memory, q):
        """a [B,H,T,d] and mass [B,H,T] (section 3)."""
        group = self.c.heads // self.c.kv_heads
        M, z = (x.repeat_interleave(group, 1) for x in memory)
        f = self.phi(q, getattr(self, "wq", None))
        mass = (f @ z.unsqueeze(-1)).squeeze(-1)
        a = (f @ M) / (mass.unsqueeze(-1) + EPS)
        if self.o.get("map"):
            a = a + torch.einsum("bhtd,hde->bhte", a, self.map)
        return a, mass

    def attend(self, scores, v, q, memory):
        """Output [B,H,T,d] from masked scores [B,H,T,n], values [B,H,n,d], queries before rotary embedding and the
        memory (None: empty)."""
        if memory is None:
            return scores.softmax(-1) @ v
        a, mass = self.read(memory, q)
        gate = self.o["gate"]
        if gate in ("query", "slot"):
            logit = torch.einsum("bhtd,hd->bht", q, self.u) * self.c.head_dim**-0.5 + self.b
        elif gate == "mass":
            logit = self.b + torch.log(mass + EPS)
        else:
            logit = self.b
        if gate in ("slot", "mass"):
            p = torch.cat([scores, logit.unsqueeze(-1)], -1).softmax(-1)
            return p[..., :-1] @ v + p[..., -1:] * a
        w = torch.sigmoid(logit if gate in ("scalar", "vector") else logit.unsqueeze(-1))
        return w * a + (1 - w) * (scores.softmax(-1) @ v)


def scorer(c, bias):
    linear = nn.Linear(c.dim, c.kv_heads)
    nn.init.zeros_(linear.weight)
    nn.init.constant_(linear.bias, bias)
    return linear


class EdgeInfinite(nn.Module):
    """A frozen Llama with a block in every layer; gate "none": sinks and window alone."""

    def __init__(self, base, o):
        super().__init__()
        self.base, self.o = base, o
        self.soft = False  # training: every token that left the window stays visible, raised by log σ(ρ)
        self.kept = 0.0  # mean σ(ρ) of the last soft pass
        for p in base.parameters():
            p.requires_grad_(False)
        self.mem = None
        if o["gate"] != "none":
            self.mem = nn.ModuleList([Block(base.c, o, i) for i in range(base.c.layers)])

    def new_state(self):
        return [State() for _ in self.base.layers]

    def tables(self, n):
        """Rotary tables that reach as far as the positions of a text of n tokens."""
        return rope_tables(n, self.base.c.head_dim, self.base.c.theta, self.base.embed_tokens.weight)

    def layer(self, i, x, state, tables):
        """One layer over the segment x [B,T,D]; a whole one is committed."""
        layer = self.base.layers[i]
        h = layer.input_layernorm(x)
        q, k, v = layer.self_attn.qkv(h)
        # Stored keys, values and inputs are constants: gradients reach the parameters of scores and memory alone.
        new = self.tokens(i, h.detach(), k, v, state.seen)
        x = layer.after_attention(x, layer.self_attn.project(self.attention(i, q, new, state, tables)))
        state.seen += x.shape[1]
        if x.shape[1] == self.o["segment"]:
            self.commit(i, state, new._replace(k=k.detach(), v=v.detach()))
        return x

    def tokens(self, i, h, k, v, first):
        batch, kv, n, _ = k.shape
        score = self.mem[i].score(h) if self.mem is not None else h.new_zeros(batch, kv, n)
        return Tokens(k, v, score, torch.arange(first, first + n, device=h.device).expand(batch, kv, n))

    def attention(self, i, q, new, state, tables):
        """Attention of a segment (section 3): q [B,H,T,d] before rotary embedding."""
        seen = join(*state.stored(), new)
        at = seen.index if self.o.get("positions") == "absolute" else torch.arange(seen.n, device=q.device)
        lo = state.sinks.n if state.sinks is not None else 0
        slots = state.slots.score if state.slots is not None else None
        return self.visible(i, q, seen, at, slots, lo, state.memory, tables)

    def visible(self, i, q, seen, at, slots, first_slot, memory, tables):
        """Attention over the tokens seen, the last of which are the queries', at rotary positions at [n] or [B,K,n];
        slots are the scores [B,K,m] of those from first_slot on."""
        group, T, n, d = q.shape[1] // seen.k.shape[1], q.shape[2], seen.n, q.shape[3]
        cos, sin = tables[0][at], tables[1][at]
        keys = rotate(seen.k, cos, sin).repeat_interleave(group, 1)
        own = (cos, sin) if at.dim() == 1 else (cos[:, :1], sin[:, :1])  # every KV head holds the new tokens
        queries = rotate(q, own[0][..., n - T :, :], own[1][..., n - T :, :])
        scores = (queries @ keys.transpose(2, 3)) * d**-0.5
        mask = torch.ones(T, n, dtype=torch.bool, device=q.device).tril(n - T)
        scores = scores.masked_fill(~mask, -1e30)
        if slots is not None:
            bias = F.logsigmoid(slots)
            if not self.soft:  # straight-through: adds nothing, but has the gradient
                bias = bias - bias.detach()
            bias = bias.repeat_interleave(group, 1).unsqueeze(2)
            end = first_slot + bias.shape[-1]
            scores = torch.cat([scores[..., :first_slot], scores[..., first_slot:end] + bias, scores[..., end:]], -1)
        values = seen.v.repeat_interleave(group, 1)
        if self.mem is None:
            return scores.softmax(-1) @ values
        return self.mem[i].attend(scores, values, q, memory)

    def commit(self, i, state, new):
        """The end of a segment (section 4)."""
        have = state.sinks.n if state.sinks is not None else 0
        take = min(self.o["sink"] - have, new.n)
        if take:
            state.sinks = join(state.sinks, new.part(0, take))
        pool = join(state.window, new.part(take, new.n))
        gone = max(0, pool.n - self.o["window"])
        leavers, state.window = pool.part(0, gone), pool.part(gone, pool.n)
        if not gone or self.mem is None:
            return
        block, written = self.mem[i], leavers
        if block.slots and self.soft:  # all stay visible by σ(ρ), and enter the memory by 1 - σ(ρ)
            state.slots = join(state.slots, leavers)
        elif block.slots:
            state.slots, written = choose(join(state.slots, leavers), block.slots)
        if block.has_memory:  # in use from now on, even if the slots have kept everything
            state.memory = block.write(state.memory, written)

    def forward(self, ids, grad_from=0):
        """Logits of the tokens from grad_from on, a segment's boundary. Earlier segments run without a graph but for
        that of scores and memory writes."""
        L, state, out = self.o["segment"], self.new_state(), []
        tables = self.tables(ids.shape[1])
        for a in range(0, ids.shape[1], L):
            x, live = self.base.embed_tokens(ids[:, a : a + L]), a + L > grad_from
            for i in range(len(state)):
                x = self.layer(i, x, state[i], tables)
                x = x if live else x.detach()
            if live:
                out.append(self.base.logits(self.base.norm(x)))
        if self.soft:
            self.kept = torch.stack([torch.sigmoid(s.slots.score).mean() for s in state if s.slots is not None]).mean()
        return torch.cat(out, 1)

    def penalty(self, kept):
        """What a share of kept tokens above keep costs."""
        return self.o.get("keep_weight", 10.0) * F.relu(kept - self.o.get("keep", 0.15))


def choose(candidates, slots):
    """The candidates that stay in the slots, and the others. Of equal ranks the earlier token stays."""
    rank = (candidates.score.detach().float() * 1024).round()
    order = (-rank).sort(dim=-1, stable=True).indices
    kept, dropped = order[..., :slots].sort(-1).values, order[..., slots:].sort(-1).values
    return candidates.pick(kept), candidates.pick(dropped)
