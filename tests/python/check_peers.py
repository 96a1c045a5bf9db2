#!/usr/bin/env python3
"""The PyTorch peers compute what they are named after.

    check_peers.py [CASE…]

Losses: every way of writing them, compiled too, gives the loss and gradients of the reference cases
loss-mlkd_official-*.safetensors (default: those in tests/golden). Steps: the eager one and the one that takes both views as one
batch end with the same weights and running statistics, and so do all variants on a CPU; in bf16 the updates of the float32
masters are near those of fp32. Needs torch and numpy; without torch it says so and exits with 77. What cannot be compiled here
is named and left out.
"""
import dataclasses
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

from peers.cpu_steps import TrainingStep, maybe_compiled  # noqa: E402
from peers.cpu_variants import Variant, compiled_variants, eager_variants  # noqa: E402
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


def report(what, error, bound):
    """Whether it failed; NaN fails."""
    bad = not error < bound
    print(f"{'FAIL' if bad else 'PASS'} {what}: {error:.1e}", flush=True)
    return bad


def why_not_compiled():
    """Empty where torch.compile works."""
    try:
        maybe_compiled(lambda x: x + 1, Variant(compile_mode="default"))(torch.zeros(3))
    except Exception as error:  # whatever PyTorch and its compiler throw
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ""


def loss_errors(path, modes):
    """Relative errors of loss and gradients in float64, for all ways of writing; modes: of torch.compile."""
    about, tensors = read_safetensors(path)
    settings = {"temperatures": tuple(json.loads(about["temperatures"])), "ce_weight": float(about["ce_weight"]),
                "kd_weight": float(about["kd_weight"]), "standardize": about["logit_standardization"] == "true"}
    teacher = [tensors[f"teacher_{view}"].double() for view in ("weak", "strong")]
    stacked = Stacked(**settings).double()
    for name, function in (("released", lambda *inputs: released(*inputs, **settings)),
                           ("without dead levels", lambda *inputs: released(*inputs, **settings, as_released=False)),
                           ("stacked", stacked),
                           *((f"stacked, compiled ({mode})", maybe_compiled(stacked, Variant(compile_mode=mode))) for mode in modes)):
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


def updates_of(variant):
    """What eight steps of a tiny MLKD change, concatenated: of parameters, of running statistics; and the last loss."""
    if variant.compile_mode:
        torch._dynamo.reset()  # the limit of recompilations counts a whole process
    step = TrainingStep(variant, "tiny", batch=6)
    before = step.state()
    losses = [step() for _ in range(8)]
    after = step.state()
    changes = [[(after[name].float() - before[name].float()).flatten() for name in sorted(before) if ("running" in name) == running]
               for running in (False, True)]
    return [torch.cat(change) for change in changes] + [torch.stack(losses)]


def step_variants(compiles):
    for precision in ("fp32", "bf16"):
        eager = eager_variants("mlkd", precision)
        yield from eager
        for way in {variant.bf16: variant for variant in eager}.values() if compiles else ():
            yield from compiled_variants("mlkd", way)


def check_cpu_steps(compiles):
    """Against fp32 as released; and bf16 copies of float32 masters against autocast, which rounds at the same places."""
    updates = {variant: updates_of(variant) for variant in step_variants(compiles)}

    def error(variant, other):
        return max(float((a - b).norm() / b.norm()) for a, b in zip(updates[variant], updates[other]))

    failed = False
    for variant in updates:
        failed |= report(f"updates of eight steps: {variant}", error(variant, Variant()), 0.1 if variant.bf16 else 1e-3)
        if variant.bf16 == "cast" and not variant.compile_mode:  # compiled, other roundings fall away in either
            failed |= report("  the same against autocast", error(variant, dataclasses.replace(variant, bf16="autocast")), 1e-2)
    return failed


def main():
    failed = False
    reason = why_not_compiled()
    if reason:
        print(f"left out: torch.compile: {reason}")
    paths = sys.argv[1:] or sorted(glob.glob(os.path.join(ROOT, "tests/golden/loss-mlkd_official-*.safetensors")))
    for number, path in enumerate(paths):
        modes = () if reason else ("default", "max-autotune-no-cudagraphs") if number == 0 else ("default",)
        for name, error in loss_errors(path, modes):
            # Near equality of student and teacher the direct form loses digits, in float64 too.
            failed |= report(f"{os.path.basename(path)} {name}", error, 1e-6)
    failed |= check_cpu_steps(not reason)
    expected, expected_loss = state_after_steps(EagerStep, SETTINGS["eager"])
    for name in ("compiled-tf32", "graph-tf32"):
        state, loss = state_after_steps(CapturedStep, SETTINGS[name])
        error = max([relative_difference(state[key], values) for key, values in expected.items()] + [abs(loss / expected_loss - 1)])
        failed |= report(f"three steps as {name}, against eager", error if state.keys() == expected.keys() else float("nan"), 1e-4)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
