#!/usr/bin/env bash
# Runs every fuzz target for a time: scripts/fuzz.sh 20s. One that runs fewer than a hundred
# inputs a second finds nothing, and is reported.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
time=${1:-20s}

targets=$(go test -list '^Fuzz' ./... | awk '/^Fuzz/ {targets[++n] = $1} /^ok/ {for (i = 1; i <= n; i++) print $2, targets[i]; n = 0}')
failed=0
while read -r package target; do
	# -fuzzminimizetime: to make inputs small would take most of a short time
	# "context deadline exceeded" alone is Go's, of a worker that was at work when the time was up.
	if ! out=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1x "$package" 2>&1) &&
		{ grep -q 'Failing input' <<<"$out" || ! grep -q 'context deadline exceeded' <<<"$out"; }; then
		printf '%s %s:\n%s\n' "$package" "$target" "$out"
		failed=1
		continue
	fi
	last=$(grep -oE 'elapsed: [0-9]+s, execs: [0-9]+' <<<"$out" | tail -n 1 || true)
	seconds=${last#elapsed: } inputs=${last##* } slow=
	seconds=${seconds%%s*}
	[ "${inputs:-0}" -ge $((100 * ${seconds:-1})) ] || slow=', fewer than a hundred a second'
	printf '%-60s %d inputs in %d s%s\n' "$package $target" "${inputs:-0}" "${seconds:-0}" "$slow"
done <<<"$targets"
exit $failed
