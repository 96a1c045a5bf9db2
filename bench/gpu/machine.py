"""What the report says about the machine, and where the libraries of the program are."""
import glob
import hashlib
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def output_of(command, environment=None, seconds=120):
    """Standard output, or None when the command failed."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, timeout=seconds,
                              env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def doctor(binary, environment):
    text = output_of([binary, "doctor"], environment)
    if text is None:
        return "", f"{binary} doctor failed"
    gpu = next((line.split(None, 1)[1] for line in text.splitlines() if line.startswith("GPU ")), "none: mlkd doctor does not name one")
    return text, gpu[5:].strip() if gpu.startswith("none") else ""


def pip_library_folders(python):
    """Folders of the CUDA libraries that pip puts beside a Python's torch."""
    finder = ("import importlib.util, os; spec = importlib.util.find_spec('torch'); "
              "print(os.path.dirname(os.path.dirname(spec.origin)) if spec else '')")
    site = output_of([python, "-c", finder])
    return sorted(glob.glob(os.path.join(site, "nvidia", "*", "lib"))) if site else []


def environment_with(folders):
    environment = dict(os.environ)
    if folders:
        environment["LD_LIBRARY_PATH"] = ":".join([*folders, *filter(None, [os.environ.get("LD_LIBRARY_PATH", "")])])
    return environment


def describe(options):
    binary = os.path.join(options.bin, "mlkd")
    folders = [os.path.abspath(folder) for folder in options.lib]
    text, why = doctor(binary, environment_with(folders))
    if why and options.device == "cuda":  # the system's libraries come first; those of PyTorch's packages where they do not suffice
        wider = folders + pip_library_folders(options.python)
        wider_text, wider_why = doctor(binary, environment_with(wider))
        if not wider_why:
            folders, text, why = wider, wider_text, wider_why
    card = output_of(["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit", "--format=csv,noheader"])
    torch = output_of([options.python, "-c", "import torch; print(torch.__version__, torch.version.cuda, torch.backends.cudnn.version())"])
    programs = hashlib.sha256()
    for path in sorted(glob.glob(os.path.join(options.bin, "*"))):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                programs.update(os.path.basename(path).encode() + file.read())
    commit = options.commit or output_of(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12"]) or "unknown"
    return {"gpu": not why, "why_no_gpu": why, "card": card, "doctor": text, "library_folders": folders, "torch": torch, "commit": commit,
            "programs": programs.hexdigest()[:16], "environment": environment_with(folders),
            "sanitizer": options.sanitizer or find_program("compute-sanitizer")}


def find_program(name):
    for folder in [*os.environ.get("PATH", "").split(":"), "/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer"]:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    return None
