#!/usr/bin/env bash
# Measures the peak memory and the reading speed of eisft generate by length of the input, with
# full attention and with the EdgeInfinite block, on the demo base. docs/bounded.md shows a table.
# usage: scripts/bench-memory.sh [SECONDS]     (default 300: a longer measurement is given up)
# Needs GNU time. The block is trained for one step only: its values change neither figure.
set -euo pipefail

limit=${1:-300}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

go build -o "$work/eisft" ./cmd/eisft
cat >"$work/config.yaml" <<EOF
name: run
model: {path: $root/model/demo}
data: {train: $root/data/demo/train.parquet}
stages: [{kind: s-sft, steps: 1}]
output: $work
EOF
"$work/eisft" train --config "$work/config.yaml" >"$work/log" 2>&1 || {
	cat "$work/log" >&2
	exit 1
}

echo "policy        tokens  peak MB  tokens/s"
for policy in eisft full; do
	for tokens in 2048 8192 32768 131072; do
		go run ./scripts/conversation -tokens "$tokens" >"$work/input.txt"
		begin=$(date +%s.%N)
		if ! /usr/bin/time -f %M -o "$work/peak" timeout "$limit" "$work/eisft" generate --run "$work/run" --policy "$policy" \
			--prompt-file "$work/input.txt" --max-new-tokens 1 >"$work/log" 2>&1; then
			printf '%-12s %7d  more than %s s\n' "$policy" "$tokens" "$limit"
			break
		fi
		end=$(date +%s.%N)
		awk -v p="$policy" -v n="$tokens" -v kb="$(tail -1 "$work/peak")" -v b="$begin" -v e="$end" \
			'BEGIN { printf "%-12s %7d  %7.1f  %8.0f\n", p, n, kb / 1024, n / (e - b) }'
	done
done
