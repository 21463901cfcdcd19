#!/bin/sh
# Digests that conversions must give on any machine: make_digests.sh DLM_MODEL > digests.txt, from the repository root.
# Lines: digest, weights, checkpoint under test/models.
set -e
program=$1
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT
for model in bert roberta sharded xlm-roberta xlm-roberta-xl paper llama context untied bf16 qwen2 qwen3 llada \
	gguf/llama.gguf gguf/quants.gguf; do
	for weights in f32 bf16 int8; do
		"$program" convert "test/models/$model" "$target/m.dlm" --weights $weights 2>/dev/null |
			{ read -r digest _; echo "$digest $weights $model"; }
	done
done
