"""The EdgeInfinite block in PyTorch on the CPU: the peer that `eisft bench` is compared with. Same base, same
shapes, same mathematics: sinks 8, slots 256, window 256, segments of 256, a hedgehog memory as one more column of
the softmax, compact positions.

usage: python3 bench.py MODEL_FOLDER RUNS JSON_FILE [CASE_PREFIX]

Writes the cases that `eisft bench --json` writes: name, median seconds, tokens."""
import json
import os
import statistics
import struct
import sys
import time

import torch
import torch.nn.functional as F

SINK, SLOTS, WINDOW, SEGMENT, ANSWER, DECODED = 8, 256, 256, 256, 63, 64


def load(path):
    """Tensors of a safetensors file in float32."""
    with open(path, "rb") as f:
        raw = f.read()
    size = struct.unpack("<Q", raw[:8])[0]
    dtypes = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    out = {}
    for name, t in json.loads(raw[8 : 8 + size]).items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            data = bytearray(raw[8 + size + a : 8 + size + b])
            out[name] = torch.frombuffer(data, dtype=dtypes[t["dtype"]]).reshape(t["shape"]).float()
    return out


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


def phi(x, a):
    y = x @ a
    return torch.cat([y.softmax(-1), (-y).softmax(-1)], -1)


class Layer:
    """A frozen layer and its trained parameters."""

    def __init__(self, w, i, c):
        part = lambda name: w[f"model.layers.{i}.{name}.weight"]
        self.q, self.k, self.v, self.o = (part(f"self_attn.{n}_proj") for n in "qkvo")
        self.gate, self.up, self.down = (part(f"mlp.{n}_proj") for n in ("gate", "up", "down"))
        self.norm, self.ffn_norm = part("input_layernorm"), part("post_attention_layernorm")
        H, K, d = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        eye = torch.eye(d)
        self.params = [eye.repeat(H, 1, 1), eye.repeat(K, 1, 1), torch.zeros(H, d), torch.full((H, 1), -4.0),
                       torch.zeros(K, c["hidden_size"]), torch.zeros(K)]
        for p in self.params:
            p.requires_grad_()
        self.fq, self.fk, self.u, self.b, self.rw, self.rc = self.params


