"""Stage c: graph against no graph, resumed against straight, twice with one seed: the same bits."""
import os
import signal

from runs import difference, fresh_folder, metrics, offered_precisions, offers, short_teacher, teacher_for, train_command

def stage_c(stage):
    if not stage.options.data:
        stage.skip("runs", "no --data")
        return
    teacher = teacher_for(stage)
    if teacher is None and not stage.lacks_gpu():
        stage.skip("runs", "no teacher")
        return
    precisions = offered_precisions(stage)
    for precision in ("tf32", "bf16", "fp32"):
        if precision in precisions:
            check(stage, precision, teacher or "TEACHER")
        elif stage.on_gpu():
            stage.skip(precision, "this program does not offer it")


def check(stage, precision, teacher):
    straight = os.path.join(stage.folder, precision, "straight")
    epochs = 8 if stage.in_full() else 4
    settings = [f"distiller.teacher_checkpoint={teacher}", f"solver.epochs={epochs}", "solver.lr_decay_stages=[2]",
                *(["dataset.train_images=3000"] if stage.in_full() else [])]  # 46 batches and a smaller one

    def command(run, *more):
        return train_command(stage, "mlkd_official_240", run, precision, *settings, *more)

    def compared(name, run, good):
        if good:
            stage.check(f"{precision}: {name}, the same bits", difference(straight, run))

    name = f"{precision}: straight"
    if not stage.passed_before(name, command(straight)) and not stage.lacks_gpu():
        fresh_folder(straight, short_teacher(stage))
    if not stage.run(name, command(straight)) and not stage.lacks_gpu():
        return
    others = {"a second run with its seed": []}
    if stage.on_gpu() and offers(stage, "train", "--no-graph"):
        others["without a graph"] = ["--no-graph"]
    for other, more in others.items():
        run = os.path.join(stage.folder, precision, other.replace(" ", "_"))
        if not stage.lacks_gpu():
            fresh_folder(run, straight)
        compared(other, run, stage.run(f"{precision}: {other}", command(run, *more), again=True))

    run = os.path.join(stage.folder, precision, "resumed")
    if not stage.lacks_gpu():
        fresh_folder(run, straight)
    killed = stage.stopped(f"{precision}: killed after an epoch", command(run), signal.SIGKILL, lambda: len(metrics(run)) >= 1)
    interrupted = stage.stopped(f"{precision}: resumed, interrupted", command(run, "--resume"), signal.SIGINT,
                                lambda: len(metrics(run)) >= 2)
    resumed = stage.run(f"{precision}: resumed to the end", command(run, "--resume"), again=True)
    compared("killed, interrupted and resumed", run, killed and interrupted and resumed)
