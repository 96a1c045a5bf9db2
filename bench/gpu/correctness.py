"""Stages a and b: tests, reference values, compute-sanitizer."""
import glob
import os

from machine import ROOT, output_of

TEST_PROGRAMS = ("test_cuda", "test_engine", "test_layers", "test_losses", "test_data")
GOLDEN = os.path.join(ROOT, "tests", "golden")


def cases(pattern):
    return sorted(glob.glob(os.path.join(GOLDEN, pattern + ".safetensors")))


def run_tests(stage):
    for name in TEST_PROGRAMS:
        program = os.path.join(stage.options.bin, name)
        if not os.path.exists(program):
            stage.skip(name, f"not in {stage.options.bin}")
            continue
        rehearsal = [] if stage.in_full() else ["--test-suite=team,kernels"]
        stage.run(name, [program, *rehearsal], gpu=False, environment={"MLKD_SOURCES": ROOT})
    if stage.lacks_gpu():
        print("without a GPU, the cases for one did not run in these programs")


def run_golden(stage):
    golden = os.path.join(stage.options.bin, "golden")
    device = stage.options.device
    groups = {"losses": "loss-*", "trajectories": "trajectory-*", "augmentation": "augment-*", "networks": "model-*"}
    if not stage.in_full():
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
    offered = output_of([sanitizer, "--help"]) or "" if sanitizer else ""
    ours = ["--kernel-regex", "kns=mlkd"] if "--kernel-regex" in offered else []
    # Calls that fail are no finding: the program asks for what a library may refuse, and takes the answer.
    quiet = ["--report-api-errors", "no"] if "--report-api-errors" in offered else []
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
                                 *(quiet if tool == "memcheck" else ours), *job])
