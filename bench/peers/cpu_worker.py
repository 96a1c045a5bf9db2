"""PyTorch's side of compare_pytorch.py: a variant of a task in a process of its own.

    cpu_worker.py TASK VARIANT(JSON) THREADS

Prepares the step and prints a line, {"ms": of one step} or {"error": why not}. Then, for each line {"seconds", "repetitions"} on
standard input, runs so many repetitions of at least so many seconds and prints their milliseconds a step, "wall" and "cpu", and
"own_cpu", the CPU seconds of the whole piece.
"""
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from peers.cpu_variants import Variant  # noqa: E402

BATCH = 64
WARM_UP = 3  # steps: compilation, oneDNN's plans, momenta


def prepared(task, variant, threads):
    import torch
    from peers.cpu_steps import LossAlone, TrainingStep
    torch.set_num_threads(threads)
    if task.startswith("loss-"):
        step = LossAlone(variant, *(int(word) for word in task[len("loss-"):].split("x")))
    else:
        step = TrainingStep(variant, task, BATCH)
    for _ in range(WARM_UP):
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
    return step, seconds


def piece(step, count, repetitions):
    start_cpu = time.process_time()
    wall, cpu = [], []
    for _ in range(repetitions):
        before, before_cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            step()
        wall.append(1e3 * (time.perf_counter() - before) / count)
        cpu.append(1e3 * (time.process_time() - before_cpu) / count)
    return {"wall": wall, "cpu": cpu, "own_cpu": time.process_time() - start_cpu}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries and compilers print is no answer
    task, variant, threads = sys.argv[1], Variant(**json.loads(sys.argv[2])), int(sys.argv[3])
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where memory ends, this process goes and no other
    try:
        step, seconds = prepared(task, variant, threads)
    except Exception as error:  # whatever PyTorch and its compiler throw
        lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("backend=")]
        print(json.dumps({"error": " ".join([f"{type(error).__name__}:", *lines[:1]])[:300]}), file=answers, flush=True)
        return 1
    print(json.dumps({"ms": 1e3 * seconds}), file=answers, flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        answer = piece(step, max(1, round(wanted["seconds"] / seconds)), wanted["repetitions"])
        seconds = min(answer["wall"]) / 1e3
        print(json.dumps(answer), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
