#!/usr/bin/env bash
# Brings what eisft uses beyond Go: a C compiler (for the ONNX Runtime binding), OpenBLAS and ONNX Runtime.
# Installs only what is missing; a second run takes a second. With --mpi it brings Open MPI, too,
# over which several processes train together; with --arm64 what runs tests for arm64 on another
# processor: QEMU, as Debian has it, and that system's C library.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
	echo "setup: $*" >&2
	exit 1
}

mpi=false arm64=false
for flag in "$@"; do
	case $flag in
	--mpi) mpi=true ;;
	--arm64) arm64=true ;;
	*) fail "unknown flag $flag; there are --mpi and --arm64" ;;
	esac
done
case $(uname -m) in aarch64 | arm64) arm64=false ;; esac # it runs them itself

command -v go >/dev/null || fail "Go is missing: install the version that go.mod names from https://go.dev/dl"
go list -m >/dev/null || fail "this Go is too old for go.mod: install a newer one from https://go.dev/dl"

if [ "$(uname -s)" = Darwin ]; then
	command -v cc >/dev/null || echo "setup: for a C compiler run: xcode-select --install"
	[ -n "$(find /opt/homebrew/opt/openblas /usr/local/opt/openblas -maxdepth 0 2>/dev/null)" ] ||
		echo "setup: for matrix products by OpenBLAS where it is the faster one run: brew install openblas"
	echo "setup: for eisft check run: brew install onnxruntime, and set EISFT_ONNXRUNTIME to its library"
	if $mpi; then
		command -v mpirun >/dev/null || echo "setup: for several processes run: brew install open-mpi"
	fi
	$arm64 && fail "QEMU runs programs for Linux on Linux alone: test on a Mac with an arm64 processor"
	exit 0
fi

# What packages are called by each package manager.
names() {
	case $1 in
	dnf) echo "gcc openblas nodejs-npm openmpi qemu-user" ;;
	pacman) echo "gcc openblas npm openmpi qemu-user aarch64-linux-gnu-glibc" ;;
	*) echo "a C compiler, OpenBLAS, npm (for ONNX Runtime), Open MPI, QEMU and the C library of arm64" ;;
	esac
}

install_packages() {
	local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}")
	echo "setup: installing ${packages[*]}"
	# Package lists are fetched only where there are none or where they are out of date.
	"${install[@]}" >/dev/null 2>&1 || { "${as_root[@]}" apt-get update -qq && "${install[@]}" >/dev/null; }
}

packages=()
command -v gcc >/dev/null || packages+=(gcc libc6-dev)
[[ $(/sbin/ldconfig -p) == *libopenblas.so.0* ]] || packages+=(libopenblas0)
if $mpi; then
	command -v mpirun >/dev/null || packages+=(openmpi-bin)
fi
emulates() { command -v qemu-aarch64 >/dev/null && [ -e /usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1 ]; }
if $arm64 && ! emulates; then
	packages+=(qemu-user libc6-arm64-cross)
fi
fetch=true
if [ -n "${EISFT_ONNXRUNTIME:-}" ] || [ -e .cache/onnxruntime/libonnxruntime.so.1 ]; then
	fetch=false
elif ! command -v npm >/dev/null; then
	packages+=(npm) # ONNX Runtime comes as an npm package
fi

if [ ${#packages[@]} -gt 0 ]; then
	as_root=()
	[ "$(id -u)" -eq 0 ] || as_root=(sudo)
	if ! command -v apt-get >/dev/null; then
		manager=""
		for m in dnf pacman; do
			if command -v "$m" >/dev/null; then
				manager=$m
				break
			fi
		done
		echo "setup: no apt-get here; install what is missing of these${manager:+ with $manager}: $(names "$manager")" >&2
	elif [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
		echo "setup: missing, and only root can install it: apt-get install ${packages[*]}" >&2
	else
		install_packages || echo "setup: that failed; as root: apt-get install ${packages[*]}" >&2
	fi
	# All but a C compiler is optional: OpenBLAS is rarely the faster one, ONNX Runtime runs exported graphs.
	command -v gcc >/dev/null || command -v cc >/dev/null || fail "there is no C compiler: install gcc"
	if $mpi; then
		command -v mpirun >/dev/null || fail "there is no mpirun: install Open MPI"
	fi
	if $arm64; then
		emulates || fail "tests for arm64 need qemu-aarch64 and /usr/aarch64-linux-gnu/lib: in Debian, packages qemu-user and libc6-arm64-cross"
	fi
fi

if $fetch && command -v npm >/dev/null; then
	scripts/fetch-onnxruntime.sh ||
		echo "setup: without ONNX Runtime everything works but running exported graphs; tests of it are skipped" >&2
fi
