"""Prints ours beside PyTorch's: compare.py OURS.json ... -- TORCH.json ...; the median of each side's rounds."""
import json
import statistics
import sys


def medians(paths):
    seconds, tokens, rest = {}, {}, {}
    for path in paths:
        with open(path) as f:
            for c in json.load(f)["cases"]:
                name = c["name"]
                seconds.setdefault(name, []).append(c["seconds"])
                tokens[name] = c.get("tokens", 0)
                rest.setdefault(name, []).append((c.get("flop", 0) / c["seconds"] / 1e9, c.get("share_of_gemm_peak", 0), c.get("peak_bytes", 0)))
    rates = {n: tokens[n] / statistics.median(s) for n, s in seconds.items() if tokens[n]}
    return rates, {n: [statistics.median(x) for x in zip(*r)] for n, r in rest.items()}


split = sys.argv.index("--")
(ours, rest), (torch, _) = medians(sys.argv[1:split]), medians(sys.argv[split + 1 :])
print("%-36s %10s %10s %8s %8s %8s %8s" % ("tokens/s", "eisft", "PyTorch", "ratio", "GFLOP/s", "of peak", "peak MiB"))
for name, rate in ours.items():
    if name in torch:
        gflops, share, peak = rest[name]
        print("%-36s %10.0f %10.0f %7.1fx %8.0f %7.0f%% %8.0f" % (name, rate, torch[name], rate / torch[name], gflops, 100 * share, peak / 2**20))
