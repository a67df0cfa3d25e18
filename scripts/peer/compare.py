"""Prints ours beside PyTorch's: compare.py OURS.json ... -- TORCH.json ...; the median of each side's rounds."""
import json
import statistics
import sys


def medians(paths):
    seconds, tokens = {}, {}
    for path in paths:
        with open(path) as f:
            for c in json.load(f)["cases"]:
                seconds.setdefault(c["name"], []).append(c["seconds"])
                tokens[c["name"]] = c.get("tokens", 0)
    return {n: tokens[n] / statistics.median(s) for n, s in seconds.items() if tokens[n]}


split = sys.argv.index("--")
ours, torch = medians(sys.argv[1:split]), medians(sys.argv[split + 1 :])
print("%-36s %14s %14s %8s" % ("tokens/s", "eisft", "PyTorch", "ratio"))
for name, rate in ours.items():
    if name in torch:
        print("%-36s %14.0f %14.0f %7.1fx" % (name, rate, torch[name], rate / torch[name]))
