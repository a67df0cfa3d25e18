"""Reads and writes safetensors files of PyTorch tensors."""

import json
import struct

import torch

NAMES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.bfloat16: "BF16", torch.float16: "F16"}
TYPES = {name: dtype for dtype, name in NAMES.items()}


def save_file(tensors, path, metadata=None):
    header, parts, offset = {}, [], 0
    if metadata:
        header["__metadata__"] = metadata
    for name, x in tensors.items():
        x = x.contiguous()
        part = (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy().tobytes()
        header[name] = dict(dtype=NAMES[x.dtype], shape=list(x.shape), data_offsets=[offset, offset + len(part)])
        parts.append(part)
        offset += len(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


def read(path):
    """Tensors and metadata of a file."""
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, t in header.items():
        part, dtype = bytearray(data[slice(*t["data_offsets"])]), TYPES[t["dtype"]]
        if dtype is torch.bfloat16:
            x = torch.frombuffer(part, dtype=torch.int16).view(torch.bfloat16)
        else:
            x = torch.frombuffer(part, dtype=dtype)
        tensors[name] = x.reshape(t["shape"])
    return tensors, metadata


def load_file(path):
    return read(path)[0]
