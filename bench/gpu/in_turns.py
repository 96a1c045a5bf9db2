"""Stage e: PyTorch doing the same, in the same run, in turns: ours, its settings, ours, its settings."""
import os
import statistics
import time

from peer import Peer
from recorder import last_lines, text_of
from runs import bench_command, bench_results, offered_precisions, offers

# In this order, as long as there is time: the ones that the requirements name come first.
STEP_SETTINGS = ("eager", "compiled-bf16", "amp", "compiled-tf32", "graph-bf16", "compiled-separate-bf16", "graph-tf32", "autotuned-bf16")
LOSS_SETTINGS = ("eager", "compiled-tf32")
SIZES = ("64x100", "512x1000", "256x100", "512x100", "256x1000", "4096x1000", "64x10000", "64x100000")
ROUNDS = 5


def our_piece(stage, key, filter_expression, arguments):
    """Median milliseconds by the benchmark's name; empty when it failed."""
    path = os.path.join(stage.folder, f"ours-{key}.json")
    if os.path.exists(path):
        os.remove(path)
    command = bench_command(stage, filter_expression, path, 3 if stage.in_full() else 1, *arguments)
    code, text = stage.call.run(command, stage.left(), env=stage.machine["environment"])
    if code is None:
        return {}
    if code != 0:
        stage.add(f"ours {key}", "failed", command=text_of(command), rc=code, last_lines=last_lines(text))
    return {name: result["median_ms"] for name, result in bench_results(path).items()}


def in_turns(stage, ours, peers, rounds, keep):
    """ours: key -> function giving {what: ms}; peers: setting -> Peer. Gives each round, {key: {what: ms}}, to keep()."""
    for number in range(rounds):
        start = time.monotonic()
        # Ours stand on both sides of every peer: at the start and at the end, in alternation.
        order = [*ours, *peers] if number % 2 == 0 else [*reversed(list(peers)), *reversed(list(ours))]
        this = {}
        for key in order:
            if key in ours:
                this[key] = ours[key]()
            elif peers[key].alive:
                this[key] = {what: statistics.median(values) for what, values in peers[key].piece(stage.left()).items()}
        keep(this)
        if stage.left() < 1.3 * (time.monotonic() - start) + 10:
            break


class Comparison:
    """Rounds and peers of one part of the stage, kept in its file as they come."""

    def __init__(self, stage, part):
        self.stage, self.part = stage, part
        self.data = stage.data.setdefault(part, {"rounds": [], "peers": {}})

    def measured(self):
        """What earlier calls and this one have times of."""
        return {what for this in self.data["rounds"] for times in this.values() for what in times}

    def prepare(self, peer, name, seconds):
        about, work = peer.prepare(seconds)
        if about is not None:
            self.stage.data["pytorch"] = about
        if work is not None:
            self.data["peers"][name] = [work]
        return peer.alive

    def measure(self, what, ours, peers, rounds):
        count = len(self.data["rounds"])

        def keep(this):
            self.data["rounds"].append(this)
            self.stage.save()

        in_turns(self.stage, ours, peers, rounds, keep)
        count = len(self.data["rounds"]) - count
        self.stage.add(f"{what}: {count} rounds of {len(ours)} of ours and {len(peers)} of PyTorch's", "passed" if count else "failed")
        for peer in peers.values():
            peer.close()


def compare_steps(stage, ours, settings, arguments):
    """Prepares peers one after the other, as some of them choose by timing, until half of the time is gone."""
    comparison = Comparison(stage, "step")
    if comparison.measured():
        stage.add("step: measured before", "passed")
        return
    budget, start, peers = 0.6 * stage.left(), time.monotonic(), {}
    for setting in settings:
        used = time.monotonic() - start
        if used > 0.6 * budget:
            stage.add(f"peer step-{setting}", "unfinished", reason="no time left to prepare it")
            continue
        peer = Peer(stage, f"step-{setting}", ["--setting", setting, *arguments])
        if comparison.prepare(peer, setting, min(0.75 * budget - used, 240)):
            peers[setting] = peer
    comparison.measure("step", ours, peers, ROUNDS if stage.in_full() else 2)


def compare_losses(stage, ours_of, settings, sizes, arguments):
    """A process for each size and setting: one that does not fit into the memory, or compiles for too long, costs no other size."""
    comparison = Comparison(stage, "loss")
    for size in sizes:
        what = f"loss/mlkd_official/{size}"
        if what in comparison.measured():
            stage.add(f"{what}: measured before", "passed")
            continue
        if stage.left() < (45 if stage.in_full() else 5):
            stage.add(what, "unfinished", reason="no time left in this call")
            continue
        peers = {setting: Peer(stage, f"loss-{setting}-{size}", ["--setting", setting, "--loss-only", *size.split("x"), *arguments])
                 for setting in settings}
        limit = min(0.5 * stage.left(), 120)
        ready = {setting: peer for setting, peer in peers.items() if comparison.prepare(peer, f"{setting} {size}", limit)}
        comparison.measure(what, ours_of(size), ready, 3 if stage.in_full() else 2)


def stage_e(stage):
    if stage.lacks_gpu() or not stage.machine["torch"]:
        reason = f"{stage.options.python} has no torch; name another with --python"
        if stage.lacks_gpu():
            reason = "no GPU: " + stage.machine["why_no_gpu"]
        for part in ("step", "loss"):
            stage.skip(f"peers, {part}", reason)
        return
    precisions = offered_precisions(stage)
    if stage.in_full():
        step_filter, settings, sizes = "^step/mlkd_official/", STEP_SETTINGS, SIZES
        steps, losses = ["--steps", "100"], ["--steps", "30"]
        ours = {f"ours-{p}": p for p in ("bf16", "tf32") if p in precisions}
    else:
        step_filter, settings, sizes = "^step/evaluate/resnet20/64$", ("eager", "compiled-tf32"), ("64x100", "5x7")
        steps, losses = ["--model", "tiny", "--batch", "8", "--steps", "2", "--warmup", "1"], ["--steps", "2", "--warmup", "1"]
        ours = {f"ours-{p}": p for p in precisions[-1:]}
    compare_steps(stage, {key: lambda p=p: our_piece(stage, f"step-{p}", step_filter, ["--precision", p]) for key, p in ours.items()},
                  settings, steps)

    products = ["fp32", *(["tf32"] if stage.on_gpu() and offers(stage, "bench", "--products") else [])]

    def ours_of(size):
        return {f"ours-{p}": lambda p=p: our_piece(stage, f"loss-{p}", f"^loss/mlkd_official/{size}$", ["--products", p])
                for p in products if size in SIZES}

    compare_losses(stage, ours_of, LOSS_SETTINGS, sizes, losses)
