#!/usr/bin/env python3
"""Compiles TFLite files ahead of time for an NPU by LiteRT's compiler plugins.

NOT RUN where it was written: it needs ai-edge-litert with the vendor's SDK package
(ai-edge-litert-sdk-mediatek, -qualcomm, -google-tensor, -intel-openvino). It is written from the
documentation and a report of its use, read on 2026-11-27:
https://ai.google.dev/edge/litert/next/npu
https://genio-community.mediatek.com/t/mediatek-aot-compilation-via-public-api-produces-unoptimized-bytecode-missing-19-mdla-flags-vs-googles-official-litertlm/1907

usage: scripts/npu/litert_aot.py mediatek|qualcomm|google_tensor|intel_openvino SOC FILE.tflite OUT_FOLDER
       scripts/npu/litert_aot.py mediatek MT6993 512t2048c.tflite compiled
"""

import importlib
import pathlib
import sys

VENDORS = ("mediatek", "qualcomm", "google_tensor", "intel_openvino")


def main() -> None:
    if len(sys.argv) != 5 or sys.argv[1] not in VENDORS:
        sys.exit(__doc__)
    vendor, soc, file, out = sys.argv[1], sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4])
    from ai_edge_litert.aot import aot_compile

    target = importlib.import_module(f"ai_edge_litert.aot.vendors.{vendor}.target")
    if not hasattr(target.SocModel, soc):
        known = ", ".join(m.name for m in target.SocModel)
        sys.exit(f"{vendor} has no {soc}; it has {known}")
    # keep_going=False: an op that the NPU does not take is an error, not a part on the CPU.
    compiled = aot_compile.aot_compile(file, target=[target.Target(getattr(target.SocModel, soc))], keep_going=False)
    out.mkdir(parents=True, exist_ok=True)
    compiled.export(str(out))
    print(out)


if __name__ == "__main__":
    main()
