#!/usr/bin/env python3
"""Makes QNN context binaries of an exported folder's quantized graphs by ONNX Runtime's QNN
provider: all graphs share one binary with the weights.

NOT RUN where it was written: it needs onnxruntime-qnn (pip install onnxruntime-qnn, on
Windows or Linux x64) and its HTP libraries. It is written from the documentation, read on
2026-11-26:
https://onnxruntime.ai/docs/execution-providers/QNN-ExecutionProvider
https://github.com/microsoft/onnxruntime/pull/23945 (weight sharing: the last session writes
the binary, and all *_ctx.onnx point to it)

usage: scripts/npu/qnn_context.py FOLDER OUT_FOLDER [libQnnHtp.so]
"""

import json
import pathlib
import sys


def main() -> None:
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    import onnxruntime as ort

    folder, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    backend = sys.argv[3] if len(sys.argv) == 4 else "libQnnHtp.so"
    manifest = json.loads((folder / "manifest.json").read_text())
    if "quantization" not in manifest:
        sys.exit(f"{folder} has no quantized graphs: quantize the run and export it with --target qnn")
    scheme = manifest["quantization"]["scheme"]
    files = []
    for graph in manifest["graphs"]:
        if graph["precision"] == scheme:
            files += [p["file"] for p in graph["parts"] if p["file"] not in files]
    out.mkdir(parents=True, exist_ok=True)
    sessions = []  # the shared context lives as long as they do
    for i, file in enumerate(files):
        options = ort.SessionOptions()
        options.add_session_config_entry("ep.context_enable", "1")
        options.add_session_config_entry("ep.context_file_path", str(out / (pathlib.Path(file).stem + "_ctx.onnx")))
        options.add_session_config_entry("ep.context_embed_mode", "0")
        options.add_session_config_entry("ep.share_ep_contexts", "1")
        if i == len(files) - 1:
            options.add_session_config_entry("ep.stop_share_ep_contexts", "1")
        # A part that the NPU does not take would run on the CPU, unnoticed.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        sessions.append(
            ort.InferenceSession(
                str(folder / file),
                sess_options=options,
                providers=["QNNExecutionProvider"],
                provider_options=[{"backend_path": backend}],
            )
        )
        print(out / (pathlib.Path(file).stem + "_ctx.onnx"))


if __name__ == "__main__":
    main()
