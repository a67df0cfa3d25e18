#!/usr/bin/env python3
"""Make tiny random Phi-3 and Gemma 3 checkpoints and what they compute, for model's tests.

Everything is computed in float64 from the published formulas: Phi-3 (arXiv 2404.14219), LongRoPE
(arXiv 2402.13753), Gemma 3 (arXiv 2503.19786), RoFormer (arXiv 2104.09864), with the tensor names
and configuration keys of transformers. Needs python3-numpy.

  families.py                  write phi3 and gemma3 in internal/testfiles/testdata/hf/
  families.py --check DIR...   compare this script with other goldens: folders with config.json,
                               model.safetensors and golden.safetensors of transformers
"""

import json
import math
import os
import struct
import sys

import numpy as np

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "internal", "testfiles", "testdata", "hf")
TOKENS = 80

PHI3 = {
    "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "dtype": "float32",
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 56, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu", "rms_norm_eps": 1e-5,
    "max_position_embeddings": 512, "original_max_position_embeddings": 128, "sliding_window": 23,
    "tie_word_embeddings": False, "partial_rotary_factor": 0.75, "rope_theta": 10000.0,
    "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.1, 1.25, 1.5, 2.0, 2.5],
                     "long_factor": [1.0, 2.0, 3.0, 4.0, 6.0, 8.0]},
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}
GEMMA3 = {
    "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "dtype": "float32",
    "vocab_size": 96, "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 16,
    "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6, "max_position_embeddings": 512,
    "query_pre_attn_scalar": 24, "sliding_window": 11, "sliding_window_pattern": 2,
    "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    "tie_word_embeddings": True, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
}


# The model


def rms_norm(x, weight, eps, plus_one):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * (weight + plus_one)


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def inverse_frequencies(rope, dim, original):
    """Frequencies and attention factor of a sequence within the original length."""
    inv = 1.0 / rope.get("rope_theta", 10000.0) ** (np.arange(0, dim, 2) / dim)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return inv, 1.0
    if kind == "linear":
        return inv / rope["factor"], 1.0
    if kind == "longrope":
        scale = rope["factor"]  # the extended length over the original one
        return inv / np.array(rope["short_factor"]), math.sqrt(1 + math.log(scale) / math.log(original))
    if kind == "llama3":
        turns = rope["original_max_position_embeddings"] * inv / (2 * math.pi)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        keep = np.clip((turns - low) / (high - low), 0, 1)
        return keep * inv + (1 - keep) * inv / rope["factor"], 1.0
    raise ValueError(kind)


def rotate(x, inv, factor):
    """x [heads, tokens, d]: the first 2·len(inv) dimensions of each head turn."""
    angle = np.arange(x.shape[1])[:, None] * inv
    cos, sin, m = np.cos(angle) * factor, np.sin(angle) * factor, len(inv)
    a, b, rest = x[..., :m], x[..., m : 2 * m], x[..., 2 * m :]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin, rest], -1)


