#!/usr/bin/env bash
# Installs the pinned linter into .cache/bin, if it is not there. It formats, too (gofumpt is built into it).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

module=github.com/golangci/golangci-lint/v2
version=v2.15.0

if [[ $(go version -m .cache/bin/golangci-lint 2>/dev/null) == *"$module"*"$version"* ]]; then
	exit 0
fi
echo "setup-dev: building golangci-lint $version, which takes some minutes"
GOBIN=$PWD/.cache/bin go install "$module/cmd/golangci-lint@$version"
