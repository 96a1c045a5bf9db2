"""One call of scripts/gpu_check.sh: its deadline, the processes that it starts, and what ends it early.

Each process leads a group of its own. None outlives the call: at a signal they are ended here, and when this process is killed
outright, by a keeper, a second process that waits for that and then also writes down what was measured.
"""
import contextlib
import os
import signal
import subprocess
import time

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal ends the call; not an Exception, so that no stage takes it for a failure of its own."""

    def __init__(self, number):
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number


def seconds_since_start():
    """Of this process, with the shell script that it was before; 0 where the system does not tell."""
    try:
        with open("/proc/self/stat") as file:
            ticks = int(file.read().rsplit(")", 1)[1].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
    return age if 0 <= age < 3600 else 0.0


class Call:
    """minutes: from the process' start to its end. when_killed: what the keeper does after this process was killed."""

    def __init__(self, minutes, when_killed):
        self.seconds = 60 * minutes
        self.closing = min(10.0, 0.05 * self.seconds)  # for the report and the archive
        self.end = time.monotonic() - seconds_since_start() + self.seconds
        self.held, self.noted = False, None
        self.groups = set()
        self.start_keeper(when_killed)
        for number in ENDING_SIGNALS:
            signal.signal(number, self.on_signal)

    def left(self):
        """Seconds that commands may still take."""
        return self.end - self.closing - time.monotonic()

    # ------------------------------------------------------------ signals

    def on_signal(self, number, _frame):
        self.ignore_signals()  # the first one counts
        self.noted = number
        if not self.held:
            raise Interrupted(number)

    @staticmethod
    def ignore_signals():
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    @contextlib.contextmanager
    def uninterrupted(self):
        """A signal counts at the end of the block."""
        self.held = True
        try:
            yield
        finally:
            self.held = False
        if self.noted is not None:
            raise Interrupted(self.noted)

    # ------------------------------------------------------------ processes

    def start(self, command, **options):
        with self.uninterrupted():
            process = subprocess.Popen(command, start_new_session=True, restore_signals=True, **options)
            self.groups.add(process.pid)
            self.tell(f"+{process.pid}")
        return process

    def finish(self, process, number=signal.SIGKILL, grace=0.0):
        """Ends a process, with the signal and after the grace with SIGKILL, and all that it has started."""
        if process.poll() is None and number != signal.SIGKILL:
            end_group(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(grace, 0.1))
        end_group(process.pid, signal.SIGKILL)
        process.wait()
        self.groups.discard(process.pid)
        self.tell(f"-{process.pid}")

    def run(self, command, seconds, **options):
        """Exit code and output; None and what there is of it where the time was over."""
        process = self.start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                             errors="replace", **options)
        try:
            text, _ = process.communicate(timeout=max(0.1, seconds))
            return process.returncode, text
        except subprocess.TimeoutExpired as late:
            text = late.stdout or ""
            return None, text if isinstance(text, str) else text.decode(errors="replace")
        finally:
            self.finish(process)

    # ------------------------------------------------------------ the keeper

    def start_keeper(self, when_killed):
        reading, self.writing = os.pipe()
        self.keeper = os.fork()
        if self.keeper == 0:
            os.close(self.writing)
            keep(reading, when_killed)
        os.close(reading)

    def tell(self, line):
        os.write(self.writing, (line + "\n").encode())

    def close(self):
        """Ends what is left and dismisses the keeper."""
        self.ignore_signals()
        for group in list(self.groups):
            end_group(group, signal.SIGKILL)
        self.tell("done")
        os.close(self.writing)
        os.waitpid(self.keeper, 0)


def end_group(group, number):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def keep(reading, when_killed):
    """The keeper: reads which groups there are until the writer is gone, or says that it is done."""
    os.setsid()
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    groups, done = set(), False
    with os.fdopen(reading) as lines:
        for line in map(str.strip, lines):
            if line == "done":
                done = True
            elif line[0] == "+":
                groups.add(int(line[1:]))
            else:
                groups.discard(int(line[1:]))
    try:
        if not done:
            for group in groups:
                end_group(group, signal.SIGKILL)
            when_killed()
    finally:
        os._exit(0)
