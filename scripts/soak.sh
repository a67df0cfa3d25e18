#!/usr/bin/env bash
# Kills eisft at random system calls, lets it go on, and compares what it leaves with what runs
# that were not killed leave, byte by byte; then fills the disk under it.
#
#   scripts/soak.sh [KILLS]     so many kills of train (200), half as many of quantize, export and
#                               generate --save-state each
#
# Needs strace. The disk-full pass mounts small tmpfs and needs the right to (root, or user
# namespaces). Prints a line of counts for each, and ends with 1 if anything differed.
set -euo pipefail
exec 3>&2 2> >(grep -v "Killed  *strace" >&3) # the shell tells of every process that was killed
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kills=${1:-200}
command -v strace >/dev/null || { echo 'soak.sh: strace is missing: apt-get install strace' >&2; exit 1; }

go build -o bin/ ./cmd/eisft
eisft=$PWD/bin/eisft
base=$PWD/model/demo
samples=$PWD/data/demo/test.parquet
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$PWD
bad=0

# killed COMMAND…: runs it and kills it at a random system call that changes files. Returns 0 if
# that was before its end, 1 if it came too late, and 2 if the command failed by itself.
calls=(openat:80 write:60 renameat:8 renameat2:2 fsync:20 mkdirat:3 unlinkat:3 symlinkat:3) # and how often
killed() {
	local pick=${calls[RANDOM % ${#calls[@]}]} call when rc=0
	call=${pick%:*} when=$((1 + RANDOM % ${pick#*:}))
	strace -f -qq -e signal=none -e "trace=$call" -e "inject=$call:signal=KILL:when=$when" -o /dev/null "$@" >/dev/null 2>&1 || rc=$?
	case $rc in
	137) return 0 ;; # strace dies as its child did
	0) return 1 ;;
	*) return 2 ;;
	esac
}

# measure COMMAND…: runs it to its end, and sets how often killed may count a call of it: a
# command with few calls would else end before it is killed. strace counts for each thread.
measure() {
	local names=(openat write renameat renameat2 fsync mkdirat unlinkat symlinkat)
	strace -f -qq -e signal=none -e "trace=$(IFS=, && echo "${names[*]}")" -o "$work/calls" "$@" >/dev/null 2>&1
	mapfile -t calls < <(awk '$2 ~ /^[a-z0-9]+\(/ {sub(/\(.*/, "", $2); n = ++seen[$1, $2]; if (n > most[$2]) most[$2] = n}
		END {for (call in most) print call ":" most[call]}' "$work/calls")
}

# config N: the N-th of the configurations that are gone through.
config() {
	local slots=$((16 * (1 + $1 % 2))) choice=hard
	[ $(($1 % 3)) -eq 0 ] && choice=soft
	cat <<-YAML
		name: soak
		seed: $1
		model: {path: $base}
		block: {preset: eisft, sink: 4, window: 32, segment: 32, slots: $slots, slot_layers: [2, 6]}
		data: {train: $samples, max_tokens: 2500, samples: 4}
		stages:
		  - {kind: distill, steps: 3, batch: 1, tokens: 200, warmup: 1, keep: 0.3, lr: {retention: 1.0e-1}}
		  - {kind: s-sft, steps: 3, choice: $choice, trainable: [feature, gate], warmup: 1}
		checkpoint: {every: 1}
		output: runs
	YAML
}

# sum FOLDER: of all files that are no leftovers. What is measured in seconds is left out, and
# adapter_config.json, which describes the weights before the last ones, too.
sum() {
	(
		cd "$1"
		find . -type f ! -name '.*' ! -name metrics.jsonl ! -name adapter_config.json -print0 | sort -z | xargs -0 sha256sum
		[ ! -e metrics.jsonl ] || grep -oE '"(stage|step|loss)":[^,]*' metrics.jsonl
	) | sha256sum | cut -c1-16
}

report() { printf '%-10s %4d kills, %4d came too late, %4d recovered with equal bits, %d not\n' "$1" "$2" "$3" "$4" "$5"; }

soak_train() {
	local n=0 late=0 same=0 differ=0 i=0 rc want dir=$work/train
	while [ $n -lt "$kills" ]; do
		i=$((i + 1))
		rm -rf "$dir" && mkdir -p "$dir" && cd "$dir"
		config $i >c.yaml
		"$eisft" train --config c.yaml >/dev/null 2>&1
		want=$(sum runs/soak)
		for _ in 1 2 3 4 5 6 7 8; do
			rm -rf runs
			rc=0
			killed "$eisft" train --config c.yaml || rc=$?
			if [ $rc -eq 1 ]; then
				late=$((late + 1))
			elif [ $rc -eq 2 ]; then
				bad=$((bad + 1)) && echo "train, configuration $i: it fails, and not because it was killed" >&2
			else
				n=$((n + 1))
				for _ in 1 2 3; do # killed once more while it goes on, now and then; without a checkpoint that fails
					[ $((RANDOM % 3)) -eq 0 ] && killed "$eisft" train --config c.yaml --resume && n=$((n + 1))
				done
				"$eisft" train --config c.yaml --resume >/dev/null 2>&1 ||
					{ [ -e runs/soak/config.yaml ] && [ "$(sum runs/soak)" = "$want" ]; } || # it was finished
					{ rm -rf runs && "$eisft" train --config c.yaml >/dev/null 2>&1; }  # it had no checkpoint yet
			fi
			if [ "$(sum "$(readlink -f runs/latest)")" = "$want" ]; then same=$((same + 1)); else
				differ=$((differ + 1)) && echo "train, configuration $i: other bits: $(cd runs/soak && sha256sum -- * | cut -c1-8,65- | tr '\n' ' ')" >&2
			fi
			[ $n -ge "$kills" ] && break
		done
	done
	report train $n $late $same $differ
	bad=$((bad + differ))
	cd - >/dev/null
}

# soak_output NAME FOLDER|FILE COMMAND…: kills the command, runs it again, and compares.
soak_output() {
	local name=$1 out=$2 n=0 late=0 same=0 differ=0 rc want tries=0
	shift 2
	rm -rf "$out"
	measure "$@"
	want=$(contents "$out")
	while [ $n -lt $((kills / 2)) ] && [ $tries -lt $((2 * kills)) ]; do
		tries=$((tries + 1))
		[ $((RANDOM % 2)) -eq 0 ] && rm -rf "$out"
		rc=0
		killed "$@" || rc=$?
		case $rc in
		0) n=$((n + 1)) ;;
		1) late=$((late + 1)) ;;
		*) bad=$((bad + 1)) && echo "$name: it fails, and not because it was killed" >&2 ;;
		esac
		# What lies there now is whole, or nothing does.
		if [ -e "$out" ] && [ "$(contents "$out")" != "$want" ]; then
			differ=$((differ + 1)) && echo "$name: half of it lies under its name" >&2
		fi
		"$@" >/dev/null 2>&1 || true
		if [ "$(contents "$out")" = "$want" ]; then same=$((same + 1)); else
			differ=$((differ + 1)) && echo "$name: other bits" >&2
		fi
	done
	report "$name" $n $late $same $differ
	bad=$((bad + differ))
}

contents() { if [ -d "$1" ]; then sum "$1"; else sha256sum "$1" | cut -c1-16; fi; }

soak_train
dir=$work/outputs
mkdir -p "$dir" && cd "$dir"
config 1 >c.yaml
"$eisft" train --config c.yaml >/dev/null 2>&1
soak_output quantize runs/soak/quant/w8a16 "$eisft" quantize --run runs/soak --calib "$samples" --samples 1 --eval-samples 1
soak_output export runs/soak/export/32x128 "$eisft" export --run runs/soak --shape 32x128 --replace --verify=false
head -q -c 8000 "$root/README.md" "$root/ARCHITECTURE.md" >text
soak_output state state "$eisft" generate --run runs/soak --prompt-file text --max-new-tokens 0 --save-state state

# full COMMAND…: runs it in a folder with little room left; whatever it says, what was there
# must still be whole.
full() {
	unshare -m bash -c '
		mount -t tmpfs -o size="$1"k tmpfs "$2" && cp -r "$3"/. "$2" && cd "$2" && shift 3 || exit 9
		"$@" >out 2>&1
		echo $? >&3
		"$1" inspect runs/soak >/dev/null 2>&1 && "$1" generate --run runs/soak --prompt x --max-new-tokens 1 >/dev/null 2>&1 || echo broken >&3' _ "$@" 3>"$work/rc" 2>/dev/null
}
refused=0 passed=0
mkdir -p "$work/full"
size=$(du -sk . | cut -f1)
for room in 4 64 256 1024 4096 16384; do
	for command in "train --config c.yaml" "quantize --run runs/soak --calib $samples --samples 1 --eval-samples 1" \
		"export --run runs/soak --shape 32x160 --verify=false" "generate --run runs/soak --prompt-file text --max-new-tokens 0 --save-state other"; do
		# shellcheck disable=SC2086
		if ! full $((size + size / 20 + room)) "$work/full" "$dir" "$eisft" $command; then
			echo 'disk full: no right to mount a tmpfs here; not tried' >&2
			break 2
		fi
		if grep -q broken "$work/rc"; then
			bad=$((bad + 1)) && echo "disk full: the run does not open any more after: $command" >&2
		fi
		case "$(head -n 1 "$work/rc")" in
		0) passed=$((passed + 1)) ;;
		1) refused=$((refused + 1)) ;; # any other exit code is a crash
		*) bad=$((bad + 1)) && echo "disk full: it dies: $command" >&2 ;;
		esac
	done
done
printf 'disk full  %d commands refused with an error, %d had room enough\n' $refused $passed
exit $((bad > 0))
