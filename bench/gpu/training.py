"""Stage f: the recipes on real images, resumable, and their figures."""
import os
import shutil

from runs import metrics, mlkd, offered_precisions, synthetic, train_command

RUNS = {  # name: recipe, precision (None: bf16 where it is offered)
    "teacher": ("vanilla_teacher", None),
    "mlkd": ("mlkd_official_240", None),
    "mlkd_tf32": ("mlkd_official_240", "tf32"),
    "kd": ("kd", None),
    "student": ("vanilla_student", None),
}


def stage_f(stage):
    options = stage.options
    if not options.data:
        stage.skip("training", "no --data")
        return
    if synthetic(stage) and stage.in_full():
        stage.skip("training", "the published recipes need real images")
        return
    precisions = offered_precisions(stage)
    default = next(name for name in ("bf16", "tf32", "fp32") if name in precisions)
    epochs = options.epochs or (240 if stage.in_full() else 1)
    stages = [max(i + 1, epochs * eighths // 8) for i, eighths in enumerate((5, 6, 7))]  # of 240: 150, 180, 210
    short = [] if epochs == 240 else [f"solver.epochs={epochs}", "solver.lr_decay_stages=[{},{},{}]".format(*stages)]
    teacher = os.path.join(stage.folder, "teacher", "student_best.safetensors")
    finished = set()
    for name in options.runs or RUNS:
        recipe, precision = RUNS[name]
        precision = precision or default
        if precision not in precisions:
            stage.skip(f"train {name}", f"no {precision} here")
            continue
        output = os.path.join(stage.folder, name)
        if options.fresh and not stage.in_full():  # a rehearsal starts over; hours of training are left alone
            shutil.rmtree(output, ignore_errors=True)
        needs_teacher = not recipe.startswith("vanilla")
        if needs_teacher and not stage.lacks_gpu() and len(metrics(os.path.dirname(teacher))) < epochs:
            stage.skip(f"train {name}", "its teacher is not trained yet")
            continue
        more = [f"distiller.teacher_checkpoint={teacher}"] if needs_teacher else []
        # --resume starts a run that has not begun.
        if stage.run(f"train {name}", train_command(stage, recipe, output, precision, "--resume", *more, *short), interrupt=True):
            finished.add(name)
        lines = metrics(output)
        if lines:
            best = max(lines, key=lambda line: line["test_top1"])
            stage.data.setdefault("training", {})[name] = {
                "recipe": recipe, "precision": precision, "epochs": len(lines), "of": epochs, "best_top1": best["test_top1"],
                "best_epoch": best["epoch"], "last_top1": lines[-1]["test_top1"],
                "seconds": sum(line["train_seconds"] + line["test_seconds"] for line in lines)}
            stage.save()
    figures(stage, finished, teacher)


def figures(stage, finished, teacher):
    labels = {"student": "alone", "kd": "KD", "mlkd": "MLKD"}
    students = [name for name in labels if name in finished]
    if stage.lacks_gpu() or not {"kd", "mlkd"} <= finished:
        stage.skip("figures", "no GPU: " + stage.machine["why_no_gpu"] if stage.lacks_gpu() else "kd and mlkd are not trained yet")
        return
    command = [mlkd(stage), "figures", "--teacher", teacher, "--data", stage.options.data, "--device", stage.options.device,
               "--out", os.path.join(stage.folder, "figures")]
    for name in students:
        command += ["--student", f"{labels[name]}={os.path.join(stage.folder, name, 'student_best.safetensors')}"]
    stage.run("figures", command)
