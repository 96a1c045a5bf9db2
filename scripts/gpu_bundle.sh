#!/usr/bin/env bash
# Packs everything that scripts/gpu_check.sh needs into one compressed archive, for a machine that has a GPU and a driver but neither
# compiler nor these libraries: stripped programs, the libraries that they are linked with, reference values, recipes, scripts. cuDNN
# and cuBLAS are not in it: they are large, and the machine has its own, or its PyTorch's.
# usage: scripts/gpu_bundle.sh [--bin build/cuda/bin] [--out mlkd_gpu.tar.xz] [--level 9]     --level: xz's, 0 (quick) to 9 (small)
# Exit code: 0, 1 when something is missing or the archive is too large, 2 for a wrong call
set -euo pipefail
cd "$(dirname "$0")/.."
bin=build/cuda/bin
out=mlkd_gpu.tar.xz
level=9
while [ $# -gt 0 ]; do
    case "$1" in
        --bin) bin=${2:?"--bin needs a folder"}; shift 2 ;;
        --out) out=${2:?"--out needs a file"}; shift 2 ;;
        --level) level=${2:?"--level needs a number"}; shift 2 ;;
        *) echo "usage: scripts/gpu_bundle.sh [--bin DIR] [--out FILE.tar.xz] [--level N]" >&2; exit 2 ;;
    esac
done
fail() { echo "gpu_bundle: $*" >&2; exit 1; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin" "$folder/lib"
programs=(mlkd golden)
for program in test_cuda test_engine test_layers test_losses test_data; do
    [ ! -x "$bin/$program" ] || programs+=("$program")
done
for program in "${programs[@]}"; do
    [ -x "$bin/$program" ] || fail "no $bin/$program; build it with: cmake --preset cuda && cmake --build --preset cuda"
    strip -o "$folder/bin/$program" "$bin/$program"
done

# What the programs are linked with, and those libraries in turn; a Linux that runs them has the C and C++ libraries.
ldd "${programs[@]/#/$bin/}" | awk '/not found/ {print "missing " $1; next} $2 == "=>" {print $3}' | sort -u >"$folder/libraries"
! grep '^missing' "$folder/libraries" >&2 || fail "the programs do not run here"
grep -vE '/(ld-linux.*|lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s))\.so' "$folder/libraries" | while read -r library; do
    strip -o "$folder/lib/$(basename "$library")" "$library"
done
rm "$folder/libraries"

mkdir -p "$folder/tests" "$folder/docs"
cp -r tests/golden tests/data tests/python "$folder/tests/"
cp -r bench configs scripts "$folder/"
cp docs/gpu_check.md docs/recipes.md "$folder/docs/"
find "$folder" -name __pycache__ -prune -exec rm -rf {} +
git describe --always --dirty --abbrev=12 >"$folder/COMMIT" 2>/dev/null || echo unknown >"$folder/COMMIT"

mkdir -p "$(dirname "$out")"
# The programs hold the same kernels: the window of 64 MiB of level 9 finds them again.
# Python packs, as it will unpack there: not every machine has xz.
python3 - "$folder" "$out.tmp" "$level" <<'PACK'
import os, sys, tarfile
folder, path, level = sys.argv[1:]
with tarfile.open(path, "w:xz", preset=int(level)) as archive:
    for name in sorted(os.listdir(folder)):
        archive.add(os.path.join(folder, name), name)
PACK
mv "$out.tmp" "$out"
bytes=$(stat -c %s "$out")
printf '%s: %.1f MiB; ' "$out" "$(echo "$bytes" | awk '{print $1 / 1048576}')"
echo "${programs[*]}; $(ls "$folder/lib" | tr '\n' ' ')"
[ "$bytes" -le $((64 << 20)) ] || fail "$out is larger than 64 MiB; build for one architecture: -DCMAKE_CUDA_ARCHITECTURES=90"
