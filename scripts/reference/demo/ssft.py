"""How the table of docs/method.md, section 6, was measured: trains blocks on the demo base and asks for far facts.

Usage: ssft.py SECONDS_SSFT SECONDS_DISTILL OUT VARIANT...

Needs a GPU, PyTorch 2.5 or newer and the package tokenizers. It makes its data first, then trains each variant in a
process of its own; a variant trains for the seconds given or for its steps, whatever ends first. The table was
measured by an earlier form of this program, whose memory stayed empty while slots were soft.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from multiprocessing import Pool

import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import world  # noqa: E402
from edgeinfinite import EdgeInfinite  # noqa: E402
from llama import Config, Llama  # noqa: E402
from tensors import load_file  # noqa: E402
from transfer import transfer  # noqa: E402

DATA = os.path.join(tempfile.gettempdir(), "ssft-data.npz")
BASE = os.path.join(HERE, "..", "..", "..", "model", "demo")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIZES = dict(sink=8, window=256, segment=256)
SLOTS = dict(gate="slot", feature="elu", update="linear", retain=256)
BOTH = dict(gate="slot", feature="hedgehog", update="linear", retain=256, both=True, g0=-4.0)

# A block, with how it is distilled (rate, steps, batch, tokens) and trained by S-SFT (ditto, and soft slots).
DISTILL_LONG = dict(rate=1e-2, batch=16, tokens=2048)
DISTILL_SHORT = dict(rate=1e-2, steps=150, batch=4, tokens=1024)
SOFT = dict(soft=True, batch=8)
HARD = dict(batch=32)
VARIANTS = {
    "window": (dict(gate="none", feature="elu", update="linear"), None, None),
    "infini": (dict(gate="scalar", feature="elu", update="linear", g0=-2.0), None, HARD),
    "vector": (dict(gate="vector", feature="elu", update="linear", map=True, g0=-2.0), None, HARD),
    "query-write": (dict(gate="query", feature="hedgehog", update="linear", write=True, g0=-2.0), None, HARD),
    "slots256-distill": (dict(SLOTS, keep=0.2), DISTILL_SHORT, None),
    "slots512-distill": (dict(SLOTS, retain=512, keep=0.2), DISTILL_LONG, None),
    "slots128-distill": (dict(SLOTS, retain=128, keep=0.07), DISTILL_LONG, None),
    "both-distill": (BOTH, dict(DISTILL_LONG, rate=3e-3), None),
    "slots256-soft": (SLOTS, None, SOFT),
    "both-soft": (BOTH, None, SOFT),
    "slots256-soft-100": (SLOTS, None, dict(soft=True, batch=1, steps=100, rate=2e-2)),
    "slots256-distill-60": (dict(SLOTS, keep=0.2), dict(rate=2e-2, steps=60, batch=2, tokens=768), None),
    "slots256-distill-100-soft": (
        dict(SLOTS, keep=0.2),
        dict(DISTILL_SHORT, steps=100, batch=2),
        dict(soft=True, batch=32),
    ),
    "slots256-distill-soft": (dict(SLOTS, keep=0.2), DISTILL_SHORT, SOFT),
    "slots256-hard": (SLOTS, None, HARD),
    "slots256-distill-hard": (dict(SLOTS, keep=0.2), DISTILL_SHORT, HARD),
}


# Data


def sample(job):
    """n samples of N tokens, conversations and then turns of questions (or a single one): token ids, which of them are
    answers, and of a single question how many tokens before the answer its fact stands."""
    from tokenizers import Tokenizer

    seed, n, N, multi = job
    r, tk = random.Random(seed), Tokenizer.from_file(os.path.join(BASE, "tokenizer.json"))

    def encode(text):
        return tk.encode(text).ids

    head = encode(f"<|user|>\n{world.W['prompt']['header']}\n\n")
    ids, mask, distance = np.zeros((n, N), np.int32), np.zeros((n, N), bool), np.zeros(n, np.int32)
    for i in range(n):
        lines, questions, fact = conversation(r, encode, head, N, multi)
        text, fact_at = list(head), 0
        for j, line in enumerate(lines):
            if j == fact:
                fact_at = len(text)
            text += line
        for j, (question, answer) in enumerate(questions):
            text += encode(("\n" if j == 0 else "\n<|user|>\n") + question + "<|end|>\n<|assistant|>\n")
            answer = encode(answer + "<|end|>")
            if len(text) + len(answer) > N:
                break
            mask[i, len(text) : len(text) + len(answer)] = True
            distance[i] = len(text) - fact_at
            text += answer
        ids[i, : len(text)] = text[:N]
    return ids, mask, distance


def conversation(r, encode, head, N, multi):
    """Encoded lines that leave room for the questions about them, those questions, and the line of a single one's fact."""
    while True:
        lines, facts, actions, decisions = world.conversation(r, int(N * 3.9), fact_every=r.choice([3.0, 4.0, 6.0]))
        encoded, fact = [encode(line + "\n") for line in lines], None
        if multi:
            questions = world.turns(r, facts, actions, decisions, 6)
        else:
            fact, question, answer = r.choice(facts)
            questions = [("Question: " + question, answer)]
        budget = N - len(head) - sum(len(encode(q + a)) + 8 for q, a in questions) - 8
        kept, used = [], 0
        for line in encoded:
            if used + len(line) > budget:
                break
            kept.append(line)
            used += len(line)
        if multi:
            known = {"Question: " + q for at, q, _ in facts if at < len(kept)}
            questions = [q for q in questions if q[0] in known]
        elif fact >= len(kept):
            continue
        if questions and used > budget - 60:
            return kept, questions, fact


