"""Stages of checks and measurements on a GPU; see scripts/gpu_check.sh."""
import argparse
import contextlib
import os
import shutil
import sys
import time

from archive import pack
from call import Call, Interrupted
from correctness import stage_a, stage_b
from in_turns import stage_e
from machine import BUNDLED_PROGRAMS, ROOT, describe, torch_version
from measurements import stage_d
from recorder import Stage, read_json, write_json
from repeatability import stage_c
from report import write_report
from training import RUNS, stage_f

STAGES = {
    "a": ("tests and reference values", stage_a),
    "b": ("compute-sanitizer over the kernels", stage_b),
    "c": ("graph, resume and repetition, bit for bit", stage_c),
    "d": ("mlkd bench, and an epoch", stage_d),
    "e": ("PyTorch in the same run", stage_e),
    "f": ("training on CIFAR-100", stage_f),
}


def list_of(allowed, word):
    def parse(text):
        names = list(allowed) if text == "all" else text.split(",")
        for name in names:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"'{name}' is no {word}; there are {', '.join(allowed)}, all")
        return names
    return parse


def default_python():
    """One that has torch, if there is one."""
    candidates = [path for path in (shutil.which("python3"), "/usr/bin/python3") if path]
    return next((path for path in candidates if torch_version(path)), candidates[0])


def rehearsal_data(data):
    """Every training run makes synthetic images anew, which takes seconds for 50000: a rehearsal takes 200 of as many classes."""
    if data and not data.startswith("synthetic"):
        return data
    parts = data.split(":")
    return "synthetic:200:" + (parts[2] if len(parts) == 3 else "10")


def arguments():
    parser = argparse.ArgumentParser(prog="gpu_check.sh", description=__doc__)
    bundled = os.path.isdir(BUNDLED_PROGRAMS)
    parser.add_argument("--bin", required=not bundled, default=BUNDLED_PROGRAMS if bundled else None,
                        help="folder of mlkd, golden and the test programs (build/cuda/bin; in an unpacked bundle, its own)")
    parser.add_argument("--data", default="", help="folder of CIFAR-100's train.bin and test.bin, or e.g. synthetic:50000:100, with which "
                        "f is left out; without either, c, part of d, and f are")
    parser.add_argument("--out", default="gpu_check", help="folder of results (default: %(default)s)")
    parser.add_argument("--stages", default="all", type=list_of(STAGES, "stage"), help="e.g. a,c (default: all)")
    parser.add_argument("--archive", help="file of everything in --out, for machines from which few files come back (default: "
                        "the folder's name with .tar.gz)")
    parser.add_argument("--minutes", type=float, default=9, help="of the whole call, from its start (default: %(default)s)")
    parser.add_argument("--python", help="the Python that has torch (default: one of python3 and /usr/bin/python3)")
    parser.add_argument("--lib", action="append", default=[], help="folder with cuDNN or cuBLAS; may be repeated. Those of PyTorch's "
                        "packages are found without it where the system has none that fit")
    parser.add_argument("--sanitizer", help="compute-sanitizer, where it is not in the PATH")
    parser.add_argument("--epochs", type=int, help="of stage f (240; stages of the learning rate are scaled)")
    parser.add_argument("--runs", type=list_of(RUNS, "run of stage f"), help=f"of stage f: {','.join(RUNS)}")
    parser.add_argument("--commit", help="what was built, where the sources' git is not at hand")
    parser.add_argument("--fresh", action="store_true", help="run again what has passed with these programs")
    parser.add_argument("--rehearse", action="store_true", help="with tiny networks and few images, to see that this script runs")
    parser.add_argument("--allow-cpu", action="store_true", help="a rehearsal on the CPU")
    options = parser.parse_args()
    if options.minutes <= 0 or (options.epochs is not None and options.epochs < 1):
        parser.error("--minutes and --epochs must be positive")
    if not os.access(os.path.join(options.bin, "mlkd"), os.X_OK):
        parser.error(f"--bin {options.bin}: no mlkd there; build it with: cmake --preset cuda && cmake --build --preset cuda")
    if options.data and not os.path.isdir(options.data) and not options.data.startswith("synthetic"):
        parser.error(f"--data {options.data}: no such folder")
    options.device = "cpu" if options.allow_cpu else "cuda"
    options.rehearse = options.rehearse or options.allow_cpu
    if options.rehearse:
        options.data = rehearsal_data(options.data)
    options.bin, options.out = os.path.abspath(options.bin), os.path.abspath(options.out)
    options.archive = os.path.abspath(options.archive or options.out + ".tar.gz")
    if options.data and not options.data.startswith("synthetic"):
        options.data = os.path.abspath(options.data)
    options.python = options.python or default_python()
    return options


def write_results(options):
    """The report, then the archive of everything. A mistake in the report must not cost what was measured."""
    counts = ""
    try:
        counts = write_report(options.out)
    except Exception as error:
        counts = f"no report: {type(error).__name__}: {error}"
    pack(options.out, options.archive)
    return counts


def run_stages(options, call):
    """How many of their commands failed."""
    machine = describe(options)
    known = {key: value for key, value in machine.items() if key != "environment"}
    about = {"when": time.strftime("%Y-%m-%d %H:%M:%S"), "arguments": sys.argv[1:], "commit": machine["commit"]}
    os.makedirs(os.path.join(options.out, "calls"), exist_ok=True)
    write_json(os.path.join(options.out, "calls", time.strftime("%Y%m%d-%H%M%S-") + "".join(options.stages) + ".json"), about)
    write_json(os.path.join(options.out, "machine.json"), {**known, "device": options.device, "rehearsal": options.rehearse})
    print(f"commit {machine['commit']}; {machine['card'] or 'nvidia-smi finds no GPU'}; torch {machine['torch'] or 'none'}")
    if options.device == "cuda" and not machine["gpu"]:
        print(f"no GPU: {machine['why_no_gpu']}")
    failed = 0
    for letter in options.stages:
        title, work = STAGES[letter]
        stage = Stage(letter, title, options, machine, call)
        try:
            work(stage)
        except Exception as error:  # a mistake here must not end the stages after it
            stage.add("the stage itself", "failed", last_lines=f"{type(error).__name__}: {error}")
        stage.finished = True
        stage.save()
        failed += sum(record["status"] == "failed" for record in stage.records)
        write_results(options)
    return failed


def main():
    options = arguments()
    os.makedirs(options.out, exist_ok=True)
    os.makedirs(os.path.dirname(options.archive), exist_ok=True)
    os.chdir(ROOT)
    call = Call(options.minutes, when_killed=lambda: write_results(options))
    code = 0
    try:
        code = 1 if run_stages(options, call) else 0
    except Interrupted as signalled:
        code = 128 + signalled.number
        with contextlib.suppress(OSError):  # whoever reads may be gone
            print(f"\n{signalled}", flush=True)
    finally:
        call.close()
        counts = write_results(options)
    with contextlib.suppress(OSError):
        print(f"\n{counts}\nreport: {os.path.join(options.out, 'gpu_report.md')}\narchive: {options.archive}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
