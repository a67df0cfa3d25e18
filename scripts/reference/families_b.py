#!/usr/bin/env python3
"""Make tiny random checkpoints of families that differ from Llama in their norms, in how rows are ordered or in their
rotary scaling, and what they compute, for model's tests.

Everything is computed in float64, step by step as in the files named, with their names of tensors and keys:

  stablelm     transformers, models/stablelm/modeling_stablelm.py; LayerNorm: arXiv 1607.06450
  bluelm       vivo-ai-lab/BlueLM, example/vllm: bluelm.py and rotary_embedding.py (ntkmixed)
  internlm2    internlm/internlm2-7b, modeling_internlm2.py
  internlm3    internlm/internlm3-8b-instruct, modeling_internlm3.py
  hunyuan      transformers, models/hunyuan_v1_dense/modeling_hunyuan_v1_dense.py
  ernie4_5     transformers, models/ernie4_5/modeling_ernie4_5.py
  yi           01-ai/Yi-6B, modeling_yi.py of its first release

Needs python3-numpy.

  families_b.py    write them in internal/testfiles/testdata/hf/
"""

import json
import math
import os

import numpy as np

from families import OUT, attend, rms_norm, rotate, silu, write

TOKENS = 60
COMMON = {
    "dtype": "float32", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu", "tie_word_embeddings": False,
    "bos_token_id": 1, "eos_token_id": 2,
}
CONFIGS = {
    "stablelm": {
        "architectures": ["StableLmForCausalLM"], "model_type": "stablelm", **COMMON, "layer_norm_eps": 1e-5,
        "max_position_embeddings": 512, "rope_theta": 10000, "partial_rotary_factor": 0.25, "use_qkv_bias": True,
        "qk_layernorm": False, "use_parallel_residual": False,
    },
    "bluelm": {
        "architectures": ["BlueLMForCausalLM"], "model_type": "BlueLM", **COMMON, "num_key_value_heads": 4, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 64, "rope_theta": 10000.0, "rope_scaling": {"type": "ntkmixed", "factor": 16.0, "power": 0.3},
        "use_stable_embedding": True, "pad_token_id": 3,
    },
    "internlm2": {
        "architectures": ["InternLM2ForCausalLM"], "model_type": "internlm2", **COMMON, "rms_norm_eps": 1e-5, "bias": True,
        "max_position_embeddings": 512, "rope_theta": 1000000, "rope_scaling": {"type": "dynamic", "factor": 2.0},
    },
    "internlm3": {
        "architectures": ["InternLM3ForCausalLM"], "model_type": "internlm3", **COMMON, "head_dim": 12, "rms_norm_eps": 1e-5,
        "bias": False, "qkv_bias": True, "max_position_embeddings": 512, "rope_theta": 50000000,
        "rope_scaling": {"rope_type": "dynamic", "factor": 6.0},
    },
    "hunyuan": {
        "architectures": ["HunYuanDenseV1ForCausalLM"], "model_type": "hunyuan_v1_dense", **COMMON, "head_dim": 12,
        "tie_word_embeddings": True, "rms_norm_eps": 1e-5, "max_position_embeddings": 512, "rope_theta": 10000.0,
        "rope_scaling": {"type": "dynamic", "alpha": 1000.0, "factor": 1.0}, "use_qk_norm": True, "attention_bias": False,
    },
    "ernie4_5": {
        "architectures": ["Ernie4_5ForCausalLM"], "model_type": "ernie4_5", **COMMON, "head_dim": 12,
        "tie_word_embeddings": True, "rms_norm_eps": 1e-5, "max_position_embeddings": 512, "rope_theta": 500000.0, "use_bias": True,
    },
    "yi": {
        "architectures": ["YiForCausalLM"], "model_type": "Yi", **COMMON, "rms_norm_eps": 1e-5, "max_position_embeddings": 512,
        "rope_theta": 5000000.0,
    },
}


