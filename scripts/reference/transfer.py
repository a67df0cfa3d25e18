"""Attention transfer (docs/method.md, section 5): every layer's block is fitted to the frozen base's own attention."""

import torch

from edgeinfinite import State
from llama import causal_attention, rotate


def student(m, i, q, k, v, h, tables):
    """The block's attention in the segments from the third on, projected: [B,n,L,D], and mean σ(ρ) (None without
    slots). q [B,H,N,d], k and v [B,K,N,d] before rotary embedding and h [B,N,D] are what the base computed."""
    L, S, W, N = m.o["segment"], m.o["sink"], m.o["window"], q.shape[2]
    block, seen, state, out, gone = m.mem[i], m.tokens(i, h, k, v, 0), State(), [], S
    at = torch.arange(N, device=q.device)
    for a in range(0, N, L):
        left = max(S, a - W)  # tokens before this have left the window, those before S are sinks
        if left > gone and block.has_memory:
            state.memory = block.write(state.memory, seen.part(gone, left))
        gone = left
        if a < 2 * L:
            continue
        text, places, slots = seen.part(0, a + L), at[: a + L], None
        if m.o.get("positions") != "absolute":  # the sinks stand right before the window, all others as in the text
            places = torch.where(places < S, places + max(0, a - S - W), places)
        if block.slots:
            slots = text.score[:, :, S:left]
        else:
            keep = torch.cat([at[:S], at[left : a + L]])
            text, places = text.pick(keep.expand(*text.index.shape[:2], -1)), places[keep]
        o = m.visible(i, q[:, :, a : a + L], text, places, slots, S, state.memory, tables)
        out.append(m.base.layers[i].self_attn.project(o))
    return torch.stack(out, 1), torch.sigmoid(seen.score).mean() if block.slots else None


def transfer(m, ids, weights=None):
    """Relative error of each layer, and its mean σ(ρ) (None without slots), over ids [B,N] with N a multiple of L;
    weights [B,N] are the tokens' importance."""
    base, (B, N), L = m.base, ids.shape, m.o["segment"]
    tables = m.tables(N)
    x, losses, kept, soft = base.embed_tokens(ids), [], [], m.soft
    m.soft = True
    for i, layer in enumerate(base.layers):
        with torch.no_grad():
            h = layer.input_layernorm(x)
            q, k, v = layer.self_attn.qkv(h)
            want = layer.self_attn.project(
                causal_attention(rotate(q, *tables).to(v.dtype), rotate(k, *tables).to(v.dtype), v)
            )
            x = layer.after_attention(x, want)
            want = want.view(B, N // L, L, -1)[:, 2:]
            w = 1 if weights is None else weights.view(B, N // L, L)[:, 2:]
        got, share = student(m, i, q, k, v, h, tables)
        losses.append((((got - want).pow(2).sum(-1)) * w).sum() / (want.pow(2).sum(-1) * w).sum())
        kept.append(share)
    m.soft = soft
    return losses, kept
