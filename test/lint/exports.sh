#!/usr/bin/env bash
# Every symbol that libraries and extension export carries the project's prefix.
set -u
bad=0
if [ -f dlm.so ]; then
    other=$(nm -D --defined-only dlm.so | awk '{print $3}' | grep -vE '^(dlm_|Dlm|pg_finfo_dlm_|_PG_init|_PG_fini|Pg_magic_func)')
    if [ -n "$other" ]; then echo "dlm.so exports:"; echo "$other"; bad=1; fi
fi
for library in build/libdlm_engine.a build/libdlm_loader.a build/libdlm_train.a; do
    [ -f "$library" ] || continue
    other=$(nm --defined-only "$library" 2>/dev/null | awk 'NF == 3 && $2 ~ /[A-TV-Z]/ {print $3}' | grep -vE '^(dlm_|dl_)')
    if [ -n "$other" ]; then echo "$library defines:"; echo "$other"; bad=1; fi
done
# the trainer's double build may lie beside the float one
if [ -f build/libdlm_train_f64.a ]; then
    other=$(nm --defined-only build/libdlm_train_f64.a 2>/dev/null | awk 'NF == 3 && $2 ~ /[A-TV-Z]/ {print $3}' | grep -vE '_f64$')
    if [ -n "$other" ]; then echo "src/train/real.h does not rename:"; echo "$other"; bad=1; fi
fi
exit $bad
