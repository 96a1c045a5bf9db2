"""What the report says about the machine, and where the libraries of the program are."""
import glob
import hashlib
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# A bundle (scripts/gpu_bundle.sh) has the programs and their libraries beside the scripts.
BUNDLED_PROGRAMS, BUNDLED_LIBRARIES = os.path.join(ROOT, "bin"), os.path.join(ROOT, "lib")


def output_of(command, environment=None, seconds=60):
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


def torch_version(python):
    """Without importing it, which takes seconds."""
    return output_of([python, "-c", "import importlib.util as u, importlib.metadata as m; assert u.find_spec('torch'); "
                      "print(m.version('torch'))"])


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
    bundled = [BUNDLED_LIBRARIES] if os.path.isdir(BUNDLED_LIBRARIES) else []
    folders = bundled + [os.path.abspath(folder) for folder in options.lib]
    text, why = doctor(binary, environment_with(folders))
    if why and options.device == "cuda":  # the system's libraries come first; those of PyTorch's packages where they do not suffice
        wider = folders + pip_library_folders(options.python)
        wider_text, wider_why = doctor(binary, environment_with(wider))
        if not wider_why:
            folders, text, why = wider, wider_text, wider_why
    card = output_of(["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit", "--format=csv,noheader"])
    programs = hashlib.sha256()
    for path in sorted(glob.glob(os.path.join(options.bin, "*"))):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                programs.update(os.path.basename(path).encode() + file.read())
    commit = options.commit or text_of_file(os.path.join(ROOT, "COMMIT"))
    commit = commit or output_of(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12"]) or "unknown"
    return {"gpu": not why, "why_no_gpu": why, "card": card, "doctor": text, "library_folders": folders,
            "torch": torch_version(options.python), "commit": commit,
            "programs": programs.hexdigest()[:16], "environment": environment_with(folders),
            "sanitizer": options.sanitizer or find_program("compute-sanitizer")}


def text_of_file(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def find_program(name):
    for folder in [*os.environ.get("PATH", "").split(":"), "/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer"]:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    return None
