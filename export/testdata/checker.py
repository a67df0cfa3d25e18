"""Holds ONNX files to the official checker, with strict shape inference.

    python3 checker.py FILE...

Prints a line for each: "ok FILE", "opset FILE" where this version of onnx is older than the file's
opset, or "bad FILE: why".
"""
import sys

import onnx

for path in sys.argv[1:]:
    opset = max(o.version for o in onnx.load(path, load_external_data=False).opset_import)
    if opset > onnx.defs.onnx_opset_version():
        print("opset", path)
        continue
    try:
        onnx.checker.check_model(path, full_check=True)
        model = onnx.load(path)
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        found = {v.name: v.type for v in inferred.graph.value_info}
        for v in model.graph.value_info:
            if found.get(v.name) != v.type:
                raise ValueError(f"{v.name} is inferred as {found.get(v.name)}, the file says {v.type}")
        print("ok", path)
    except Exception as e:  # whatever the checker raises is its verdict
        print("bad", path + ":", " ".join(str(e).split()))
