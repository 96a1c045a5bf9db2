#!/usr/bin/python3
"""Training steps and losses of mlkd against the same in PyTorch, on the CPU, in alternating short pieces.

    bench/compare_pytorch.py --mlkd build/cpu/bin/mlkd --rounds 9 --json ratios.json
    bench/compare_pytorch.py --only loss-64x100 --only loss-512x1000

Steps: resnet20 and resnet8x4 alone, and distillation from resnet32x4 to resnet8x4 with the released code's loss
(mlkd_official), each at batch 64; and that loss alone, from logits to their gradient, batch x classes. Student in training
mode, teacher in evaluation mode without gradients, SGD with momentum 0.9 and weight decay 5e-4. PyTorch runs in
channels_last and in contiguous format, the losses with the kernels that OpenBLAS chooses and with its AVX-512 ones; the
quicker of the two in a trial is taken. Its malloc keeps its memory and uses huge pages. The released code also computes two
levels of the strong view and throws them away; PyTorch's side is spared that. Both sides get the same number of threads and
the same OpenMP environment. Other programs on the machine disturb both sides: hence the alternation, the ratio of each pair
of neighbours, and the share of the machine that others used meanwhile.

Needs a Python with torch whose BLAS is OpenBLAS or MKL (Debian: python3-torch and libopenblas0-pthread).
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

BATCH, CLASSES = 64, 100
LOSS_SIZES = ("64x100", "64x1000", "64x10000", "256x100", "256x1000", "512x100", "512x1000", "4096x1000")
TASKS = {  # name: the benchmark of `mlkd bench`
    "resnet20": "step/train/resnet20/64",
    "resnet8x4": "step/train/resnet8x4/64",
    "mlkd": "step/mlkd_official/resnet32x4_resnet8x4/64",
    **{f"loss-{size}": f"loss/mlkd_official/{size}" for size in LOSS_SIZES},
}
FORMATS = ("channels_last", "contiguous")
OPENBLAS = {"OpenBLAS default": {}, "OpenBLAS SkylakeX": {"OPENBLAS_CORETYPE": "SkylakeX"}}
PIECE_SECONDS, REPETITIONS = 0.3, 5  # a piece: so many repetitions of at least so many seconds


# ---------------------------------------------------------------- PyTorch's side, in a process of its own

def loaded_blas():
    """The path of the BLAS that this process has loaded."""
    with open("/proc/self/maps") as maps:
        libraries = {line.split()[-1] for line in maps if "/" in line}
    candidates = sorted(path for path in libraries if any(part in os.path.basename(path) for part in ("blas", "mkl_rt")))
    for path in candidates:
        with open(path, "rb") as file:
            if b"openblas" in path.encode() or "mkl" in path or b"openblas_get_config" in file.read():
                return path, True
    return (candidates or ["none"])[0], False


def worker(task, memory_format, threads):
    """Prepares the step, then runs a piece for each line on standard input and prints its times."""
    import torch
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    step = loss_step(task) if task.startswith("loss-") else training_step(task, memory_format)
    step()
    path, good = loaded_blas()
    print(json.dumps({"torch": torch.__version__, "onednn": torch.backends.mkldnn.is_available(), "blas": path, "good_blas": good}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        count = max(1, round(PIECE_SECONDS / (time.perf_counter() - start)))
        wall, cpu = [], []
        for _ in range(REPETITIONS):
            start, start_cpu = time.perf_counter(), time.process_time()
            for _ in range(count):
                step()
            wall.append(1e3 * (time.perf_counter() - start) / count)
            cpu.append(1e3 * (time.process_time() - start_cpu) / count)
        print(json.dumps({"wall": wall, "cpu": cpu}), flush=True)


def loss_step(task):
    """Forward and backward of the loss, both views."""
    import torch
    from peers.losses import released
    batch, classes = (int(word) for word in task.removeprefix("loss-").split("x"))
    student = [torch.rand(batch, classes).mul(8).sub(4).requires_grad_() for _ in range(2)]
    teacher = [torch.rand(batch, classes).mul(16).sub(8) for _ in range(2)]
    target = torch.randint(classes, (batch,))

    def step():
        for view in student:
            view.grad = None
        released(student, teacher, target, as_released=False).backward()

    return step


def training_step(task, memory_format):
    import torch
    from peers.losses import released
    from peers.networks import X4_WIDTHS, make_network
    layout = torch.channels_last if memory_format == "channels_last" else torch.contiguous_format
    student = make_network(20, (16, 16, 32, 64)) if task == "resnet20" else make_network(8, X4_WIDTHS)
    student = student.to(memory_format=layout).train()
    teacher = make_network(32, X4_WIDTHS).to(memory_format=layout).eval() if task == "mlkd" else None
    optimizer = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    views = [torch.rand(BATCH, 3, 32, 32).mul(4).sub(2).to(memory_format=layout) for _ in range(2 if task == "mlkd" else 1)]
    target = torch.randint(CLASSES, (BATCH,))

    def step():
        logits = [student(view) for view in views]
        if teacher is None:
            loss = torch.nn.functional.cross_entropy(logits[0], target)
        else:
            with torch.no_grad():
                taught = [teacher(view) for view in views]
            loss = released(logits, taught, target, as_released=False)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


# ---------------------------------------------------------------- the comparison

def fail(message):
    sys.exit("compare_pytorch: " + message)


def busy_seconds():
    """CPU seconds that the whole machine has worked."""
    with open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:]]
    return (sum(ticks[:3]) + sum(ticks[5:8])) / os.sysconf("SC_CLK_TCK")


class PyTorch:
    def __init__(self, task, variant, arguments):
        huge = {"MALLOC_MMAP_THRESHOLD_": str(1 << 40), "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(64 << 20),
                "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
        command = [arguments.python, os.path.abspath(__file__), "--worker", task, variant, str(arguments.threads)]
        names = {**environment(arguments), **huge, **OPENBLAS.get(variant, {})}
        self.process = subprocess.Popen(command, env=names, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.variant = variant
        self.about = json.loads(self.answer())
        if not self.about["good_blas"]:
            fail(f"PyTorch's BLAS is {self.about['blas']}, far slower than OpenBLAS: apt-get install libopenblas0-pthread "
                 "(and update-alternatives --config libblas.so.3-x86_64-linux-gnu), or start with LD_PRELOAD=libopenblas.so.0")

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            fail(f"PyTorch's process ended; try: {' '.join(self.process.args)}")
        return line

    def piece(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.answer())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def mlkd_piece(task, arguments):
    with tempfile.TemporaryDirectory() as folder:
        result = os.path.join(folder, "bench.json")
        command = [arguments.mlkd, "bench", "--filter", f"^{TASKS[task]}$", "--json", result, "--threads", str(arguments.threads),
                   "--device", "cpu", "--min-time", str(PIECE_SECONDS), "--repetitions", str(REPETITIONS)]
        done = subprocess.run(command, env=environment(arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            fail(f"{' '.join(command)} failed: {done.stderr.strip()}")
        with open(result) as file:
            runs = [run for run in json.load(file)["benchmarks"] if run["run_type"] == "iteration"]
    return {"wall": [run["real_time"] for run in runs], "cpu": [run["cpu_time"] for run in runs],
            "peak_memory_mb": max(run["MB peak"] for run in runs)}


def environment(arguments):
    names = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "OPENBLAS_NUM_THREADS": str(arguments.threads)}
    if arguments.wait_policy != "default":
        names["OMP_WAIT_POLICY"] = arguments.wait_policy
    return names


def measured(piece, threads):
    """A piece, with how much of the machine others used meanwhile (the piece's own set-up counts as others')."""
    start, busy = time.perf_counter(), busy_seconds()
    result = piece()
    elapsed = time.perf_counter() - start
    result["busy_cores"] = (busy_seconds() - busy) / elapsed
    result["slowdown"] = threads * statistics.median(result["wall"]) / statistics.median(result["cpu"])
    return result


def spread(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def compare(task, arguments):
    variants = OPENBLAS if task.startswith("loss-") else FORMATS
    trials = [PyTorch(task, variant, arguments) for variant in variants]
    best = {pytorch.variant: min(min(pytorch.piece()["wall"]), min(pytorch.piece()["wall"])) for pytorch in trials}
    chosen = min(trials, key=lambda pytorch: best[pytorch.variant])
    for pytorch in trials:
        if pytorch is not chosen:
            pytorch.close()
    pairs = []
    for number in range(arguments.rounds):
        sides = {"pytorch": chosen.piece, "mlkd": lambda: mlkd_piece(task, arguments)}
        order = ("pytorch", "mlkd") if number % 2 == 0 else ("mlkd", "pytorch")
        pairs.append({side: measured(sides[side], arguments.threads) for side in order})
    chosen.close()

    def ratios(key, of):
        return spread([of(pair["pytorch"][key]) / of(pair["mlkd"][key]) for pair in pairs])

    def least(side, key):
        return min(min(pair[side][key]) for pair in pairs)

    return {"task": task, "benchmark": TASKS[task], "variant": chosen.variant, "trial_ms": best, "about": chosen.about,
            "pytorch_ms": least("pytorch", "wall"), "mlkd_ms": least("mlkd", "wall"),
            "ratio": ratios("wall", statistics.median), "ratio_of_bests": least("pytorch", "wall") / least("mlkd", "wall"),
            "cpu_ratio": ratios("cpu", statistics.median), "cpu_ratio_of_bests": least("pytorch", "cpu") / least("mlkd", "cpu"),
            "pytorch_cpu_ms": least("pytorch", "cpu"), "mlkd_cpu_ms": least("mlkd", "cpu"),
            "mlkd_peak_memory_mb": max(pair["mlkd"]["peak_memory_mb"] for pair in pairs), "pairs": pairs}


def main():
    if sys.argv[1:2] == ["--worker"]:
        return worker(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mlkd", default="build/cpu/bin/mlkd", help="the program (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="pairs of pieces (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of both sides (default: %(default)s)")
    parser.add_argument("--only", choices=TASKS, action="append", help="only this step; may be repeated")
    parser.add_argument("--wait-policy", choices=("default", "passive", "active"), default="default",
                        help="OMP_WAIT_POLICY of both sides; passive on a machine that others use too (default: unset)")
    parser.add_argument("--python", default="/usr/bin/python3", help="the Python that has torch (default: %(default)s)")
    parser.add_argument("--json", help="write all times there")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.threads < 1:
        fail("--rounds and --threads must be at least 1")
    if not os.access(arguments.mlkd, os.X_OK):
        fail(f"--mlkd {arguments.mlkd}: no such program; build it with: cmake --preset cpu && cmake --build --preset cpu")
    if subprocess.run([arguments.python, "-c", "import torch"], stderr=subprocess.DEVNULL).returncode != 0:
        fail(f"{arguments.python} has no torch: apt-get install python3-torch libopenblas0-pthread, or name another with --python")

    print(f"{'step':<14} {'PyTorch ms':>11} {'mlkd ms':>9} {'ratio of bests':>15} {'pairs: min':>11} {'median':>7} {'max':>6}"
          f" {'CPU time':>9}  PyTorch's setting", flush=True)
    results = []
    for task in arguments.only or TASKS:
        result = compare(task, arguments)
        results.append(result)
        ratio = result["ratio"]
        print(f"{task:<14} {result['pytorch_ms']:11.2f} {result['mlkd_ms']:9.2f} {result['ratio_of_bests']:15.2f} {ratio['min']:11.2f}"
              f" {ratio['median']:7.2f} {ratio['max']:6.2f} {result['cpu_ratio']['median']:9.2f}  {result['variant']}", flush=True)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"threads": arguments.threads, "wait_policy": arguments.wait_policy, "batch": BATCH, "results": results}, file, indent=1)
    return None


if __name__ == "__main__":
    main()
