#!/usr/bin/env python3
"""Makes QNN context binaries of an exported folder's quantized graphs by ONNX Runtime's QNN
provider: all graphs share one binary with the weights.

NOT RUN where it was written: it needs onnxruntime-qnn and its HTP libraries, on Windows or Linux
x64, which weights can be shared on alone. From 2.0 on that package is a plugin beside
onnxruntime (pip install onnxruntime onnxruntime-qnn); 1.x has a runtime of its own. Both ways
are here. It is written from the documentation, read on 2026-11-27:
https://github.com/onnxruntime/onnxruntime-qnn/blob/main/docs/execution_providers/QNN-ExecutionProvider.md
https://onnxruntime.ai/docs/execution-providers/QNN-ExecutionProvider (1.x)
https://onnxruntime.ai/docs/execution-providers/EP-Context-Design.html (weight sharing)
https://github.com/microsoft/onnxruntime/pull/23945 (the last session writes the binary, and all
*_ctx.onnx point to it)

usage: scripts/npu/qnn_context.py FOLDER OUT_FOLDER [libQnnHtp.so]
"""

import json
import pathlib
import sys

QNN = "QNNExecutionProvider"

# In the order of the documentation: what is loaded, one binary for all graphs, and no ops of the
# ports' codes on the CPU, which is closed to them.
OPTIONS = {"enable_htp_weight_sharing": "1", "offload_graph_io_quantization": "0"}


def registered(ort, backend):
    """Registers the plugin, and returns its devices and the path of its HTP library; nothing of 1.x."""
    try:
        import onnxruntime_qnn as plugin
    except ImportError:
        return None, backend or "libQnnHtp.so"
    ort.register_execution_provider_library(QNN, plugin.get_library_path())
    devices = [d for d in ort.get_ep_devices() if d.ep_name == QNN]
    if not devices:
        sys.exit("onnxruntime has loaded the QNN plugin, which finds no device here")
    return devices, backend or plugin.get_qnn_htp_path()


def opened(ort, file, options, devices, path):
    """Opens a session, which compiles the graph."""
    settings = {"backend_path": path} | OPTIONS
    if devices is None:
        return ort.InferenceSession(file, sess_options=options, providers=[QNN], provider_options=[settings])
    options.add_provider_for_devices(devices, settings)
    return ort.InferenceSession(file, sess_options=options)


def main() -> None:
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    import onnxruntime as ort

    folder, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    devices, backend = registered(ort, sys.argv[3] if len(sys.argv) == 4 else "")
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
        sessions.append(opened(ort, str(folder / file), options, devices, backend))
        print(out / (pathlib.Path(file).stem + "_ctx.onnx"))


if __name__ == "__main__":
    main()
