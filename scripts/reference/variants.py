#!/usr/bin/env python3
"""Make tiny random checkpoints of families that are Llama with scales, caps, other norms or layers without
rotary embedding, and what they compute, for model's tests.

Everything is computed in float64 from the published formulas, with the tensor names and configuration keys of
transformers. A family is what its function `*_of` returns of a configuration: see Model. Sources: Gemma
(arXiv 2403.08295), Gemma 2 (arXiv 2408.00118), Granite 3.0 (its report, and muP, arXiv 2203.03466), SmolLM3
(huggingface.co/blog/smollm3; NoPE, arXiv 2501.18795), OLMo 2 (arXiv 2501.00656), Olmo 3 (its report; YaRN,
arXiv 2309.00071), EXAONE 4.0 (arXiv 2507.11407), MiniCPM (arXiv 2404.06395), Ministral 3 (its configuration in
transformers, with Llama 4's temperature of queries). Needs python3-numpy.

  variants.py [NAME...]   write internal/testfiles/testdata/hf/NAME, or all of them
"""

import math
import sys
from dataclasses import dataclass, field

import numpy as np

from families import gelu_tanh, rms_norm, rotate, save, silu, softmax


@dataclass
class Model:
    """What a family makes of a configuration."""

    scale: float  # of q·k
    kinds: list  # of each layer: inverse frequencies (None: not turned), their factor, and the window (None: all keys)
    act: object = silu
    plus_one: bool = False  # norms multiply by one more than their weight
    norms: tuple = ("input_layernorm", None, "post_attention_layernorm", None)  # before and after attention, the same of feed-forward
    qk_norm: str = ""  # "head" or "all"
    embedding: float = 1
    residual: float = 1
    logits: float = 1  # logits are divided by it
    attention_cap: float = 0  # 0: none
    logit_cap: float = 0
    temperature: object = field(default=lambda position: 1)  # of queries


TOKENS = 48
NORMS_AFTER = (None, "post_attention_layernorm", None, "post_feedforward_layernorm")
FOUR_NORMS = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")


def head_size(c):
    return c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]


def plain(theta, d):
    return 1.0 / theta ** (np.arange(0, d, 2) / d)