def attend(q, k, v, window):
    """q [H,T,d], k and v [K,T,d] to [T,H·d]; a query sees the last window keys (None: all before it)."""
    heads, tokens, d = q.shape
    group = heads // k.shape[0]
    distance = np.arange(tokens)[:, None] - np.arange(tokens)
    hidden = (distance < 0) | (distance >= (window or tokens))
    out = [softmax(np.where(hidden, -np.inf, q[h] @ k[h // group].T)) @ v[h // group] for h in range(heads)]
    return np.concatenate(out, -1)


def forward(c, w, ids):
    """Hidden states (embeddings, each layer's output, the last one after the final norm) and logits."""
    gemma, phi = c["model_type"] == "gemma3_text", c["model_type"] == "phi3"
    heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
    d = c.get("head_dim") or c["hidden_size"] // heads
    scale = (c["query_pre_attn_scalar"] if gemma else d) ** -0.5
    act = gelu_tanh if gemma else silu

    def norm(name, x):
        return rms_norm(x, w[name + ".weight"], c["rms_norm_eps"], 1 if gemma else 0)

    def linear(name, x):
        return x @ w[name + ".weight"].T + w.get(name + ".bias", 0)

    def split(x, n):
        return x.reshape(len(ids), n, d).transpose(1, 0, 2)

    def attention(p, x, rope, window):
        if phi:
            q, k, v = np.split(linear(p + "qkv_proj", x), [heads * d, (heads + kv) * d], axis=-1)
        else:
            q, k, v = (linear(p + name, x) for name in ("q_proj", "k_proj", "v_proj"))
        q, k, v = split(q, heads), split(k, kv), split(v, kv)
        if p + "q_norm.weight" in w:
            q, k = norm(p + "q_norm", q), norm(p + "k_norm", k)
        return linear(p + "o_proj", attend(rotate(q, *rope) * scale, rotate(k, *rope), v, window))

    def feed_forward(p, x):
        if phi:
            gate, up = np.split(linear(p + "gate_up_proj", x), 2, axis=-1)
        else:
            gate, up = linear(p + "gate_proj", x), linear(p + "up_proj", x)
        return linear(p + "down_proj", act(gate) * up)

    x = w["model.embed_tokens.weight"][ids] * (math.sqrt(c["hidden_size"]) if gemma else 1)
    hidden = [x]
    for i in range(c["num_hidden_layers"]):
        p, (rope, window) = f"model.layers.{i}.", layer_kind(c, i, d)
        a = attention(p + "self_attn.", norm(p + "input_layernorm", x), rope, window)
        if gemma:
            x = x + norm(p + "post_attention_layernorm", a)
            f = feed_forward(p + "mlp.", norm(p + "pre_feedforward_layernorm", x))
            x = x + norm(p + "post_feedforward_layernorm", f)
        else:
            x = x + a
            x = x + feed_forward(p + "mlp.", norm(p + "post_attention_layernorm", x))
        hidden.append(x)
    hidden[-1] = norm("model.norm", x)
    return hidden, hidden[-1] @ w["model.embed_tokens.weight" if c["tie_word_embeddings"] else "lm_head.weight"].T


def layer_kind(c, i, d):
    """Rotary frequencies and sliding window of layer i."""
    if c["model_type"] == "gemma3_text":
        if (i + 1) % c["sliding_window_pattern"]:
            return inverse_frequencies({"rope_theta": c["rope_local_base_freq"]}, d, None), c["sliding_window"]
        return inverse_frequencies({"rope_theta": c["rope_theta"], **c["rope_scaling"]}, d, None), None
    if c["model_type"] == "phi3":
        original = c["original_max_position_embeddings"]
        rope = {"rope_theta": c["rope_theta"], "factor": c["max_position_embeddings"] / original, **c["rope_scaling"]}
        return inverse_frequencies(rope, int(d * c["partial_rotary_factor"]), original), c["sliding_window"]
    return inverse_frequencies(c["rope_parameters"], d, None), c.get("sliding_window")


# Weights


def shapes(c):
    """Names and shapes of a Phi-3 or Gemma 3 checkpoint."""
    D, F, heads, kv = c["hidden_size"], c["intermediate_size"], c["num_attention_heads"], c["num_key_value_heads"]
    d = c.get("head_dim") or D // heads
    yield "model.embed_tokens.weight", (c["vocab_size"], D)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        layer = {"input_layernorm": (D,), "post_attention_layernorm": (D,),
                 "self_attn.o_proj": (D, heads * d), "mlp.down_proj": (D, F)}
        if c["model_type"] == "phi3":
            layer |= {"self_attn.qkv_proj": ((heads + 2 * kv) * d, D), "mlp.gate_up_proj": (2 * F, D)}
        else:
            layer |= {"self_attn.q_proj": (heads * d, D), "self_attn.k_proj": (kv * d, D), "self_attn.v_proj": (kv * d, D),
                      "self_attn.q_norm": (d,), "self_attn.k_norm": (d,), "mlp.gate_proj": (F, D), "mlp.up_proj": (F, D),
                      "pre_feedforward_layernorm": (D,), "post_feedforward_layernorm": (D,)}
        yield from ((p + name + ".weight", shape) for name, shape in layer.items())
    yield "model.norm.weight", (D,)
    if not c["tie_word_embeddings"]:
        yield "lm_head.weight", (c["vocab_size"], D)


def random_weights(c, rng):
    w = {}
    for name, shape in shapes(c):
        if len(shape) == 1:  # Gemma's norms multiply by one more than their weight
            w[name] = rng.normal(0 if c["model_type"] == "gemma3_text" else 1, 0.3, shape)
        else:
            w[name] = rng.normal(0, 1.5 / math.sqrt(shape[1]) if "layers" in name else 0.3, shape)
        w[name] = w[name].astype(np.float32).astype(np.float64)
    return w


# Files

NUMPY = {"F32": "<f4", "F16": "<f2", "I64": "<i8"}


def read(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    out = {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        part = data[slice(*t["data_offsets"])]
        if t["dtype"] == "BF16":
            x = (np.frombuffer(part, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            x = np.frombuffer(part, NUMPY[t["dtype"]])
        out[name] = x.reshape(t["shape"])
    return out


def write(path, tensors):
    header, data = {}, b""
    for name, x in tensors.items():
        kind = "I64" if x.dtype.kind == "i" else "F32"
        part = np.ascontiguousarray(x.astype(NUMPY[kind])).tobytes()
        header[name] = {"dtype": kind, "shape": x.shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def make(name, c, seed):
    rng = np.random.default_rng(seed)
    w, ids = random_weights(c, rng), rng.integers(3, c["vocab_size"], TOKENS)
    save(name, c, w, ids, *forward(c, w, ids))


def save(name, c, w, ids, hidden, logits):
    folder = os.path.join(OUT, name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(c, f, indent=2)
        f.write("\n")
    write(os.path.join(folder, "model.safetensors"), w)
    write(os.path.join(folder, "golden.safetensors"),
          {"input_ids": ids, **{f"hidden.{i}": h for i, h in enumerate(hidden)}, "logits": logits})


def check(folder):
    with open(os.path.join(folder, "config.json")) as f:
        c = json.load(f)
    w = {name: x.astype(np.float64) for name, x in read(os.path.join(folder, "model.safetensors")).items()}
    golden = read(os.path.join(folder, "golden.safetensors"))
    hidden, logits = forward(c, w, golden["input_ids"])
    for name, x in [*((f"hidden.{i}", h) for i, h in enumerate(hidden)), ("logits", logits)]:
        print(f"{folder}: {name}: off by at most {np.abs(x - golden[name]).max():.2g}")


def main():
    if sys.argv[1:2] == ["--check"]:
        for folder in sys.argv[2:]:
            check(folder)
        return
    make("phi3", PHI3, 1)
    make("gemma3", GEMMA3, 2)


if __name__ == "__main__":
    main()
