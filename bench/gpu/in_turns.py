"""Stage e: PyTorch doing the same, in the same run, in turns: ours, its settings, ours, its settings."""
import json
import os
import queue
import signal
import statistics
import subprocess
import threading
import time

from machine import ROOT
from recorder import last_lines, text_of
from runs import bench_results, mlkd, offered_precisions, offers

PEER = os.path.join(ROOT, "bench", "peers", "pytorch_mlkd.py")
# In this order, as long as there is time: the ones that the requirements name come first.
STEP_SETTINGS = ("eager", "compiled-bf16", "amp", "compiled-tf32", "graph-bf16", "compiled-separate-bf16", "graph-tf32", "autotuned-bf16")
LOSS_SETTINGS = ("eager", "compiled-tf32")
SIZES = ("64x100", "512x1000", "256x100", "512x100", "256x1000", "4096x1000", "64x10000", "64x100000")
ROUNDS = 5


class Peer:
    """A PyTorch process that prepares its settings and then gives a piece whenever it is asked."""

    def __init__(self, stage, name, arguments, lines):
        self.stage, self.name, self.lines = stage, name, queue.Queue()
        self.command = [stage.options.python, PEER, "--device", stage.options.device, "--serve", *arguments]
        self.errors = open(os.path.join(stage.folder, f"peer-{name}.log"), "w+")
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                        start_new_session=True)
        threading.Thread(target=self.read, daemon=True).start()
        self.expected = lines

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def answer(self, seconds):
        """The next line as JSON, or None when the process ended or the time is over."""
        try:
            line = self.lines.get(timeout=max(0.1, seconds))
        except queue.Empty:
            return None
        return json.loads(line) if line else None

    def prepare(self, seconds):
        """What it says about itself and each of its works; records a failure. Whether any of them can be measured."""
        start = time.monotonic()
        about = self.answer(seconds)
        works = []
        while about is not None and len(works) < self.expected:
            line = self.answer(seconds - (time.monotonic() - start))
            if line is None:
                break
            works.append(line)
        took = time.monotonic() - start
        record = {"command": text_of(self.command), "seconds": took}
        errors = [f"{work['what']}: {work['error']}" for work in works if "error" in work]
        # What does not fit into the card's memory is a result.
        fatal = [error for error in errors if "out of memory" not in error]
        if len(works) < self.expected:
            ended = about is not None and took < seconds - 1 or self.process.poll() is not None
            self.errors.seek(0)
            text = last_lines(self.errors.read()) or "no word from it"
            self.close()
            self.stage.add(f"peer {self.name}", "failed" if ended else "unfinished", **record,
                           reason=text if ended else f"not ready after {took:.0f} s")
            return about, works, False
        self.stage.add(f"peer {self.name}", "failed" if fatal else "passed", **record, reason="; ".join(fatal or errors))
        good = len(errors) < len(works)
        if not good:
            self.close()
        return about, works, good

    def piece(self, seconds):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer(seconds)

    def close(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # with its compiler's workers
        except ProcessLookupError:
            pass
        self.process.wait()
        self.errors.close()


def our_piece(stage, key, filter_expression, arguments):
    """Median milliseconds by the benchmark's name; empty when it failed."""
    path = os.path.join(stage.folder, f"ours-{key}.json")
    if os.path.exists(path):
        os.remove(path)
    fine = ["--min-time", "0.05", "--repetitions", "3"] if stage.on_gpu() else ["--min-time", "0.01", "--repetitions", "1"]
    command = [mlkd(stage), "bench", "--device", stage.options.device, "--filter", filter_expression, "--json", path, *fine, *arguments]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=max(1, stage.left()),
                              env=stage.machine["environment"])
    except subprocess.TimeoutExpired:
        return {}
    if done.returncode != 0:
        stage.add(f"ours {key}", "failed", command=text_of(command), rc=done.returncode, last_lines=last_lines(done.stdout))
    return {name: result["median_ms"] for name, result in bench_results(path).items()}


