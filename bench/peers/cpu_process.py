"""The processes that compare_pytorch.py starts: PyTorch's worker, which stays, and `mlkd bench`, anew for each piece."""
import dataclasses
import json
import os
import resource
import select
import signal
import subprocess
import tempfile

from peers.cpu_variants import OPENBLAS

HERE = os.path.dirname(os.path.abspath(__file__))
# PyTorch allocates in every step: its malloc keeps its memory and takes huge pages.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 40), "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(64 << 20),
          "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
PREPARE_SECONDS = 240  # for a variant's import, compilation and first steps


class Failed(Exception):
    """Says why a side cannot be measured."""


def common_environment(threads, wait_policy):
    """Of both sides."""
    names = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if wait_policy != "default":
        names["OMP_WAIT_POLICY"] = wait_policy
    return names


class PyTorch:
    def __init__(self, task, variant, arguments):
        self.variant = variant
        command = [arguments.python, os.path.join(HERE, "cpu_worker.py"), task, json.dumps(dataclasses.asdict(variant)),
                   str(arguments.threads)]
        names = {**common_environment(arguments.threads, arguments.wait_policy), **MALLOC, **OPENBLAS.get(variant.blas, {})}
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, env=names, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                        start_new_session=True)
        try:
            first = self.answer(PREPARE_SECONDS)
            if "error" in first:
                raise Failed(first["error"])
        except BaseException:  # signals, too
            self.close()
            raise
        self.milliseconds = first["ms"]  # of the last step of the warm-up

    def answer(self, seconds=None):
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise Failed(f"not ready after {seconds} s")
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        self.errors.seek(0)
        words = (self.errors.read().strip().splitlines() or [""])[-1]
        raise Failed(f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}: {words}")

    def piece(self, seconds, repetitions):
        try:
            self.process.stdin.write(json.dumps({"seconds": seconds, "repetitions": repetitions}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # it ended: answer() says why
            pass
        return self.answer()

    def close(self):
        """Ends it with its compiler's workers."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.errors):
            try:
                file.close()
            except BrokenPipeError:
                pass


def mlkd_piece(arguments, benchmark, precision, seconds, repetitions):
    """As PyTorch.piece, with the peak of its memory; "own_cpu" includes starting, peaks and convolution plans."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        result = os.path.join(folder, "bench.json")
        command = [arguments.mlkd, "bench", "--filter", f"^{benchmark}$", "--json", result, "--threads", str(arguments.threads),
                   "--device", "cpu", "--precision", precision, "--min-time", str(seconds), "--repetitions", str(repetitions)]
        done = subprocess.run(command, env=common_environment(arguments.threads, arguments.wait_policy), stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise Failed(f"{' '.join(command)}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        with open(result) as file:
            runs = [run for run in json.load(file)["benchmarks"] if run["run_type"] == "iteration"]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall": [run["real_time"] for run in runs], "cpu": [run["cpu_time"] for run in runs],
            "own_cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "peak_memory_mb": max(run["MB peak"] for run in runs)}


def about_torch(python):
    """What about.py prints under that Python."""
    done = subprocess.run([python, os.path.join(HERE, "about.py")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failed((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])
