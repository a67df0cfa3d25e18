#!/usr/bin/env bash
# Compiles TFLite files for a MediaTek NPU (DLA files) by ncc-tflite of the Neuron SDK.
#
# NOT RUN where it was written: it needs the Neuron SDK. It is written from the
# documentation, read on 2026-11-27:
#   https://mediatek.gitlab.io/aiot/doc/aiot-dev-guide/release/v23.1/sw/yocto/ml-guide/ml-neuron-sdk.html
#   https://genio-community.mediatek.com/t/how-does-the-opt-accuracy-flag-affect-ncc-tflite-tflite-to-dla-conversion-results-and-performance/561
#
# usage: NEURON_SDK=/path/to/neuron_sdk scripts/npu/ncc.sh ARCH FILE.tflite...
#        ARCH is the NPU's name in `ncc-tflite --arch=?`, such as mdla3.0
#
# --relax-fp32 lets floats run in float16: the MDLA has no float32. --opt-accuracy keeps
# results close to the CPU's, but computes what is in int16 as float16: of a file with activations
# of 16 bits, such as model-w8a16.tflite, NCC_ACCURACY= leaves it out, and codes stay codes.
set -euo pipefail

if [ $# -lt 2 ]; then
	sed -n '2,15s/^# \{0,1\}//p' "$0" >&2
	exit 2
fi
arch=$1
shift
accuracy=${NCC_ACCURACY---opt-accuracy}
ncc=${NEURON_SDK:+$NEURON_SDK/host/bin/}ncc-tflite
if ! command -v "$ncc" >/dev/null; then
	echo "ncc: $ncc is not there; set NEURON_SDK to the folder of the Neuron SDK" >&2
	exit 1
fi
for file in "$@"; do
	"$ncc" --arch="$arch" --relax-fp32 --opt 3 ${accuracy:+"$accuracy"} "$file" -o "${file%.tflite}.dla"
	echo "${file%.tflite}.dla"
done
