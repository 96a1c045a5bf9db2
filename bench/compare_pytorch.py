#!/usr/bin/env python3
"""Training steps and losses of mlkd against the quickest PyTorch on the CPU, in alternating short pieces.

    python3 -m venv peer && peer/bin/pip install torch numpy      # once; several GB with its CUDA libraries, which are not used
    bench/compare_pytorch.py --python peer/bin/python --rounds 5 --json ratios.json
    bench/compare_pytorch.py --python peer/bin/python --only resnet20 --precision bf16

Tasks: a step of resnet20 and of resnet8x4 alone, and of distillation from resnet32x4 to resnet8x4 with the released code's loss
(mlkd_official), at batch 64 in fp32 and bf16; that loss alone, from logits to their gradient, batch x classes, in fp32.

For each task PyTorch runs eager and through torch.compile, contiguous and channels_last, bf16 through autocast and with bf16
copies of float32 masters, MLKD and losses as released and rewritten for speed (all temperatures stacked into one tensor, the
teacher folded, both views one batch of it). Each variant is a process of its own; in a short trial the quickest is found,
and what fails is named. Two ratios are printed, PyTorch's time over mlkd's: of the quickest, and of the quickest that is eager
and written as released (spared two levels of the strong view, which the released code computes and throws away).

Both sides get the same threads and the same OpenMP environment. Other programs disturb both sides: hence the alternation, the
ratio of each pair of neighbours, and the cores that others used meanwhile. torch.compile needs g++ and Python.h (python3-dev).
"""
import argparse
import json
import os
import signal
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from peers.about import about_processor  # noqa: E402
from peers.cpu_process import Failed, PyTorch, about_torch, mlkd_piece  # noqa: E402
from peers.cpu_variants import compiled_variants, eager_variants  # noqa: E402

STEPS = {  # name: the benchmark of `mlkd bench`
    "resnet20": "step/train/resnet20/64",
    "resnet8x4": "step/train/resnet8x4/64",
    "mlkd": "step/mlkd_official/resnet32x4_resnet8x4/64",
}
LOSS_SIZES = ("64x100", "64x1000", "64x10000", "256x100", "256x1000", "512x100", "512x1000", "4096x1000")
LOSSES = {f"loss-{size}": f"loss/mlkd_official/{size}" for size in LOSS_SIZES}
DEFAULT_TASKS = (*STEPS, "loss-64x100", "loss-512x1000")
REPETITION_SECONDS = 0.3
SLOW_STEP_MS = 500  # from here on a piece has 3 repetitions instead of 5


def fail(message):
    sys.exit("compare_pytorch: " + message)


def busy_seconds():
    """CPU seconds that the whole machine has worked, those stolen by other virtual machines included."""
    with open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:]]
    return (sum(ticks[:3]) + sum(ticks[5:8])) / os.sysconf("SC_CLK_TCK")


def measured(piece):
    """A piece, with the cores that others used meanwhile."""
    start, busy = time.perf_counter(), busy_seconds()
    result = piece()
    result["others_cores"] = max(0.0, busy_seconds() - busy - result["own_cpu"]) / (time.perf_counter() - start)
    return result


class Trial:
    """Starts one variant after the other and keeps the quickest, and the quickest of the released way of writing."""

    def __init__(self, task, arguments):
        self.task, self.arguments = task, arguments
        self.times, self.failures, self.running = {}, {}, set()
        self.best = self.released = None

    def run(self, variants):
        for variant in variants:
            try:
                pytorch = PyTorch(self.task, variant, self.arguments)
                self.running.add(pytorch)
                repetitions = 2 if pytorch.milliseconds > SLOW_STEP_MS else 5
                self.times[variant] = min(pytorch.piece(REPETITION_SECONDS, repetitions)["wall"])
            except Failed as reason:
                self.failures[variant] = str(reason)
                print(f"  left out: {self.task}, {variant}: {reason}", file=sys.stderr, flush=True)
            else:
                print(f"  tried: {self.task}, {variant}: {self.times[variant]:.2f} ms", file=sys.stderr, flush=True)
                if self.best is None or self.times[variant] < self.times[self.best.variant]:
                    self.best = pytorch
                if variant.is_released() and (self.released is None or self.times[variant] < self.times[self.released.variant]):
                    self.released = pytorch
            self.close({self.best, self.released})

    def close(self, all_but=frozenset()):
        for pytorch in self.running - all_but:
            pytorch.close()
        self.running &= all_but


