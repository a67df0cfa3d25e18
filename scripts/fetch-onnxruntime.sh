#!/usr/bin/env bash
# Fetches ONNX Runtime's shared library, which `eisft run --graph` and the export tests use.
# usage: scripts/fetch-onnxruntime.sh [FOLDER]     (default: .cache/onnxruntime of this checkout)
# The library comes out of the npm package onnxruntime-node; its sha256 is pinned here.
set -euo pipefail

version=1.30.0
case "$(uname -s)-$(uname -m)" in
Linux-x86_64)
	platform=linux/x64
	sha256=ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23
	;;
Linux-aarch64)
	platform=linux/arm64
	sha256=1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76
	;;
*)
	echo "fetch-onnxruntime: no library is pinned for $(uname -s) $(uname -m); set EISFT_ONNXRUNTIME to one of your own (version >= 1.24)" >&2
	exit 1
	;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-$root/.cache/onnxruntime}
library=$folder/libonnxruntime.so.1

matches() { [ -f "$1" ] && echo "$sha256  $1" | sha256sum --check --status; }

if matches "$library"; then
	exit 0
fi
if ! command -v npm >/dev/null; then
	echo "fetch-onnxruntime: npm is needed to fetch onnxruntime-node@$version; install it (Debian: apt-get install npm)" >&2
	exit 1
fi

mkdir -p "$folder"
work=$(mktemp -d "$folder/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

if ! npm pack --silent --pack-destination "$work" "onnxruntime-node@$version" >/dev/null 2>"$work/log"; then
	cat "$work/log" >&2
	echo "fetch-onnxruntime: npm pack onnxruntime-node@$version failed" >&2
	exit 1
fi
member=package/bin/napi-v6/$platform/libonnxruntime.so.1
tar -xzf "$work/onnxruntime-node-$version.tgz" -C "$work" "$member"
if ! matches "$work/$member"; then
	echo "fetch-onnxruntime: $member has sha256 $(sha256sum "$work/$member" | cut -d' ' -f1), want $sha256" >&2
	exit 1
fi
mv "$work/$member" "$library"
echo "fetched ONNX Runtime $version: $library"
