#!/bin/sh
# Seeds of the loader's fuzz targets out of the tiny checkpoints: make_corpus.sh DLM_MODEL, from the repository root.
set -e
program=$1
corpus=test/fuzz/corpus
cp test/models/llama/dlm.json "$corpus/fuzz_json/dlm.json"
cp test/models/llada/config.json "$corpus/fuzz_json/config.json"
# the target's first byte says how much data follows the header; 0xff is plenty
{ printf '\377'; head -c 4000 test/models/llama/model.safetensors | tail -c +9; } >"$corpus/fuzz_safetensors/head"
printf '\020{"a":{"dtype":"F32","shape":[4,2],"data_offsets":[0,32]},"b":{"dtype":"BF16","shape":[16],"data_offsets":[32,64]}}' \
	>"$corpus/fuzz_safetensors/whole"
head -c 16000 test/models/gguf/qwen2.gguf >"$corpus/fuzz_gguf/head"
cp test/models/gguf/llada.gguf "$corpus/fuzz_gguf/whole"
for model in qwen3 paper; do
	"$program" convert test/models/$model "$corpus/fuzz_model_file/$model.dlm" --weights int8 >/dev/null 2>&1
done
# a training run in the middle; base, rows and options are those of the target
work=$(mktemp -d)
"$program" convert test/models/paper "$work/base.dlm" --weights f32 >/dev/null 2>&1
for row in rain:wet sun:dry rain:wet sun:dry rain:wet sun:dry rain:wet sun:dry; do
	printf '{"instruction": "Say it.", "input": "%s", "target": "%s", "labels": ["wet", "dry"]}\n' "${row%:*}" "${row#*:}"
done >"$work/rows.jsonl"
mkdir -p "$corpus/fuzz_checkpoint"
"$program" train --quiet --rank 1 --modules q --average 0.5 --validation-share 0.3 --steps 5 --validate-every 2 --batch-tokens 40 \
	--time-limit 1e-9 --checkpoint "$corpus/fuzz_checkpoint/begun" "$work/base.dlm" "$work/rows.jsonl"
"$program" train --quiet --rank 1 --modules q --average 0.5 --validation-share 0.3 --steps 5 --validate-every 2 --batch-tokens 40 \
	--checkpoint "$corpus/fuzz_checkpoint/over" "$work/base.dlm" "$work/rows.jsonl"
rm -r "$work"
