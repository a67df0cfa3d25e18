#!/usr/bin/env bash
# Fetches LiteRT for Node (npm's @litertjs/core), in which exported .tflite files are verified.
# usage: scripts/fetch-litert.sh [FOLDER]     (default: .cache/litert of this checkout)
set -euo pipefail

version=2.5.3
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-$root/.cache/litert}

if [ -e "$folder/node_modules/@litertjs/core/wasm/litert_wasm_compat_internal.wasm" ]; then
	exit 0
fi
if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
	echo "fetch-litert: node and npm are needed to fetch @litertjs/core@$version; install them (Debian: apt-get install npm)" >&2
	exit 1
fi
mkdir -p "$folder"
npm install --silent --no-audit --no-fund --no-save --prefix "$folder" "@litertjs/core@$version"
echo "fetched LiteRT $version: $folder"
