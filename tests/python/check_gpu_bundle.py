"""A bundle made from a build (argument: its folder of programs) runs elsewhere, with nothing but what it brought along."""
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Of the libraries that the programs are linked with, those that a machine with a GPU may lack.
EXPECTED = ("libdnnl.so", "libbenchmark.so", "libfmt.so", "libgomp.so")


def run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def main():
    with tempfile.TemporaryDirectory() as folder:
        archive, programs = os.path.join(folder, "bundle.tar.xz"), os.path.join(folder, "programs")
        os.mkdir(programs)  # not all of them, and quickly packed
        for name in filter(lambda name: os.path.exists(os.path.join(sys.argv[1], name)), ("mlkd", "golden", "test_losses")):
            os.symlink(os.path.abspath(os.path.join(sys.argv[1], name)), os.path.join(programs, name))
        run([os.path.join(ROOT, "scripts", "gpu_bundle.sh"), "--bin", programs, "--out", archive, "--level", "0"])
        assert os.path.getsize(archive) <= 64 << 20
        there = os.path.join(folder, "elsewhere")
        os.mkdir(there)
        run([sys.executable, "-m", "tarfile", "-e", archive, there])
        libraries = os.listdir(os.path.join(there, "lib"))
        for name in EXPECTED:
            assert any(library.startswith(name) for library in libraries), (name, libraries)
        assert not any(library.startswith(("libcudnn", "libcublas", "libcuda.", "libc.so")) for library in libraries), libraries

        # No variable of this process may help.
        clean = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": os.path.join(there, "lib"), "OMP_NUM_THREADS": "1"}
        mlkd, golden = (os.path.join(there, "bin", name) for name in ("mlkd", "golden"))
        loaded = run(["ldd", mlkd], env=clean)
        for name in EXPECTED:
            line = next(line for line in loaded.splitlines() if name in line)
            assert there in line, line
        assert "oneDNN" in run([mlkd, "doctor"], env=clean, cwd=there)
        cases = os.path.join(there, "tests", "golden")
        assert "PASS" in run([golden, os.path.join(cases, "loss-mlkd_official-3x2.safetensors"), "--device", "cpu"], env=clean, cwd=there)

        # A test program finds the reference values that lie around it, and those that MLKD_SOURCES names.
        losses = os.path.join(there, "bin", "test_losses")
        test = [losses, "--test-case=losses: golden cases"]
        if os.path.exists(losses):
            run(test, env=clean, cwd="/")
            os.rename(cases, os.path.join(there, "golden_elsewhere"))
            os.makedirs(os.path.join(folder, "sources", "tests"))
            os.rename(os.path.join(there, "golden_elsewhere"), os.path.join(folder, "sources", "tests", "golden"))
            run(test, env={**clean, "MLKD_SOURCES": os.path.join(folder, "sources")}, cwd="/")
            done = subprocess.run(test, env={**clean, "MLKD_SOURCES": there}, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            assert done.returncode != 0, "it took other reference values than it was told to"
    print("the bundle runs")


if __name__ == "__main__":
    main()
