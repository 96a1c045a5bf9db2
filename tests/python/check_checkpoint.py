"""Checks the checkpoints of a resnet8 with 4 classes that mlkd trained, with the official safetensors library: PyTorch's
names, shapes and types.

    check_checkpoint.py RUN_FOLDER
"""
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file


def batch_norm(name, channels):
    shapes = {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {**shapes, f"{name}.num_batches_tracked": ()}


def resnet8_shapes(classes):
    shapes = {"conv1.weight": (16, 3, 3, 3), **batch_norm("bn1", 16)}
    before = 16
    for layer, channels in ((1, 16), (2, 32), (3, 64)):
        block = f"layer{layer}.0"
        shapes[f"{block}.conv1.weight"] = (channels, before, 3, 3)
        shapes[f"{block}.conv2.weight"] = (channels, channels, 3, 3)
        shapes |= batch_norm(f"{block}.bn1", channels) | batch_norm(f"{block}.bn2", channels)
        if before != channels:
            shapes[f"{block}.downsample.0.weight"] = (channels, before, 1, 1)
            shapes |= batch_norm(f"{block}.downsample.1", channels)
        before = channels
    return shapes | {"fc.weight": (classes, 64), "fc.bias": (classes,)}


def main(run):
    expected = resnet8_shapes(4)
    for name in ("student_last", "student_best", "last", "best"):
        path = f"{run}/{name}.safetensors"
        tensors = load_file(path)
        weights = {key: t for key, t in tensors.items() if not key.startswith("optimizer.") and not key.startswith("progress.")}
        assert {key: t.shape for key, t in weights.items()} == expected, (name, sorted(weights))
        for key, tensor in weights.items():
            assert tensor.dtype == (np.int64 if key.endswith("num_batches_tracked") else np.float32), (name, key, tensor.dtype)
            assert np.isfinite(tensor).all(), (name, key)
        if not name.startswith("student"):
            for key, tensor in weights.items():
                if key.endswith(("weight", "bias")):
                    assert tensors[f"optimizer.momentum.{key}"].shape == tensor.shape, (name, key)
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
        assert metadata["model"] == "resnet8" and metadata["classes"] == "4", metadata
        assert 0 <= float(metadata["test_top1"]) <= 100, metadata
    assert load_file(f"{run}/student_last.safetensors")["bn1.num_batches_tracked"] == 4 * 7  # epochs, batches


if __name__ == "__main__":
    main(*sys.argv[1:])
