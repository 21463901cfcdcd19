#!/usr/bin/env bash
# A training step beside PyTorch's, LoRA and full weights: bench/train.py, on what
# bench/run.sh has installed and converted. About an hour with bf16, half without (--no-bf16).
#
#   bench/train.sh [PYTHON] [--quick] [...]       arguments of train.py
set -euo pipefail
cd "$(dirname "$0")/.."
python=build/bench/venv/bin/python
if [ $# -gt 0 ] && [ -x "$1" ]; then
    python=$1
    shift
fi
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
make -s build/bench/train build/bench/peak
exec "$python" bench/train.py "$@"
