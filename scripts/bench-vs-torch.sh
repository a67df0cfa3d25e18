#!/usr/bin/env bash
# Compares eisft with PyTorch on this machine's CPU: both in turn, A B A B, on the demo base.
# usage: scripts/bench-vs-torch.sh [ROUNDS [RUNS]]     (default: 2 rounds, each case timed 5 times in each)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rounds=${1:-2} runs=${2:-5}

# The first of these that has PyTorch: Debian's packages belong to Debian's own Python.
find_python() {
	for python in python3 /usr/bin/python3; do
		"$python" -c 'import torch' 2>/dev/null && return
	done
	return 1
}
if ! find_python; then
	command -v apt-get >/dev/null || { echo "bench-vs-torch: PyTorch is missing; install it for python3" >&2; exit 1; }
	as_root=()
	[ "$(id -u)" -eq 0 ] || as_root=(sudo)
	install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-torch)
	echo "bench-vs-torch: installing python3-torch"
	"${install[@]}" >/dev/null 2>&1 || { "${as_root[@]}" apt-get update -qq && "${install[@]}" >/dev/null; }
	find_python || { echo "bench-vs-torch: python3-torch is installed, but no python3 imports it" >&2; exit 1; }
fi

go build -o bin/ ./cmd/eisft
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# PyTorch's threads sleep or spin while they wait: which is faster depends on what else runs.
for i in $(seq "$rounds"); do
	bin/eisft bench --runs "$runs" --json "$work/ours.$i" --case stream --case full --case s-sft --case distill --case decode
	for wait in passive active; do
		OMP_WAIT_POLICY=$wait "$python" scripts/peer/bench.py model/demo "$runs" "$work/$wait.$i"
	done
done
"$python" scripts/peer/compare.py "$work"/ours.* -- passive "$work"/passive.* -- active "$work"/active.*
