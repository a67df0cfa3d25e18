#!/usr/bin/env bash
# Compares model/tokenizer with npm's @huggingface/tokenizers on 2 MB of mixed text.
# Needs node and npm; says so and succeeds where they are absent.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo "tokenizer-diff: skipped, node and npm are not installed"
  exit 0
fi
scripts/fetch-tokenizer.sh
packages=.cache/tokenizer-diff
if [ ! -d "$packages/node_modules/@huggingface/tokenizers" ]; then
  mkdir -p "$packages"
  npm install --silent --no-audit --no-fund --no-save --prefix "$packages" @huggingface/tokenizers@0.2.0
fi
TOKENIZERS_JS="$PWD/$packages/node_modules/@huggingface/tokenizers/dist/tokenizers.mjs" \
  go test -tags slow -count 1 -v -run TestMatchesTokenizersJS ./model/tokenizer
