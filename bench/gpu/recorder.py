"""Runs the commands of a stage within the call's time and writes down what came of each."""
import json
import os
import signal
import subprocess
import time

from call import Interrupted

# passed, failed; skipped: could not be run, for the reason given; unfinished: no time was left, another call may go on.
STATUSES = ("passed", "failed", "skipped", "unfinished")
KEPT_LINES = 12


def last_lines(text, count=KEPT_LINES):
    return "\n".join(line[:400] for line in text.replace("\r", "\n").strip().splitlines()[-count:])


def write_json(path, value):
    temporary = path + ".tmp"
    with open(temporary, "w") as file:
        json.dump(value, file, indent=1)
    os.replace(temporary, path)


def read_json(path):
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


class Stage:
    """One stage: its records and its measured data. Written to stage_X.json after every command."""

    def __init__(self, letter, about, options, machine, call):
        self.letter, self.options, self.machine, self.call = letter, options, machine, call
        self.folder = os.path.join(options.out, letter)
        self.path = os.path.join(options.out, f"stage_{letter}.json")
        os.makedirs(self.folder, exist_ok=True)
        before = read_json(self.path) or {}
        same = before.get("programs") == machine["programs"] and before.get("device") == options.device and not options.fresh
        same = same and before.get("rehearsal", False) == options.rehearse
        self.before = {record["name"]: record for record in before.get("records", [])} if same else {}
        self.records = []
        self.finished = False
        self.data = before.get("data", {}) if same else {}
        self.about = about
        print(f"\n== {letter}: {about}", flush=True)

    def left(self):
        """Seconds of the call that commands may still take."""
        return self.call.left()

    def on_gpu(self):
        return self.options.device == "cuda"

    def in_full(self):
        """Whether this is no rehearsal."""
        return not self.options.rehearse

    def lacks_gpu(self):
        return self.on_gpu() and not self.machine["gpu"]

    def save(self):
        # A call that is cut off keeps what an earlier one had got through.
        reached = {record["name"] for record in self.records}
        later = [] if self.finished else [record for name, record in self.before.items() if name not in reached]
        write_json(self.path, {"stage": self.letter, "about": self.about, "device": self.options.device,
                               "rehearsal": self.options.rehearse, "programs": self.machine["programs"],
                               "when": time.strftime("%Y-%m-%d %H:%M:%S"), "records": self.records + later, "data": self.data})

    def add(self, name, status, **more):
        assert status in STATUSES
        record = {"name": name, "status": status, **more}
        self.records.append(record)
        self.save()
        why = more.get("reason") or ("" if status == "passed" else (more.get("last_lines") or "").replace("\n", " | ")[-300:])
        seconds = f"{more['seconds']:7.1f} s" if "seconds" in more else " " * 9
        print(f"{status:<10} {seconds}  {name}{': ' + why if why else ''}", flush=True)
        return status == "passed"

    def skip(self, name, reason):
        self.add(name, "skipped", reason=reason)
        return False

    def check(self, name, failures):
        """A comparison made here: failures is empty, or says what is wrong."""
        return self.add(name, "failed" if failures else "passed", reason=failures)

    def passed_before(self, name, command):
        record = self.before.get(name)
        return record if record is not None and record["status"] == "passed" and record.get("command") == text_of(command) else None

    def ready(self, name, gpu):
        """Whether a command can be run now; if not, that is written down."""
        if gpu and self.lacks_gpu():
            return self.skip(name, "no GPU: " + self.machine["why_no_gpu"])
        if self.left() < 5:
            return self.add(name, "unfinished", reason="no time left in this call")
        return True

    def run(self, name, command, gpu=True, again=False, interrupt=False, environment=None):
        """Runs a command, or takes over that it has passed before (unless again). interrupt: it saves and stops at SIGINT, with
        exit code 130, to be continued. Returns whether it passed."""
        before = None if again else self.passed_before(name, command)
        if before is not None:
            return self.add(name, "passed", **{key: value for key, value in before.items() if key not in ("name", "status")})
        if not self.ready(name, gpu):
            return False
        log = os.path.join(self.folder, file_name(name) + ".log")
        allowed, start = self.left(), time.monotonic()
        ending = signal.SIGINT if interrupt else signal.SIGTERM
        # A run that saves itself needs some of its time for that.
        grace = min(20.0, allowed / 4) if interrupt else min(3.0, allowed / 4)
        with open(log, "w") as output:
            try:
                process = self.call.start(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                          env={**self.machine["environment"], **(environment or {})})
            except OSError as error:
                return self.add(name, "failed", command=text_of(command), rc=127, seconds=0.0, last_lines=str(error))
        late = False
        try:
            process.wait(timeout=max(0.1, allowed - grace))
        except subprocess.TimeoutExpired:
            late = True
        except Interrupted as signalled:
            self.call.finish(process, ending, 3)
            self.add(name, "unfinished", command=text_of(command), rc=process.returncode, seconds=time.monotonic() - start,
                     last_lines=last_lines(text_in(log)), log=log, reason=str(signalled))
            raise
        self.call.finish(process, ending, grace)
        seconds, code = time.monotonic() - start, process.returncode
        status, reason = "passed" if code == 0 else "failed", None
        if late and code != 0:
            reason = f"stopped after {seconds:.0f} s"
            # What had nearly the whole call for itself would not end the next time either.
            status = "unfinished" if interrupt and code == 130 or allowed < 0.8 * self.call.seconds else "failed"
        return self.add(name, status, command=text_of(command), rc=code, seconds=seconds, last_lines=last_lines(text_in(log)), log=log,
                        **({"reason": reason} if reason else {}))

    def stopped(self, name, command, number, when):
        """Runs a command and sends it a signal as soon as when() holds; passes when that, and not an error, ended it."""
        if not self.ready(name, True):
            return False
        log = os.path.join(self.folder, file_name(name) + ".log")
        start = time.monotonic()
        with open(log, "w") as output:
            process = self.call.start(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                      env=self.machine["environment"])
        while process.poll() is None and not when() and self.left() > 0:
            time.sleep(0.002)
        process.send_signal(number)
        try:
            process.wait(timeout=max(1.0, min(30.0, self.left())))
        except subprocess.TimeoutExpired:
            pass
        self.call.finish(process)
        code, text = process.returncode, text_in(log)
        good = code in (-number, 128 + number)
        return self.add(name, "passed" if good else "failed", command=text_of(command), rc=code, seconds=time.monotonic() - start,
                        last_lines=last_lines(text), log=log,
                        **({} if good else {"reason": f"the signal came too late, or did not end it (exit code {code})"}))


def text_in(path):
    with open(path, errors="replace") as file:
        return file.read()


def text_of(command):
    return " ".join(f"'{word}'" if any(c in word for c in " $|()*[]") else word for word in command)


def file_name(name):
    return "".join(c if c.isalnum() or c in "-._" else "_" for c in name)
