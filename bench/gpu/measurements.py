"""Stage d: mlkd bench, an epoch with augmentation and evaluation, the GPU's idle share."""
import os
import subprocess
import threading
import time

from runs import (bench_command, bench_results, fresh_folder, metrics, offered_precisions, offers, peaks, short_teacher, teacher_for,
                  train_command)


class Utilisation:
    """nvidia-smi's share of the time in which a kernel ran, five times a second."""

    def __init__(self, call):
        self.call, self.samples = call, []  # (time, percent)
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
        try:
            self.process = call.start(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except OSError:
            self.process = None
            return
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            if line.strip().isdigit():
                self.samples.append((time.time(), int(line)))

    def stop(self):
        if self.process is not None:
            self.call.finish(self.process)

    def idle_percent(self, start, end):
        inside = [percent for when, percent in self.samples if start <= when <= end]
        return 100 - sum(inside) / len(inside) if len(inside) >= 3 else None


def bench(stage, key, filter_expression, *more):
    path = os.path.join(stage.folder, f"bench-{key}.json")
    stage.run(f"bench {key}", bench_command(stage, filter_expression, path, 5 if stage.in_full() else 2, *more))
    results = bench_results(path)
    if results:
        stage.data.setdefault("bench", {})[key] = results
        stage.data["peaks"] = {**stage.data.get("peaks", {}), key: peaks(path)}
        stage.save()


def epoch(stage, precision, teacher):
    run = os.path.join(stage.folder, f"epoch-{precision}")
    name = f"epochs of mlkd_official, {precision}"
    epochs = 4 if stage.in_full() else 2
    command = train_command(stage, "mlkd_official_240", run, precision, f"distiller.teacher_checkpoint={teacher}",
                            f"solver.epochs={epochs}")
    if not stage.passed_before(name, command) and not stage.lacks_gpu():
        fresh_folder(run, short_teacher(stage))
        stage.data.get("epoch", {}).pop(precision, None)
    use = Utilisation(stage.call) if stage.on_gpu() and not stage.lacks_gpu() else None
    good = stage.run(name, command)
    end = time.time()
    if use is not None:
        use.stop()
    lines = metrics(run)[1:]  # the first one plans and captures
    if not good or not lines or precision in stage.data.get("epoch", {}):
        return
    seconds = sorted(line["train_seconds"] + line["test_seconds"] for line in lines)
    stage.data.setdefault("epoch", {})[precision] = {
        "seconds": {"median": seconds[len(seconds) // 2], "min": seconds[0], "max": seconds[-1]},
        "train_seconds": [line["train_seconds"] for line in lines], "test_seconds": [line["test_seconds"] for line in lines],
        "data_share": [line["data_share"] for line in lines],
        "idle_percent": use.idle_percent(end - sum(seconds), end - 0.2) if use is not None else None}
    stage.save()


def stage_d(stage):
    precisions = offered_precisions(stage)
    if stage.in_full():
        for precision in ("bf16", "tf32", "fp32"):
            if precision in precisions:
                bench(stage, f"step-{precision}", "^step/", "--precision", precision)
        bench(stage, "loss-fp32", "^loss/")
        if offers(stage, "bench", "--products"):
            bench(stage, "loss-tf32", "^loss/", "--products", "tf32")
        else:
            stage.skip("bench loss-tf32", "this program computes the losses' products in float32")
    else:
        bench(stage, "step-fp32", "^step/evaluate/resnet20")
        bench(stage, "loss-fp32", "^loss/mlkd_official/(64x100|512x100)$")
    if stage.options.data:
        teacher = teacher_for(stage)
        for precision in ("bf16", "tf32", "fp32") if not stage.on_gpu() else ("bf16", "tf32"):
            if precision in precisions and (teacher or stage.lacks_gpu()):
                epoch(stage, precision, teacher or "TEACHER")
    else:
        stage.skip("epochs of mlkd_official", "no --data")
    if not stage.in_full():
        bench(stage, "kernel-fp32", "^kernel/(sgd/278324|add/64x8x8x256)")
        return
    for precision in ("bf16", "tf32"):
        if precision in precisions:
            bench(stage, f"kernel-{precision}", "^kernel/", "--precision", precision)
            bench(stage, f"conv-{precision}", "^conv/", "--precision", precision)
