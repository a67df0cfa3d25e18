#!/usr/bin/env bash
# Compares eisft with PyTorch on this machine's CPU: both in turn, A B A B, on the demo base.
# usage: [OMP_WAIT_POLICY=passive|active] scripts/bench-vs-torch.sh [ROUNDS [RUNS]]
# (default: 2 rounds, each case timed 5 times in each)
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
# How PyTorch's threads wait for each other decides much: it runs as it reads faster here, now, unless told how.
reads() {
	OMP_WAIT_POLICY=$1 "$python" scripts/peer/bench.py model/demo 3 "$work/probe" "stream-forward 2048" &&
		"$python" -c 'import json, sys; print("%.2f" % json.load(open(sys.argv[1]))["cases"][0]["seconds"])' "$work/probe"
}
wait=${OMP_WAIT_POLICY:-}
if [ -z "$wait" ]; then
	sleeping=$(reads passive) spinning=$(reads active) wait=passive
	if awk "BEGIN { exit !($spinning < $sleeping) }"; then
		wait=active
	fi
	echo "PyTorch reads 2,048 tokens in $sleeping s with sleeping threads and in $spinning s with spinning ones"
fi
echo "PyTorch runs with OMP_WAIT_POLICY=$wait"
for i in $(seq "$rounds"); do
	bin/eisft bench --runs "$runs" --json "$work/ours.$i" --case stream --case full --case s-sft --case distill --case decode
	OMP_WAIT_POLICY=$wait "$python" scripts/peer/bench.py model/demo "$runs" "$work/torch.$i"
done
"$python" scripts/peer/compare.py "$work"/ours.* -- "$work"/torch.*
