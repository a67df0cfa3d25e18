"""Writes a Hugging Face folder as a GGUF file without a vocabulary, as llama.cpp's converter orders and names tensors.

usage: python3 gguf.py FOLDER FILE.gguf

Llama and Qwen2 in bfloat16, one model.safetensors. Matrices stay as they are, vectors become float32; llama.cpp itself
makes the quantized files of it (llama.py). No package is needed."""
import json
import mmap
import struct
import sys

UINT32, FLOAT32, STRING = 4, 6, 8
GGML_F32, GGML_BF16 = 0, 30
ALIGN = 32
PARTS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}
WHOLE = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2"}


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def metadata(config):
    arch = ARCHITECTURES[config["architectures"][0]]
    heads = config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    numbers = {
        "context_length": config["max_position_embeddings"], "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"], "block_count": config["num_hidden_layers"],
        "attention.head_count": heads, "attention.head_count_kv": config["num_key_value_heads"],
        "attention.key_length": size, "attention.value_length": size, "rope.dimension_count": size, "vocab_size": config["vocab_size"],
    }
    pairs = [text("general.architecture") + struct.pack("<I", STRING) + text(arch)]
    pairs += [text(f"{arch}.{k}") + struct.pack("<II", UINT32, v) for k, v in numbers.items()]
    for key, value in (("attention.layer_norm_rms_epsilon", config["rms_norm_eps"]), ("rope.freq_base", config["rope_theta"])):
        pairs.append(text(f"{arch}.{key}") + struct.pack("<If", FLOAT32, value))
    pairs.append(text("tokenizer.ggml.model") + struct.pack("<I", STRING) + text("no_vocab"))
    return arch, pairs


def rename(name):
    if name in WHOLE:
        return WHOLE[name]
    _, _, layer, rest = name.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{PARTS[part]}.{kind}"


def neighbours(data, rows, heads):
    """Rows of q or k in the order in which neighbours of a head turn, not its halves."""
    width, size = len(data) // rows, rows // heads
    row = lambda r: data[r * width : (r + 1) * width]
    return b"".join(row(h * size + half * size // 2 + i) for h in range(heads) for i in range(size // 2) for half in range(2))


def main(folder, out):
    with open(f"{folder}/config.json") as f:
        config = json.load(f)
    arch, pairs = metadata(config)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    with open(f"{folder}/model.safetensors", "rb") as f:
        raw = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    start = 8 + struct.unpack("<Q", raw[:8])[0]
    tensors, infos, at = [], b"", 0
    for name, t in json.loads(raw[8:start]).items():
        if name == "__metadata__":
            continue
        if t["dtype"] != "BF16":
            sys.exit(f"gguf: {name} is {t['dtype']}, want BF16")
        to, shape = rename(name), t["shape"]
        vector = len(shape) == 1
        infos += text(to) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), GGML_F32 if vector else GGML_BF16, at)
        size = (t["data_offsets"][1] - t["data_offsets"][0]) * (2 if vector else 1)
        tensors.append((to, vector, shape, t["data_offsets"]))
        at += (size + ALIGN - 1) // ALIGN * ALIGN
    with open(out, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs) + infos)
        for to, vector, shape, (lo, hi) in tensors:
            f.write(bytes(-f.tell() % ALIGN))
            data = raw[start + lo : start + hi]
            if vector:  # bfloat16 is the upper half of float32
                data = b"".join(b"\0\0" + data[i : i + 2] for i in range(0, len(data), 2))
            part = to.split(".")[2] if to.startswith("blk.") else ""
            if arch == "llama" and part in heads:
                data = neighbours(data, shape[0], heads[part])
            f.write(data)
        f.write(bytes(-f.tell() % ALIGN))


if len(sys.argv) != 3:
    sys.exit(__doc__)
main(sys.argv[1], sys.argv[2])
