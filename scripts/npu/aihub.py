#!/usr/bin/env python3
"""Compiles and links the graphs of an exported folder in Qualcomm's AI Hub Workbench.

NOT RUN where it was written: it needs an account (qai-hub configure --api_token ...). It
is written from the documentation of the API, read on 2026-11-26:
https://workbench.aihub.qualcomm.com/docs/hub/api.html
https://workbench.aihub.qualcomm.com/docs/hub/generated/qai_hub.submit_compile_job.html

usage: scripts/npu/aihub.py FOLDER DEVICE OUT.bin
       scripts/npu/aihub.py runs/latest/export/512x2048 "Samsung Galaxy S24 (Family)" model.bin

FOLDER was written by eisft export --quantized-only --format onnx+encodings. Each graph
goes up as a folder NAME.aimet with the graph, its encodings (version 1.0.0) and its
weights; all of them become the graphs of one context binary, which shares their weights.
"""

import json
import pathlib
import shutil
import sys
import tempfile

WEIGHTS = "weights.bin"


def bundle(folder: pathlib.Path, part: dict, to: pathlib.Path) -> pathlib.Path:
    """Lays a graph out as AI Hub takes one with encodings."""
    if "encodings" not in part:
        sys.exit(f"{part['file']} has no encodings: export with --format onnx+encodings")
    name = pathlib.Path(part["file"]).stem
    target = to / f"{name}.aimet"
    target.mkdir()
    shutil.copy(folder / part["file"], target / f"{name}.onnx")
    shutil.copy(folder / part["encodings"][0], target / f"{name}.encodings")
    if (folder / WEIGHTS).exists():
        shutil.copy(folder / WEIGHTS, target / WEIGHTS)  # as the graph names it
    return target


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    import qai_hub as hub

    folder, device, out = pathlib.Path(sys.argv[1]), hub.Device(sys.argv[2]), sys.argv[3]
    manifest = json.loads((folder / "manifest.json").read_text())
    parts = {}  # several shapes may share a graph
    for graph in manifest["graphs"]:
        for part in graph["parts"]:
            if part.get("encodings"):
                parts[part["file"]] = part
    if not parts:
        sys.exit(f"{folder} has no graphs with encodings: export with --format onnx+encodings")
    compiled = []
    with tempfile.TemporaryDirectory() as work:
        for part in parts.values():
            job = hub.submit_compile_job(
                model=str(bundle(folder, part, pathlib.Path(work))),
                device=device,
                name=pathlib.Path(part["file"]).stem,
                options="--target_runtime qnn_dlc --quantize_io",
            )
            model = job.get_target_model()
            if model is None:
                sys.exit(f"{part['file']}: the compile job {job.job_id} failed: {job.url}")
            compiled.append(model)
    job = hub.submit_link_job(compiled, device=device, name=manifest["model"])
    model = job.get_target_model()
    if model is None:
        sys.exit(f"the link job {job.job_id} failed: {job.url}")
    model.download(out)
    print(out)


if __name__ == "__main__":
    main()
