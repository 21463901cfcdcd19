#!/usr/bin/env bash
# The study of the default model's recipe: short runs, each with one thing changed, judged on the development tasks.
#
#   bench/quality/study.sh DATA OUT ARM...
#
# Arms from the adapter of models/dlm-135m: current (as train.sh, beside which the others stand), uniform (no canvas masked
# as a whole, no weight of short targets), canvas (text rows masked as a whole instead of in spans), renamed (labels of a
# third of the rows replaced), distilled (--distill). From the base, with the mask's embedding alone: fresh, full (attention
# sees all), attention (factors in q k v o), rank8.
# SEEDS=1 2 3, STEPS=60, TOKENS=1024: 61,000 tokens. What is there is not computed again.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1
out=$2
shift 2
tool=${TOOL:-build/dlm-model}
here=bench/quality
mkdir -p "$out"
base=$out/base.dlm full=$out/full.dlm

if [ ! -e "$out/dev" ]; then python3 $here/prepare.py --data "$data/instruct" --out "$out/dev" >"$out/dev.txt"; fi
if [ ! -e "$base" ]; then
    mkdir -p "$out/mask" "$out/mask_full"
    python3 $here/mask_row.py models/dlm-135m "$out/mask"
    python3 $here/mask_row.py models/dlm-135m "$out/mask_full"
    sed -i 's/"attention": "context"/"attention": "full"/' "$out/mask_full/dlm.json"
    gguf=${MODEL_BASE:-models/base/SmolLM2-135M-Instruct.Q4_1.gguf}
    "$tool" convert "$gguf" "$full" --lora "$out/mask_full" --weights f32
    "$tool" convert "$gguf" "$base" --lora "$out/mask" --weights f32
fi

# the rows of train.sh; $1: the folder of tasks
rows() {
    for f in "$1"/*.jsonl.gz; do
        if grep -qx "$(basename "$f" .jsonl.gz)" $here/development.txt; then continue; fi
        if [[ $(zcat "$f" 2>/dev/null | head -n 1) == *'"labels": ['* ]]; then echo "$f:2"; else echo "$f:0.5"; fi
    done
    for f in "$data"/corpus/*.txt.gz; do echo "$f:4"; done
}

# train ARM SEED FOLDER MODEL OPTIONS...
train() {
    local name=$1-$2 seed=$2 folder=$3 model=$4
    shift 4
    [ -e "$out/$name/adapter_config.json" ] && return
    echo "== $name: train"
    mapfile -t files < <(rows "$folder")
    "$tool" train "$model" "${files[@]}" --split train --part 0:0.95 --rows 4500 --row-tokens 128 --skip-long \
        --rank 32 --alpha 64 --validation-share 0 --steps "${STEPS:-60}" --batch-tokens "${TOKENS:-1024}" \
        --schedule cosine --learning-rate 3e-4 --warmup 0.05 --whole 0.5 --short-target 4 --row-norm 0.5 --end-tokens 6 \
        --text-share 0.05 --seed "$seed" --log "$out/$name.csv" --adapter "$out/$name" --quiet "$@"
}

# judge ARM SEED: the development tasks and gaps of a word
judge() {
    local name=$1-$2 attention=context
    [ -s "$out/$name.json" ] && return
    echo "== $name: judge"
    [ "$1" = full ] && attention=full
    cp -n models/dlm-135m/{config,dlm,tokenizer}.json "$out/$name/"
    sed -i "s/\"attention\": *\"[a-z]*\"/\"attention\": \"$attention\"/" "$out/$name/dlm.json"
    "$tool" convert "${MODEL_BASE:-models/base/SmolLM2-135M-Instruct.Q4_1.gguf}" "$out/model.dlm" --lora "$out/$name" --weights f32
    "$tool" eval "$out"/dev/*.jsonl ${GAPS:+"$GAPS"/infill_*.jsonl} --model "$out/model.dlm" --rows "${ROWS:-60}" --rules mean,mean+cf,sum,sum+cf --json "$out/$name.part" --answers "$out/$name.answers" \
        >"$out/$name.txt"
    mv "$out/$name.part" "$out/$name.json"
}

for seed in ${SEEDS:-1}; do
    for arm in "$@"; do
        pilot=(--init models/dlm-135m)
        case $arm in
            start) mkdir -p "$out/start-$seed"; cp models/dlm-135m/* "$out/start-$seed/" ;;
            current) train current "$seed" "$data/instruct" "$base" "${pilot[@]}" ;;
            uniform) train uniform "$seed" "$data/instruct" "$base" "${pilot[@]}" --whole 0 --short-target 0 ;;
            canvas) train canvas "$seed" "$data/instruct" "$base" "${pilot[@]}" --row-share 1 ;;
            renamed)
                [ -e "$out/renamed" ] || python3 $here/rename_labels.py --data "$data/instruct" --out "$out/renamed"
                train renamed "$seed" "$out/renamed" "$base" "${pilot[@]}" ;;
            distilled) train distilled "$seed" "$data/instruct" "$base" "${pilot[@]}" --distill 0.5 ;;
            fresh) train fresh "$seed" "$data/instruct" "$base" ;;
            full) train full "$seed" "$data/instruct" "$full" ;;
            attention) train attention "$seed" "$data/instruct" "$base" --modules attention ;;
            rank8) train rank8 "$seed" "$data/instruct" "$base" --rank 8 --alpha 16 ;;
            *) echo "unknown arm: $arm" >&2; exit 2 ;;
        esac
        judge "$arm" "$seed"
    done
done
