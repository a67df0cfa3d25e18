#!/bin/sh
# Makes the table of docs/quantization.md from real runs: every row quantizes a trained run of
# the demo base (RUN, by default runs/latest; make quickstart trains one) or of stories260k,
# which is trained here, and evaluates it on held-out text. What is random has three seeds. The
# recipes are held to all held-out questions, methods alone to the loss of some rows. What is
# there of the demo base from a run that was stopped is kept: remove RUN/quant/table-* to begin anew.
#
#   scripts/quant-table.sh            # hours on two cores
#   scripts/quant-table.sh --short    # few samples, few rows: minutes
set -eu
cd "$(dirname "$0")/.."
EISFT=${EISFT:-bin/eisft} RUN=${RUN:-runs/latest}
CALIB=${CALIB:-data/demo/calib.parquet} HELD=${HELD:-data/demo/test.parquet}
samples=16 all=0 some=24 seeds="0 1 2" steps=200 long=3000
if [ "${1:-}" = --short ]; then samples=4 all=12 some=4 seeds=0 steps=30 long=60; fi
out=$(mktemp -d) && trap 'rm -rf "$out"' EXIT
go run ./scripts/quanttable stories "$out" internal/testfiles/testdata/stories260k/model internal/testfiles/testdata/stories260k/tinystories_sample.txt
"$EISFT" train --config "$out/s.yaml" >/dev/null
reports=
# stories NAME SEED ROWS CALIB SAMPLES FLAGS...
stories() {
	name=$1 seed=$2 rows=$3 calib=$4 n=$5
	shift 5
	"$EISFT" quantize --run "$out/runs/stories" --calib "$out/$calib.jsonl" --eval-data "$out/test.jsonl" --samples "$n" --eval-samples "$rows" --sensitivity 0 --seed "$seed" --name "table-$name-$seed" "$@" >&2
	reports="$reports $out/runs/stories/quant/table-$name-$seed/report.json"
}
# quantize NAME SEEDS ROWS FLAGS... on both bases
quantize() {
	name=$1 list=$2 rows=$3
	shift 3
	for seed in $list; do
		[ -f "$RUN/quant/table-$name-$seed/report.json" ] || "$EISFT" quantize --run "$RUN" --calib "$CALIB" --eval-data "$HELD" --samples $samples --eval-samples "$rows" --sensitivity 0 --seed "$seed" --name "table-$name-$seed" "$@" >&2
		reports="$reports $RUN/quant/table-$name-$seed/report.json"
		case $name in *lpbq*) continue ;; esac # its rows of 172 weights have no blocks of 32
		stories "$name" "$seed" "$rows" train $samples "$@"
	done
}
quantize w8a16 0 $all --recipe w8a16.yaml
quantize w4a16-lpbq32-rtn 0 $some --scheme w4a16-lpbq32
quantize w4a16-lpbq32-seqmse 0 $all --scheme w4a16-lpbq32 --weights seqmse --cache auto
quantize w4a16-lpbq32-gptq 0 $some --scheme w4a16-lpbq32 --weights gptq --cache auto
quantize w4a16-lpbq32 0 $all --recipe w4a16-lpbq32.yaml
quantize w4a16-rtn 0 $all --recipe w4a16-rtn.yaml
quantize w4a16-mse-clip 0 $some --recipe w4a16-rtn.yaml --weights mse-clip
quantize w4a16-seqmse 0 $some --recipe w4a16-rtn.yaml --weights seqmse
quantize w4a16-gptq 0 $some --recipe w4a16-rtn.yaml --weights gptq
quantize w4a16-awq 0 $some --recipe w4a16-rtn.yaml --transform awq
quantize w4a16-smoothquant 0 $some --recipe w4a16-rtn.yaml --transform smoothquant
quantize w4a16-rotate "$seeds" $some --recipe w4a16-rtn.yaml --transform rotate
quantize w4a16-rotate-reconstruct 0 $all --recipe w4a16-rtn.yaml --transform rotate --weights mse-clip --cache auto --reconstruct $steps
quantize w4a16-mixed 0 $all --recipe w4a16-mixed.yaml --sensitivity 2048
quantize w4a16 "$seeds" $all --recipe w4a16.yaml --reconstruct $steps
for seed in $seeds; do stories w4a16-long "$seed" $all more 200 --recipe w4a16.yaml --reconstruct $long; done
quantize w8a8-rtn 0 $some --scheme w8a8 --range mse
quantize w8a8-smoothquant 0 $some --scheme w8a8 --range mse --transform smoothquant
quantize w8a8 0 $all --recipe w8a8.yaml
go run ./scripts/quanttable table docs/quantization.md $reports