class Llama:
    """What the families have in common; each overrides where it differs."""

    embed, head, final = "model.embed_tokens", "lm_head", "model.norm"
    before_attention, before_mlp = "input_layernorm", "post_attention_layernorm"
    output, gate, up, down = "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"
    norm_bias = False

    def __init__(self, c):
        self.c = c
        self.heads, self.kv = c["num_attention_heads"], c["num_key_value_heads"]
        self.d = c.get("head_dim") or c["hidden_size"] // self.heads

    # Weights: names below a layer with their shapes; biases where the family has them

    def projections(self):
        D = self.c["hidden_size"]
        return {"self_attn.q_proj": (self.heads * self.d, D), "self_attn.k_proj": (self.kv * self.d, D),
                "self_attn.v_proj": (self.kv * self.d, D)}

    def biased(self, name):
        return False

    def more_norms(self):
        return {}

    def shapes(self):
        c, D, F = self.c, self.c["hidden_size"], self.c["intermediate_size"]
        yield self.embed + ".weight", (c["vocab_size"], D)
        for i in range(c["num_hidden_layers"]):
            p = f"model.layers.{i}."
            maps = {**self.projections(), self.output: (D, self.heads * self.d), self.gate: (F, D), self.up: (F, D), self.down: (D, F)}
            for name, shape in maps.items():
                yield p + name + ".weight", shape
                if self.biased(name):
                    yield p + name + ".bias", shape[:1]
            for name in (self.before_attention, self.before_mlp):
                yield from self.norm_shapes(p + name)
            yield from ((p + name + ".weight", shape) for name, shape in self.more_norms().items())
        yield from self.norm_shapes(self.final)
        if not c["tie_word_embeddings"]:
            yield self.head + ".weight", (c["vocab_size"], D)

    def norm_shapes(self, name):
        yield name + ".weight", (self.c["hidden_size"],)
        if self.norm_bias:
            yield name + ".bias", (self.c["hidden_size"],)

    # The forward pass

    def norm(self, name, x):
        return rms_norm(x, self.w[name + ".weight"], self.c["rms_norm_eps"], 0)

    def linear(self, name, x):
        return x @ self.w[name + ".weight"].T + self.w.get(name + ".bias", 0)

    def split(self, x):
        """[T,heads·d] to [heads,T,d]."""
        return x.reshape(len(x), -1, self.d).transpose(1, 0, 2)

    def qkv(self, p, x):
        return (self.split(self.linear(p + name, x)) for name in self.projections())

    def inverse_frequencies(self):
        return 1.0 / self.c["rope_theta"] ** (np.arange(0, self.d, 2) / self.d)

    def turn(self, p, q, k):
        """q and k after rotary embedding."""
        inv = self.inverse_frequencies()
        return rotate(q, inv, 1), rotate(k, inv, 1)

    def embedded(self, ids):
        return self.w[self.embed + ".weight"][ids]

    def layer(self, p, x):
        q, k, v = self.qkv(p, self.norm(p + self.before_attention, x))
        q, k = self.turn(p, q, k)
        x = x + self.linear(p + self.output, attend(q / math.sqrt(self.d), k, v, None))
        h = self.norm(p + self.before_mlp, x)
        return x + self.linear(p + self.down, silu(self.linear(p + self.gate, h)) * self.linear(p + self.up, h))

    def forward(self, w, ids):
        """Hidden states (embeddings, each layer's output, the last one after the final norm) and logits."""
        self.w = w
        hidden = [self.embedded(ids)]
        for i in range(self.c["num_hidden_layers"]):
            hidden.append(self.layer(f"model.layers.{i}.", hidden[-1]))
        hidden[-1] = self.norm(self.final, hidden[-1])
        return hidden, hidden[-1] @ w[(self.embed if self.c["tie_word_embeddings"] else self.head) + ".weight"].T


def layer_norm(x, weight, bias, eps):
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + eps) * weight + bias


class StableLM(Llama):
    norm_bias = True

    def biased(self, name):
        return self.c["use_qkv_bias"] and name in self.projections()

    def norm(self, name, x):
        return layer_norm(x, self.w[name + ".weight"], self.w[name + ".bias"], self.c["layer_norm_eps"])

    def inverse_frequencies(self):
        turned = int(self.d * self.c["partial_rotary_factor"])
        return 1.0 / self.c["rope_theta"] ** (np.arange(0, turned, 2) / turned)


