#!/usr/bin/env bash
# Compares eisft with llama.cpp on this machine's CPU: both in turn, A B A B, from the same GGUF files, on one and
# two threads. Reading a prompt, and 64 tokens after it one by one; eisft with full attention and with the block.
# usage: scripts/bench-vs-llama.sh [ROUNDS [CASE...]]
# (default: 5 rounds of demo-Q8_0 demo-Q4_K_M 0.5b-Q8_0 0.5b-Q4_K_M; THREADS="1 2")
# OUT=FOLDER keeps the figures there, and the same command goes on with the rounds that are missing.
# 0.5b is Qwen2.5-0.5B's shape with random weights: 2.5 GB of files in .cache/llama, and prompts of 512 tokens.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rounds=${1:-5}
shift || true
[ $# -gt 0 ] || set -- demo-Q8_0 demo-Q4_K_M 0.5b-Q8_0 0.5b-Q4_K_M
threads=${THREADS:-1 2}

fail() { echo "bench-vs-llama: $1" >&2; exit 1; }
case "$(uname -s)-$(uname -m)" in
	Linux-x86_64) package=linux-x64 ;;
	Linux-aarch64) package=linux-arm64 ;;
	*) fail "llama.cpp is measured on Linux alone, on x86-64 and arm64" ;;
esac
for tool in npm python3 go; do command -v "$tool" >/dev/null || fail "$tool is missing"; done

cache=.cache/llama version=3.22.1
libraries=$cache/node_modules/@node-llama-cpp/$package/bins/$package
if [ "$(cat "$cache/version" 2>/dev/null)" != "$package@$version" ]; then
	mkdir -p "$cache"
	npm install --silent --no-audit --no-fund --no-save --ignore-scripts --prefix "$cache" "@node-llama-cpp/$package@$version"
	printf '%s' "$package@$version" >"$cache/version"
fi

# made FILE COMMAND...: what the command writes to the path that is its last argument, once.
made() {
	[ -e "$1" ] && return
	echo "bench-vs-llama: making $1"
	"${@:2}" "$1.part"
	mv "$1.part" "$1"
}
model() {
	local shape=${1%%-*} type=${1#*-} folder
	case $shape in
		demo) folder=model/demo ;;
		0.5b) folder=$cache/random-0.5b && made "$folder" go run ./scripts/randommodel ;;
		*) fail "found the case $1, want demo-TYPE or 0.5b-TYPE, where TYPE is Q8_0 or Q4_K_M" ;;
	esac
	case $type in Q8_0 | Q4_K_M) ;; *) fail "found the case $1, want Q8_0 or Q4_K_M behind its hyphen" ;; esac
	made "$cache/$shape.gguf" python3 scripts/peer/gguf.py "$folder"
	[ -e "$cache/$1.gguf" ] && return
	echo "bench-vs-llama: making $cache/$1.gguf"
	python3 scripts/peer/llama.py quantize "$libraries" "$cache/$shape.gguf" "$cache/$1.gguf.part" "$type"
	mv "$cache/$1.gguf.part" "$cache/$1.gguf"
}

go build -o bin/ ./cmd/eisft
for name in "$@"; do model "$name"; done
work=${OUT:-}
if [ -z "$work" ]; then
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
fi
mkdir -p "$work"
program=$(sha256sum <bin/eisft)
[ "$(cat "$work/program" 2>/dev/null || echo "$program")" = "$program" ] ||
	fail "found figures of another build of eisft in $work; take another folder, or remove that one"
printf '%s\n' "$program" >"$work/program"
bin/eisft env | grep -E '^(matrix products|measured) '
for round in $(seq "$rounds"); do
	for name in "$@"; do
		tokens=2048
		[ "${name%%-*}" = demo ] || tokens=512
		for n in $threads; do
			file=$work/$name~$tokens~$n~$round
			[ -e "$file.eisft.json" ] && continue
			echo "bench-vs-llama: round $round of $rounds, $name, threads: $n" >&2
			# One policy a process, as llama.cpp has one reading a process.
			for policy in full eisft; do
				GOMAXPROCS=$n bin/eisft bench --model "$cache/$name.gguf" --policy "$policy" --tokens "$tokens" --runs 1 --json "$file.$policy" >/dev/null 2>&1 ||
					fail "eisft could not measure $name; see: bin/eisft bench --model $cache/$name.gguf --policy $policy --tokens $tokens --runs 1"
			done
			python3 scripts/peer/llama.py bench "$libraries" "$cache/$name.gguf" "$tokens" "$n" "$file.llama.json"
			python3 -c 'import json, sys; json.dump(sum((json.load(open(p)) for p in sys.argv[2:]), []), open(sys.argv[1], "w"))' "$file.part" "$file.full" "$file.eisft"
			rm "$file.full" "$file.eisft"
			mv "$file.part" "$file.eisft.json"
		done
	done
done
python3 scripts/peer/llama.py compare "$work"
