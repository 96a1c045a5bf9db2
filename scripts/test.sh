#!/usr/bin/env bash
# Sets up, builds and runs all tests: the release build, AddressSanitizer with UBSan, ThreadSanitizer; with a CUDA compiler
# the CUDA build too. usage: scripts/test.sh [--only cpu|asan|tsan|cuda]
set -euo pipefail
cd "$(dirname "$0")/.."
only=all
case "${1:-}" in
    "") ;;
    --only) only=${2:?"--only needs one of cpu, asan, tsan, cuda"} ;;
    *) echo "usage: scripts/test.sh [--only cpu|asan|tsan|cuda]" >&2; exit 2 ;;
esac

scripts/setup.sh
jobs=$(nproc)
# Waiting threads that spin cost whole time slices where other programs share the cores.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

build() { # preset [cmake option…]
    echo "== $1"
    cmake --preset "$1" "${@:2}" >"build-$1.log" 2>&1 || { cat "build-$1.log"; exit 1; }
    rm "build-$1.log"
    cmake --build --preset "$1" -j "$jobs"
}
wanted() { [ "$only" = all ] || [ "$only" = "$1" ]; }

if wanted cpu; then
    build cpu
    ctest --preset cpu
fi
if wanted asan; then
    build asan
    ctest --preset asan
fi
if wanted tsan; then
    build tsan
    ctest --preset tsan
fi
if wanted cuda; then
    export PATH=$PATH:/usr/local/cuda/bin
    if command -v nvcc >/dev/null; then
        build cuda -DCMAKE_CUDA_ARCHITECTURES="${CMAKE_CUDA_ARCHITECTURES:-90}"
        build/cuda/bin/mlkd doctor
    else
        echo "== cuda: no nvcc, left out"
    fi
fi
