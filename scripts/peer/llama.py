"""llama.cpp through libllama's C interface: the peer of `eisft bench --policy`, on the same GGUF file.

usage: python3 llama.py quantize LIBRARIES FILE.gguf OUT.gguf TYPE       TYPE: Q8_0 or Q4_K_M
       python3 llama.py bench LIBRARIES FILE.gguf TOKENS THREADS OUT.json
       python3 llama.py compare FOLDER                                   what bench-vs-llama.sh put there

LIBRARIES is the folder that has libllama.*.so. A reading takes TOKENS tokens in one batch and asks for the last one's
logits; 64 tokens follow one by one, their logits asked for, too, but not looked at. All other settings are llama.cpp's
own, so that keys and values are in float16."""
import ctypes
import json
import pathlib
import random
import resource
import statistics
import sys
import time

WRITTEN = 64
TYPES = {"Q8_0": 7, "Q4_K_M": 15}  # llama_ftype


class Params(ctypes.Structure):
    """Settings of any kind, larger than all of them are; what is set here are 32-bit numbers at the beginning."""

    _fields_ = [("first", ctypes.c_uint32 * 4), ("rest", ctypes.c_byte * 1008)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("arrays", ctypes.c_void_p * 6)]


QUIET = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)


def open_library(folder):
    folder = pathlib.Path(folder)
    find = lambda name: ctypes.CDLL(str(sorted(folder.glob(name))[0]), mode=ctypes.RTLD_GLOBAL)
    ggml, llama = find("libggml.*so*"), find("libllama.*so*")
    llama.llama_log_set(QUIET, None)
    ggml.ggml_backend_load_all_from_path(str(folder).encode())
    llama.llama_backend_init()
    for name, result in {
        "llama_model_default_params": Params, "llama_context_default_params": Params, "llama_model_quantize_default_params": Params,
        "llama_batch_get_one": Batch, "llama_get_logits_ith": ctypes.c_void_p,
        "llama_model_load_from_file": ctypes.c_void_p, "llama_init_from_model": ctypes.c_void_p,
    }.items():
        getattr(llama, name).restype = result
    llama.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Params]
    llama.llama_init_from_model.argtypes = [ctypes.c_void_p, Params]
    llama.llama_decode.argtypes = [ctypes.c_void_p, Batch]
    llama.llama_get_logits_ith.argtypes = [ctypes.c_void_p, ctypes.c_int32]
    llama.llama_set_n_threads.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32]
    llama.llama_batch_get_one.argtypes = [ctypes.c_void_p, ctypes.c_int32]
    return llama


def quantize(folder, path, out, kind):
    llama = open_library(folder)
    params = llama.llama_model_quantize_default_params()
    params.first[1] = TYPES[kind]  # the second number, behind that of threads
    if llama.llama_model_quantize(path.encode(), out.encode(), ctypes.byref(params)) != 0:
        sys.exit(f"llama: {path} could not be quantized to {kind}")


def clock():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def bench(folder, path, tokens, threads, out):
    llama, tokens, threads = open_library(folder), int(tokens), int(threads)
    model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
    if not model:
        sys.exit(f"llama: {path} could not be loaded")
    params = llama.llama_context_default_params()
    params.first[0], params.first[1] = tokens + WRITTEN, tokens  # context, batch
    context = llama.llama_init_from_model(model, params)
    if not context:
        sys.exit(f"llama: no context of {tokens + WRITTEN} tokens")
    llama.llama_set_n_threads(context, threads, threads)
    draw = random.Random(1)
    ids = (ctypes.c_int32 * (tokens + WRITTEN))(*(draw.randrange(4, 4096) for _ in range(tokens + WRITTEN)))

    def feed(lo, n):
        where = ctypes.byref(ids, 4 * lo)
        if llama.llama_decode(context, llama.llama_batch_get_one(where, n)) != 0 or not llama.llama_get_logits_ith(context, -1):
            sys.exit(f"llama: {path}: token {lo} could not be decoded")

    times = [clock()]
    feed(0, tokens)
    times.append(clock())
    for i in range(WRITTEN):
        feed(tokens + i, 1)
    times.append(clock())
    (read, read_cpu), (written, written_cpu) = ([b - a for a, b in zip(*pair)] for pair in zip(times, times[1:]))
    with open(out, "w") as f:
        json.dump({"read_seconds": read, "read_cpu_seconds": read_cpu, "written_seconds": written, "written_cpu_seconds": written_cpu}, f)


def compare(folder):
    """Of each case, file and number of threads the medians of the rounds' ratios: llama.cpp's time over eisft's."""
    ratios, rates = {}, {}
    for path in sorted(pathlib.Path(folder).glob("*.eisft.json")):
        name, tokens, threads, _ = path.name.removesuffix(".eisft.json").split("~")
        peer = json.loads(path.with_name(path.name.replace(".eisft.", ".llama.")).read_text())
        for c in json.loads(path.read_text()):
            ours = {
                "read": (c["first_token_seconds"], c["first_token_cpu_seconds"]),
                "written": (WRITTEN / c["written_tokens_per_second"], c["written_cpu_seconds"]),
            }
            for what, n in (("read", int(tokens)), ("written", WRITTEN)):
                case = (name, f"{what} {n}", threads, c["policy"])
                theirs = peer[f"{what}_seconds"], peer[f"{what}_cpu_seconds"]
                ratios.setdefault(case, []).append([t / max(o, 1e-9) for o, t in zip(ours[what], theirs)])
                rates.setdefault(case, []).append([n / max(s, 1e-9) for s in (ours[what][1], theirs[1])])
    print("%-16s %-12s %7s %-7s | %12s %12s | %17s %17s" % ("file", "tokens", "threads", "policy", "eisft/CPU-s", "llama/CPU-s", "times per CPU-s", "times per second"))
    for case, rounds in ratios.items():
        wall, cpu = zip(*rounds)
        rate = [statistics.median(r) for r in zip(*rates[case])]
        spread = lambda r: "%.2f (%.2f-%.2f)" % (statistics.median(r), min(r), max(r))
        print("%-16s %-12s %7s %-7s | %12.1f %12.1f | %17s %17s" % (*case, *rate, spread(cpu), spread(wall)))


ways = {"quantize": (quantize, 4), "bench": (bench, 5), "compare": (compare, 1)}
if len(sys.argv) < 2 or sys.argv[1] not in ways or len(sys.argv) != 2 + ways[sys.argv[1]][1]:
    sys.exit(__doc__)
ways[sys.argv[1]][0](*sys.argv[2:])
