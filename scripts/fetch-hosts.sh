#!/usr/bin/env bash
# Fetches what the tests of the C++ and JavaScript hosts need (export/hostfiles): npm packages into
# .cache/hosts, and CMake and Chromium as Debian packages where they can be installed. A test that
# misses one of them is skipped and says so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=.cache/hosts
driver=puppeteer-core@25.16.0 # drives Chromium for the test of the demo page
wanted=$(cat export/hostfiles/js/package.json)$driver

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
	echo "fetch-hosts: node and npm are not there; tests of the JavaScript host are skipped" >&2
elif [ "$(cat "$folder/wanted" 2>/dev/null)" != "$wanted" ]; then
	mkdir -p "$folder"
	rm -f "$folder/wanted"
	cp export/hostfiles/js/package.json "$folder/"
	# Install scripts would fetch libraries for GPUs.
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$folder"
	npm install --silent --no-audit --no-fund --ignore-scripts --no-save --prefix "$folder" "$driver"
	printf '%s' "$wanted" >"$folder/wanted"
fi

packages=()
command -v g++ >/dev/null || packages+=(g++)
command -v cmake >/dev/null || packages+=(cmake)
command -v chromium >/dev/null || packages+=(chromium)
if [ ${#packages[@]} -gt 0 ] && command -v apt-get >/dev/null; then
	as_root=()
	[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
	install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}")
	"${install[@]}" >/dev/null 2>&1 || { "${as_root[@]}" apt-get update -qq && "${install[@]}" >/dev/null; } ||
		echo "fetch-hosts: ${packages[*]} could not be installed; tests that need them are skipped" >&2
fi
