#!/usr/bin/env python3
"""Writes gpu_report.md and gpu_report.json from the stages that a folder of scripts/gpu_check.sh holds.

usage: bench/gpu/report.py DIR
"""
import glob
import os
import statistics
import sys

from recorder import STATUSES, read_json, write_json

STEP = "step/mlkd_official/resnet32x4_resnet8x4/64"
NOT_MEASURED = "not measured"
STEPS_OF_AN_EPOCH = 782


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in rows:
        lines.append("| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in row) + " |")
    return "\n".join(lines) + "\n"


def number(value, digits=3):
    return f"{value:.{digits}g}" if value < 100 else f"{value:.0f}"


def time_text(milliseconds):
    return f"{number(1e3 * milliseconds)} µs" if milliseconds < 1 else f"{number(milliseconds)} ms"


def spread(values, unit=""):
    return f"{number(statistics.median(values))}{unit} ({number(min(values))}–{number(max(values))})"


def ratios(rounds, ours, peer, ours_what, peer_what):
    """Peer's time over ours, for each round that has both."""
    return [this[peer][peer_what] / this[ours][ours_what] for this in rounds
            if this.get(ours, {}).get(ours_what) and this.get(peer, {}).get(peer_what)]


def peer_times(rounds, peer, what):
    return [this[peer][what] for this in rounds if this.get(peer, {}).get(what)]


def quickest(rounds, names, what):
    medians = {name: statistics.median(times) for name in names for times in [peer_times(rounds, name, what)] if times}
    return min(medians, key=medians.get) if medians else None


class Report:
    def __init__(self, folder):
        self.machine = read_json(os.path.join(folder, "machine.json")) or {}
        self.calls = [read_json(path) for path in sorted(glob.glob(os.path.join(folder, "calls", "*.json")))]
        self.stages = {}
        for letter in "abcdef":
            stage = read_json(os.path.join(folder, f"stage_{letter}.json"))
            if stage is not None:
                self.stages[letter] = stage

    def data(self, letter, *keys):
        value = self.stages.get(letter, {}).get("data", {})
        for key in keys:
            value = value.get(key, {}) if isinstance(value, dict) else {}
        return value

    def peers_versions(self):
        about = self.data("e", "pytorch")
        return " / ".join(str(about[key]) for key in ("torch", "cuda", "cudnn") if about.get(key))

    def bench(self, group, name):
        result = self.data("d", "bench", group, name)
        return result.get("median_ms") if result else None

    # ------------------------------------------------------------ required and seen

    def required(self):
        """Rows: what, required, stretch, floor, seen, whether it is met."""
        rows = []

        def row(what, need, stretch, floor, seen, met):
            rows.append((what, need, stretch, floor, seen or NOT_MEASURED, "" if not seen or met is None else "yes" if met else "no"))

        for precision, need, stretch, floor in (("bf16", 1.8, 1.3, 0.74), ("tf32", 3.0, 2.3, 1.46)):
            ms = self.bench(f"step-{precision}", STEP)
            row(f"MLKD step 32x4→8x4, batch 64, {precision}", f"{need} ms", f"{stretch} ms", f"{floor} ms", ms and time_text(ms),
                ms and ms <= need)
        rounds = self.data("e", "step", "rounds") or []
        compiled = sorted({key for this in rounds for key in this if key.startswith(("compiled", "graph", "autotuned"))})
        best = quickest(rounds, [key for key in compiled if key.endswith("bf16")], STEP)
        for what, peer, need, stretch in (("official-style eager PyTorch", "eager", 6, 10),
                                          (f"compiled PyTorch with CUDA graphs{f' ({best})' if best else ''}", best, 1.3, 2)):
            seen = ratios(rounds, "ours-bf16", peer, STEP, STEP)
            row(f"bf16 step against {what}", f"{need}×", f"{stretch}×", "", seen and spread(seen, "×"),
                seen and statistics.median(seen) >= need)
        epoch = self.data("d", "epoch", "bf16", "seconds")
        row("an epoch with augmentation and evaluation, bf16", "1.6 s", "1.1 s", "0.58 s",
            epoch and f"{number(epoch['median'])} s ({number(epoch['min'])}–{number(epoch['max'])})", epoch and epoch["median"] <= 1.6)
        run = self.data("f", "training", "mlkd")
        whole = run["seconds"] / 60 if run and run["epochs"] == 240 and run["precision"] == "bf16" else None
        minutes = whole or (epoch and 240 * epoch["median"] / 60)
        # Neither counts what a run does once, loading and planning, nor the calls that it was spread over.
        how = "training and evaluation of its epochs" if whole else "240 × the epoch"
        row("240 epochs", "6.5 min", "5 min", "2.3 min", minutes and f"{number(minutes)} min ({how})", minutes and minutes <= 6.5)
        other = self.data("f", "training", "mlkd_tf32")
        both = run and other and run["epochs"] == other["epochs"] == 240 and run["precision"] == "bf16"
        gaps = both and [run[key] - other[key] for key in ("last_top1", "best_top1")]
        row("top-1 last/best, mlkd_official_240, bf16 less tf32", "within 0.3", "", "", gaps and f"{gaps[0]:+.2f} / {gaps[1]:+.2f}",
            gaps and max(map(abs, gaps)) <= 0.3)
        for size, group, need in (("64x100", "fp32", 15), ("512x1000", "tf32", 150), ("512x1000", "fp32", 450)):
            ms = self.bench(f"loss-{group}", f"loss/mlkd_official/{size}")
            products = "TF32 products" if group == "tf32" else "float32"
            row(f"loss forward+backward {size.replace('x', '×')}, {products}", f"{need} µs", "", "",
                ms and time_text(ms), ms and 1e3 * ms <= need)
        return rows

    # ------------------------------------------------------------ parts

    def summary(self):
        rows = []
        for letter, stage in self.stages.items():
            counts = [sum(record["status"] == status for record in stage["records"]) for status in STATUSES]
            seconds = sum(record.get("seconds", 0) for record in stage["records"])
            rows.append((letter, stage["about"], *counts, f"{seconds:.0f} s", stage["when"]))
        return rows

    def unwell(self):
        """What has not passed, those with one reason in one row."""
        names = {}
        for letter, stage in self.stages.items():
            for record in stage["records"]:
                if record["status"] != "passed":
                    why = record.get("reason") or (record.get("last_lines") or "").replace("\n", " / ")[-300:]
                    names.setdefault((letter, record["status"], why), []).append(record["name"])
        return [(letter, "; ".join(these), status, why) for (letter, status, why), these in names.items()]

    def step_table(self):
        rounds = self.data("e", "step", "rounds") or []
        about = {line["setting"]: line for lines in (self.data("e", "step", "peers") or {}).values() for line in lines}
        ours = [key for this in rounds[:1] for key in this if key.startswith("ours")]
        what_of = {}
        for this in rounds:
            for key, times in this.items():
                what_of.setdefault(key, next(iter(times), None))
        rows = []
        for key, what in what_of.items():
            if what is None or not peer_times(rounds, key, what):
                continue
            cells = [spread(peer_times(rounds, key, what), " ms")]
            for mine in ours:
                seen = [] if key in ours else ratios(rounds, mine, key, what_of[mine], what)
                cells.append(spread(seen, "×") if seen else "")
            line = about.get(key, {})
            rows.append((key, *cells, "; ".join([line.get("about", "this program"), *line.get("notes", [])])))
        return ours, rows

    def loss_table(self):
        rounds = self.data("e", "loss", "rounds") or []
        whats = list(dict.fromkeys(what for this in rounds for times in this.values() for what in times))
        alone = {what for group in ("loss-fp32", "loss-tf32") for what in self.data("d", "bench", group)
                 if what.startswith("loss/mlkd_official/")}
        rows = []
        for what in whats + sorted(alone - set(whats)):
            cells = [what.rsplit("/", 1)[1].replace("x", "×")]
            for key, group in (("ours-fp32", "loss-fp32"), ("ours-tf32", "loss-tf32")):
                times = peer_times(rounds, key, what)
                value = statistics.median(times) if times else self.bench(group, what)
                cells.append(time_text(value) if value else NOT_MEASURED)
            for peer in ("eager", "compiled-tf32"):
                times = peer_times(rounds, peer, what)
                cells.append(time_text(statistics.median(times)) if times else NOT_MEASURED)
                seen = ratios(rounds, "ours-fp32", peer, what, what)
                cells.append(spread(seen, "×") if seen else "")
            found = self.data("d", "bench", "loss-fp32", what)
            cells += [number(found[key]) if found and key in found else "" for key in ("% of peak FLOP/s", "MB workspace")]
            rows.append(cells)
        return rows

    def bench_rows(self, group):
        rows = []
        for name, result in sorted(self.data("d", "bench", group).items(), key=lambda item: -item[1]["median_ms"]):
            counters = ("GFLOP/s", "% of peak FLOP/s", "GB/s", "% of peak bandwidth", "kernels")
            rows.append((name, time_text(result["median_ms"]), f"{time_text(result['min_ms'])}–{time_text(result['max_ms'])}",
                         *(number(result[key]) if key in result else "" for key in counters)))
        return rows

    def epoch_rows(self):
        rows = []
        for precision, epoch in self.data("d", "epoch").items():
            step = self.bench(f"step-{precision}", STEP)
            train = statistics.median(epoch["train_seconds"])
            idle = epoch.get("idle_percent")
            rows.append((precision, f"{number(epoch['seconds']['median'])} s", f"{number(train)} s",
                         f"{number(statistics.median(epoch['test_seconds']))} s",
                         f"{100 * (1 - STEPS_OF_AN_EPOCH * step / 1e3 / train):.0f} %" if step else NOT_MEASURED,
                         f"{idle:.0f} %" if idle is not None else NOT_MEASURED))
        return rows

    def training_rows(self):
        return [(name, run["recipe"], run["precision"], f"{run['epochs']} of {run['of']}",
                 f"{run['best_top1']:.2f} (epoch {run['best_epoch']})", f"{run['last_top1']:.2f}", f"{run['seconds'] / 60:.1f} min")
                for name, run in self.data("f", "training").items()]

    def golden_rows(self):
        rows = []
        for group, cases in self.data("a", "golden").items():
            passed = sum(line.startswith("PASS") for line in cases.values())
            others = [f"{name}: {line}" for name, line in cases.items() if not line.startswith("PASS")]
            rows.append((group, f"{passed} of {len(cases)}", "; ".join(others)))
        return rows

    # ------------------------------------------------------------ the text

    def markdown(self):
        machine, parts = self.machine, []

        def section(title, *texts):
            texts = [text for text in texts if text]
            if texts:
                parts.append(f"## {title}\n\n" + "\n".join(texts))

        rehearsal = machine.get("rehearsal", False)
        parts.append("# " + ("Rehearsal: no number here means anything" if rehearsal else "On a GPU") + "\n")
        about = [("GPU", machine.get("card") or f"none: {machine.get('why_no_gpu') or 'no nvidia-smi'}"), ("commit", machine.get("commit")),
                 ("programs", machine.get("programs")),
                 ("PyTorch, its CUDA and cuDNN", self.peers_versions() or machine.get("torch") or "none"),
                 ("library folders", ", ".join(machine.get("library_folders") or []) or "the system's"),
                 *((f"peaks measured by mlkd bench ({group})", f"{float(peak['peak_gflop_per_second']) / 1e3:.1f} TFLOP/s, "
                    f"{float(peak['peak_gb_per_second']):.0f} GB/s") for group, peak in self.data("d", "peaks").items()
                   if group.startswith("step") and "peak_gflop_per_second" in peak)]
        commands = "\n".join(f"scripts/gpu_check.sh {' '.join(call['arguments'])}   # {call['when']}, {call['commit']}"
                             for call in self.calls[-8:])
        parts.append(table(("machine", ""), about) + f"\n```\n{commands}\n```\n")
        if not rehearsal:
            section("Required and seen", table(("what", "required", "stretch", "floor", "seen", "met"), self.required()))
        section("Stages", table(("stage", "what", *STATUSES, "commands took", "when"), self.summary()),
                "Not passed:\n\n" + table(("stage", "what", "", "why"), self.unwell()) if self.unwell() else "Everything passed.\n")
        section("Reference values", self.golden_rows() and table(("cases", "passed", "not passed"), self.golden_rows()))
        ours, rows = self.step_table()
        section("Step: PyTorch in the same run, in turns", rows and table(
            ("setting", "median (min–max of rounds)", *(f"over {key}" for key in ours), "what"), rows))
        rows = self.loss_table()
        section("Loss forward+backward, mlkd_official", rows and table(
            ("B×C", "float32", "TF32 products", "PyTorch eager", "over float32", "PyTorch compiled, one graph", "over float32",
             "% of peak FLOP/s", "MB workspace"), rows))
        rows = self.epoch_rows()
        section("An epoch of mlkd_official_240", rows and table(
            ("precision", "training + evaluation", "training", "evaluation", "training outside steps (computed)",
             "no kernel running (nvidia-smi)"), rows))
        rows = self.training_rows()
        section("Training on CIFAR-100", rows and table(
            ("run", "recipe", "precision", "epochs", "top-1 best", "top-1 last", "time"), rows))
        for group in self.data("d", "bench"):
            if not group.startswith("loss"):
                section(f"mlkd bench, {group}", table(
                    ("benchmark", "median", "min–max", "GFLOP/s", "% of peak", "GB/s", "% of bandwidth", "kernels"),
                    self.bench_rows(group)))
        if self.machine.get("doctor"):
            section("mlkd doctor", f"```\n{self.machine['doctor']}\n```\n")
        return "\n".join(parts)

    def json(self):
        header = ("what", "required", "stretch", "floor", "seen", "met")
        required = [dict(zip(header, row)) for row in self.required()]
        return {"machine": self.machine, "calls": self.calls, "required": required, "stages": self.stages}


def write_report(folder):
    """Writes both files; returns a line of counts a stage."""
    report = Report(folder)
    with open(os.path.join(folder, "gpu_report.md.tmp"), "w") as file:
        file.write(report.markdown())
    os.replace(os.path.join(folder, "gpu_report.md.tmp"), os.path.join(folder, "gpu_report.md"))
    write_json(os.path.join(folder, "gpu_report.json"), report.json())
    return "\n".join(f"{letter}: " + ", ".join(f"{count} {status}" for status, count in zip(STATUSES, counts) if count)
                     for letter, _, *counts, _, _ in report.summary())


if __name__ == "__main__":
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        sys.exit("usage: bench/gpu/report.py DIR")
    print(write_report(sys.argv[1]))
