#!/usr/bin/env bash
# Sets up, builds and runs all tests: the release build, AddressSanitizer with UBSan, ThreadSanitizer; with a CUDA compiler
# the CUDA build too; with CUDA's headers the CUDA backend on a simulated GPU. usage: scripts/test.sh [--only cpu|asan|tsan|simulated|cuda]
set -euo pipefail
cd "$(dirname "$0")/.."
only=all
case "${1:-}" in
    "") ;;
    --only) only=${2:?"--only needs one of cpu, asan, tsan, simulated, cuda"} ;;
    *) echo "usage: scripts/test.sh [--only cpu|asan|tsan|simulated|cuda]" >&2; exit 2 ;;
esac

scripts/setup.sh
jobs=$(nproc)
# Waiting threads that spin cost whole time slices where other programs share the cores.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

configure() { # preset [cmake option…]
    echo "== $1"
    cmake --preset "$1" -DMLKD_WERROR=ON "${@:2}" >"build-$1.log" 2>&1 || { cat "build-$1.log"; exit 1; }
    rm "build-$1.log"
}
build() { # preset [build option…]
    cmake --build --preset "$1" -j "$jobs" "${@:2}"
}
wanted() { [ "$only" = all ] || [ "$only" = "$1" ]; }

if wanted cpu; then
    configure cpu
    build cpu
    ctest --preset cpu
fi
if wanted asan; then
    configure asan
    build asan --target mlkd test_engine test_layers test_losses test_data test_apps
    ctest --preset asan -R '^(engine|layers|losses|data|apps)$'
fi
if wanted tsan; then
    configure tsan
    build tsan --target test_engine test_layers test_losses test_data seeded_race
    ctest --preset tsan -R '^(engine|layers|losses|data|seeded_race)$'
fi
if wanted simulated; then
    headers=$(dirname "$(ls {/usr/local/cuda/include,/usr/include}/cuda_runtime_api.h 2>/dev/null | head -1)")
    if [ -f "$headers/cuda_runtime_api.h" ] && [ -f "$headers/cublas_v2.h" ] && [ -f "$headers/cudnn_graph.h" ]; then
        configure simulated
        build simulated --target mlkd test_simulated test_cuda golden
        ctest --preset simulated -R '^simulated'
    else
        echo "== simulated: no headers of CUDA, cuBLAS and cuDNN, left out"
    fi
fi
if wanted cuda; then
    export PATH=$PATH:/usr/local/cuda/bin
    if command -v nvcc >/dev/null; then
        configure cuda -DCMAKE_CUDA_ARCHITECTURES="${CMAKE_CUDA_ARCHITECTURES:-90}"
        build cuda --target mlkd test_cuda
        scripts/check_spills.sh
        build/cuda/bin/test_cuda
        # The comparisons of both devices once more, with a second CPU in the GPU's place where there is none.
        MLKD_TEST_WITHOUT_GPU=1 build/cuda/bin/test_cuda -ts=kernels >build/cuda/stand_in.log || { cat build/cuda/stand_in.log; exit 1; }
        build/cuda/bin/mlkd doctor
        # The program built with CUDA trains on whatever the machine has.
        build/cuda/bin/mlkd train --data synthetic:200:10 distiller.student=resnet8 solver.epochs=1 solver.batch_size=32 \
            --output build/cuda/run --overwrite
    else
        echo "== cuda: no nvcc, left out"
    fi
fi
