"""What a PyTorch computes with on a CPU: `python about.py` prints it as JSON."""
import ctypes
import json
import os
import re

# Implementations of BLAS, and a function that only they have.
MARKS = {"OpenBLAS": "openblas_get_config", "MKL": "mkl_get_version", "BLIS": "bli_info_get_version_str", "ATLAS": "ATL_buildinfo"}


class SymbolInfo(ctypes.Structure):
    """Dl_info of dladdr(3)."""
    _fields_ = [("file", ctypes.c_char_p), ("base", ctypes.c_void_p), ("symbol", ctypes.c_char_p), ("address", ctypes.c_void_p)]


def file_that_defines(symbol, library):
    """The file whose symbol a library of this process calls: a preloaded one before those that it is linked with. Empty: none."""
    for scope in (None, library):
        try:
            address = ctypes.cast(getattr(ctypes.CDLL(scope), symbol), ctypes.c_void_p)
        except (AttributeError, OSError):
            continue
        info = SymbolInfo()
        if ctypes.CDLL(None).dladdr(address, ctypes.byref(info)):
            return info.file.decode()
    return ""


def kind_of(path):
    """The implementation in a BLAS library or in those that it is linked with, as Debian's libblas.so.3 of OpenBLAS is; Netlib's has
    no mark but its file's name."""
    library = ctypes.CDLL(path)
    for name, function in MARKS.items():
        if hasattr(library, function):
            return name
    return "Netlib" if re.match(r"lib(ref)?c?blas\.so", os.path.basename(path)) else os.path.basename(path)


def blas_of(configuration, has_mkl):
    """Name, with version where it tells, and the path of the library; empty where that is PyTorch's own."""
    if has_mkl:
        version = re.search(r"Math Kernel Library Version (\S+)", configuration)
        return " ".join(["MKL", *(version.groups() if version else ())]), ""
    with open("/proc/self/maps") as maps:
        torch_library = re.search(r"/\S*/libtorch_cpu\.so\S*", maps.read())
    path = file_that_defines("sgemm_", torch_library.group()) if torch_library else ""
    if not path or path == torch_library.group():
        built_with = re.search(r"BLAS_INFO=(\w+)", configuration)
        return (built_with.group(1) + ", part of PyTorch" if built_with else "unknown"), ""
    name = kind_of(path)
    if name == "OpenBLAS":
        library = ctypes.CDLL(path)
        library.openblas_get_config.restype = ctypes.c_char_p
        name = library.openblas_get_config().decode()
    return name, path


def about_torch():
    import torch
    configuration = torch.__config__.show()
    onednn = re.search(r"(?:MKL-DNN|oneDNN) v([\d.]+)", configuration) if torch.backends.mkldnn.is_available() else None
    capability = re.search(r"CPU capability usage: (\S+)", configuration)
    blas, path = blas_of(configuration, torch.backends.mkl.is_available())
    return {"torch": torch.__version__, "onednn": onednn.group(1) if onednn else "none", "blas": blas, "blas_path": path,
            "cpu_capability": capability.group(1) if capability else "unknown"}


def about_processor():
    """Its name, and whether it multiplies bf16 by itself."""
    with open("/proc/cpuinfo") as file:
        text = file.read()
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    flags = flags.group(1).split() if flags else []
    return {"name": name.group(1) if name else "unknown", "amx_bf16": "amx_bf16" in flags, "avx512_bf16": "avx512_bf16" in flags}


if __name__ == "__main__":
    print(json.dumps(about_torch()))
