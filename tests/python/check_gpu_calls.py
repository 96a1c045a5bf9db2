"""The four calls of docs/gpu_check.md, rehearsed on a CPU (argument: the folder of programs), with a stand-in for PyTorch some of whose
peers die. Each call keeps its deadline, leaves no process behind, and leaves its archive, also when a signal ends it.
With a second argument, cuda: on the GPU of these programs, which may be the tests' simulated one, with a stand-in for compute-sanitizer.
"""
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(ROOT, "scripts", "gpu_check.sh")
# The processes of these calls carry it in their environment.
MARK = uuid.uuid4().hex
ON_GPU = sys.argv[2:] == ["cuda"]

# In place of a Python with torch: says its version, and is pytorch_mlkd.py. One peer dies when it is prepared, one when it is asked
# for its second piece, and one sends what is no number.
STAND_IN = f"""#!{sys.executable}
import json, sys
if sys.argv[1] == "-c":
    print("9.9")
    sys.exit()
arguments = sys.argv[2:]
setting = arguments[arguments.index("--setting") + 1]
loss = "--loss-only" in arguments
what = "loss/mlkd_official/" + "x".join(arguments[arguments.index("--loss-only") + 1:][:2]) if loss else "step/mlkd_official/tiny/8"
print(json.dumps({{"torch": "9.9"}}), flush=True)
if loss and setting == "eager" and what.endswith("64x100"):
    sys.exit("no room")
print(json.dumps({{"setting": setting, "what": what, "about": "a stand-in", "notes": []}}), flush=True)
for number, _ in enumerate(sys.stdin):
    if not loss and setting == "compiled-tf32" and number == 1:
        sys.exit("cuda error")
    if loss and setting == "compiled-tf32" and what.endswith("5x7"):
        print("nonsense", flush=True)
    print(json.dumps({{setting + "|" + what: [1.0, 2.0, 3.0]}}), flush=True)
"""

# In place of compute-sanitizer: runs the program behind the options.
SANITIZER = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do
    case "$1" in --help) echo "--kernel-regex --report-api-errors"; exit ;; esac
    shift 2
done
exec "$@"
"""


def start(folder, stages, minutes, *more):
    out, archive = os.path.join(folder, stages, "out"), os.path.join(folder, "results", stages + ".tar.gz")
    device = ["--rehearse", "--sanitizer", os.path.join(folder, "sanitizer")] if ON_GPU else ["--allow-cpu"]
    command = [SCRIPT, "--bin", sys.argv[1], *device, "--stages", stages, "--data", "synthetic:50000:100",
               "--minutes", str(minutes), "--out", out, "--archive", archive, "--python", os.path.join(folder, "python"), *more]
    environment = {**os.environ, "MLKD_CALL": MARK, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    log = open(os.path.join(folder, "log"), "w+")
    return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True), log, out, archive


def text_of(log):
    log.seek(0)
    return log.read()


def processes():
    """Of these calls, that still live."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if MARK.encode() in file.read():
                    with open(f"/proc/{name}/cmdline", "rb") as line:
                        found.append((int(name), line.read().replace(b"\0", b" ").decode()))
        except OSError:
            continue
    return found


def records_of(stage):
    return {record["name"]: record for record in stage["records"]}


def read_stage(folder, letter):
    with open(os.path.join(folder, f"stage_{letter}.json")) as file:
        return json.load(file)


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def run_call(folder, stages, minutes, *more):
    begin = time.monotonic()
    process, log, out, archive = start(folder, stages, minutes, *more)
    code, took = process.wait(), time.monotonic() - begin
    assert took < 60 * minutes + 3, f"{stages}: {took:.1f} s of {60 * minutes:.0f}\n{text_of(log)}"
    assert code in (0, 1), (stages, code, text_of(log))
    assert not processes(), (stages, processes())
    return log, out, archive


def check_deadline(folder):
    """What does not fit into a call is ended, or not begun, and named."""
    _, out, archive = run_call(folder, "c", 0.1, "--fresh")
    assert any(record["status"] in ("unfinished", "failed") for record in read_stage(out, "c")["records"])
    assert os.path.exists(archive)


