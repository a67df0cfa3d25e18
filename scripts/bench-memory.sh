#!/usr/bin/env bash
# Measures memory of whole commands.
# usage: scripts/bench-memory.sh [SECONDS]
#    Peak memory and reading speed of eisft generate by length of the input, with full attention and
#    with the EdgeInfinite block, on the demo base (default 300 s: a longer measurement is given up).
#    Needs GNU time. docs/bounded.md shows a table.
# usage: scripts/bench-memory.sh MODEL_FOLDER
#    Peak memory of eisft train, quantize, export and generate on a model, a step or a sample each,
#    which more of them hardly change. Needs Linux. docs/performance.md shows a table.
# The block is trained for one step only: its values change no figure.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
model=$root/model/demo limit=${1:-300}
if [[ -d ${1:-} ]]; then
	model=$(cd "$1" && pwd)
fi
cd "$root"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

go build -o "$work/eisft" ./cmd/eisft

# config NAME TOKENS STAGE writes a configuration.
config() {
	cat >"$work/$1.yaml" <<EOF
name: $1
model: {path: $model}
data: {train: $root/data/demo/train.parquet, max_tokens: $2, long: keep-end, samples: 4}
stages: [$3]
output: $work
EOF
}

# fails shows what a command wrote and ends.
fails() {
	cat "$work/log" >&2
	exit 1
}

# peak WHAT COMMAND... runs a command and prints the most memory that was resident (VmHWM), and the
# most of it that no file backs (RssAnon), in MiB.
peak() {
	local what=$1 hwm=0 anon=0 key value rest state="" begin=$SECONDS
	shift
	"$@" >"$work/log" 2>&1 &
	local pid=$!
	while [[ $state != Z && -d /proc/$pid ]]; do
		while read -r key value rest; do
			case $key in
			State:) state=$value ;;
			VmHWM:) hwm=$((value > hwm ? value : hwm)) ;;
			RssAnon:) anon=$((value > anon ? value : anon)) ;;
			esac
		done 2>/dev/null <"/proc/$pid/status" || true
		sleep 0.1
	done
	wait "$pid" || fails
	printf '%-36s %6d MiB resident  %6d MiB anonymous  %5d s\n' "$what" $((hwm / 1024)) $((anon / 1024)) $((SECONDS - begin))
}

# verbs measures the commands on a model.
verbs() {
	local run=$work/soft
	echo "load before: $(cut -d' ' -f1-3 /proc/loadavg), $(nproc) cores; weights: $(du -Lcm "$model"/*.safetensors | tail -1 | cut -f1) MiB"
	config soft 1024 "{kind: s-sft, steps: 1, batch: 1}"
	peak "train, a soft step of 1,024 tokens" "$work/eisft" train --config "$work/soft.yaml"
	config distill 1024 "{kind: distill, steps: 1, batch: 1, tokens: 1024}"
	peak "train, distillation of 1,024 tokens" "$work/eisft" train --config "$work/distill.yaml"
	go run ./scripts/conversation -tokens 2048 >"$work/input.txt"
	peak "generate after 2,048 tokens" "$work/eisft" generate --run "$run" --prompt-file "$work/input.txt" --max-new-tokens 4
	peak "quantize to w8a16" "$work/eisft" quantize --run "$run" --calib data/demo/calib.parquet --eval-data data/demo/test.parquet --samples 1 --eval-samples 1
	peak "export of float graphs" "$work/eisft" export --run "$run" --quant none --shape 256x1024 --verify=false --golden=false --out "$work/out"
	rm -rf "$work/out"
	peak "export of w8a16 graphs" "$work/eisft" export --run "$run" --quantized-only --shape 256x1024 --verify=false --golden=false --out "$work/out"
	echo "load after: $(cut -d' ' -f1-3 /proc/loadavg)"
}

# lengths measures generate by length of the input.
lengths() {
	config run 2048 "{kind: s-sft, steps: 1}"
	"$work/eisft" train --config "$work/run.yaml" >"$work/log" 2>&1 || fails
	echo "policy        tokens  peak MB  tokens/s"
	local policy tokens begin end
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
}

if [[ -d ${1:-} ]]; then verbs; else lengths; fi
