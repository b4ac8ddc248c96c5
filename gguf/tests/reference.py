"""Prints what the reference implementation reads from a GGUF file, as JSON.

reference.py MODEL header|all
"""

import json
import sys

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize


def described(tensor):
    return {
        "name": tensor.name,
        "dims": [int(n) for n in tensor.shape],
        "type": tensor.tensor_type.name,
        "bytes": int(tensor.n_bytes),
        "file_offset": int(tensor.data_offset),
    }


def weights(tensor):
    values = dequantize(tensor.data, tensor.tensor_type)
    return {
        "mean": float(values.mean(dtype="float64")),
        "std": float(values.std(dtype="float64")),
        "finite": bool((abs(values) < 1e30).all()),
        "zero_rows": int((values.reshape(-1, values.shape[-1]) == 0).all(axis=1).sum()),
    }


model, what = sys.argv[1:]
reader = GGUFReader(model)
json.dump(
    {
        "version": int(reader.fields["GGUF.version"].contents()),
        "byte_order": reader.endianess.name,
        "metadata": {
            key: {"types": [t.name for t in field.types], "value": field.contents()}
            for key, field in reader.fields.items()
            if not key.startswith("GGUF.")
        },
        "tensors": [described(t) | (weights(t) if what == "all" else {}) for t in reader.tensors],
        "types": {t.name: [int(t), *GGML_QUANT_SIZES[t]] for t in GGMLQuantizationType},
    },
    sys.stdout,
)