def check_calls(folder):
    """The four calls, then their archives as one report."""
    for stages, minutes in (("a,c", 7), ("b", 6), ("d", 6), ("e", 9)) if ON_GPU else (("a,c", 1), ("b", 0.1), ("d", 0.5), ("e", 1.5)):
        log, out, archive = run_call(folder, stages, minutes)
        for letter in stages.split(",") if stages != "e" else []:
            failed = [record for record in read_stage(out, letter)["records"]
                      if record["status"] == "failed" and not (record.get("reason") or "").startswith("stopped after")]
            assert not failed, (failed, text_of(log))
        with tarfile.open(archive) as packed:
            names = packed.getnames()
            packed.extractall(os.path.join(folder, "merged"))
        expected = {"gpu_report.md", "gpu_report.json", *(f"stage_{letter}.json" for letter in stages.split(","))}
        assert expected <= set(names), (stages, names)
        assert not any(name.endswith(".safetensors") for name in names), names
        assert not os.path.exists(archive + ".tmp")
    merged = os.path.join(folder, "merged")
    subprocess.run([sys.executable, os.path.join(ROOT, "bench", "gpu", "report.py"), merged], check=True, stdout=subprocess.DEVNULL)
    with open(os.path.join(merged, "gpu_report.json")) as file:
        report = json.load(file)
    assert list(report["stages"]) == list("abcde"), list(report["stages"])
    assert len(report["calls"]) == 4, report["calls"]
    check_peers(read_stage(merged, "e"))


def check_peers(stage):
    """What died is named and cost nothing else."""
    records, step, loss = records_of(stage), stage["data"]["step"]["rounds"], stage["data"]["loss"]["rounds"]
    assert records["peer step-compiled-tf32, measured"]["status"] == "failed", records
    assert "cuda error" in records["peer step-compiled-tf32, measured"]["reason"]
    assert len(step) == 2 and all(this["eager"] == {"step/mlkd_official/tiny/8": 2.0} for this in step), step
    assert "compiled-tf32" in step[0] and not step[-1].get("compiled-tf32"), step
    assert records["peer loss-eager-64x100"]["status"] == "failed", records
    assert "no room" in records["peer loss-eager-64x100"]["reason"]
    seen = {(key, what) for this in loss for key, times in this.items() for what in times}
    assert ("compiled-tf32", "loss/mlkd_official/64x100") in seen and ("eager", "loss/mlkd_official/5x7") in seen, seen
    assert ("ours-fp32", "loss/mlkd_official/64x100") in seen, seen
    assert ("compiled-tf32", "loss/mlkd_official/5x7") not in seen, seen


def check_ended(folder, number, code):
    """A signal in the middle of a stage: what was measured is kept."""
    process, log, out, archive = start(folder, "d", 5, "--fresh")

    def measured():
        try:
            return len(read_stage(out, "d")["records"]) == 1 and len(processes()) >= 3  # script, keeper, the second command
        except (OSError, ValueError):
            return False

    def packed():
        return os.path.exists(archive) and not os.path.exists(archive + ".tmp")

    if os.path.exists(archive):
        os.remove(archive)
    wait_for(measured, 120 if ON_GPU else 60, f"a first record\n{text_of(log)}")
    process.send_signal(number)
    assert process.wait(timeout=20) == code, (process.returncode, text_of(log))
    wait_for(lambda: not processes(), 10, f"no process left: {processes()}")
    assert packed()
    with tarfile.open(archive) as results:
        stage = json.load(results.extractfile("stage_d.json"))
        assert "gpu_report.md" in results.getnames()
    first = stage["records"][0]
    assert first["name"] == "bench step-fp32" and first["status"] == "passed", stage["records"]
    assert stage["data"]["bench"]["step-fp32"], stage["data"]


def main():
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("python", STAND_IN), ("sanitizer", SANITIZER)):
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)
            os.chmod(os.path.join(folder, name), 0o755)
        check_calls(folder)
        check_deadline(folder)
        for number, code in ((signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)):
            check_ended(folder, number, code)
    print("all calls kept their time and left their results")


if __name__ == "__main__":
    main()
