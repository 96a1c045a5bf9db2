#!/usr/bin/env python3
"""The released MLKD algorithm in PyTorch, timed: the peer that mlkd is measured against.

    bench/peers/pytorch_mlkd.py --setting eager --setting compiled-bf16
    bench/peers/pytorch_mlkd.py --loss-only 64 100 --loss-only 512 1000 --setting compiled-tf32

A step: ResNet32x4 teaches ResNet8x4 at batch 64, weak and strong view, mlkd_official, SGD with momentum and without
Nesterov's, weight decay. Images stay on the device: random ones, or the first of a CIFAR-100 training set (--data). Prints one
line of JSON for each setting; a setting that fails gets a line with "error", and the exit code is 1. --serve: after the line,
a piece of --steps steps, its times in a line, for each line on standard input.
"""
import argparse
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import torch  # noqa: E402

from peers.networks import PAIRS  # noqa: E402
from peers.steps import CLASSES, SETTINGS, CapturedStep, EagerStep, Inputs, LossAlone  # noqa: E402


def first_images(folder, count):
    """N x 3 x 32 x 32, normalised, and labels, from CIFAR-100's binary layout: coarse label, label, 3072 bytes."""
    with open(os.path.join(folder, "train.bin"), "rb") as file:
        records = torch.frombuffer(bytearray(file.read(count * 3074)), dtype=torch.uint8).view(-1, 3074)
    mean, deviation = torch.tensor([0.5071, 0.4867, 0.4408]), torch.tensor([0.2675, 0.2565, 0.2761])
    images = records[:, 2:].reshape(-1, 3, 32, 32).float() / 255
    return (images - mean.view(3, 1, 1)) / deviation.view(3, 1, 1), records[:, 1].long()


def milliseconds_of(work, steps, on_gpu):
    """Of each step: between events on a GPU, whose host runs ahead where nothing makes it wait."""
    if not on_gpu:
        times = []
        for _ in range(steps):
            start = time.perf_counter()
            work.run()
            times.append(1e3 * (time.perf_counter() - start))
        return times
    events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    torch.cuda.synchronize()
    events[0].record()
    for event in events[1:]:
        work.run()
        event.record()
    torch.cuda.synchronize()
    return [before.elapsed_time(after) for before, after in zip(events, events[1:])]


def make_works(setting, arguments):
    """Names and works of one setting: the step, or the losses asked for."""
    if arguments.loss_only:
        return {f"loss/mlkd_official/{batch}x{classes}": lambda b=batch, c=classes: LossAlone(setting, arguments.device, b, c)
                for batch, classes in arguments.loss_only}
    data = first_images(arguments.data, arguments.batch) if arguments.data else None
    kind = CapturedStep if setting.captured else EagerStep
    return {f"step/mlkd_official/{arguments.model}/{arguments.batch}": lambda: kind(
        setting, arguments.device, arguments.model, Inputs(arguments.device, arguments.batch, setting.channels_last, data))}


def measured(name, make, arguments):
    """The work, None when it failed, and its line."""
    on_gpu = arguments.device == "cuda"
    about = {"setting": name[0], "what": name[1], "about": SETTINGS[name[0]].about}
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    try:
        work = make()
        milliseconds_of(work, arguments.warmup, on_gpu)
        seconds = time.perf_counter() - start
        times = milliseconds_of(work, arguments.steps, on_gpu)
        about.update(median_ms=statistics.median(times), min_ms=min(times), max_ms=max(times), steps=arguments.steps, loss=work.loss(),
                     seconds_to_prepare=round(seconds, 2), notes=work.notes)
        if on_gpu:
            about["peak_memory_mb"] = torch.cuda.max_memory_allocated() / 1e6
    except Exception as error:  # whatever PyTorch and its compiler throw: the other settings go on
        work, about["error"] = None, (str(error).strip().splitlines() or [type(error).__name__])[0][:400]
    print(json.dumps(about), flush=True)
    return work


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", choices=SETTINGS, action="append", help="may be repeated; default: eager, amp, compiled-bf16")
    parser.add_argument("--loss-only", nargs=2, type=int, metavar=("B", "C"), action="append", help="the loss alone; may be repeated")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--model", default="resnet32x4_resnet8x4", choices=PAIRS)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--data", help="folder with CIFAR-100's train.bin (default: random images)")
    parser.add_argument("--steps", type=int, default=100, help="of a piece (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=10, help="steps before (default: %(default)s)")
    parser.add_argument("--serve", action="store_true", help="then a piece for each line on standard input")
    arguments = parser.parse_args()
    if min(arguments.steps, arguments.warmup, arguments.batch) < 1:
        parser.error("--steps, --warmup and --batch must be at least 1")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("pytorch_mlkd: PyTorch sees no GPU; --device cpu runs there")
    if arguments.model != "tiny" and arguments.device == "cpu":
        print("pytorch_mlkd: this takes seconds a step on a CPU; --model tiny is for tests", file=sys.stderr)
    torch.backends.cudnn.benchmark = True
    properties = {"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
                  "device": torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu", "classes": CLASSES}
    print(json.dumps(properties), flush=True)
    works = {}
    for setting in arguments.setting or ["eager", "amp", "compiled-bf16"]:
        for what, make in make_works(SETTINGS[setting], arguments).items():
            works[setting, what] = measured((setting, what), make, arguments)
    if arguments.serve:
        for _ in sys.stdin:
            times = {"|".join(name): milliseconds_of(work, arguments.steps, arguments.device == "cuda")
                     for name, work in works.items() if work is not None}
            print(json.dumps(times), flush=True)
    return int(any(work is None for work in works.values()))


if __name__ == "__main__":
    sys.exit(main())
