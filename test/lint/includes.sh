#!/usr/bin/env bash
# Who may include what (house rules): the engine knows neither PostgreSQL nor
# JSON, the PostgreSQL side knows the public headers only.
set -u
bad=0
complain() { if [ -n "$1" ]; then printf '%s\n%s\n' "$2" "$1"; bad=1; fi; }

complain "$(grep -nE '#include +[<"](postgres|fmgr|utils/|cjson|cJSON|cblas|omp\.h)' src/engine/*.[ch])" \
    "the engine includes only libc and its own headers:"
complain "$(grep -nE '#include +<stdio\.h>' src/engine/*.[ch] | grep -v '^src/engine/status\.c:')" \
    "only status.c of the engine may use stdio:"
complain "$(grep -nE '#include +<(pthread|signal|sched)\.h>' src/engine/*.[ch] | grep -v '^src/engine/threads\.c:')" \
    "only threads.c starts threads and touches signal masks:"
complain "$(grep -nE '#include +[<"](postgres|fmgr|utils/|cjson|cJSON|loader|stdio|pthread|signal|sched)' src/train/*.[ch])" \
    "the trainer knows neither PostgreSQL nor JSON nor files, and starts no threads:"
complain "$(grep -hoE '#include +"[^"]+"' src/train/*.[ch] | sort -u | sed 's/.*"\(.*\)"/\1/' | while read -r header; do
    [ -f "src/train/$header" ] || [ -f "src/engine/$header" ] || echo "$header"; done)" \
    "the trainer includes its own headers and the engine's only:"
complain "$(grep -nE '#include +"([^"]*[^s"])?train|#include +"(params|net|net_impl|ops|real|dropout|optimizer|recipe|dataset|mask|batches|stream|weights|exec)\.h"' src/engine/*.[ch] src/pg/*.[ch] |
    grep -vE '^src/pg/finetune\.h:[0-9]+:#include "train\.h"$')" \
    "engine and extension do not know the trainer's core:"
complain "$(grep -nE '#include +"' src/pg/*.[ch] | grep -E '(arena|status|kernels|model_file|model|token|forward|linear|session|sha256|fmath|rng)\.h"' | grep -vE '"(model_files|dlm_model)\.h"')" \
    "src/pg includes dlm.h, loader.h and train.h, no other header of engine or loader:"
complain "$(grep -nE '#include +[<"](postgres|fmgr)' model_loader/*.[ch])" \
    "the loader does not know PostgreSQL:"
complain "$(grep -lE 'PG_VERSION_NUM' src/pg/*.[ch] | grep -v '^src/pg/compat\.h$')" \
    "only compat.h tests PG_VERSION_NUM:"
complain "$(grep -lE 'dlm_session_(open|step|result)' src/pg/*.c | grep -v '^src/pg/run\.c$')" \
    "only run.c calls the denoiser:"
complain "$(grep -lE 'dlm_train_(open|add|start|step|save|resume|write)' src/pg/*.c | grep -v '^src/pg/finetune_run\.c$')" \
    "only finetune_run.c calls the trainer:"
exit $bad
