#!/usr/bin/env bash
# Runs every fuzz target for a time: scripts/fuzz.sh 20s. One that runs fewer than a hundred
# inputs a second finds nothing, and is reported.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
time=${1:-20s}

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
	printf '%-60s %s\n' "$package $target" "$(grep -oE 'execs: [0-9]+ \([0-9]+/sec\)' <<<"$out" | tail -n 2 | head -n 1)"
done < <(go test -list '^Fuzz' ./... | awk '/^Fuzz/ {targets[++n] = $1} /^ok/ {for (i = 1; i <= n; i++) print $2, targets[i]; n = 0}')
exit $failed
