#!/usr/bin/env bash
# Fetches LiteRT for Node (npm's @litertjs/core), in which exported .tflite files are verified and run.
# usage: scripts/fetch-litert.sh [FOLDER]     (default: .cache/litert of this checkout)
# Versions and checksums are those of scripts/litert/package-lock.json.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-$root/.cache/litert}
lock=$root/scripts/litert/package-lock.json

if cmp -s "$lock" "$folder/package-lock.json" && [ -e "$folder/fetched" ]; then
	exit 0
fi
if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
	echo "fetch-litert: node and npm are needed to fetch LiteRT; install them (Debian: apt-get install npm)" >&2
	exit 1
fi
mkdir -p "$folder"
rm -f "$folder/fetched"
cp "$root/scripts/litert/package.json" "$lock" "$folder/"
npm ci --silent --no-audit --no-fund --ignore-scripts --prefix "$folder"
touch "$folder/fetched"
echo "fetched LiteRT: $folder"
