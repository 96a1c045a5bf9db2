"""Reads a file that tests/engine/safetensors_python.cpp wrote, with the official library, checks names, shapes and
values, and writes the same content again for the C++ side to compare.

    check_safetensors.py OURS THEIRS
"""
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file


def main(ours, theirs):
    weights = (np.arange(30, dtype=np.float32) / np.float32(7) - np.float32(2)).astype(np.float32)
    expected = {
        "layer1.0.conv1.weight": weights.reshape(3, 2, 5, 1),
        "fc.bias": weights.reshape(6, 5),
        "doubles": 1.0 / np.arange(1, 8, dtype=np.float64),
        "longs": np.array([[-(2**63) + 1], [0], [2**63 - 1]], dtype=np.int64),
        "ints": np.array([-5, 5], dtype=np.int32),
        "bytes": np.array([0, 1, 255], dtype=np.uint8),
        "bn1.num_batches_tracked": np.array(42, dtype=np.int64),
        "empty": np.zeros((0, 3), dtype=np.float32),
    }
    metadata = {"model": 'resnet8x4 "ü"'}

    tensors = load_file(ours)
    assert sorted(tensors) == sorted(expected), sorted(tensors)
    for name, value in expected.items():
        assert tensors[name].dtype == value.dtype, (name, tensors[name].dtype)
        assert tensors[name].shape == value.shape, (name, tensors[name].shape)
        assert np.array_equal(tensors[name], value), name
    with safe_open(ours, framework="numpy") as file:
        assert file.metadata() == metadata, file.metadata()
    save_file(expected, theirs, metadata=metadata)


if __name__ == "__main__":
    main(*sys.argv[1:])