class State:
    """What a layer keeps: keys before rotary embedding and values [K,n,d], scores [K,n], memory [K,F,d], [K,F]."""

    def __init__(self):
        self.k = self.v = self.score = self.memory = None
        self.slots = 0

    def append(self, k, v, score):
        new = k.detach(), v.detach(), score
        old = self.k, self.v, self.score
        self.k, self.v, self.score = new if self.k is None else (torch.cat(t, 1) for t in zip(old, new))

    def commit(self, layer, soft):
        """Ends a segment: what leaves the window is for the slots, and what leaves these for the memory."""
        end = self.k.shape[1] - WINDOW
        if end <= SINK + self.slots:
            return
        k, v, score = self.k[:, SINK:end], self.v[:, SINK:end], self.score[:, SINK:end]
        n = k.shape[1]
        if soft:
            keep = torch.arange(n).expand(k.shape[0], n)
            dropped = (torch.arange(n) >= self.slots).expand(k.shape[0], n)
        else:
            keep = score.topk(min(SLOTS, n), -1).indices.sort(-1).values
            dropped = torch.ones_like(score, dtype=torch.bool).scatter(1, keep, False)
        f = phi(k, layer.fk) * (torch.sigmoid(-score) * dropped).unsqueeze(-1)
        new = f.transpose(1, 2) @ v, f.sum(1)
        self.memory = new if self.memory is None else tuple(a + b for a, b in zip(self.memory, new))
        self.slots = keep.shape[1]
        pick = lambda x: x.gather(1, keep.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
        join = lambda x, kept: torch.cat([x[:, :SINK], kept, x[:, end:]], 1)
        self.k, self.v = join(self.k, pick(k)), join(self.v, pick(v))
        self.score = join(self.score, score.gather(1, keep))


class Model:
    def __init__(self, folder):
        with open(folder + "/config.json") as f:
            self.c = c = json.load(f)
        w = load(folder + "/model.safetensors")
        self.embed, self.norm = w["model.embed_tokens.weight"], w["model.norm.weight"]
        self.head = w.get("lm_head.weight", self.embed)
        self.layers = [Layer(w, i, c) for i in range(c["num_hidden_layers"])]
        self.H, self.K, self.d = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        self.cos, self.sin = self.tables(torch.arange(8192))

    def tables(self, pos):
        inv = self.c["rope_theta"] ** (-torch.arange(0, self.d, 2).float() / self.d)
        angle = torch.cat([pos[:, None].float() * inv] * 2, -1)
        return angle.cos(), angle.sin()

    def rms(self, x, w):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.c["rms_norm_eps"]) * w

    def qkv(self, l, h):
        heads = lambda w, n: F.linear(h, w).view(-1, n, self.d).transpose(0, 1)
        return heads(l.q, self.H), heads(l.k, self.K), heads(l.v, self.K)

    def ffn(self, l, x):
        h = self.rms(x, l.ffn_norm)
        return x + F.linear(F.silu(F.linear(h, l.gate)) * F.linear(h, l.up), l.down)

    def project(self, l, y):
        return F.linear(y.transpose(0, 1).reshape(y.shape[1], -1), l.o)

    def attend(self, l, q, k, v, cos, sin, bias, at, memory):
        """Attention of the last T of n tokens: q [H,T,d], k and v [K,n,d], bias [K,N] of the keys from `at` on."""
        T, n, r = q.shape[1], k.shape[1], self.H // self.K
        k = rotate(k, cos[:n], sin[:n]).repeat_interleave(r, 0)
        s = rotate(q, cos[n - T : n], sin[n - T : n]) @ k.transpose(1, 2) * self.d**-0.5
        s = s.masked_fill(~torch.ones(T, n, dtype=torch.bool).tril(n - T), -1e30)
        if bias is not None:
            bias = bias.repeat_interleave(r, 0).unsqueeze(1)
            s = torch.cat([s[..., :at], s[..., at : at + bias.shape[-1]] + bias, s[..., at + bias.shape[-1] :]], -1)
        v = v.repeat_interleave(r, 0)
        if memory is None:
            return s.softmax(-1) @ v
        M, z = (x.repeat_interleave(r, 0) for x in memory)
        f = phi(q, l.fq)
        read = (f @ M) / (f @ z.unsqueeze(-1) + 1e-6)
        p = torch.cat([s, (torch.einsum("htd,hd->ht", q, l.u) * self.d**-0.5 + l.b).unsqueeze(-1)], -1).softmax(-1)
        return p[..., :-1] @ v + p[..., -1:] * read

    def layer(self, l, x, st, soft):
        h = self.rms(x, l.norm)
        q, k, v = self.qkv(l, h)
        with torch.set_grad_enabled(self.training):
            score = F.linear(h.detach(), l.rw, l.rc).t()
        st.append(k, v, score)
        bias = None
        if st.slots:
            bias = F.logsigmoid(st.score[:, SINK : SINK + st.slots])
            bias = bias if soft else bias - bias.detach()  # straight-through
        k, v = (torch.cat([a[:, : a.shape[1] - b.shape[1]], b], 1) for a, b in ((st.k, k), (st.v, v)))
        y = self.attend(l, q, k, v, self.cos, self.sin, bias, SINK, st.memory)
        return self.ffn(l, x + self.project(l, y))

    def stream(self, ids, states, logits_from, soft=False, training=False):
        """Logits from a token on; earlier segments carry no graph but that of what they write."""
        self.training, out = training, []
        for a in range(0, len(ids), SEGMENT):
            live = a + SEGMENT > logits_from
            x = self.embed[ids[a : a + SEGMENT]]
            with torch.set_grad_enabled(live and training):
                for l, st in zip(self.layers, states):
                    x = self.layer(l, x, st, soft)
                if live:
                    out.append(F.linear(self.rms(x, self.norm), self.head))
            if len(x) == SEGMENT:
                with torch.set_grad_enabled(training):
                    for l, st in zip(self.layers, states):
                        st.commit(l, soft)
        return torch.cat(out)

    def full(self, ids):
        x = self.embed[ids]
        for l in self.layers:
            q, k, v = self.qkv(l, self.rms(x, l.norm))
            x = self.ffn(l, x + self.project(l, self.attend(l, q, k, v, self.cos, self.sin, None, 0, None)))
        return F.linear(self.rms(x, self.norm), self.head)

    def distill(self, ids):
        """Loss of attention transfer: each layer's block against the base's own attention, from segment 2 on."""
        N, x, loss = len(ids), self.embed[ids], 0.0
        for l in self.layers:
            with torch.no_grad():
                h = self.rms(x, l.norm)
                q, k, v = self.qkv(l, h)
                want = self.project(l, self.attend(l, q, k, v, self.cos, self.sin, None, 0, None))
                x = self.ffn(l, x + want)
            score = F.linear(h, l.rw, l.rc).t()
            f = phi(k, l.fk) * torch.sigmoid(-score).unsqueeze(-1)
            error = 0.0
            for a in range(2 * SEGMENT, N, SEGMENT):
                b, gone = a + SEGMENT, a - WINDOW
                pos = torch.arange(b) - (a - SINK - WINDOW)
                pos[:SINK] = torch.arange(SINK)
                fg = f[:, SINK:gone]
                y = self.attend(l, q[:, a:b], k[:, :b], v[:, :b], *self.tables(pos), F.logsigmoid(score[:, SINK:gone]),
                                SINK, (fg.transpose(1, 2) @ v[:, SINK:gone], fg.sum(1)))
                error = error + (self.project(l, y) - want[a:b]).pow(2).sum()
            loss = loss + error / want[2 * SEGMENT :].pow(2).sum() + torch.sigmoid(score).mean()
        return loss


