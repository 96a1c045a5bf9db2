#!/usr/bin/env bash
# Everything that needs a GPU, in stages of at most nine minutes; a later call with other stages, or the same again, goes on
# where the earlier one stopped and extends the same report, DIR/gpu_report.md and .json. Needs nothing from a network.
#   a tests and reference values   b compute-sanitizer        c graph, resume and repetition, bit for bit
#   d mlkd bench and an epoch      e PyTorch beside it        f training on CIFAR-100, and its figures
# usage: scripts/gpu_check.sh --bin DIR --data DIR [--out DIR] [--stages a,b,c,d,e,f|all] [--python PY] [--lib DIR]… [--minutes 9]
# More: scripts/gpu_check.sh --help. Exit code: 0, 1 when anything failed, 2 for a wrong call.
set -euo pipefail
python=$(command -v python3) || { echo "gpu_check: needs python3" >&2; exit 2; }
exec "$python" "$(dirname "$0")/../bench/gpu/check.py" "$@"
