#!/usr/bin/env bash
# Release figures of a model file: everything that the README's table and the bar of the default model need.
#
#   bench/quality/release.sh MODEL.dlm OUT_FOLDER
#
#   DATA=DIR       data sets: eval, corpus (default ../shared/data beside the repository)
#   ROWS=N         rows of each task (default: all of heldout and infill, 60 of the others)
#   RULE=...       --normalize and --calibrate of labels (default: the model's own)
#   PYTHON=...     with torch, transformers, tokenizers, safetensors, gguf, accelerate (default python3)
#   BASE=FILE      base weights (default models/base/SmolLM2-135M-Instruct.Q4_1.gguf)
#   THREADS=N      (default: all)
#   BEFORE=FILE    the model that this one takes the place of, on the held-out tasks
#
# What is there already is not computed again, so an interrupted run goes on; the base's answers do not depend on the model and are copied from
# bench/quality/results where they are whole. Last: OUT_FOLDER/table.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
model=${1:?usage: release.sh MODEL.dlm OUT_FOLDER}
out=${2:?usage: release.sh MODEL.dlm OUT_FOLDER}
data=${DATA:-../shared/data}
python=${PYTHON:-python3}
base=${BASE:-models/base/SmolLM2-135M-Instruct.Q4_1.gguf}
threads=${THREADS:-$(nproc)}
here=bench/quality
mkdir -p "$out"

# evaluate MODEL NAME ROWS FILE...
evaluate() {
    local model=$1 name=$2 rows=$3
    shift 3
    [ -s "$out/$name.json" ] && return
    echo "== $name"
    # shellcheck disable=SC2086
    build/dlm-model eval "$@" --model "$model" --rows "$rows" --threads "$threads" --json "$out/$name.part" ${RULE:-} | tee "$out/$name.txt"
    mv "$out/$name.part" "$out/$name.json"
}

# development tasks are neither seen nor held out
seen=()
for file in "$data"/eval/seen/*.jsonl.gz; do
    grep -qx "$(basename "$file" .jsonl.gz)" "$here/development.txt" || seen+=("$file")
done

[ -d "$out/gaps" ] || "$python" "$here/infill.py" gaps --corpus "$data/corpus" --folder models/dlm-135m --out "$out/gaps"
for name in base_heldout infill_base; do
    if [ -s "$here/results/$name.json" ] && [ ! -s "$out/$name.json" ]; then cp "$here/results/$name.json" "$out/$name.json"; fi
done
"$python" "$here/base.py" --folder models/dlm-135m --base "$base" --data "$data/eval/heldout" --rows "${ROWS:-0}" --threads "$threads" --out "$out/base_heldout.json"
"$python" "$here/infill.py" base --folder models/dlm-135m --base "$base" --data "$out/gaps" --rows "${ROWS:-0}" --threads "$threads" --out "$out/infill_base.json"

evaluate "$model" heldout "${ROWS:-0}" "$data"/eval/heldout/*.jsonl.gz
if [ -n "${BEFORE:-}" ]; then evaluate "$BEFORE" heldout_before "${ROWS:-0}" "$data"/eval/heldout/*.jsonl.gz; fi
evaluate "$model" infill "${ROWS:-0}" "$out"/gaps/infill_*.jsonl
evaluate "$model" heldout_gen "${ROWS:-60}" "$data"/eval/heldout_gen/*.jsonl.gz
evaluate "$model" seen "${ROWS:-60}" "${seen[@]}"
"$python" "$here/release.py" "$out" >"$out/table.md"
cat "$out/table.md"