def yarn(r, d):
    """Frequencies and factor: YaRN, equations 11 to 13 and section 3.4; DeepSeek's mscale where it is given."""

    def dimension(turns):
        return d * math.log(r["original_max_position_embeddings"] / (turns * 2 * math.pi)) / (2 * math.log(r["rope_theta"]))

    def mscale(m):
        return 0.1 * m * math.log(r["factor"]) + 1

    low, high = math.floor(dimension(r["beta_fast"])), math.ceil(dimension(r["beta_slow"]))
    low, high = max(low, 0), min(high, d - 1)
    ramp = np.clip((np.arange(d // 2) - low) / (high - low), 0, 1)
    inv = plain(r["rope_theta"], d)
    factor = mscale(r["mscale"]) / mscale(r["mscale_all_dim"]) if "mscale" in r else mscale(1)
    return inv / r["factor"] * ramp + inv * (1 - ramp), factor


def softcap(x, c):
    return c * np.tanh(x / c) if c else x


def forward(c, m, w, ids):
    """Hidden states (embeddings, each layer's output, the last one after the final norm) and logits."""
    heads, kv, d, n = c["num_attention_heads"], c["num_key_value_heads"], head_size(c), len(ids)

    def norm(name, x):
        return rms_norm(x, w[name + ".weight"], c["rms_norm_eps"], 1 if m.plus_one else 0)

    def linear(name, x):
        return x @ w[name + ".weight"].T + w.get(name + ".bias", 0)

    def split(x):
        return x.reshape(n, -1, d).transpose(1, 0, 2)

    def attention(p, x, inv, factor, window):
        q, k, v = (linear(p + name, x) for name in ("q_proj", "k_proj", "v_proj"))
        if m.qk_norm == "all":
            q, k = norm(p + "q_norm", q), norm(p + "k_norm", k)
        q, k, v = split(q), split(k), split(v)
        if m.qk_norm == "head":
            q, k = norm(p + "q_norm", q), norm(p + "k_norm", k)
        if inv is not None:
            q, k = rotate(q, inv, factor), rotate(k, inv, factor)
        q = q * np.array([m.temperature(t) for t in range(n)])[:, None]
        distance = np.arange(n)[:, None] - np.arange(n)
        hidden = (distance < 0) | (distance >= (window or n))
        out = []
        for h in range(heads):
            scores = softcap(m.scale * q[h] @ k[h // (heads // kv)].T, m.attention_cap)
            out.append(softmax(np.where(hidden, -np.inf, scores)) @ v[h // (heads // kv)])
        return linear(p + "o_proj", np.concatenate(out, -1))

    def feed_forward(p, x):
        return linear(p + "down_proj", m.act(linear(p + "gate_proj", x)) * linear(p + "up_proj", x))

    def branch(p, before, after, f, x):
        y = f(norm(p + before, x) if before else x)
        return x + m.residual * (norm(p + after, y) if after else y)

    x = w["model.embed_tokens.weight"][ids] * m.embedding
    hidden = [x]
    for i, kind in enumerate(m.kinds):
        p = f"model.layers.{i}."
        x = branch(p, *m.norms[:2], lambda y: attention(p + "self_attn.", y, *kind), x)
        x = branch(p, *m.norms[2:], lambda y: feed_forward(p + "mlp.", y), x)
        hidden.append(x)
    hidden[-1] = norm("model.norm", x)
    head = w["model.embed_tokens.weight" if c["tie_word_embeddings"] else "lm_head.weight"]
    return hidden, softcap(hidden[-1] @ head.T / m.logits, m.logit_cap)


# The families


def sliding(c, full, local):
    """A kind for each layer, by layer_types."""
    return [(*local, c["sliding_window"]) if t == "sliding_attention" else (*full, None) for t in c["layer_types"]]


def gemma_of(c):
    kind = (plain(c["rope_theta"], head_size(c)), 1.0, None)
    return Model(scale=head_size(c) ** -0.5, kinds=[kind] * c["num_hidden_layers"], act=gelu_tanh, plus_one=True,
                 embedding=math.sqrt(c["hidden_size"]))


def gemma2_of(c):
    inv = plain(c["rope_theta"], head_size(c))
    kinds = [(inv, 1.0, None if i % 2 else c["sliding_window"]) for i in range(c["num_hidden_layers"])]
    return Model(scale=c["query_pre_attn_scalar"] ** -0.5, kinds=kinds, act=gelu_tanh, plus_one=True, norms=FOUR_NORMS,
                 embedding=math.sqrt(c["hidden_size"]), attention_cap=c["attn_logit_softcapping"], logit_cap=c["final_logit_softcapping"])


def granite_of(c):
    kind = (plain(c["rope_theta"], head_size(c)), 1.0, None)
    return Model(scale=c["attention_multiplier"], kinds=[kind] * c["num_hidden_layers"], embedding=c["embedding_multiplier"],
                 residual=c["residual_multiplier"], logits=c["logits_scaling"])


def smollm3_of(c):
    inv = plain(c["rope_theta"], head_size(c))
    kinds = [(inv if turned else None, 1.0, None) for turned in c["no_rope_layers"]]
    return Model(scale=head_size(c) ** -0.5, kinds=kinds)


def olmo2_of(c):
    kind = (plain(c["rope_theta"], head_size(c)), 1.0, None)
    return Model(scale=head_size(c) ** -0.5, kinds=[kind] * c["num_hidden_layers"], norms=NORMS_AFTER, qk_norm="all")


def olmo3_of(c):
    d = head_size(c)
    kinds = sliding(c, yarn({"rope_theta": c["rope_theta"], **c["rope_scaling"]}, d), (plain(c["rope_theta"], d), 1.0))
    return Model(scale=d ** -0.5, kinds=kinds, norms=NORMS_AFTER, qk_norm="all")


def exaone4_of(c):
    kinds = sliding(c, (None, 1.0), (plain(c["rope_theta"], head_size(c)), 1.0))
    return Model(scale=head_size(c) ** -0.5, kinds=kinds, norms=NORMS_AFTER, qk_norm="head")


def minicpm_of(c):
    kind = (plain(c["rope_theta"], head_size(c)), 1.0, None)
    return Model(scale=head_size(c) ** -0.5, kinds=[kind] * c["num_hidden_layers"], embedding=c["scale_emb"],
                 residual=c["scale_depth"] / math.sqrt(c["num_hidden_layers"]), logits=c["hidden_size"] / c["dim_model_base"])


def ministral3_of(c):
    r = c["rope_parameters"]

    def temperature(position):
        return 1 + r["llama_4_scaling_beta"] * math.log(1 + position // r["original_max_position_embeddings"])

    return Model(scale=head_size(c) ** -0.5, kinds=[(*yarn(r, head_size(c)), None)] * c["num_hidden_layers"], temperature=temperature)


SMALL = {
    "dtype": "float32", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu", "rms_norm_eps": 1e-5,
    "max_position_embeddings": 512, "rope_theta": 10000.0, "tie_word_embeddings": True,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}


def config(architecture, model_type, **values):
    return {"architectures": [architecture], "model_type": model_type, **SMALL, **values}


# The place in the list is the seed: new ones go to its end.
FAMILIES = [
    ("gemma", gemma_of, config("GemmaForCausalLM", "gemma", hidden_act="gelu", hidden_activation=None, head_dim=12, num_key_value_heads=1,
                               rms_norm_eps=1e-6, bos_token_id=2, eos_token_id=1)),
    ("gemma2", gemma2_of, config("Gemma2ForCausalLM", "gemma2", hidden_activation="gelu_pytorch_tanh", head_dim=12, query_pre_attn_scalar=9,
                                 sliding_window=11, attn_logit_softcapping=1.5, final_logit_softcapping=3.0, rms_norm_eps=1e-6,
                                 num_hidden_layers=3, bos_token_id=2, eos_token_id=1)),
    ("granite", granite_of, config("GraniteForCausalLM", "granite", embedding_multiplier=12.0, attention_multiplier=0.2,
                                   residual_multiplier=0.22, logits_scaling=6.0, tie_word_embeddings=False)),
    ("smollm3", smollm3_of, config("SmolLM3ForCausalLM", "smollm3", num_hidden_layers=4, no_rope_layers=[1, 1, 1, 0], no_rope_layer_interval=4,
                                   rope_theta=5000000.0)),
    ("olmo2", olmo2_of, config("Olmo2ForCausalLM", "olmo2", rms_norm_eps=1e-6, rope_theta=500000.0, tie_word_embeddings=False)),
    ("olmo3", olmo3_of, config("Olmo3ForCausalLM", "olmo3", rms_norm_eps=1e-6, rope_theta=500000.0, num_hidden_layers=4, sliding_window=13,
                               layer_types=["sliding_attention"] * 3 + ["full_attention"], tie_word_embeddings=False,
                               rope_scaling={"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64,
                                             "beta_fast": 32.0, "beta_slow": 1.0, "attention_factor": 1.2079441541679836})),
    ("exaone4", exaone4_of, config("Exaone4ForCausalLM", "exaone4", num_hidden_layers=4, sliding_window=13, sliding_window_pattern="LLLG",
                                   layer_types=["sliding_attention"] * 3 + ["full_attention"])),
    ("minicpm", minicpm_of, config("MiniCPMForCausalLM", "minicpm", scale_emb=12, scale_depth=1.4, dim_model_base=8)),
    ("ministral3", ministral3_of, config("Ministral3ForCausalLM", "ministral3", head_dim=8, rope_theta=None, sliding_window=None,
                                         rope_parameters={"type": "yarn", "rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0,
                                                          "original_max_position_embeddings": 128, "max_position_embeddings": 512,
                                                          "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0,
                                                          "llama_4_scaling_beta": 0.1})),
]


# Weights


def shapes(c, m):
    """Names and shapes of a checkpoint."""
    D, F, heads, kv, d = c["hidden_size"], c["intermediate_size"], c["num_attention_heads"], c["num_key_value_heads"], head_size(c)
    yield "model.embed_tokens.weight", (c["vocab_size"], D)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        layer = {name: (D,) for name in m.norms if name}
        layer |= {"self_attn.q_proj": (heads * d, D), "self_attn.k_proj": (kv * d, D), "self_attn.v_proj": (kv * d, D),
                  "self_attn.o_proj": (D, heads * d), "mlp.gate_proj": (F, D), "mlp.up_proj": (F, D), "mlp.down_proj": (D, F)}
        if m.qk_norm:
            q, k = (heads * d, kv * d) if m.qk_norm == "all" else (d, d)
            layer |= {"self_attn.q_norm": (q,), "self_attn.k_norm": (k,)}
        yield from ((p + name + ".weight", shape) for name, shape in layer.items())
    yield "model.norm.weight", (D,)
    if not c["tie_word_embeddings"]:
        yield "lm_head.weight", (c["vocab_size"], D)


def random_weights(c, m, rng):
    w = {}
    for name, shape in shapes(c, m):
        if len(shape) == 1:
            w[name] = rng.normal(0 if m.plus_one else 1, 0.3, shape)
        else:
            w[name] = rng.normal(0, 1.5 / math.sqrt(shape[1]) if "layers" in name else 0.3, shape)
        w[name] = w[name].astype(np.float32).astype(np.float64)
    return w


def main():
    for seed, (name, of, c) in enumerate(FAMILIES):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        m, rng = of(c), np.random.default_rng([1, seed])
        w, ids = random_weights(c, m, rng), rng.integers(3, c["vocab_size"], TOKENS)
        save(name, c, w, ids, *forward(c, m, w, ids))


main()
