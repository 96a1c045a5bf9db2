#!/usr/bin/env bash
# Registers, shared memory and spills of every kernel, as ptxas reports them: needs nvcc, no GPU and no cuobjdump. Fails when
# a kernel of the training step (batch norm, losses, views, SGD) spills: registers that do not suffice go through memory.
# usage: scripts/check_spills.sh [ARCHITECTURE] [FILE.cu…]     (sm_90; all kernels)
set -euo pipefail
cd "$(dirname "$0")/.."
architecture=${1:-sm_90}
shift || true
files=("$@")
[ ${#files[@]} -gt 0 ] || mapfile -t files < <(find engine layers losses data -name '*.cu' | sort)
# float64 instances serve as references; the divergence between correlation matrices is no recipe's.
cold='^losses/mlkd/kl_correlation|double'

export PATH=$PATH:/usr/local/cuda/bin
command -v nvcc >/dev/null || { echo "check_spills: no nvcc; install the CUDA toolkit" >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

# The release's device flags. Views must equal Pillow's bytes: their folder says that nothing is fused there.
compile() { # file
    local log="$2/${1//\//_}.log" flags=()
    grep -qs -- '--fmad=false' "${1%%/*}/CMakeLists.txt" && flags=(--fmad=false)
    nvcc -cubin -arch="$3" -O3 -DNDEBUG -std=c++20 -I. "${flags[@]}" -Xptxas=-v -x cu "$1" -o "$log.cubin" >"$log" 2>&1 ||
        { sed "s|^|$1: |" "$log" >&2; exit 255; }
}
export -f compile
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -I{} bash -c 'compile "$@"' _ {} "$folder" "$architecture" || exit 1

printf '%-28s %-58s %9s %7s %6s %6s\n' file kernel registers shared stores loads
for file in "${files[@]}"; do
    c++filt <"$folder/${file//\//_}.log" | awk -v file="$file" '
        /Compiling entry function/ {
            name = $0
            sub(/.*Compiling entry function .(void )?/, "", name); sub(/. for .sm_.*$/, "", name)
            gsub(/mlkd::|\(anonymous namespace\)::/, "", name)
            sub(/\(.*$/, "", name)                                     # parameters
            if (match(name, /^(row|index)_kernel<.*>$/)) name = substr(name, index(name, "<") + 1, length(name) - index(name, "<") - 1)
            gsub(/^ +| +$/, "", name)
        }
        # "0 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads"
        match($0, /[0-9]+ bytes spill stores/) { stores = substr($0, RSTART) + 0 }
        match($0, /[0-9]+ bytes spill loads/) { loads = substr($0, RSTART) + 0 }
        /Used [0-9]+ registers/ {
            match($0, /[0-9]+ registers/)
            registers = substr($0, RSTART) + 0
            shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART) + 0 : 0
            printf "%-28s %-58s %9d %7d %6d %6d\n", file, name, registers, shared, stores, loads
        }'
done | tee "$folder/table"

[ -s "$folder/table" ] || { echo "check_spills: the compiler reported no kernel" >&2; exit 1; }
spilling=$(awk -v cold="$cold" '$0 !~ cold && ($(NF - 1) > 0 || $NF > 0)' "$folder/table")
if [ -n "$spilling" ]; then
    echo "check_spills: kernels of the step that spill:" >&2
    echo "$spilling" >&2
    exit 1
fi
echo "$(wc -l <"$folder/table") kernels for $architecture, no spills in the step's"
