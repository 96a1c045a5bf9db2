#!/usr/bin/env python3
"""The PyTorch peers compute what they are named after.

    check_peers.py [CASE…]

Losses: both ways of writing them give the loss and gradients of the reference cases loss-mlkd_official-*.safetensors (default:
those in tests/golden). Steps: the eager one and the one that takes both views as one batch end with the same weights and running
statistics. Needs torch and numpy; without torch it says so and exits with 77.
"""
import glob
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench"))

try:
    import numpy as np
    import torch
except ImportError as error:
    print(f"left out: {error}")
    sys.exit(77)

from peers.losses import Stacked, released  # noqa: E402
from peers.steps import SETTINGS, CapturedStep, EagerStep, Inputs  # noqa: E402


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    types = {"F32": np.float32, "F64": np.float64, "I64": np.int64}
    return header.pop("__metadata__"), {
        name: torch.from_numpy(np.frombuffer(data[start + entry["data_offsets"][0]:start + entry["data_offsets"][1]],
                                             types[entry["dtype"]]).reshape(entry["shape"]).copy()) for name, entry in header.items()}


def relative_difference(a, b):
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-300))


def loss_errors(path):
    """Relative errors of loss and gradients in float64, for both ways of writing."""
    about, tensors = read_safetensors(path)
    settings = {"temperatures": tuple(json.loads(about["temperatures"])), "ce_weight": float(about["ce_weight"]),
                "kd_weight": float(about["kd_weight"]), "standardize": about["logit_standardization"] == "true"}
    teacher = [tensors[f"teacher_{view}"].double() for view in ("weak", "strong")]
    for name, function in (("released", lambda *inputs: released(*inputs, **settings)),
                           ("without dead levels", lambda *inputs: released(*inputs, **settings, as_released=False)),
                           ("stacked", Stacked(**settings).double())):
        student = [tensors[f"student_{view}"].double().requires_grad_() for view in ("weak", "strong")]
        loss = function(student, teacher, tensors["target"])
        loss.backward()
        yield name, max([relative_difference(loss.detach(), tensors["loss.total"])] +
                        [relative_difference(s.grad, tensors[f"grad.student_{view}"]) for s, view in zip(student, ("weak", "strong"))])


def state_after_steps(kind, setting):
    """Parameters and running statistics after three steps, and the last loss."""
    work = kind(setting, "cpu", "tiny", Inputs("cpu", 6, setting.channels_last))
    for _ in range(3):
        work.run()
    return {name: values for name, values in work.student.state_dict().items() if "num_batches" not in name}, work.loss()


def main():
    failed = False
    paths = sys.argv[1:] or sorted(glob.glob(os.path.join(ROOT, "tests/golden/loss-mlkd_official-*.safetensors")))
    for path in paths:
        for name, error in loss_errors(path):
            # Near equality of student and teacher the direct form loses digits, in float64 too.
            bad = not error < 1e-6
            failed |= bad
            print(f"{'FAIL' if bad else 'PASS'} {os.path.basename(path)} {name}: {error:.1e}")
    expected, expected_loss = state_after_steps(EagerStep, SETTINGS["eager"])
    for name in ("compiled-tf32", "graph-tf32"):
        state, loss = state_after_steps(CapturedStep, SETTINGS[name])
        error = max([relative_difference(state[key], values) for key, values in expected.items()] + [abs(loss / expected_loss - 1)])
        bad = state.keys() != expected.keys() or not error < 1e-4
        failed |= bad
        print(f"{'FAIL' if bad else 'PASS'} three steps as {name}, against eager: {error:.1e}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
