#!/usr/bin/env bash
# Remakes the tables of docs/evaluation.md on a trained run of the demo base (RUN, by default
# runs/latest; make quickstart trains one). What was measured is kept in OUT, by default
# runs/eval-all or runs/eval-all-short: the same command goes on after an interruption, and
# writes the tables between the marks of docs/evaluation.md when all are there.
#
#   scripts/eval-all.sh --short    few conversations: 8 minutes on two idle cores
#   scripts/eval-all.sh            an hour or two on two idle cores
#
# Summaries and long texts want QMSum in LongBench's columns (QMSUM, by default
# ../shared/data/qmsum-test.parquet); without the file these tables are left out.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "${1:-}" in
--short) short=-short ;;
"") short= ;;
*)
	echo "usage: scripts/eval-all.sh [--short]" >&2
	exit 2
	;;
esac
EISFT=${EISFT:-bin/eisft} RUN=${RUN:-runs/latest} OUT=${OUT:-runs/eval-all$short} DOC=${DOC:-docs/evaluation.md}
MODEL=${MODEL:-model/demo} HELD=${HELD:-data/demo/test.parquet} QMSUM=${QMSUM:-../shared/data/qmsum-test.parquet}
mkdir -p "$OUT"
steps=11 step=0 # of the whole

bounded="--policy eisft --policy slots --policy window --policy h2o --policy snapkv --policy pyramidkv --policy tova --policy keydiff --policy expected --policy random"
few="--policy eisft --policy slots --policy window --policy snapkv --policy keydiff"
memory="--policy slots --policy eisft --policy window"
depths=$(seq -s, 0.03125 0.0625 0.96875)
talks=40 seeds=3 held=0 rows2k=0 rows4k=0 rows8k=0 rows16k=0 sweep=320 answers=60 cut=0 talktexts=20 meetings=20 count=4
budgets="--budget 2368 --budget 2624 --budget 3136 --budget 4160 --budget 6208"
lengths="--tokens 2048 --tokens 8192 --tokens 32768 --tokens 131072" fulllengths="--tokens 2048 --tokens 8192 --tokens 32768"
costs="--policy eisft --policy window --policy h2o --policy keydiff"
if [ -n "$short" ]; then # rows of interviews: 16 at most are about one conversation
	steps=10
	talks=12 seeds=1 held=24 rows2k=64 rows4k=128 rows8k=64 rows16k=- sweep=32 answers=3 cut=4096 talktexts=6 meetings=3 count=1
	budgets="--budget 2624 --budget 4160 --budget 6208" few="--policy eisft --policy window --policy keydiff"
	costs="--policy eisft" fulllengths="--tokens 2048 --tokens 8192"
fi

# evaluate NAME ARGUMENTS... says how far it is and evaluates into OUT/NAME.
evaluate() {
	local name=$1
	shift
	begin "$name"
	"$EISFT" eval --run "$RUN" --out "$OUT/$name" --markdown "$OUT/$name.md" "$@" >/dev/null
}

begin() {
	step=$((step + 1))
	echo "eval-all: $step of $steps: $1" >&2
}

# interviews LENGTH makes conversations with 16 questions each.
interviews() {
	[ -f "$OUT/interview-$1.jsonl" ] || "$EISFT" data synth --model "$MODEL" --kind interview --lengths "$1" --depths "$depths" --count "$talks" --seed 1 "$OUT/interview-$1.jsonl" >&2
}

for length in 4096 8192 2048 16384; do
	case $length in 2048) rows=$rows2k ;; 4096) rows=$rows4k ;; 8192) rows=$rows8k ;; *) rows=$rows16k ;; esac
	[ "$rows" != - ] || continue
	interviews "$length"
	full=
	[ "$length" != 2048 ] || full="--policy full"
	# shellcheck disable=SC2086
	evaluate "recall-$length" --tasks synth.yaml --data "$OUT/interview-$length.jsonl" --samples "$rows" --seeds "$seeds" $bounded $full --against eisft
done

interviews 4096
# shellcheck disable=SC2086
evaluate sweep --tasks synth.yaml --data "$OUT/interview-4096.jsonl" --samples "$sweep" $few $budgets --against eisft

evaluate held --data "$HELD" --samples "$held" --policy full --policy window --policy eisft --against full

[ -f "$OUT/distance.jsonl" ] || "$EISFT" data synth --model "$MODEL" --kind conversation_qa --lengths 1024,2048,4096 --count "$count" "$OUT/distance.jsonl" >&2
evaluate distance --tasks synth.yaml --data "$OUT/distance.jsonl" --policy window --policy edgeinfinite --policy eisft

texts() { # ROWS NAME N: what the first N rows are about, as plain texts
	[ -f "$OUT/$2.jsonl" ] || go run ./scripts/evalall texts "$1" "$OUT/$2.jsonl"
	# shellcheck disable=SC2086
	evaluate "$2" --data "$OUT/$2.jsonl" --samples "$3" $memory --against slots
}
texts "$OUT/interview-8192.jsonl" talks "$talktexts"

if [ -f "$QMSUM" ]; then
	# shellcheck disable=SC2086
	evaluate qmsum --tasks longbench.yaml --max-prompt-tokens "$cut" --data "$QMSUM" --samples "$answers" $memory --against slots
	texts "$QMSUM" meetings "$meetings"
else
	steps=$((steps - 2))
	echo "eval-all: there is no $QMSUM: no summaries, no long texts" >&2
fi

begin cost
if ! [ -f "$OUT/cost.txt" ]; then
	# shellcheck disable=SC2086
	"$EISFT" bench --model "$MODEL" $costs $lengths --runs 1 >"$OUT/cost.new"
	# shellcheck disable=SC2086
	"$EISFT" bench --model "$MODEL" --policy full $fulllengths --runs 1 | tail -n +2 >>"$OUT/cost.new"
	mv "$OUT/cost.new" "$OUT/cost.txt"
fi
go run ./scripts/evalall tables "$DOC" "$OUT"
echo "eval-all: the tables are in $DOC, all of each evaluation in $OUT/NAME.md and $OUT/NAME/report.html" >&2
