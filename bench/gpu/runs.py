"""Training runs for the checks: their arguments, files and results."""
import glob
import json
import os
import shutil

from machine import ROOT, output_of

CONFIGS = os.path.join(ROOT, "configs", "cifar100", "resnet32x4_resnet8x4")
TIMES = {"train_seconds", "test_seconds", "data_share", "images_per_second"}


def mlkd(stage):
    return os.path.join(stage.options.bin, "mlkd")


def offered_precisions(stage):
    """Of fp32, tf32 and bf16 those that the program's help names; on a CPU, fp32 alone."""
    text = output_of([mlkd(stage), "train", "--help"], stage.machine["environment"]) or ""
    return [name for name in ("tf32", "bf16", "fp32") if name in text] if stage.on_gpu() else ["fp32"]


def offers(stage, command, option):
    return option in (output_of([mlkd(stage), command, "--help"], stage.machine["environment"]) or "")


def synthetic(stage):
    return stage.options.data.startswith("synthetic")


def plans(stage):
    """Convolution plans that all benchmarks of all calls share: each is made once."""
    return os.path.join(stage.options.out, "convolution_plans.json")


def bench_command(stage, filter_expression, path, repetitions, *more):
    """Writes to path. A rehearsal measures shortly, and no peaks."""
    fine = ["--min-time", "0.05"] if stage.in_full() else ["--min-time", "0.01", "--no-peaks"]
    return [mlkd(stage), "bench", "--device", stage.options.device, "--filter", filter_expression, "--json", path,
            "--plans", plans(stage), *fine, "--repetitions", str(repetitions), *more]


def train_command(stage, recipe, output, precision, *more):
    """Later settings win. A rehearsal takes tiny networks and the data's first images."""
    command = [mlkd(stage), "train", "--config", os.path.join(CONFIGS, recipe + ".json"), "--device", stage.options.device,
               "--data", stage.options.data, "--output", output, "--precision", precision]
    if synthetic(stage):
        command += ["dataset.type=auto"]  # the recipes ask for CIFAR-100
    if not stage.in_full():
        command += ["distiller.student=resnet8", "solver.batch_size=32", "solver.lr=0.01", "dataset.train_images=200",
                    "dataset.test.images=200"]
        if recipe != "vanilla_teacher" and recipe != "vanilla_student":
            command += ["distiller.teacher=resnet8", "mlkd.loss.class_weight=0.1"]
    return command + list(more)


def short_teacher(stage):
    return os.path.join(stage.options.out, "teacher")


def teacher_for(stage):
    """The trained teacher where there is one, else one that has seen a few images: the times are the same."""
    trained = os.path.join(stage.options.out, "f", "teacher", "student_best.safetensors")
    if os.path.exists(trained):
        return trained
    output = short_teacher(stage)
    path = os.path.join(output, "student_last.safetensors")
    if os.path.exists(path) and not stage.options.fresh:
        return path
    command = train_command(stage, "vanilla_teacher", output, offered_precisions(stage)[0], "--overwrite", "solver.epochs=1",
                            *(["dataset.train_images=3000"] if stage.in_full() else []))
    stage.run("a teacher, one short epoch", command, again=True)
    return path if os.path.exists(path) else None


def metrics(run):
    """A dictionary for each finished epoch."""
    try:
        with open(os.path.join(run, "metrics.jsonl")) as file:
            return [json.loads(line) for line in file if line.endswith("\n")]
    except OSError:
        return []


def fresh_folder(run, plans_of=None):
    """Empty, but for the convolution plans of another run: plans chosen anew could differ in the last bits."""
    shutil.rmtree(run, ignore_errors=True)
    os.makedirs(run)
    plans = os.path.join(plans_of, "convolution_plans.json") if plans_of else ""
    if os.path.exists(plans):
        shutil.copy(plans, run)


def tensors_of(path):
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], data[start + entry["data_offsets"][0]:start + entry["data_offsets"][1]])
            for name, entry in header.items()}


def difference(run, other):
    """What differs between two runs, times aside; empty when nothing does."""
    ours, theirs = ([{key: value for key, value in line.items() if key not in TIMES} for line in metrics(folder)]
                    for folder in (run, other))
    if not ours or len(ours) != len(theirs):
        return f"{len(ours)} and {len(theirs)} epochs"
    for a, b in zip(ours, theirs):
        if a != b:
            return f"metrics of epoch {a.get('epoch')}: " + ", ".join(f"{key} {a[key]} and {b.get(key)}"
                                                                      for key in a if a[key] != b.get(key))
    files = [os.path.join(folder, "student_last.safetensors") for folder in (run, other)]
    try:
        contents = [open(path, "rb").read() for path in files]
    except OSError as error:
        return str(error)
    if contents[0] == contents[1]:
        return ""
    a, b = map(tensors_of, files)
    names = [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]
    return "student_last.safetensors: " + (", ".join(names[:5]) + (" …" if len(names) > 5 else "") if names else "its metadata")


def bench_results(path):
    """name: median, least and greatest milliseconds and the counters of the quickest repetition, of mlkd bench --json."""
    try:
        with open(path) as file:
            runs = json.load(file)["benchmarks"]
    except (OSError, ValueError, KeyError):
        return {}
    results = {}
    for name in dict.fromkeys(run["run_name"] for run in runs):
        mine = sorted((run for run in runs if run["run_name"] == name and run["run_type"] == "iteration" and "real_time" in run),
                      key=lambda run: run["real_time"])
        if not mine:
            continue
        counters = {key: value for key, value in mine[0].items() if key.startswith(("%", "GB", "GF", "MB", "kernels"))}
        results[name.removesuffix("/real_time").removesuffix("/manual_time").removesuffix("/process_time")] = {
            "median_ms": mine[len(mine) // 2]["real_time"], "min_ms": mine[0]["real_time"], "max_ms": mine[-1]["real_time"], **counters}
    return results


def peaks(path):
    try:
        with open(path) as file:
            context = json.load(file)["context"]
    except (OSError, ValueError, KeyError):
        return {}
    return {key: context[key] for key in ("device", "peak_gflop_per_second", "peak_gb_per_second") if key in context}


def forget(pattern):
    for path in glob.glob(pattern):
        os.remove(path)
