#!/usr/bin/env bash
# Trains the variants in configs/ablation and measures what each recalls of long conversations.
# Runs and results.jsonl are kept in runs/ablation: what is there is neither trained nor measured
# again, so the same command goes on after an interruption. docs/ablation.md shows results.
#
#   scripts/ablation.sh --short      slots, slots with memory, the recipe; one seed, 2k to 8k tokens
#   scripts/ablation.sh              all variants, three seeds, 2k to 16k tokens: overnight
#
# The questions are about generated conversations, or, with EISFT_ABLATION_DATA=FILE, those of a
# file in LongBench's columns.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
case "${1:-}" in
--short)
	arguments=(-seeds 0 -tokens 32768 configs/ablation/{slots,slots-memory,recipe}.yaml)
	;;
"")
	arguments=(-seeds 0,1,2 -lengths 2048,4096,8192,16384 configs/ablation/*.yaml)
	;;
*)
	echo "usage: scripts/ablation.sh [--short]" >&2
	exit 2
	;;
esac
exec go run ./scripts/ablation -data "${EISFT_ABLATION_DATA:-}" "${arguments[@]}"
