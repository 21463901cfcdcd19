#!/usr/bin/env bash
# What a GPU needs to train the default model's adapter: the rows in several forms, mixed, masked and packed by dlm-model
# train --examples, and the base.
#
#   bench/quality/gpu.sh DATA OUT [options of dlm-model train]
#
# DATA: the folder with instruct/ and corpus/ (../shared/data). Writes OUT/examples (108 million tokens, 0.4 GB) and
# OUT/base.npz, in about six minutes. Then, where PyTorch sees a GPU (gpu.py needs nothing else of this repository):
#
#   python gpu.py train --base OUT/base.npz --examples OUT/examples --out RUN --seconds 548 --rate 1.2e-3 --compile --judge --keep 0.5
#
# The mask's embedding begins as that of models/dlm-135m, or of the adapter in the folder MASK; the present model began with
# that of commit 82a4d99.
#
# Of 100 draws 40 are rows of label tasks (vary_labels.py: as they are, and with other labels), 18 choices made of tasks with
# short answers, 14 rows of the other tasks, 20 texts, and 8 rows of tables (records.py). Development tasks and the last 5 %
# of each corpus file are left out, as in recipe.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1
out=$2
shift 2
# shellcheck source=bench/quality/recipe.sh
. bench/quality/recipe.sh
python=${PYTHON:-python3}
here=bench/quality
mkdir -p "$out"

if [ ! -e "$out/base.dlm" ]; then make_base "$out/mask" "$out/base.dlm"; fi
once "$out/rows" python3 "$here/vary_labels.py" --data "$data/instruct" --out
once "$out/records" python3 "$here/records.py" --data "$data/instruct" --out
python3 "$here/mix.py" "$out/rows/labels:0.40" "$out/rows/choices:0.18" "$out/rows/others:0.14" "$data/corpus:0.20" "$out/records:0.08" >"$out/files"
mapfile -t files <"$out/files"

"$tool" train "$out/base.dlm" "${files[@]}" --part 0:0.95 --row-tokens 160 --skip-long --rank 32 --alpha 64 --validation-share 0 \
    --whole 0.5 --short-target 4 --row-norm 0.5 --end-tokens 6 --text-share 0.05 --fields 1 --steps 4400 --batch-tokens 24576 \
    --part-tokens 2048 --memory 12000 --seed 1 --examples "$out/examples" "$@"
once "$out/dev" python3 "$here/prepare.py" --data "$data/instruct" --out
"$python" "$here/gpu.py" pack ${MASK:+--mask "$MASK"} --dev "$out/dev" --out "$out/base.npz"
