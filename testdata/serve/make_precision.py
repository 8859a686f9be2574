"""Writes models in half and quantised precision, with what ONNX Runtime answers.

    venv/bin/pip install onnxconverter-common==1.16.0    # beside what make_golden.py names
    venv/bin/python make_precision.py

Each starts from a model that make_golden.py wrote:

- NAME_fp16: weights, inputs and outputs in 16-bit floats;
- NAME_fp16_inside: weights in 16-bit floats, inputs and outputs in 32 bits (`keep_io_types=True`);
- NAME_int8: weights in 8 bits, activations quantised as they come (`quantize_dynamic`);
- NAME_int8_static: weights and activations in 8 bits with fixed scales (`quantize_static`, QDQ).
"""

import json
import os
import tempfile

import numpy as np
import onnx
from make_golden import HERE, save
from onnxconverter_common import float16
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

DTYPES = {"f32": np.float32, "i64": np.int64}


def feeds(name):
    """The inputs of the golden file."""
    record = json.loads((HERE / f"{name}.golden.json").read_text())
    return {x["name"]: np.array(x["data"], dtype=DTYPES[x["type"]]).reshape(x["shape"]) for x in record["inputs"]}


def narrow(inputs):
    return {name: x.astype(np.float16) if x.dtype == np.float32 else x for name, x in inputs.items()}


class Calibration(CalibrationDataReader):
    def __init__(self, inputs):
        self.batches = iter([inputs])

    def get_next(self):
        return next(self.batches, None)


def half(name):
    inputs = feeds(name)
    model = onnx.load(HERE / f"{name}.onnx")
    save(f"{name}_fp16_inside", float16.convert_float_to_float16(model, keep_io_types=True), inputs)
    model = onnx.load(HERE / f"{name}.onnx")
    save(f"{name}_fp16", float16.convert_float_to_float16(model), narrow(inputs))


def quantised(name):
    inputs = feeds(name)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        quantize_dynamic(HERE / f"{name}.onnx", path, weight_type=QuantType.QInt8)
        save(f"{name}_int8", onnx.load(path), inputs)
        quantize_static(
            HERE / f"{name}.onnx", path, Calibration(inputs), quant_format=QuantFormat.QDQ, per_channel=False
        )
        save(f"{name}_int8_static", onnx.load(path), inputs)


if __name__ == "__main__":
    for name in ["mlp", "two_tower"]:
        half(name)
        quantised(name)
