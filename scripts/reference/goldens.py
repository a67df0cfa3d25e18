#!/usr/bin/env python3
"""Makes and checks the goldens of internal/testfiles/testdata. See README.md beside this file.

  goldens.py edge [NAME...]      write edge/NAME.safetensors (default: all of them)
  goldens.py check-edge OLD_DIR  make them in memory and say how far the files of a folder are from them
  goldens.py check-demo          compare demo/golden.safetensors with llama.py
  goldens.py check-stories       compare stories260k's logits with llama.py
"""

import json
import os
import sys

import torch
import torch.nn.functional as F

from edgeinfinite import EdgeInfinite
from llama import Config, Llama
from tensors import load_file, read, save_file
from transfer import transfer

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
GOLDEN = os.path.join(ROOT, "internal", "testfiles", "testdata")

SIZES = Config(vocab=64, dim=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=48)
TOKENS, TRANSFERRED, GRAD_FROM, FIRST_ANSWER = 104, 96, 64, 81  # six segments and a half

# The place of a block in this list is the seed of its weights and text: append only.
BLOCKS = {
    "elu-scalar": dict(gate="scalar", feature="elu", update="linear"),
    "elu-vector-map-delta": dict(gate="vector", feature="elu", update="delta", map=True),
    "hedgehog-query-write": dict(gate="query", feature="hedgehog", update="linear", write=True),
    "hedgehog-mass": dict(gate="mass", feature="hedgehog", update="linear"),
    "elu-slot-map-write": dict(gate="slot", feature="elu", update="linear", map=True, write=True),
    "retain": dict(gate="slot", feature="elu", update="linear", retain=16),
    "retain-memory": dict(gate="slot", feature="hedgehog", update="linear", retain=16, both=True),
    "retain-delta-mass": dict(gate="mass", feature="hedgehog", df=4, update="delta", retain=12, both=True, window=12),
    "slot-layers": dict(gate="slot", feature="elu", update="linear", retain=16, slot_layers=[1]),
    "slot-layers-memory": dict(
        gate="query", feature="hedgehog", update="linear", map=True, retain=16, both=True, slot_layers=[0], window=24
    ),
    "absolute-retain-memory": dict(
        gate="slot", feature="elu", update="linear", retain=16, both=True, positions="absolute"
    ),
    "absolute-query-write": dict(
        gate="query", feature="elu", update="delta", write=True, window=24, positions="absolute"
    ),
    "soft": dict(gate="slot", feature="elu", update="linear", retain=16),
    "soft-memory": dict(gate="slot", feature="hedgehog", update="linear", retain=16, both=True),
}
SHARED = dict(sink=4, window=16, segment=16)
# The penalty is small, so that it does not hide the rest of the gradient.
PENALTY = dict(keep=0.2, keep_weight=0.1)


def build(seed, block):
    """A random base and block, in float64 but with parameters that float32 holds, and a text."""
    torch.manual_seed(10 + seed)
    base = Llama(SIZES)
    with torch.no_grad():
        for p in base.parameters():
            if p.dim() == 2:
                p.mul_(6.0)
            else:
                p.add_(torch.randn_like(p) * 0.1)
    o = {**SHARED, **block}
    m = EdgeInfinite(base, o)
    with torch.no_grad():
        for p in m.mem.parameters():
            p.add_(torch.randn_like(p) * 0.3)
    ids = torch.randint(0, SIZES.vocab, (1, TOKENS), generator=torch.Generator().manual_seed(3 + seed))
    return m.double(), ids


