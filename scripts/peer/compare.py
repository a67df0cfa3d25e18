"""Prints ours beside PyTorch's: compare.py OURS.json ... -- NAME TORCH.json ... [-- NAME TORCH.json ...]

Each side's figure is the median of its rounds; of PyTorch's settings, each with its name, the faster one counts."""
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


sides = [[]]
for arg in sys.argv[1:]:
    if arg == "--":
        sides.append([])
    else:
        sides[-1].append(arg)
ours, rest = medians(sides[0])
settings = {side[0]: medians(side[1:])[0] for side in sides[1:]}
print("%-36s %10s %10s %8s  %-8s %8s %8s %8s" % ("tokens/s", "eisft", "PyTorch", "ratio", "waiting", "GFLOP/s", "of peak", "peak MiB"))
for name, rate in ours.items():
    torch, setting = max(((rates[name], s) for s, rates in settings.items() if name in rates), default=(0, ""))
    if torch:
        gflops, share, peak = rest[name]
        print("%-36s %10.0f %10.0f %7.1fx  %-8s %8.0f %7.0f%% %8.0f" % (name, rate, torch, rate / torch, setting, gflops, 100 * share, peak / 2**20))