class BlueLM(Llama):
    def shapes(self):
        yield from super().shapes()
        yield "model.embed_layer_norm.weight", (self.c["hidden_size"],)
        yield "model.embed_layer_norm.bias", (self.c["hidden_size"],)

    def embedded(self, ids):
        norm = "model.embed_layer_norm"
        return layer_norm(super().embedded(ids), self.w[norm + ".weight"], self.w[norm + ".bias"], self.c["rms_norm_eps"])

    def inverse_frequencies(self):
        rope, half = self.c["rope_scaling"], self.d // 2
        a = math.log(int(rope["factor"])) / half ** rope["power"]
        return super().inverse_frequencies() / np.exp(a * np.arange(1, half + 1) ** rope["power"])


class InternLM2(Llama):
    embed, head = "model.tok_embeddings", "output"
    before_attention, before_mlp = "attention_norm", "ffn_norm"
    output, gate, up, down = "attention.wo", "feed_forward.w1", "feed_forward.w3", "feed_forward.w2"

    def projections(self):
        return {"attention.wqkv": ((self.heads + 2 * self.kv) * self.d, self.c["hidden_size"])}

    def biased(self, name):
        return self.c["bias"] and name.startswith("attention.")

    def qkv(self, p, x):
        group = self.heads // self.kv
        all_ = self.linear(p + "attention.wqkv", x).reshape(len(x), self.kv, group + 2, self.d)
        q, k, v = all_[:, :, :group], all_[:, :, -2], all_[:, :, -1]
        return (self.split(part.reshape(len(x), -1)) for part in (q, k, v))


class InternLM3(Llama):
    def biased(self, name):
        return self.c["qkv_bias" if name in self.projections() else "bias"]


class HunYuan(Llama):
    def more_norms(self):
        return {"self_attn.query_layernorm": (self.d,), "self_attn.key_layernorm": (self.d,)}

    def inverse_frequencies(self):
        base = self.c["rope_theta"] * self.c["rope_scaling"]["alpha"] ** (self.d / (self.d - 2))
        return 1.0 / base ** (np.arange(0, self.d, 2) / self.d)

    def turn(self, p, q, k):
        q, k = super().turn(p, q, k)
        return self.norm(p + "self_attn.query_layernorm", q), self.norm(p + "self_attn.key_layernorm", k)


class Ernie(Llama):
    def biased(self, name):
        return self.c["use_bias"]

    def turn(self, p, q, k):
        angle = np.arange(q.shape[1])[:, None] * self.inverse_frequencies()
        cos, sin = np.repeat(np.cos(angle), 2, -1), np.repeat(np.sin(angle), 2, -1)

        def turned(x):
            neighbour = np.stack([-x[..., 1::2], x[..., 0::2]], -1).reshape(x.shape)
            return x * cos + neighbour * sin

        return turned(q), turned(k)


class Yi(Llama):
    before_attention, before_mlp = "ln1", "ln2"


FAMILIES = {"stablelm": StableLM, "bluelm": BlueLM, "internlm2": InternLM2, "internlm3": InternLM3, "hunyuan": HunYuan,
            "ernie4_5": Ernie, "yi": Yi}


def random_weights(model, rng):
    w = {}
    for name, shape in model.shapes():
        if name.endswith(".bias"):
            w[name] = rng.normal(0, 0.3, shape)
        elif len(shape) == 1:
            w[name] = rng.normal(1, 0.3, shape)
        elif "layers" in name:
            w[name] = rng.normal(0, 1.5 / math.sqrt(shape[1]), shape)
        else:
            w[name] = rng.normal(0.1, 0.3, shape)
        w[name] = w[name].astype(np.float32).astype(np.float64)
    return w


def main():
    for seed, (name, c) in enumerate(CONFIGS.items(), 100):
        folder, rng, model = os.path.join(OUT, name), np.random.default_rng(seed), FAMILIES[name](c)
        os.makedirs(folder, exist_ok=True)
        w, ids = random_weights(model, rng), rng.integers(4, c["vocab_size"], TOKENS)
        hidden, logits = model.forward(w, ids)
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(c, f, indent=2)
            f.write("\n")
        write(os.path.join(folder, "model.safetensors"), w)
        write(os.path.join(folder, "golden.safetensors"),
              {"input_ids": ids, **{f"hidden.{i}": h for i, h in enumerate(hidden)}, "logits": logits})


main()
