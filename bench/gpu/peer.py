"""A PyTorch process that prepares its works and then measures a piece of each whenever it is asked."""
import contextlib
import json
import os
import queue
import subprocess
import threading
import time

from machine import ROOT
from recorder import last_lines, text_in, text_of

PROGRAM = os.path.join(ROOT, "bench", "peers", "pytorch_mlkd.py")


class Peer:
    """Starts at once; prepare() waits for it. One that dies or falls silent is a record of the stage, and gives no more pieces."""

    def __init__(self, stage, name, arguments):
        self.stage, self.name, self.lines, self.started = stage, name, queue.Queue(), time.monotonic()
        self.command = [stage.options.python, PROGRAM, "--device", stage.options.device, "--serve", *arguments]
        self.log = os.path.join(stage.folder, f"peer-{name}.log")
        self.alive, self.silent = True, False  # silent: its last answer did not come in time
        with open(self.log, "w") as errors:
            self.process = stage.call.start(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def answer(self, seconds):
        """The next line as JSON, or None when the process ended, said something else, or the time is over: then it is silent."""
        try:
            line = self.lines.get(timeout=max(0.1, seconds))
            return json.loads(line) if line else None
        except queue.Empty:
            self.silent = True
            return None
        except ValueError:
            return None

    def prepare(self, seconds):
        """What it says about itself and of its work; records a failure. Whether it can be measured."""
        end = self.started + seconds
        about = self.answer(end - time.monotonic())
        work = self.answer(end - time.monotonic()) if about is not None else None
        took = time.monotonic() - self.started
        record = {"command": text_of(self.command), "seconds": took}
        if work is None:
            self.close()
            reason = f"not ready after {took:.0f} s" if self.silent else last_lines(text_in(self.log)) or "no word from it"
            self.stage.add(f"peer {self.name}", "unfinished" if self.silent else "failed", **record, reason=reason)
            return about, work
        error = work.get("error", "")
        # What does not fit into the card's memory is a result.
        self.stage.add(f"peer {self.name}", "failed" if error and "out of memory" not in error else "passed", **record, reason=error)
        if error:
            self.close()
        return about, work

    def piece(self, seconds):
        """Milliseconds of each step by what they are, or nothing from a peer that has died."""
        times = None
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            times = self.answer(seconds)
        except OSError:  # its end of the pipe is closed
            pass
        if times is not None:
            return {name.split("|", 1)[1]: values for name, values in times.items()}
        self.close()
        reason = f"no answer in {seconds:.0f} s" if self.silent else last_lines(text_in(self.log)) or "it died without a word"
        self.stage.add(f"peer {self.name}, measured", "unfinished" if self.silent else "failed", reason=reason)
        return {}

    def close(self):
        """With its compiler's workers."""
        if self.alive:
            self.alive = False
            self.stage.call.finish(self.process)
            with contextlib.suppress(OSError):
                self.process.stdin.close()
