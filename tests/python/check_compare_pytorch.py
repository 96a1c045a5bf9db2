#!/usr/bin/env python3
"""bench/compare_pytorch.py with a PyTorch and an mlkd that are scripts with known times: what it starts, chooses, computes and says.

    check_compare_pytorch.py

Needs no torch; a C++ compiler for the test of about.py.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(ROOT, "bench", "compare_pytorch.py")
sys.path.insert(0, os.path.join(ROOT, "bench"))

import compare_pytorch  # noqa: E402
from peers import about, cpu_process  # noqa: E402

# In place of a Python with torch. FAKE: {"about": {…}, "log": path, "ms": {variant as JSON: milliseconds, or what happens}}
FAKE_PYTHON = """#!{python}
import json, os, sys, time
fake = json.loads(os.environ["FAKE"])
if sys.argv[1].endswith("about.py"):
    if not fake["about"]:
        sys.exit("no torch here")
    print("a greeting")
    print(json.dumps(fake["about"]))
    sys.exit()
variant = json.loads(sys.argv[3])
words = [variant["compile_mode"] or "eager", "rewritten" if variant["rewritten"] else ""]
words += [variant[key] for key in ("layout", "bf16", "blas")]
key = " ".join(word for word in words if word)
ms = fake["ms"].get(key, "error")
if ms == "error":
    print(json.dumps({{"error": "no compiler"}}), flush=True)
elif ms == "crash":
    os.kill(os.getpid(), 11)
elif ms == "hang":
    with open(fake["log"], "a") as file:
        file.write("pid " + str(os.getpid()) + chr(10))
    time.sleep(600)
else:
    print(json.dumps({{"ms": ms}}), flush=True)
    for line in sys.stdin:
        with open(fake["log"], "a") as file:
            file.write(key + chr(10))
        print(json.dumps({{"wall": [ms, 2 * ms, 2 * ms], "cpu": [3 * ms] * 3, "own_cpu": 0.0}}), flush=True)
"""
FAKE_MLKD = """#!{python}
import json, os, sys
fake = json.loads(os.environ["FAKE"])
value = lambda name: sys.argv[sys.argv.index(name) + 1]
with open(fake["log"], "a") as file:
    file.write(" ".join(["mlkd", value("--filter"), value("--precision"), value("--threads")]) + chr(10))
if value("--precision") == "bf16" and "no bf16" in fake["ms"]:
    sys.exit("a CPU without bf16")
runs = [{{"run_type": "iteration", "real_time": ms, "cpu_time": ms, "MB peak": 7.0}} for ms in (1.0, 1.0, 4.0)]
with open(value("--json"), "w") as file:
    json.dump({{"benchmarks": runs + [{{"run_type": "aggregate", "real_time": 100.0}}]}}, file)