class Bench:
    def __init__(self, folder, runs, prefix):
        self.m, self.runs, self.prefix, self.results = Model(folder), runs, prefix, []
        self.ids = torch.randint(4, self.m.c["vocab_size"], (8192,), generator=torch.Generator().manual_seed(0))

    def states(self):
        return [State() for _ in self.m.layers]

    def time(self, name, tokens, run, prepare=lambda: None):
        if not name.startswith(self.prefix):
            return
        seconds = []
        for _ in range(self.runs + 1):
            given = prepare()
            start = time.perf_counter()
            run() if given is None else run(given)
            seconds.append(time.perf_counter() - start)
            for l in self.m.layers:
                for p in l.params:
                    p.grad = None
        self.results.append({"name": name, "seconds": statistics.median(seconds[1:]), "tokens": tokens})

    def sft(self, soft):
        states, x = self.states(), self.ids[:2048]
        y = self.m.stream(x, states, 2048 - SEGMENT, soft, training=True)
        loss = F.cross_entropy(y[-ANSWER - 1 : -1], x[-ANSWER:])
        if soft:
            loss = loss + torch.stack([torch.sigmoid(s.score[:, SINK : SINK + s.slots]).mean() for s in states]).mean()
        loss.backward()

    def read(self):
        """States whose slots and window are full, with room for DECODED more tokens."""
        states, n = self.states(), 6 * SEGMENT - DECODED
        with torch.no_grad():
            self.m.stream(self.ids[:n], states, n - 1)
        return states

    def decode(self, states):
        token = self.ids[:1]
        with torch.no_grad():
            for _ in range(DECODED):
                x = self.m.embed[token]
                for l, st in zip(self.m.layers, states):
                    x = self.m.layer(l, x, st, False)
                token = F.linear(self.m.rms(x, self.m.norm), self.m.head).argmax(-1)

    def run(self):
        for n in (8192, 2048):
            self.time(f"stream-forward {n}", n, lambda: self.m.stream(self.ids[:n], self.states(), n - SEGMENT))
        with torch.no_grad():
            self.time("full-forward 2048", 2048, lambda: self.m.full(self.ids[:2048]))
        self.time("s-sft step soft 1x2048", 2048, lambda: self.sft(True))
        self.time("s-sft step hard 1x2048", 2048, lambda: self.sft(False))
        self.time("distill step 1x1024", 1024, lambda: self.m.distill(self.ids[:1024]).backward())
        self.time("decode one by one at a full cache", DECODED, self.decode, self.read)


if __name__ == "__main__":
    folder, runs, path, prefix = (sys.argv[1:] + [""])[:4]
    torch.set_num_threads(os.cpu_count())
    bench = Bench(folder, int(runs), prefix)
    bench.run()
    with open(path, "w") as f:
        json.dump({"torch": torch.__version__, "threads": torch.get_num_threads(), "cases": bench.results}, f)
