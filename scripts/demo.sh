#!/usr/bin/env bash
# The main job from nothing: sets up, builds, finds images, trains a teacher (ResNet14) and three students (ResNet8: alone,
# with KD, with MLKD), evaluates all four, draws the figures and prints one table.
# usage: scripts/demo.sh [--data DIR] [--out DIR] [--seed N] [--quick | --full]
#   --data DIR  CIFAR-100 (binary), CIFAR-10 or IDX files; else $MLKD_DATA, else Fashion-MNIST from its Debian package
#   --out DIR   where everything goes (output/demo); an earlier demo there is replaced
#   --seed N    of initial weights, order and augmentation (0)
#   --quick     one epoch of few images: a minute that shows that everything runs, and nothing about the methods
#   --full      all images and more epochs: hours instead of minutes
set -euo pipefail
cd "$(dirname "$0")/.."

data=${MLKD_DATA:-}
out=output/demo
seed=0
extra=()
while [ $# -gt 0 ]; do
    case "$1" in
        --data) data=${2:?"--data needs a folder"}; shift 2 ;;
        --out) out=${2:?"--out needs a folder"}; shift 2 ;;
        --seed) seed=${2:?"--seed needs a number"}; shift 2 ;;
        --quick) extra=(dataset.train_images=1000 solver.epochs=1 "solver.lr_decay_stages=[1]"); shift ;;
        --full) extra=(dataset.train_images=0 dataset.test.images=0 solver.epochs=30 "solver.lr_decay_stages=[18,24,27]"); shift ;;
        *) echo "usage: scripts/demo.sh [--data DIR] [--out DIR] [--seed N] [--quick | --full]" >&2; exit 2 ;;
    esac
done

scripts/setup.sh
echo
cmake --preset cpu >/dev/null
cmake --build --preset cpu -j "$(nproc)" --target mlkd
mlkd=build/cpu/bin/mlkd

if [ -z "$data" ]; then
    data=/usr/share/datasets/fashion-mnist
    echo "images: Fashion-MNIST (for CIFAR-100: scripts/get_cifar100.sh, then --data)"
else
    echo "images: $data"
fi

started=$SECONDS
declare -A seconds
train() { # name [override…]
    local start=$SECONDS
    echo
    echo "== $1"
    "$mlkd" train --config "configs/demo/$1.json" --overwrite --data "$data" --output "$out/$1" --seed "$seed" "${extra[@]}" "${@:2}"
    seconds[$1]=$((SECONDS - start))
}
train teacher
train student
train kd "distiller.teacher_checkpoint=$out/teacher/student_best.safetensors"
train mlkd "distiller.teacher_checkpoint=$out/teacher/student_best.safetensors"
training_seconds=$((SECONDS - started))

echo
echo "== figures"
"$mlkd" figures --teacher "$out/teacher/student_best.safetensors" --student "KD=$out/kd/student_best.safetensors" \
    --student "MLKD=$out/mlkd/student_best.safetensors" --data "$data" --out "$out/figures" | tee "$out/figures.txt"

# Top-1 of a checkpoint, evaluated anew from its file on all test images; the epochs saw the first 2,000.
top1() { "$mlkd" eval --checkpoint "$out/$1/$2.safetensors" --data "$data" | sed -n 's/^ \* Acc@1 \([0-9.]*\).*/\1/p'; }
# A student's distance to the teacher: column 2 for the input correlation, 3 for the category correlation.
distance() { awk -v label="$1" -v column="$2" '$1 == label { value = $column } END { print value ? value : "-" }' "$out/figures.txt"; }
nearer() { awk -v kd="$(distance KD "$1")" -v mlkd="$(distance MLKD "$1")" 'BEGIN { print mlkd < kd ? "MLKD" : "KD" }'; }
echo
printf '%-9s %-7s %11s %11s %12s %12s %8s\n' model method 'top-1 best' 'top-1 last' 'input corr.' 'class corr.' seconds
while read -r name model method; do
    printf '%-9s %-7s %11.2f %11.2f %12s %12s %8d\n' "$model" "$method" "$(top1 "$name" student_best)" "$(top1 "$name" student_last)" \
        "$(distance "$method" 2)" "$(distance "$method" 3)" "${seconds[$name]}"
done <<'ROWS'
teacher ResNet14 alone
student ResNet8 alone
kd ResNet8 KD
mlkd ResNet8 MLKD
ROWS
echo "Nearer to the teacher in the input correlation: $(nearer 2), in the category correlation: $(nearer 3)."
[ "$(nearer 3)" = MLKD ] ||
    echo "With ten classes that is so as a rule; with the hundred of CIFAR-100 in README.md MLKD's student was nearer."
echo
echo "training took $training_seconds s"
echo "figures:     $out/figures/figure1_input_correlation.png, figure2_category_correlation.png (and .svg, .npy, .gp)"
echo "checkpoints: $out/{teacher,student,kd,mlkd}/student_best.safetensors; metrics: $out/*/metrics.jsonl"
