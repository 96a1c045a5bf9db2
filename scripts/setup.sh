#!/usr/bin/env bash
# Installs what mlkd is built, tested and drawn with on Debian 12 or 13, and prints a line for each. Does nothing the second
# time. usage: scripts/setup.sh
set -euo pipefail
cd "$(dirname "$0")/.."

# package: what it is for
packages=(
    "g++:C++20 compiler" "cmake:build" "ninja-build:build" "ccache:quicker rebuilds"
    "libdnnl-dev:oneDNN, convolutions and matrix products on a CPU" "ocl-icd-opencl-dev:oneDNN's CMake package asks for it"
    "nlohmann-json3-dev:configurations" "libcli11-dev:command line"
    "libfmt-dev:text" "zlib1g-dev:gzipped data sets" "libbenchmark-dev:mlkd bench" "doctest-dev:tests"
    "gnuplot-nox:figures" "fonts-dejavu-core:figures" "dataset-fashion-mnist:the demo's images"
    "curl:get_cifar100.sh" "ca-certificates:downloads over https"
    "python3-venv:check of the saved files by the official safetensors library"
)
if [ -f /usr/local/cuda/include/cuda_runtime_api.h ] || [ -f /usr/include/cuda_runtime_api.h ]; then
    packages+=("libboost-context-dev:fibers of the simulated GPU's tests")
fi
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=()
for entry in "${packages[@]}"; do installed "${entry%%:*}" || missing+=("${entry%%:*}"); done
if [ ${#missing[@]} -gt 0 ]; then
    if [ ${#as_root[@]} -gt 0 ] && ! command -v sudo >/dev/null; then
        echo "setup: needs root or sudo to install: ${missing[*]}" >&2
        exit 1
    fi
    echo "installing: ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

failed=0
for entry in "${packages[@]}"; do
    name=${entry%%:*}
    if installed "$name"; then
        printf '✓ %-22s %-28s %s\n' "$name" "$(dpkg-query -W -f '${Version}' "$name")" "${entry#*:}"
    else
        printf '✗ %-22s %-28s %s\n' "$name" missing "${entry#*:}"
        failed=1
    fi
done

# The official reader of our files' format, for one test; without it that test is left out.
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import numpy, safetensors' 2>/dev/null; then
    python3 -m venv --clear .venv >/dev/null 2>&1 && .venv/bin/pip install --quiet --disable-pip-version-check numpy safetensors 2>/dev/null || true
fi
if .venv/bin/python -c 'import numpy, safetensors' 2>/dev/null; then
    printf '✓ %-22s %-28s %s\n' "safetensors (Python)" "$(.venv/bin/python -c 'import safetensors; print(safetensors.__version__)')" "optional: one test"
else
    printf '✗ %-22s %-28s %s\n' "safetensors (Python)" missing "optional: one test is left out"
fi

if nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null); then
    printf '✓ %-22s %-28s %s\n' nvcc "$("$nvcc" --version | sed -n 's/.*release \([^,]*\),.*/\1/p')" "optional: the preset 'cuda'"
else
    printf '✗ %-22s %-28s %s\n' nvcc missing "optional: the preset 'cuda'; everything else works without"
fi
exit $failed
