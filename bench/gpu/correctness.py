"""Stages a and b: tests, reference values, compute-sanitizer."""
import glob
import os
import re

from machine import ROOT, output_of

TEST_PROGRAMS = ("test_cuda", "test_engine", "test_layers", "test_losses", "test_data")
GOLDEN = os.path.join(ROOT, "tests", "golden")


def cases(pattern):
    return sorted(glob.glob(os.path.join(GOLDEN, pattern + ".safetensors")))


def sources_of(folder):
    """Where the test programs look for their reference values; not each of them holds the path in one piece."""
    for name in TEST_PROGRAMS:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path, "rb") as file:
                found = re.search(rb"(/[ -~]+)/tests/golden\0", file.read())
            if found:
                return found.group(1).decode()
    return None


def run_tests(stage):
    sources = sources_of(stage.options.bin)
    for name in TEST_PROGRAMS:
        program = os.path.join(stage.options.bin, name)
        if not os.path.exists(program):
            stage.skip(name, f"not in {stage.options.bin}")
            continue
        if sources and name != "test_cuda" and not os.path.isdir(sources):
            stage.skip(name, f"compiled with the sources in {sources}, which is not here: ln -s {ROOT} {sources}")
            continue
        rehearsal = [] if stage.on_gpu() else ["--test-suite=team"]
        stage.run(name, [program, *rehearsal], gpu=False)
    if stage.lacks_gpu():
        print("without a GPU, the cases for one did not run in these programs")


def run_golden(stage):
    golden = os.path.join(stage.options.bin, "golden")
    device = stage.options.device
    groups = {"losses": "loss-*", "trajectories": "trajectory-*", "augmentation": "augment-*", "networks": "model-*"}
    if not stage.on_gpu():
        groups = {"losses": "loss-*", "networks": "model-resnet8"}
    results = stage.data.setdefault("golden", {})
    for group, pattern in groups.items():
        if not os.path.exists(golden):
            stage.skip(f"golden {group}", f"no golden in {stage.options.bin}")
            continue
        stage.run(f"golden {group}", [golden, *cases(pattern), "--device", device])
        log = os.path.join(stage.folder, f"golden_{group}.log")
        if os.path.exists(log) and not stage.lacks_gpu():
            with open(log) as file:
                lines = [line.strip() for line in file if line.startswith(("PASS", "FAIL"))]
            results[group] = {os.path.basename(line.split(":")[0].split()[-1]).replace(".safetensors", ""):
                              f"{line.split()[0]} {line.split(': ', 1)[-1]}" for line in lines}
    stage.save()


def stage_a(stage):
    run_tests(stage)
    run_golden(stage)


def stage_b(stage):
    sanitizer = stage.machine["sanitizer"]
    program, golden = (os.path.join(stage.options.bin, name) for name in ("test_cuda", "golden"))
    jobs = {"kernel tests": [program, "--test-suite=kernels"],
            "losses": [golden, "--device", stage.options.device, *cases("loss-*3x2"), *cases("loss-*5x7"), *cases("loss-*16x10")],
            "augmentation": [golden, "--device", stage.options.device, *cases("augment-rotate"), *cases("augment-cutout")],
            "resnet8": [golden, "--device", stage.options.device, *cases("model-resnet8")]}
    listing = output_of([program, "--list-test-suites"], stage.machine["environment"]) or ""
    if "kernels" not in listing:
        jobs["kernel tests"] = [program]
    # Our own kernels: cuDNN and cuBLAS read what they do not use, on purpose.
    knows = "--kernel-regex" in (output_of([sanitizer, "--help"]) or "") if sanitizer else False
    ours = ["--kernel-regex", "kns=mlkd"] if knows else []
    for tool in ("memcheck", "racecheck", "synccheck", "initcheck"):
        for what, job in jobs.items():
            name = f"{tool} {what}"
            if not stage.on_gpu():
                stage.skip(name, "a rehearsal on the CPU")
            elif not sanitizer and not stage.lacks_gpu():
                stage.skip(name, "no compute-sanitizer; name it with --sanitizer")
            elif not os.path.exists(job[0]):
                stage.skip(name, f"no {job[0]}")
            else:
                stage.run(name, [sanitizer or "compute-sanitizer", "--tool", tool, "--error-exitcode", "9",
                                 *(ours if tool != "memcheck" else []), *job])