def states(m, ids):
    """Memory and slots of every layer after every whole segment."""
    out, state, L = {}, m.new_state(), m.o["segment"]
    tables = m.tables(TOKENS)
    with torch.no_grad():
        for s in range(TOKENS // L):
            x = m.base.embed_tokens(ids[:, s * L : (s + 1) * L])
            for i, st in enumerate(state):
                x = m.layer(i, x, st, tables)
            for i, st in enumerate(state):
                if st.memory is not None:
                    out[f"memory.M.{i}.{s}"], out[f"memory.z.{i}.{s}"] = st.memory[0][0], st.memory[1][0]
                if st.slots is not None:
                    out[f"slots.k.{i}.{s}"], out[f"slots.score.{i}.{s}"] = st.slots.k[0], st.slots.score[0]
    return out


def gradients(m, loss, prefix):
    m.zero_grad(set_to_none=True)
    loss.backward()
    grads = {prefix + name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in m.mem.named_parameters()}
    m.zero_grad(set_to_none=True)
    return grads


def answers(m, ids):
    """Mean cross-entropy of the last tokens."""
    logits = m(ids, grad_from=GRAD_FROM)[0]
    return F.cross_entropy(logits[FIRST_ANSWER - 1 - GRAD_FROM : -1], ids[0, FIRST_ANSWER:])


def soft(m, ids):
    """S-SFT with soft slots: logits, cross-entropy, mean σ(ρ), and gradients with the penalty."""
    m.soft = True
    with torch.no_grad():
        t = {"soft.logits": m(ids)[0]}
    loss = answers(m, ids)
    t.update(gradients(m, loss + m.penalty(m.kept), "soft.grad."))
    m.soft = False
    return {**t, "soft.loss": loss.view(1), "soft.kept": m.kept.view(1)}


def distilled(m, ids):
    """Attention transfer of the first segments: each trained layer's relative error, and gradients of the sum. The
    penalty counts for each layer; keep is 1 where the options do not say."""
    losses, kept = transfer(m, ids[:, :TRANSFERRED])
    total, t = 0.0, {}
    for i, (loss, share) in enumerate(zip(losses, kept)):
        block = m.mem[i]
        if not block.has_memory and not block.slots:
            continue
        t[f"distill.loss.{i}"] = loss.view(1)
        total = total + loss
        if share is not None and "keep" in m.o:
            total, t[f"distill.kept.{i}"] = total + m.penalty(share), share.view(1)
    t.update(gradients(m, total, "distill.grad."))
    return t


FIRST_BLOCKS = 7  # the oldest goldens: hard slots, no penalty, no distillation by the delta rule


def golden(name):
    seed = list(BLOCKS).index(name)
    block = dict(BLOCKS[name])
    if seed >= FIRST_BLOCKS and block.get("retain"):
        block.update(PENALTY)
    m, ids = build(seed, block)
    t = {"input_ids": ids[0]}
    with torch.no_grad():
        t["logits"] = m(ids)[0]
    t.update(states(m, ids))
    loss = answers(m, ids)
    t["loss"] = loss.view(1)
    t.update({"param." + n: p for n, p in m.mem.named_parameters()})
    t.update(gradients(m, loss, "grad."))
    if "keep" in block:
        t.update(soft(m, ids))
    if seed >= FIRST_BLOCKS or block["update"] == "linear":
        t.update(distilled(m, ids))
    t.update({"base.model." + n: p for n, p in m.base.state_dict().items()})
    t = {n: x.detach() if x.dtype == torch.int64 else x.detach().float() for n, x in t.items()}
    return t, {n: str(x) for n, x in m.o.items()}


def check_edge(folder):
    for name in BLOCKS:
        path = os.path.join(folder, name + ".safetensors")
        if not os.path.exists(path):
            print(f"{name}: not there")
            continue
        (new, meta), (old, was) = golden(name), read(path)
        if set(new) != set(old) or meta != was:
            print(f"{name}: only in one of them: {sorted(set(new) ^ set(old))}; {meta} and {was}")
        worst = max((relative(new[n], old[n]), n) for n in set(new) & set(old))
        print(f"{name}: {worst[1]} is off by {worst[0]:.2g} of its norm")


def relative(a, b):
    a, b = a.double(), b.double()
    return ((a - b).norm() / b.norm().clamp(min=1e-6)).item()


def load_base(folder):
    with open(os.path.join(folder, "config.json")) as f:
        c = json.load(f)
    base = Llama(
        Config(
            vocab=c["vocab_size"],
            dim=c["hidden_size"],
            layers=c["num_hidden_layers"],
            heads=c["num_attention_heads"],
            kv_heads=c["num_key_value_heads"],
            head_dim=c["head_dim"],
            ffn=c["intermediate_size"],
            theta=c["rope_theta"],
            eps=c["rms_norm_eps"],
            ctx=c["max_position_embeddings"],
        )
    )
    weights = load_file(os.path.join(folder, "model.safetensors"))
    base.load_state_dict({n.removeprefix("model."): x.float() for n, x in weights.items() if n != "lm_head.weight"})
    return base.double()


def check_demo():
    t, base = load_file(os.path.join(GOLDEN, "demo", "golden.safetensors")), load_base(
        os.path.join(ROOT, "model", "demo")
    )
    prompt, want = t["input_ids"].view(1, -1), t["greedy"].view(1, -1)
    with torch.no_grad():
        logits = base(torch.cat([prompt, want], 1))[0]
    n = prompt.shape[1]
    print(f"demo: logits are off by at most {(logits[n - 64:n] - t['logits_last64']).abs().max():.2g}")
    same = logits[n - 1 : -1].argmax(-1).eq(want[0])
    print(f"demo: {int(same.sum())} of {len(same)} greedy tokens are the same")


def check_stories():
    folder = os.path.join(GOLDEN, "stories260k")
    base = load_base(os.path.join(folder, "model"))
    with open(os.path.join(folder, "texts.ids")) as f:
        ids = torch.tensor([[int(x) for x in f.readline().split()]])
    with open(os.path.join(folder, "logits_text0_f32.bin"), "rb") as f:
        want = torch.frombuffer(bytearray(f.read()), dtype=torch.float32).view(-1, base.c.vocab)
    with torch.no_grad():
        got = base(ids[:, : len(want)])[0]
    print(f"stories260k: logits are off by at most {(got - want).abs().max():.2g}")


def main():
    command, rest = sys.argv[1:2], sys.argv[2:]
    torch.set_num_threads(1)  # sums in one order
    if command == ["edge"]:
        for name in rest or BLOCKS:
            tensors, metadata = golden(name)
            save_file(tensors, os.path.join(GOLDEN, "edge", name + ".safetensors"), metadata)
            print(
                name,
                "loss %.6f" % tensors["loss"].item(),
                {n: "%.1e" % x.norm() for n, x in tensors.items() if "grad.0." in n},
            )
    elif command == ["check-edge"]:
        check_edge(rest[0])
    elif command == ["check-demo"]:
        check_demo()
    elif command == ["check-stories"]:
        check_stories()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
