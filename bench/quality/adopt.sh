#!/usr/bin/env bash
# Make an adapter the default model's: files, digest, and the scripts that declare it.
#
#   bench/quality/adopt.sh ADAPTER_FOLDER
#
# ADAPTER_FOLDER: of `dlm-model train --adapter ... --adapter-weights bf16`. The last upgrade script has the old and the new digest
# from here on. Then by hand: expected/, the tests that name answers, and the documents (CONTRIBUTING.md lists them).
set -euo pipefail
cd "$(dirname "$0")/../.."
adapter=$1
model=models/dlm-135m
full=$(ls sql/extension/dlm--*.sql | grep -vE -- '--.*--' | sort -V | tail -n 1)
update=$(ls sql/extension/dlm--*--*.sql | sort -V | tail -n 1)
old=$(cat "$model/DIGEST")

grep -q '"BF16"' <(head -c 100000 "$adapter/adapter_model.safetensors") || { echo "$adapter: not in bf16" >&2; exit 1; }
grep -q "$old" "$full" || { echo "$full does not declare $old" >&2; exit 1; }
cp "$adapter/adapter_model.safetensors" "$adapter/adapter_config.json" "$model/"
# the trainer names the file it began from; a PEFT adapter is known by the base's name
sed -i -E 's|("base_model_name_or_path":\s*)"[^"]*"|\1"HuggingFaceTB/SmolLM2-135M-Instruct"|' "$model/adapter_config.json"
make -s build/dlm-model
read -r new _ < <(build/dlm-model convert "${MODEL_BASE:-models/base/SmolLM2-135M-Instruct.Q4_1.gguf}" build/adopted.dlm --lora "$model" --weights "$(cat "$model/WEIGHTS")")
rm build/adopted.dlm
echo "$new" >"$model/DIGEST"
sed -i "s/$old/$new/g" "$full"
# what an older version declares stays: the update leads from it to the newest
sed -i -E "s/(SET (file|digest) '(bundled:)?)$old/\1$new/" "$update"
grep -q "SET digest '$new'" "$update" || echo "$update does not set the new default model: write it there"
echo "$old -> $new"
