"""The results of all calls so far in one file, since few files come back from some machines."""
import contextlib
import os
import tarfile


LARGEST_WEIGHTS = 8 << 20  # bytes


def kept(path):
    """Weights are large, and made again by the next call; only a student trained on real images (stage f) is a result."""
    if not path.endswith((".safetensors", ".tmp")):
        return True
    return path.endswith("/student_best.safetensors") and "/f/" in path and os.path.getsize(path) <= LARGEST_WEIGHTS


def pack(folder, path):
    """Replaces the archive, whole or not at all. What cannot be read, as it just goes away, is left out."""
    temporary = path + ".tmp"
    with tarfile.open(temporary, "w:gz") as archive:
        for parent, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                file = os.path.join(parent, name)
                if file in (path, temporary):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    if kept(file):
                        archive.add(file, arcname=os.path.relpath(file, folder), recursive=False)
    os.replace(temporary, path)
