#!/usr/bin/env python3
"""Loads a base and an adapter that eisft has trained into PyTorch: the same logits.

usage: /usr/bin/python3 adapter.py FOLDER [--base PATH] --ids 5,17,32 [--float64] [--out LOGITS.safetensors]

FOLDER holds adapter.safetensors and adapter_config.json, that of a run too. --base is the folder of the base, where it
is not where the adapter says. --ids are tokens, or - for a JSON list on the standard input. The likeliest next tokens
are printed; --out keeps the logits of all tokens, [T,V].

In a program of your own:

    from adapter import load
    model = load("runs/latest")
    logits = model(torch.tensor([[5, 17, 32]]))  # [1,T,V]

Bases are those that llama.py computes: Llama, Mistral and Qwen 2 without rotary scaling or sliding windows. The base's
identity, a hash over all its weights, is not checked here: eisft adapter show FOLDER does.
"""

import argparse
import glob
import json
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

from edgeinfinite import EdgeInfinite
from llama import Config, Llama
from tensors import load_file, save_file

FORMAT = "eisft-adapter-1"
BASES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")
# Our names of a block's parameters, and those of edgeinfinite.py.
NAMES = {
    "retention.weight": "rg.weight", "retention.bias": "rg.bias", "memory.feature_q": "wq", "memory.feature_k": "wk",
    "memory.map": "map", "gate.bias": "b", "gate.query": "u", "write.weight": "wg.weight", "write.bias": "wg.bias",
}


def read_json(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8-sig") as f:
        return json.load(f)


def assign(module, name, values):
    """Puts values in the place of a parameter, which may be missing (a bias)."""
    *path, last = name.split(".")
    for part in path:
        module = module[int(part)] if part.isdigit() else getattr(module, part)
    have = getattr(module, last, None)
    if have is not None and have.numel() != values.numel():
        raise ValueError(f"{name} has shape {list(values.shape)}, want {list(have.shape)}")
    setattr(module, last, nn.Parameter(values.float().reshape(values.shape if have is None else have.shape), requires_grad=False))


def load_base(folder):
    """The base in a folder of Hugging Face's form, in float32."""
    c = read_json(folder, "config.json")
    rope = c.get("rope_parameters") or {}
    refused = [
        (c["architectures"][0] not in BASES, f"architectures is {c['architectures']}, and llama.py computes {', '.join(BASES)}"),
        (c.get("rope_scaling") or rope.get("rope_type", "default") != "default", "its rotary embedding is scaled"),
        (c.get("sliding_window") and c.get("use_sliding_window", c["architectures"][0] == "MistralForCausalLM"), "it has a sliding window"),
        (c.get("hidden_act", "silu") != "silu", f"hidden_act is {c.get('hidden_act')}"),
    ]
    for wrong, why in refused:
        if wrong:
            raise ValueError(f"{folder}: {why}")
    heads = c["num_attention_heads"]
    sizes = Config(
        vocab=c["vocab_size"], dim=c["hidden_size"], layers=c["num_hidden_layers"], heads=heads,
        kv_heads=c.get("num_key_value_heads", heads), head_dim=c.get("head_dim") or c["hidden_size"] // heads,
        ffn=c["intermediate_size"], theta=rope.get("rope_theta", c.get("rope_theta", 10000.0)), eps=c["rms_norm_eps"],
    )
    base = Llama(sizes)
    files = sorted(glob.glob(os.path.join(folder, "model*.safetensors")))
    if not files:
        raise ValueError(f"{folder}: no model*.safetensors")
    missing = {name for name, _ in base.named_parameters()}
    for file in files:
        for name, values in load_file(file).items():
            if name == "lm_head.weight":
                head = values.float()
                base.logits = lambda hidden: F.linear(hidden, head.to(hidden.dtype))
                continue
            name = name.removeprefix("model.")
            assign(base, name, values)
            missing.discard(name)
    if missing:
        raise ValueError(f"{folder}: {sorted(missing)[0]} is in none of the files")
    return base


def options(block):
    """The options of edgeinfinite.py that stand for a block of adapter_config.json."""
    retention = block.get("retention") or {}
    if retention.get("form", "linear") != "linear" or retention.get("decay"):
        raise ValueError(f"block.retention is {retention}, and edgeinfinite.py has the linear score without decay alone")
    memory = block["memory"] != "none"
    o = dict(
        sink=block["sink"], window=block["window"], segment=block["segment"], positions=block["positions"],
        update=block["memory"] if memory else "linear", feature=block["feature"] if memory else "elu",
        gate=block["gate"] if memory or block["slots"] else "none", map=block["map"] and memory, write=block["write_gate"],
    )
    if block["slots"]:
        o.update(retain=block["slots"], both=memory)
        if block.get("slot_layers") is not None:
            o["slot_layers"] = block["slot_layers"]
    if block["feature_dim"]:
        o["df"] = block["feature_dim"]
    return o


def load(folder, base=None):
    """The model of an adapter's folder, as a module: ids [1,T] to logits [1,T,V]."""
    a = read_json(folder, "adapter_config.json")
    if a.get("format") != FORMAT:
        raise ValueError(f"{folder}: format is {a.get('format')!r}, want {FORMAT!r}")
    m = EdgeInfinite(load_base(base or os.path.join(os.path.realpath(folder), a["base"])), options(a["block"]))
    tensors = load_file(os.path.join(folder, "adapter.safetensors"))
    if sum(t.numel() for t in tensors.values()) != a["parameters"]:
        raise ValueError(f"{folder}: adapter.safetensors does not hold the {a['parameters']} numbers of adapter_config.json")
    for name, values in tensors.items():
        _, layer, kind = name.split(".", 2)
        assign(m.mem, f"{layer}.{NAMES[kind]}", values)
    return m.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--base")
    parser.add_argument("--ids", required=True)
    parser.add_argument("--float64", action="store_true", help="compute in float64")
    parser.add_argument("--out")
    args = parser.parse_args()
    ids = json.load(sys.stdin) if args.ids == "-" else [int(i) for i in args.ids.split(",")]
    model = load(args.folder, args.base)
    if args.float64:
        model = model.double()
    with torch.no_grad():
        logits = model(torch.tensor([ids]))[0]
    best = logits[-1].topk(5)
    for i, v in zip(best.indices.tolist(), best.values.tolist()):
        print(f"token {i}: logit {v:.3f}")
    if args.out:
        save_file({"logits": logits.float()}, args.out)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as e:
        sys.exit(f"adapter.py: {e}")
