# recipe.sh - the default model's rows and options, for train.sh and study.sh, which source it from the repository's root.
#
# Development tasks (development.txt) and the last 5 % of each corpus file are left out. Files are mixed by the square root of
# their rows. What is judged are labels and gaps of a word: label tasks count twice and the other tasks half, so that labels
# are 43 of 100 draws and the others 16; texts, four times, are 24. Rows of tables (records.py) are 17, with their last values
# masked together, as a fill shows a row.

tool=${TOOL:-build/dlm-model}
gguf=${MODEL_BASE:-models/base/SmolLM2-135M-Instruct.Q4_1.gguf}

# shellcheck disable=SC2034
recipe=(--split train --part 0:0.95 --rows 4500 --row-tokens 128 --skip-long --rank 32 --alpha 64 --validation-share 0
    --learning-rate 3e-4 --whole 0.5 --short-target 4 --row-norm 0.5 --end-tokens 6 --text-share 0.05
    --fields 1)

# once FOLDER COMMAND...: the folder, unless it is there, by a command that ends with where to; it is there whole or not at all
once() {
    [ ! -e "$1" ] || return 0
    "${@:2}" "$1.part"
    mv "$1.part" "$1"
}

# mixture INSTRUCT CORPUS RECORDS: the files with their weights, a line each; RECORDS is made of INSTRUCT where it is missing
mixture() {
    local f
    once "$3" python3 bench/quality/records.py --data "$1" --out >&2
    for f in "$1"/*.jsonl.gz; do
        if grep -qx "$(basename "$f" .jsonl.gz)" bench/quality/development.txt; then continue; fi
        if [[ $(zcat "$f" 2>/dev/null | head -n 1) == *'"labels": ['* ]]; then echo "$f:2"; else echo "$f:0.5"; fi
    done
    for f in "$2"/*.txt.gz; do echo "$f:4"; done
    printf '%s\n' "$3/records_labels.jsonl:26" "$3/records_tables.jsonl:13" "$3/records_words.jsonl:9"
}

# make_base FOLDER OUT.dlm [ATTENTION]: the base in f32 with the mask's embedding and nothing else of the adapter, made in FOLDER
make_base() {
    mkdir -p "$1"
    python3 bench/quality/mask_row.py models/dlm-135m "$1"
    set_attention "$1" "${3:-context}"
    "$tool" convert "$gguf" "$2" --lora "$1" --weights f32
}

# set_attention FOLDER ATTENTION: of the adapter in a folder
set_attention() {
    sed -i "s/\"attention\": *\"[a-z]*\"/\"attention\": \"$2\"/" "$1/dlm.json"
}
