#!/usr/bin/env python3
"""The commands in README.md, in docs/ and under every --help can be followed.

    check_documented_commands.py MLKD [ROOT]

Runs every block marked ```sh with bash, document after document, and then the examples of --help, all in one scratch folder: what a
command needs, an earlier one must have made. `mlkd` and `build/cpu/bin/mlkd` are this script there, which makes the commands
small (see small()) and hands them to the program MLKD. Commands on the list NOT_RUN are left out.
"""
import os
import re
import subprocess
import sys
import tempfile

NOT_RUN = {  # what a command begins with: why it cannot run here
    "scripts/demo.sh": "installs packages and trains for minutes; CI runs it",
    "scripts/test.sh": "runs this test",
    "scripts/get_cifar100.sh": "downloads 162 MB; the tests of data/ run it on an archive of their own",
    "cmake --preset cuda": "needs nvcc",
    "apt-get install": "installs packages",
    "python3 -m venv peer": "for PyTorch, the next line",
    "peer/bin/pip install torch": "downloads gigabytes",
    "bench/compare_pytorch.py": "needs that PyTorch and measures for minutes; the test compare_pytorch rehearses it",
    "scripts/gpu_check.sh": "needs a GPU; the tests gpu_check and gpu_calls rehearse it",
    "scripts/gpu_bundle.sh": "needs the CUDA build; the test gpu_bundle makes a bundle of this one",
    "cmake --build --preset cuda": "needs nvcc",
    "python3 -m tarfile -e mlkd_gpu.tar.xz": "unpacks that bundle",
    "for archive in results": "unpacks what those calls left behind; the test gpu_calls does",
    "bench/gpu/report.py gpu_check": "reports on it; the test gpu_calls does",
}
DATA = "synthetic:8:100"  # fits every recipe: CIFAR-100's classes
# A line of a block that is not marked as sh, but that a reader would type.
LOOKS_TYPED = re.compile(r"(\$ |(\./|build/|scripts/|bench/|\.ci/)\S|(mlkd|cmake|ctest|python3?|apt-get|pip|git|export|cd) )")


def small(arguments):
    """The arguments of mlkd for tiny data, a few seconds, and processors without 16-bit instructions."""
    out = []
    for word in arguments:
        if out and out[-1] in ("--data", "-d"):
            word = DATA
        elif word.startswith("dataset.path=") and not word.startswith("dataset.path=synthetic"):
            word = "dataset.path=" + DATA
        elif word == "bf16" and out[-1] == "--precision":
            word = "fp32"
        out.append(word)
    if out[:1] == ["train"] and "--print-config" not in out:
        settings = ["dataset.type=auto", "solver.epochs=1", "solver.batch_size=8", "solver.lr_decay_stages=[1]"]
        keys = tuple(setting[:setting.index("=") + 1] for setting in settings)
        out = [word for word in out if not word.startswith(keys)] + settings + ["--overwrite"] * ("--resume" not in out)
    if out[:1] == ["bench"]:
        out += ["--min-time", "0.000001", "--repetitions", "1"]
    return out


def blocks(path):
    """(line number, language, lines) of every fenced block; continued lines are one."""
    found, language = [], None
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file.read().splitlines(), 1):
            if line.startswith("```"):
                if language is None:
                    language = line[3:].strip()
                    found.append((number, language, []))
                else:
                    language = None
            elif language is not None:
                lines = found[-1][2]
                if lines and lines[-1].endswith("\\"):
                    lines[-1] += "\n" + line
                else:
                    lines.append(line)
    return found


class Checker:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.failures, self.left_out, self.ran = [], set(), 0
        shim = os.path.join(folder, "bin", "mlkd")
        for path in (shim, os.path.join(folder, "build", "cpu", "bin", "mlkd")):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(f'#!/bin/sh\nexec "{sys.executable}" "{os.path.abspath(__file__)}" --small "{program}" "$@"\n')
            os.chmod(path, 0o755)

    def run(self, where, lines):
        """One bash for the lines, up to the first failure."""
        kept = []
        for line in lines:
            listed = [start for start in NOT_RUN if line.startswith(start)]
            self.left_out.update(listed)
            if not listed:
                kept.append(line)
                self.ran += bool(line.strip())
        environment = dict(os.environ, PATH=os.path.join(self.folder, "bin") + ":" + os.environ["PATH"])
        done = subprocess.run(["bash", "-eu", "-o", "pipefail", "-c", "\n".join(kept)], cwd=self.folder, env=environment, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            self.failures.append(f"{where}: exit code {done.returncode}\n" + "\n".join(done.stdout.splitlines()[-8:]))

    def document(self, root, path):
        for number, language, lines in blocks(os.path.join(root, path)):
            where = f"{path}:{number}"
            if language == "sh":
                self.run(where, lines)
            elif language == "" and any(LOOKS_TYPED.match(line) for line in lines):
                self.failures.append(f"{where}: looks like commands: begin the block with ```sh")

    def help_of(self, arguments):
        return subprocess.run([self.program, *arguments, "--help"], text=True, stdout=subprocess.PIPE, check=True).stdout

    def examples(self):
        listing = re.split(r"(?im)^subcommands:.*$", self.help_of([]))[1]
        for command in re.findall(r"(?m)^ {2,}(\w+) {2,}", listing):
            lines = re.findall(r"(?m)^ +(mlkd .*)$", self.help_of([command]).split("Example")[-1])
            if not lines:
                self.failures.append(f"mlkd {command} --help: no example")
            for line in lines:
                self.run(f"mlkd {command} --help: {line}", [line])


def main():
    program = os.path.abspath(sys.argv[1])
    root = os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(__file__), "..", ".."))
    documents = sorted(os.path.relpath(os.path.join(folder, name), root)
                       for folder, _, names in os.walk(os.path.join(root, "docs")) for name in names if name.endswith(".md"))
    with tempfile.TemporaryDirectory(prefix="mlkd_documented_") as folder:
        os.symlink(os.path.join(root, "configs"), os.path.join(folder, "configs"))
        checker = Checker(program, folder)
        for path in ["README.md", *documents]:
            checker.document(root, path)
        checker.examples()
    checker.failures += [f"NOT_RUN: no document has '{start}'" for start in sorted(set(NOT_RUN) - checker.left_out)]
    for failure in checker.failures:
        print("FAIL", failure)
    print(f"{checker.ran} commands ran, {len(checker.failures)} failures; left out:")
    for start in sorted(checker.left_out):
        print(f"    {start}: {NOT_RUN[start]}")
    return 1 if checker.failures or checker.ran == 0 else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--small"]:
        os.execv(sys.argv[2], ["mlkd", *small(sys.argv[3:])])
    sys.exit(main())