def in_turns(stage, ours, peers, rounds):
    """ours: key -> function giving {what: ms}; peers: name -> Peer. A list of rounds, {key: {what: ms}}."""
    results = []
    for number in range(rounds):
        start = time.monotonic()
        order = [*ours, *peers] if number % 2 == 0 else [*reversed(list(peers)), *reversed(list(ours))]
        # Ours stand on both sides of every peer: at the start and at the end, in alternation.
        this = {}
        for key in order:
            if key in ours:
                this[key] = ours[key]()
            else:
                times = peers[key].piece(stage.left())
                this[key] = {} if times is None else {name.split("|", 1)[1]: statistics.median(values) for name, values in times.items()}
        results.append(this)
        if stage.left() < 1.3 * (time.monotonic() - start) + 10:
            break
    return results


def compare(stage, part, ours, settings, arguments_of, expected, budget):
    """Prepares peers until half of the budget is gone, then measures in turns."""
    start = time.monotonic()
    peers, about = {}, {}
    for name in settings:
        used = time.monotonic() - start
        if used > 0.6 * budget:
            stage.add(f"peer {part}-{name}", "unfinished", reason="no time left to prepare it")
            continue
        peer = Peer(stage, f"{part}-{name}", arguments_of(name), expected)
        stage.data["pytorch"], works, good = peer.prepare(min(0.75 * budget - used, 240))
        about[name] = works
        if good:
            peers[name] = peer
    rounds = in_turns(stage, ours, peers, ROUNDS if stage.on_gpu() else 2)
    for peer in peers.values():
        peer.close()
    stage.data[part] = {"rounds": rounds, "peers": about}
    stage.add(f"{part}: {len(rounds)} rounds of {len(ours)} of ours and {len(peers)} of PyTorch's", "passed" if rounds else "failed")


def stage_e(stage):
    names = [f"peers, {part}" for part in ("step", "loss")]
    if stage.lacks_gpu() or not stage.machine["torch"]:
        reason = f"{stage.options.python} has no torch; name another with --python"
        if stage.lacks_gpu():
            reason = "no GPU: " + stage.machine["why_no_gpu"]
        for name in names:
            stage.skip(name, reason)
        return
    precisions = offered_precisions(stage)
    if stage.on_gpu():
        step_filter, steps, settings, sizes = "^step/mlkd_official/", ["--steps", "100"], STEP_SETTINGS, SIZES
        ours = {f"ours-{p}": p for p in ("bf16", "tf32") if p in precisions}
    else:
        step_filter, settings, sizes = "^step/evaluate/resnet20/64$", ("eager", "compiled-tf32"), ("64x100", "5x7")
        steps = ["--model", "tiny", "--batch", "8", "--steps", "2", "--warmup", "1"]
        ours = {"ours-fp32": "fp32"}
    done = stage.data.get("step", {}).get("rounds") if stage.before else None
    if not done:
        compare(stage, "step", {key: lambda p=p: our_piece(stage, f"step-{p}", step_filter, ["--precision", p]) for key, p in ours.items()},
                settings, lambda name: ["--setting", name, *steps], 1, stage.left() if not stage.on_gpu() else min(330, stage.left()))
    else:
        stage.add("step: measured before", "passed")
    if stage.left() < 60 and stage.on_gpu():
        stage.add("peers, loss", "unfinished", reason="no time left in this stage; run it again")
        return
    loss_filter = f"^loss/mlkd_official/({'|'.join(sizes)})$"
    ours = {"ours-fp32": lambda: our_piece(stage, "loss-fp32", loss_filter, [])}
    if offers(stage, "bench", "--products") and stage.on_gpu():
        ours["ours-tf32"] = lambda: our_piece(stage, "loss-tf32", loss_filter, ["--products", "tf32"])
    shapes = [word for size in sizes for word in ("--loss-only", *size.split("x"))]
    fine = ["--steps", "30"] if stage.on_gpu() else ["--steps", "2", "--warmup", "1"]
    compare(stage, "loss", ours, LOSS_SETTINGS, lambda name: ["--setting", name, *shapes, *fine], len(sizes), stage.left())
