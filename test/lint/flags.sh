#!/usr/bin/env bash
# The command lines that compile engine, loader and trainer keep the promise of DESIGN 5:
# no contraction, no fast math, no instruction set of the building machine.
set -u
lines=$(make -Bn build/libdlm_engine.a build/libdlm_loader.a build/libdlm_train.a 2>/dev/null | grep -E ' -c ')
bad=0
[ -n "$lines" ] || { echo "no compile line found"; exit 1; }
if grep -v -- '-ffp-contract=off' <<<"$lines"; then echo "the lines above lack -ffp-contract=off"; bad=1; fi
if grep -v -- '-std=c11' <<<"$lines"; then echo "the lines above lack -std=c11"; bad=1; fi
if grep -E -- '-ffast-math|-Ofast|-funsafe|-march=|-mfma' <<<"$lines"; then echo "the lines above may change bits"; bad=1; fi
if grep -E -- '-DDLM_TEST' <<<"$lines"; then echo "the lines above define a macro that is for tests only"; bad=1; fi
if grep -nE '(^|[^a-zA-Z0-9_>.])(exp|log|log2|log10|tanh|erf|sin|cos|pow|expm1|log1p)f?\(' src/engine/*.c src/train/*.c model_loader/*.c |
    grep -vE '^src/train/ops_row\.c:[0-9]+:.*x\[i\]|^[^:]+:[0-9]+:\s*(/?\*|//)|/\*.*\*/'; then
    echo "the lines above call libm where a result could depend on it"
    bad=1
fi
exit $bad