def spread(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def comparison(pairs, side):
    """Of PyTorch's side of the pairs with mlkd's."""
    def ratios(key):
        return spread([statistics.median(pair[side][key]) / statistics.median(pair["mlkd"][key]) for pair in pairs])

    def least(name, key):
        return min(min(pair[name][key]) for pair in pairs)

    return {"pytorch_ms": least(side, "wall"), "mlkd_ms": least("mlkd", "wall"), "ratio": ratios("wall"),
            "ratio_of_bests": least(side, "wall") / least("mlkd", "wall"),
            "pytorch_cpu_ms": least(side, "cpu"), "mlkd_cpu_ms": least("mlkd", "cpu"), "cpu_ratio": ratios("cpu"),
            "cpu_ratio_of_bests": least(side, "cpu") / least("mlkd", "cpu")}


def compare(task, precision, blas, arguments):
    trial = Trial(task, arguments)
    try:
        trial.run(eager_variants(task, precision, blas))
        if trial.best is None:
            raise Failed("no variant of PyTorch's runs")
        trial.run(compiled_variants(task, trial.best.variant))
        benchmark = {**STEPS, **LOSSES}[task]
        repetitions = 3 if trial.times[trial.best.variant] > SLOW_STEP_MS else 5
        sides = {"pytorch": lambda: trial.best.piece(REPETITION_SECONDS, repetitions),
                 "mlkd": lambda: mlkd_piece(arguments, benchmark, precision, REPETITION_SECONDS, repetitions)}
        if trial.released not in (None, trial.best):
            sides["released"] = lambda: trial.released.piece(REPETITION_SECONDS, repetitions)
        pairs = []
        for number in range(arguments.rounds):
            order = list(sides) if number % 2 == 0 else list(reversed(sides))  # mlkd stands beside either
            pairs.append({side: measured(sides[side]) for side in order})
    finally:
        trial.close()
    result = {"task": task, "precision": precision, "benchmark": benchmark, "variant": str(trial.best.variant),
              "trial_ms": {str(variant): ms for variant, ms in trial.times.items()},
              "failed": {str(variant): reason for variant, reason in trial.failures.items()}, **comparison(pairs, "pytorch"),
              "mlkd_peak_memory_mb": max(pair["mlkd"]["peak_memory_mb"] for pair in pairs),
              "others_cores": spread([side["others_cores"] for pair in pairs for side in pair.values()])}
    if trial.released:
        side = "released" if "released" in sides else "pytorch"
        result["released"] = {"variant": str(trial.released.variant), **comparison(pairs, side)}
    return {**result, "pairs": pairs}


def checked(arguments):
    """Ends the program where the comparison could not be made; what PyTorch says about itself."""
    if arguments.rounds < 1 or arguments.threads < 1:
        fail("--rounds and --threads must be at least 1")
    if not os.access(arguments.mlkd, os.X_OK):
        fail(f"--mlkd {arguments.mlkd}: no such program; build it with: cmake --preset cpu && cmake --build --preset cpu --target mlkd")
    if arguments.json:
        try:
            open(arguments.json, "a").close()
        except OSError as error:
            fail(f"--json {arguments.json}: {error.strerror}")
    try:
        about = about_torch(arguments.python)
    except (Failed, OSError) as error:
        fail(f"--python {arguments.python}: {error}; make one with torch: "
             "python3 -m venv peer && peer/bin/pip install torch numpy, then --python peer/bin/python")
    if about["blas"] == "Netlib":
        fail(f"PyTorch's BLAS is Netlib's, {about['blas_path']}, far slower than OpenBLAS: apt-get install libopenblas0-pthread "
             "(and update-alternatives --config libblas.so.3-x86_64-linux-gnu), or take a PyTorch from PyPI, which contains MKL")
    return about


def print_about(about, processor, arguments):
    def yes_or_no(flag):
        return "yes" if processor[flag] else "no"

    policy = os.environ.get("OMP_WAIT_POLICY", "unset") if arguments.wait_policy == "default" else arguments.wait_policy
    print(f"PyTorch {about['torch']}, oneDNN {about['onednn']}, BLAS {about['blas']}, CPU capability {about['cpu_capability']}")
    print(f"{processor['name']}, AMX bf16: {yes_or_no('amx_bf16')}, AVX-512 bf16: {yes_or_no('avx512_bf16')}; "
          f"{arguments.threads} threads, OMP_WAIT_POLICY {policy}")
    print("ratio: PyTorch's time over mlkd's, median (least - largest) of the pairs; "
          "others: cores that other programs used, median (largest)")


def print_result(result):
    def line(title, side):
        ratio = side["ratio"]
        return (f"  {title:<19} {side['pytorch_ms']:9.2f} ms, ratio {ratio['median']:.2f} ({ratio['min']:.2f} - {ratio['max']:.2f}), "
                f"of CPU time {side['cpu_ratio']['median']:.2f}: {side['variant']}")

    others = result["others_cores"]
    print(f"\n{result['task']} {result['precision']}: mlkd {result['mlkd_ms']:.2f} ms; others {others['median']:.2f} ({others['max']:.2f})")
    print(line("quickest PyTorch", result))
    print(line("as released, eager", result["released"]) if "released" in result else "  as released, eager does not run", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mlkd", default="build/cpu/bin/mlkd", help="the program (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="pairs of pieces (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of both sides (default: %(default)s)")
    parser.add_argument("--only", choices=(*STEPS, *LOSSES), action="append", metavar="TASK",
                        help=f"may be repeated: {', '.join((*STEPS, *LOSSES))} (default: {', '.join(DEFAULT_TASKS)})")
    parser.add_argument("--precision", choices=("fp32", "bf16"), action="append", help="of the steps; may be repeated (default: both)")
    parser.add_argument("--wait-policy", choices=("default", "passive", "active"), default="default",
                        help="OMP_WAIT_POLICY of both sides; passive on a machine that others use too (default: as it is)")
    parser.add_argument("--python", default=sys.executable, help="the Python that has torch (default: the one that runs this)")
    parser.add_argument("--json", help="write all times there")
    arguments = parser.parse_args()
    about, processor = checked(arguments), about_processor()
    print_about(about, processor, arguments)
    results, failed = [], False
    for task in arguments.only or DEFAULT_TASKS:
        for precision in (arguments.precision or ("fp32", "bf16")) if task in STEPS else ("fp32",):
            try:
                results.append(compare(task, precision, about["blas"], arguments))
            except Failed as reason:
                failed = True
                print(f"\n{task} {precision}: not measured: {reason}", flush=True)
                continue
            print_result(results[-1])
            if arguments.json:  # after each task: what was measured stays
                with open(arguments.json, "w") as file:
                    json.dump({"threads": arguments.threads, "wait_policy": arguments.wait_policy, "about": about, "processor": processor,
                               "results": results}, file, indent=1)
    return int(failed)


def terminate(*_):
    sys.exit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, terminate)  # as an exception: started processes are ended
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