def make_data():
    def build(n, N, multi, seed):
        parts = pool.map(sample, [(seed * 1000 + j, n // 16, N, multi) for j in range(16)])
        return [np.concatenate(x) for x in zip(*parts)]

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with Pool(16) as pool:
        data = dict(zip(("ids", "mask"), build(6400, 2048, True, 1)))
        for N, n in ((2048, 320), (4096, 320), (8192, 160)):
            data.update(zip((f"ids{N}", f"mask{N}", f"distance{N}"), build(n, N, False, 77 + N)))
    np.savez(DATA, **data)


# Training


def optimizer(m, rate):
    """AdamW with a rate of 1e-2 for gates, scores and biases, which do not move with that of the matrices."""
    named = [(n.split(".")[-1], p) for n, p in m.mem.named_parameters()]
    matrices = [p for n, p in named if n in ("wq", "wk", "map", "weight")]
    small = [p for n, p in named if n not in ("wq", "wk", "map", "weight")]
    groups = [dict(params=p, lr=lr, base=lr, weight_decay=0.0) for p, lr in ((matrices, rate), (small, 1e-2)) if p]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))


def train(m, seconds, options, rate, warmup, loss):
    """Steps of loss(batch rows) until the steps or the seconds are over."""
    opt, start, steps, it = optimizer(m, options.get("rate", rate)), time.time(), options.get("steps"), 0
    while time.time() - start < seconds and not (steps and it >= steps):
        done = it / steps if steps else (time.time() - start) / seconds
        for g in opt.param_groups:
            g["lr"] = g["base"] * min(1, (it + 1) / warmup) * max(0.05, 1 - done)
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(m.mem.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        it += 1
    return it


def batch(data, n, tokens):
    rows = torch.randint(0, len(data["ids"]), (n,))
    ids, mask = (torch.from_numpy(data[k][rows, -tokens:]).to(DEVICE) for k in ("ids", "mask"))
    return ids.long(), mask


def distill(m, data, seconds, o):
    def loss():
        ids, mask = batch(data, o["batch"], o["tokens"])
        weights = torch.full(ids.shape, 0.2, device=DEVICE)  # tokens that predict answers weigh twenty times as much
        weights[:, 1:] += 4.0 * mask[:, 1:]
        weights[:, :-1] += 4.0 * mask[:, 1:]
        losses, kept = transfer(m, ids, weights)
        return sum(losses) + sum(m.penalty(share) for share in kept if share is not None)

    return train(m, seconds, o, 3e-3, 30, loss)


def ssft(m, data, seconds, o):
    def loss():
        ids, mask = batch(data, o["batch"], data["ids"].shape[1])
        logits = m(ids, grad_from=ids.shape[1] - 512)[:, :-1]
        first = ids.shape[1] - logits.shape[1]
        wanted = mask[:, first:]
        value = F.cross_entropy(logits[wanted], ids[:, first:][wanted])
        return value + m.penalty(m.kept) if m.soft else value

    m.soft = bool(o.get("soft"))
    steps = train(m, seconds, o, 2e-3, 20, loss)
    m.soft = False
    return steps


# Evaluation


def exact_match(predict, data, N):
    """Share of right answers to questions whose fact is far and near, and how many are far. Predicting each token of
    the answer from those before it equals greedy decoding as long as all are right."""
    ids, mask = (torch.from_numpy(data[f"{k}{N}"]).to(DEVICE) for k in ("ids", "mask"))
    right = []
    with torch.no_grad():
        for x, k in zip(ids.long().split(16), mask.split(16)):
            got = predict(x)[:, :-1].argmax(-1)
            first = N - got.shape[1]
            right += ((got == x[:, first:]) | ~k[:, first:]).all(1).tolist()
    right, distance = np.array(right), data[f"distance{N}"]
    far, near = right[distance > 600], right[distance < 250]
    return dict(far=far.mean(), near=near.mean() if len(near) else None, far_questions=len(far))


def load_base():
    base = Llama(Config())
    weights = load_file(os.path.join(BASE, "model.safetensors"))
    base.load_state_dict({n.removeprefix("model."): x.float() for n, x in weights.items()})
    return base.to(DEVICE).eval()


def run(name, seconds, distill_seconds, out):
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    torch.set_num_threads(1)
    data, base = np.load(DATA), load_base()
    data = {k: data[k] for k in data}
    if name == "full":
        for N in (2048, 4096):
            print("full", N, exact_match(base, data, N), flush=True)
        return
    block, distillation, training = VARIANTS[name]
    m = EdgeInfinite(base, {**SIZES, **block}).to(DEVICE)
    if distillation:
        print(name, distill(m, data, distill_seconds, distillation), "steps of distillation", flush=True)
    if training:
        print(name, ssft(m, data, seconds, training), "steps of S-SFT", flush=True)
    if m.mem is not None:
        torch.save(m.mem.state_dict(), os.path.join(out, name + ".pt"))
    for N in (2048, 4096, 8192):
        print(name, N, exact_match(lambda x: m(x, grad_from=N - 512), data, N), flush=True)


def main():
    if sys.argv[1:2] == ["worker"]:
        run(sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), sys.argv[5])
        return
    seconds, distill_seconds, out, names = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    make_data()
    workers = [
        subprocess.Popen([sys.executable, __file__, "worker", n, seconds, distill_seconds, out])
        for n in ["full", *names]
    ]
    for w in workers:
        w.wait()


if __name__ == "__main__":
    main()
