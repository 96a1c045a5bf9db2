#!/usr/bin/env bash
# The main job from nothing: sets up, builds, finds images, trains a teacher (ResNet20) and three students (ResNet8: alone,
# with KD, with MLKD), evaluates all four, draws the figures and prints one table.
# usage: scripts/demo.sh [--data DIR] [--out DIR] [--quick | --full]
#   --data DIR  CIFAR-100 (binary), CIFAR-10 or IDX files; else $MLKD_DATA, else Fashion-MNIST from its Debian package
#   --out DIR   where everything goes (output/demo); an earlier demo there is replaced
#   --quick     one epoch of few images: a minute that shows that everything runs, and nothing about the methods
#   --full      all images and more epochs: hours instead of minutes
set -euo pipefail
cd "$(dirname "$0")/.."

data=${MLKD_DATA:-}
out=output/demo
extra=()
while [ $# -gt 0 ]; do
    case "$1" in
        --data) data=${2:?"--data needs a folder"}; shift 2 ;;
        --out) out=${2:?"--out needs a folder"}; shift 2 ;;
        --quick) extra=(dataset.train_images=1000 solver.epochs=1 "solver.lr_decay_stages=[1]"); shift ;;
        --full) extra=(dataset.train_images=0 solver.epochs=30 "solver.lr_decay_stages=[18,24,27]"); shift ;;
        *) echo "usage: scripts/demo.sh [--data DIR] [--out DIR] [--quick | --full]" >&2; exit 2 ;;
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
    "$mlkd" train --config "configs/demo/$1.json" --overwrite --data "$data" --output "$out/$1" "${extra[@]}" "${@:2}"
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
    --student "MLKD=$out/mlkd/student_best.safetensors" --data "$data" --out "$out/figures"

# Top-1 of a checkpoint, evaluated anew from its file.
top1() { "$mlkd" eval --checkpoint "$out/$1/$2.safetensors" --data "$data" | sed -n 's/^ \* Acc@1 \([0-9.]*\).*/\1/p'; }
echo
printf '%-10s %-8s %12s %12s %9s\n' model method "top-1 best" "top-1 last" seconds
while read -r name model method; do
    printf '%-10s %-8s %12.2f %12.2f %9d\n' "$model" "$method" "$(top1 "$name" student_best)" "$(top1 "$name" student_last)" "${seconds[$name]}"
done <<'ROWS'
teacher ResNet20 alone
student ResNet8 alone
kd ResNet8 KD
mlkd ResNet8 MLKD
ROWS
echo
echo "training took $training_seconds s"
echo "figures:     $out/figures/figure1_input_correlation.png, figure2_category_correlation.png (and .svg, .npy, .gp)"
echo "checkpoints: $out/{teacher,student,kd,mlkd}/student_best.safetensors; metrics: $out/*/metrics.jsonl"
