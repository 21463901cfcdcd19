#!/usr/bin/env bash
# The default model's adapter, trained on.
#
#   bench/quality/train.sh DATA OUT [options of dlm-model train]
#
# DATA: the folder with instruct/ and corpus/ (../shared/data). OUT: base, checkpoint, log and adapter. A run that was
# stopped goes on when the same line is given again. The adapter of models/dlm-135m is where it begins; rows and options
# are those of recipe.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1
out=$2
shift 2
# shellcheck source=bench/quality/recipe.sh
. bench/quality/recipe.sh

if [ ! -e "$out/base.dlm" ]; then make_base "$out/mask" "$out/base.dlm"; fi
mapfile -t files < <(mixture "$data/instruct" "$data/corpus" "$out/records")

exec "$tool" train "$out/base.dlm" "${files[@]}" "${recipe[@]}" --init models/dlm-135m --average 0.99 \
    --steps 3000 --batch-tokens 2048 --schedule constant --warmup 0.02 --seed 1 \
    --checkpoint "$out/run.ckpt" --resume --log "$out/run.csv" --adapter "$out/adapter" "$@"
