#!/usr/bin/env bash
# What may lie in the repository: no path of a machine, no registry's host, no
# trailing blanks, no carriage returns, no marks of a merge, no file that is too long to read.
set -u
bad=0
files=$(git ls-files | grep -vE '\.(safetensors|gguf|dlm|gz|model)$|^models/[^/]*/tokenizer\.json$|^test/(models|vectors|fuzz/corpus)/.*[^y]$')
complain() { if [ -n "$1" ]; then printf '%s\n%s\n' "$2" "$1"; bad=1; fi; }
complain "$(grep -nE '(/work/|/root/|/home/[a-z])|pythonhosted|deb\.debian\.org' $files | grep -v '^test/lint/tree\.sh:')" "paths of a machine, or a registry's host:"
complain "$(grep -nE '[[:blank:]]+$' $files | grep -vE '^((test/versions/)?expected/|examples/.*\.tsv)')" "trailing blanks:"
complain "$(git grep -nE '^(<<<<<<<|>>>>>>>) ')" "marks of a merge:"
complain "$(grep -lP '\r$' $files | grep -v '^expected/')" "carriage returns:"
complain "$(wc -l src/engine/*.c src/train/*.c src/pg/*.c model_loader/*.c 2>/dev/null | awk '$2 != "total" && $1 > 600 {print}' | grep -vE '_tables|_data')" "files over 600 lines:"
complain "$(awk 'FNR == 1 {s = 0} /^[{]/ {s = FNR} /^[}]/ {if (s && FNR - s > 60) print FILENAME ":" s ": " FNR - s " lines"; s = 0}' src/engine/*.c src/train/*.c src/pg/*.c model_loader/*.c | grep -vE '_tables|_data')" "functions over 60 lines:"
exit $bad
