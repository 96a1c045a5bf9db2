#!/usr/bin/env bash
# The whole program on the simulated GPU, with a tiny network: train as a graph and launch by launch, again, and after a kill; in
# fp32, tf32 and bf16; eval and figures, whose numbers are near the CPU's; bench. What must repeat repeats its bits.
# usage: simulated_program.sh FOLDER_OF_PROGRAMS OUTPUT
set -euo pipefail
mlkd=$1/mlkd
out=$2
rm -rf "$out"
mkdir -p "$out"
export OMP_NUM_THREADS=1
data=synthetic:70:10  # the last batch of an epoch is smaller

fail() { echo "$1" >&2; exit 1; }
# Runs a command without its output, unless it fails.
quietly() { "$@" >"$out/log" 2>&1 || { cat "$out/log" >&2; fail "failed: $*"; }; }
# train FOLDER [argument…]
train() {
    echo "train $*"
    quietly "$mlkd" train --device cuda --data $data --deterministic --overwrite --output "$out/$1" distiller.student=resnet8 \
        solver.batch_size=32 solver.epochs=2 solver.lr=0.02 "${@:2}"
}
same() { cmp "$out/$1/student_last.safetensors" "$out/$2/student_last.safetensors" || fail "$1 and $2 differ"; }
differ() { ! cmp -s "$out/$1/student_last.safetensors" "$out/$2/student_last.safetensors" || fail "$1 and $2 are the same"; }
# near NAME COUNT BOUND: the numbers in NAME_cuda and NAME_cpu, one a line, differ by at most BOUND of the CPU's.
near() {
    paste "$out/$1_cuda" "$out/$1_cpu" | awk -v count="$2" -v bound="$3" '
        { difference = $1 > $2 ? $1 - $2 : $2 - $1; size = $2 < 0 ? -$2 : $2 }
        NF != 2 || !(difference <= bound * size) { print "GPU " $1 ", CPU " $2; bad = 1 }
        END { exit bad || NR != count }' || fail "the devices differ: $1"
}

train graph
grep -q 'graph     a step of 32 is one launch of' "$out/log" || fail "the step was not recorded"
train again
same graph again
train launched --no-graph
same graph launched
train bf16 --precision bf16
train bf16_launched --precision bf16 --no-graph
same bf16 bf16_launched
differ graph bf16
train fp32 --precision fp32
differ graph fp32

echo "train resumed, after a kill in the second epoch"
"$mlkd" train --device cuda --data $data --deterministic --overwrite --output "$out/resumed" distiller.student=resnet8 \
    solver.batch_size=32 solver.epochs=2 solver.lr=0.02 >"$out/log" 2>&1 &
running=$!
for ((i = 0; i < 3000; ++i)); do
    [ ! -s "$out/resumed/metrics.jsonl" ] || break
    sleep 0.1
done
kill -9 $running 2>/dev/null || true
wait $running 2>/dev/null || true
quietly "$mlkd" train --config "$out/resumed/config.json" --resume --output "$out/resumed" --device cuda --deterministic
same graph resumed

mlkd_settings=(distiller.type=mlkd distiller.teacher=resnet8 "distiller.teacher_checkpoint=$out/graph/student_last.safetensors")
train mlkd "${mlkd_settings[@]}"
train mlkd_launched "${mlkd_settings[@]}" --no-graph
same mlkd mlkd_launched

echo "eval, on both devices"
for device in cuda cpu; do
    quietly "$mlkd" eval --device $device --precision fp32 --deterministic -c "$out/fp32/student_last.safetensors" -d $data
    grep -oE '(loss|Acc@[15]) [0-9.]+' "$out/log" | awk '{print $2}' >"$out/eval_$device"
done
near eval 3 1e-4
echo "figures, on both devices"
for device in cuda cpu; do
    quietly "$mlkd" figures --device $device --precision fp32 --deterministic --teacher "$out/graph/student_last.safetensors" \
        --student "bf16=$out/bf16/student_last.safetensors" --student "mlkd=$out/mlkd/student_last.safetensors" -d $data \
        --out "$out/figures_$device"
    grep -oE '"[a-z_]*(mean|max)": [0-9][-+.e0-9]*' "$out/figures_$device/figures.json" | awk '{print $2}' >"$out/figures_numbers_$device"
done
near figures_numbers 12 1e-3  # both distances of two students: over all batches, over the first one, its largest

echo "bench, as graphs and launch by launch"
bench() {
    quietly "$mlkd" bench --device cuda --deterministic --no-peaks --min-time 1e-6 --repetitions 1 --json "$out/bench.json" "$@"
    grep -E '^[a-z]+/' "$out/log"
}
bench --filter '^(step/evaluate/resnet20/64|loss/mlkd_official/64x100|kernel/(sgd/278324|views/both))$'
grep -q '"kernels"' "$out/bench.json" || fail "the benchmarks were not recorded"
! grep -q 'of peak' "$out/bench.json" || fail "shares of peaks that were not measured"
bench --no-graph --filter '^loss/mlkd_official/64x100$'
! grep -q '"kernels"' "$out/bench.json" || fail "the benchmark was recorded, although it was not to be"
