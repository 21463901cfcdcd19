#!/usr/bin/env bash
# The study of the default model's recipe: short runs, each with one thing changed, judged on the development tasks.
#
#   bench/quality/study.sh DATA OUT ARM...
#
# Arms from the adapter of models/dlm-135m: current (as train.sh, beside which the others stand), uniform (no canvas masked
# as a whole, no weight of short targets), canvas (text rows masked as a whole instead of in spans), renamed (labels of a
# third of the rows replaced), distilled (--distill). From the base, with the mask's embedding alone: fresh, full (attention
# sees all), attention (factors in q k v o), rank8.
# SEEDS="1 2 3" (1), STEPS (40) of TOKENS (1024) tokens. What is there is not computed again.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1
out=$2
shift 2
# shellcheck source=bench/quality/recipe.sh
. bench/quality/recipe.sh
mkdir -p "$out"
base=$out/base.dlm full=$out/full.dlm

if [ ! -e "$out/dev" ]; then python3 bench/quality/prepare.py --data "$data/instruct" --out "$out/dev" >"$out/dev.txt"; fi
if [ ! -e "$base" ]; then
    make_base "$out/mask_full" "$full" full
    make_base "$out/mask" "$base"
fi

# train ARM SEED FOLDER MODEL OPTIONS...
train() {
    local name=$1-$2 seed=$2 folder=$3 model=$4
    shift 4
    [ -e "$out/$name/adapter_config.json" ] && return
    echo "== $name: train"
    mapfile -t files < <(mixture "$folder" "$data/corpus" "$out/records_$(basename "$folder")")
    "$tool" train "$model" "${files[@]}" "${recipe[@]}" --steps "${STEPS:-40}" --batch-tokens "${TOKENS:-1024}" --schedule cosine --warmup 0.05 \
        --seed "$seed" --log "$out/$name.csv" --adapter "$out/$name" --quiet "$@"
}

# judge ARM SEED: the development tasks and gaps of a word
judge() {
    local name=$1-$2 attention=context
    [ -s "$out/$name.json" ] && return
    echo "== $name: judge"
    [ "$1" = full ] && attention=full
    cp -n models/dlm-135m/{config,dlm,tokenizer}.json "$out/$name/"
    set_attention "$out/$name" "$attention"
    "$tool" convert "$gguf" "$out/model.dlm" --lora "$out/$name" --weights f32
    "$tool" eval "$out"/dev/*.jsonl ${GAPS:+"$GAPS"/infill_*.jsonl} --model "$out/model.dlm" --rows "${ROWS:-60}" --rules mean,mean+cf,sum,sum+cf --json "$out/$name.part" --answers "$out/$name.answers" \
        >"$out/$name.txt"
    mv "$out/$name.part" "$out/$name.json"
}

for seed in ${SEEDS:-1}; do
    for arm in "$@"; do
        pilot=(--init models/dlm-135m)
        case $arm in
            start) mkdir -p "$out/start-$seed"; cp models/dlm-135m/* "$out/start-$seed/" ;;
            given) mkdir -p "$out/given-$seed"; cp "${ADAPTER:?a folder}"/adapter* "$out/given-$seed/" ;;
            current) train current "$seed" "$data/instruct" "$base" "${pilot[@]}" ;;
            uniform) train uniform "$seed" "$data/instruct" "$base" "${pilot[@]}" --whole 0 --short-target 0 ;;
            canvas) train canvas "$seed" "$data/instruct" "$base" "${pilot[@]}" --row-share 1 ;;
            renamed)
                once "$out/renamed" python3 bench/quality/rename_labels.py --data "$data/instruct" --out
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