"""
MKL = {"torch": "9.9", "onednn": "9.1", "blas": "MKL 1", "blas_path": "", "cpu_capability": "AVX1024"}
LOSS_MS = {"eager contiguous": 10.0, "eager rewritten contiguous": 6.0, "default rewritten contiguous": 2.0}


class Comparison(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = lambda name: os.path.join(folder.name, name)
        for name, text in (("python", FAKE_PYTHON), ("mlkd", FAKE_MLKD)):
            with open(self.path(name), "w") as file:
                file.write(text.format(python=sys.executable))
            os.chmod(self.path(name), 0o755)
        self.addCleanup(os.environ.pop, "FAKE", None)

    def fake(self, ms, about_torch=MKL):
        os.environ["FAKE"] = json.dumps({"ms": ms, "about": about_torch, "log": self.path("log")})

    def run_tool(self, *arguments):
        return subprocess.run([sys.executable, TOOL, "--mlkd", self.path("mlkd"), "--python", self.path("python"), *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def log(self):
        with open(self.path("log")) as file:
            return file.read().splitlines()

    def test_the_quickest_is_compared_beside_the_released_way(self):
        self.fake(LOSS_MS)
        done = self.run_tool("--only", "loss-64x100", "--rounds", "2", "--threads", "3", "--json", self.path("times.json"))
        self.assertEqual((done.returncode, "left out" in done.stderr), (0, True), done.stderr)
        with open(self.path("times.json")) as file:
            written = json.load(file)
        result, = written["results"]
        self.assertEqual((written["about"], written["threads"], result["precision"]), (MKL, 3, "fp32"))
        self.assertEqual(result["variant"], "rewritten, compiled (default), contiguous")
        self.assertEqual(result["released"]["variant"], "eager, contiguous")
        self.assertEqual(result["failed"], {"rewritten, compiled (max-autotune-no-cudagraphs), contiguous": "no compiler"})
        # Medians 4 and 20 ms beside 1 ms; bests 2 and 10 ms beside 1 ms; CPU 6 and 30 ms.
        self.assertEqual([result["ratio"]["median"], result["ratio_of_bests"], result["cpu_ratio"]["max"]], [4, 2, 6])
        self.assertEqual([result["released"]["ratio"]["median"], result["released"]["ratio_of_bests"]], [20, 10])
        mlkd = "mlkd ^loss/mlkd_official/64x100$ fp32 3"
        quickest, released = "default rewritten contiguous", "eager contiguous"
        self.assertEqual(self.log()[-6:], [quickest, mlkd, released, released, mlkd, quickest])
        for words in ("PyTorch 9.9, oneDNN 9.1, BLAS MKL 1", "ratio 4.00 (4.00 - 4.00)", "ratio 20.00 (20.00 - 20.00)", "AMX bf16"):
            self.assertIn(words, done.stdout)

    def test_bf16_steps_try_both_ways_and_layouts(self):
        self.fake({"eager contiguous autocast": 9.0, "eager contiguous cast": 8.0, "eager channels_last autocast": 5.0,
                   "eager channels_last cast": 4.0, "default channels_last cast": 4.5, "default contiguous cast": 3.0})
        done = self.run_tool("--only", "resnet20", "--precision", "bf16", "--rounds", "1", "--json", self.path("times.json"))
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.path("times.json")) as file:
            result, = json.load(file)["results"]
        self.assertEqual((result["variant"], result["released"]["variant"]),
                         ("compiled (default), contiguous, cast", "eager, channels_last, cast"))
        self.assertIn("mlkd ^step/train/resnet20/64$ bf16 2", self.log())

    def test_kernels_of_openblas_are_tried_where_torch_uses_it(self):
        self.fake({"eager contiguous OpenBLAS SkylakeX": 3.0, "eager contiguous OpenBLAS default": 4.0,
                   "eager rewritten contiguous OpenBLAS default": 5.0, "eager rewritten contiguous OpenBLAS SkylakeX": 6.0},
                  {**MKL, "blas": "OpenBLAS 0.3 SkylakeX"})
        done = self.run_tool("--only", "loss-64x100", "--rounds", "1")
        self.assertIn("eager, contiguous, OpenBLAS SkylakeX", done.stdout, done.stderr)

    def test_what_crashes_or_hangs_is_named_and_left_out(self):
        self.fake({**LOSS_MS, "eager rewritten contiguous": "crash", "default rewritten contiguous": "hang"})
        self.addCleanup(setattr, cpu_process, "PREPARE_SECONDS", cpu_process.PREPARE_SECONDS)
        cpu_process.PREPARE_SECONDS = 8
        arguments = argparse.Namespace(python=self.path("python"), mlkd=self.path("mlkd"), threads=1, wait_policy="default", rounds=1)
        result = compare_pytorch.compare("loss-64x100", "fp32", "MKL", arguments)
        self.assertEqual(result["failed"], {
            "rewritten, eager, contiguous": "ended by SIGSEGV", "rewritten, compiled (default), contiguous": "not ready after 8 s",
            "rewritten, compiled (max-autotune-no-cudagraphs), contiguous": "no compiler"})
        self.assertEqual((result["variant"], result["ratio"]["median"]), ("eager, contiguous", 20))

    def test_a_signal_ends_what_was_started(self):
        self.fake({**LOSS_MS, "default rewritten contiguous": "hang"})
        for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
            tool = subprocess.Popen([sys.executable, TOOL, "--mlkd", self.path("mlkd"), "--python", self.path("python"), "--only",
                                     "loss-64x100"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for line in tool.stderr:
                if "rewritten, eager" in line:
                    break
            deadline = time.monotonic() + 60
            while not self.log()[-1].startswith("pid") and time.monotonic() < deadline:
                time.sleep(0.05)
            tool.send_signal(number)
            self.assertEqual((tool.communicate()[1], tool.returncode), ("", code))
            with self.assertRaises(ProcessLookupError):
                os.kill(int(self.log()[-1].split()[1]), 0)
            os.remove(self.path("log"))

    def test_a_task_that_cannot_be_measured_ends_none_of_the_others(self):
        self.fake({"eager contiguous": 10.0, "eager contiguous autocast": 10.0, "no bf16": 0})
        done = self.run_tool("--only", "resnet20", "--rounds", "1", "--precision", "bf16", "--precision", "fp32")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, "resnet20 bf16: not measured: .*a CPU without bf16")
        self.assertRegex(done.stdout, "resnet20 fp32: mlkd 1.00 ms")

    def test_refusals(self):
        for fake, arguments, words in (({**MKL, "blas": "Netlib", "blas_path": "/x/libblas.so.3"}, (), "/x/libblas.so.3.*libopenblas"),
                                       ({}, (), "no torch here.*pip install torch"), (MKL, ("--rounds", "0"), "--rounds"),
                                       (MKL, ("--json", self.path("none/x.json")), "none/x.json: No such file"),
                                       (MKL, ("--python", self.path("none")), "--python .*none"),
                                       (MKL, ("--mlkd", self.path("none")), "no such program")):
            self.fake(LOSS_MS, fake)
            done = self.run_tool(*arguments)
            self.assertEqual((done.returncode, done.stdout), (1, ""), words)
            self.assertRegex(done.stderr, words)


class About(unittest.TestCase):
    def test_mkl_in_a_wheel(self):
        text = "  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64\n BLAS_INFO=mkl,"
        self.assertEqual(about.blas_of(text, True), ("MKL 2024.2-Product", ""))

    def test_the_library_that_torch_calls(self):
        compiler = shutil.which("c++") or shutil.which("g++")
        if not compiler:
            self.skipTest("no C++ compiler")
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)

        def library(name, text, *needs):
            path = os.path.join(folder, name)
            command = [compiler, "-shared", "-fPIC", "-Wl,--no-as-needed", f"-Wl,-rpath,{folder}", "-o", path, "-xc++", "-", "-xnone"]
            subprocess.run([*command, *needs], input=text, text=True, check=True)
            return path

        config = 'extern "C" const char* openblas_get_config() { return "OpenBLAS 1.2 Zen"; }'
        sgemm = 'extern "C" void sgemm_() {}'
        openblas = library("libopenblas.so.0", config)
        wrapper = library("libblas_of_openblas.so", sgemm, openblas)
        netlib = library("libblas.so.3", sgemm)
        for name, needs, expected in (("one/libtorch_cpu.so.1.13", [wrapper], ("OpenBLAS 1.2 Zen", wrapper)),
                                      ("two/libtorch_cpu.so", [netlib], ("Netlib", netlib)),
                                      ("three/libtorch_cpu.so", [], ("eigen, part of PyTorch", ""))):
            os.makedirs(os.path.dirname(os.path.join(folder, name)))
            torch_library = library(name, "" if needs else sgemm, *needs)
            # In a process of its own, which also has an OpenBLAS that PyTorch does not use, as NumPy's is.
            code = (f"import ctypes, sys; sys.path.insert(0, {os.path.join(ROOT, 'bench')!r}); from peers import about; "
                    f"ctypes.CDLL({openblas!r}); ctypes.CDLL({torch_library!r}); print(about.blas_of('BLAS_INFO=eigen,', False))")
            seen = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
            self.assertEqual(seen, str(expected))


if __name__ == "__main__":
    unittest.main()
