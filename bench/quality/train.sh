#!/usr/bin/env bash
# The default model's adapter, trained on.
#
#   bench/quality/train.sh DATA OUT [options of dlm-model train]
#
# DATA: the folder with instruct/ and corpus/ (../shared/data). OUT: base, checkpoint, log and adapter. A run that was
# stopped goes on when the same line is given again. The adapter of models/dlm-135m is where it begins; development
# tasks (development.txt) and the last 5 % of each corpus file are left out. Files are mixed by the square root of
# their rows. What is judged are labels and gaps of a word: label tasks count twice and the other tasks half, so that labels
# are six of ten draws; texts, four times, are nearly two of ten, and three of ten tokens.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1
out=$2
shift 2
tool=${TOOL:-build/dlm-model}
base=${MODEL_BASE:-models/base/SmolLM2-135M-Instruct.Q4_1.gguf}
mkdir -p "$out/mask"

# The base in f32 with the mask's embedding and nothing else of the adapter: what factors are trained beside.
if [ ! -e "$out/base.dlm" ]; then
    python3 bench/quality/mask_row.py models/dlm-135m "$out/mask"
    "$tool" convert "$base" "$out/base.dlm" --lora "$out/mask" --weights f32
fi

files=()
for f in "$data"/instruct/*.jsonl.gz; do
    if grep -qx "$(basename "$f" .jsonl.gz)" bench/quality/development.txt; then continue; fi
    if [[ $(zcat "$f" 2>/dev/null | head -n 1) == *'"labels": ['* ]]; then files+=("$f:2"); else files+=("$f:0.5"); fi
done
for f in "$data"/corpus/*.txt.gz; do files+=("$f:4"); done

exec "$tool" train "$out/base.dlm" "${files[@]}" --split train --part 0:0.95 --rows 4500 --row-tokens 128 --skip-long \
    --init models/dlm-135m --rank 32 --alpha 64 --validation-share 0 --average 0.99 \
    --steps 3000 --batch-tokens 2048 --schedule constant --learning-rate 3e-4 --warmup 0.02 \
    --whole 0.5 --short-target 4 --row-norm 0.5 --end-tokens 6 --text-share 0.05 --seed 1 \
    --checkpoint "$out/run.ckpt" --resume --log "$out/run.csv" --adapter "$out/adapter" "$@"
