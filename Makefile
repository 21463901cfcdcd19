# dlm: diffusion language models inside PostgreSQL.
#
#   make demo     set everything up and run the main job on a real table
#   make check    every test track; last line "N passed, N failed"
#   make check-versions   compile and test against PostgreSQL 16, 17 and 18, which are fetched
#   make check-package    build, install, use and remove the Debian package, as root
#   make bench    the engine beside ONNX Runtime, OpenVINO and PyTorch: docs/performance.md
#   make, make install, make installcheck    as in any extension
#
# The engine and the model loader are plain C11 libraries, compiled with their
# own flags and without PostgreSQL's include path; PGXS links them into dlm.so.

# demo, check and bench begin on a machine that may not have pg_config yet: they
# are scripts, which install what is missing and call this Makefile again.
ifneq ($(filter demo demo-stop check check-package check-versions bench,$(MAKECMDGOALS)),)

demo:
	@.ci/packages build
	@examples/demo.sh

demo-stop:
	@examples/demo.sh stop

check:
	@.ci/packages check
	@test/run.sh

check-package:
	@test/package.sh

# make check-versions REGRESS="batch_place cache": only these of the regress files
check-versions:
	@.ci/packages build
	@test/versions.sh $(REGRESS)

# make bench BENCH=--quick: fewer shapes and rounds
bench:
	@.ci/packages build
	@bench/run.sh $(BENCH)

.PHONY: demo demo-stop check check-package check-versions bench

else

EXTENSION = dlm
MODULE_big = dlm
BUILD = build

PG_CONFIG ?= pg_config
CC ?= cc
AR ?= ar

# ------------------------------------------------------------- the default model

MODEL = dlm-135m
MODEL_DIR = models/$(MODEL)
MODEL_WEIGHTS := $(shell cat $(MODEL_DIR)/WEIGHTS)
MODEL_DIGEST := $(shell cat $(MODEL_DIR)/DIGEST)
MODEL_FILE = $(BUILD)/$(MODEL).dlm
FETCHED_BASE = models/base/SmolLM2-135M-Instruct.Q4_1.gguf
# a copy of the base weights that is here already: make MODEL_BASE=/path/to/file.gguf
MODEL_BASE ?= $(FETCHED_BASE)

# -------------------------------------------------------------- engine, loader

# No -march=native (kernels choose at run time), no -ffast-math, and no contraction:
# a fused operation is written as one (DESIGN 5; test/lint/flags.sh reads these lines).
ENGINE_FLAGS = -std=c11 -D_GNU_SOURCE -O3 -g -fPIC -fvisibility=hidden -ffp-contract=off \
	-fno-strict-aliasing -Wall -Wextra -Wno-unused-parameter $(SANITIZE)
LOADER_FLAGS = $(ENGINE_FLAGS)
# The trainer's loops hold square roots, which a compiler vectorises only where they need not set errno.
TRAIN_FLAGS = $(ENGINE_FLAGS) -fno-math-errno
# make SANITIZE=... BUILD=build/asan builds the libraries and their tests with sanitizers
SANITIZE =

ENGINE_SRC = $(sort $(wildcard src/engine/*.c))
ENGINE_OBJ = $(ENGINE_SRC:%.c=$(BUILD)/%.o)
ENGINE_LIB = $(BUILD)/libdlm_engine.a
LOADER_MAIN = $(sort $(wildcard model_loader/main.c model_loader/cli*.c))
LOADER_SRC = $(sort $(filter-out $(LOADER_MAIN),$(wildcard model_loader/*.c)))
LOADER_OBJ = $(LOADER_SRC:%.c=$(BUILD)/%.o)
LOADER_LIB = $(BUILD)/libdlm_loader.a
LOADER_LIBS = $(LOADER_LIB) $(TRAIN_LIB) $(ENGINE_LIB) -lcjson -lm
DLM_MODEL = $(BUILD)/dlm-model
# The trainer twice: in float, and in double for the tests that compare with finite differences.
TRAIN_SRC = $(sort $(wildcard src/train/*.c))
TRAIN_LIB = $(BUILD)/libdlm_train.a
TRAIN_F64_LIB = $(BUILD)/libdlm_train_f64.a

# ------------------------------------------------------------------- extension

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/pg/*.c)))
DATA = $(sort $(wildcard sql/extension/dlm--*.sql))
PG_CPPFLAGS = -Isrc/engine -Imodel_loader
SHLIB_LINK = $(LOADER_LIB) $(TRAIN_LIB) $(ENGINE_LIB) -lcjson -lm -Wl,--exclude-libs,ALL
REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS = --load-extension=dlm
EXTRA_CLEAN = $(BUILD)

all: $(DLM_MODEL) $(MODEL_FILE)

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(shlib): $(LOADER_LIB) $(TRAIN_LIB) $(ENGINE_LIB)

# Every header is a prerequisite of every object: the tree is small, a stale object is not worth it.
ENGINE_HEADERS := $(wildcard src/engine/*.h)
LOADER_HEADERS := $(wildcard model_loader/*.h)
TRAIN_HEADERS := $(wildcard src/train/*.h)
$(OBJS): $(wildcard src/pg/*.h) src/engine/dlm.h model_loader/loader.h model_loader/eval.h model_loader/train.h

$(BUILD)/src/engine/%.o: src/engine/%.c $(ENGINE_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(ENGINE_FLAGS) -c $< -o $@

$(BUILD)/model_loader/%.o: model_loader/%.c $(ENGINE_HEADERS) $(LOADER_HEADERS) $(TRAIN_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(LOADER_FLAGS) -Isrc/engine -Isrc/train -c $< -o $@

$(ENGINE_LIB): $(ENGINE_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(LOADER_LIB): $(LOADER_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/src/train/%.o: src/train/%.c $(ENGINE_HEADERS) $(TRAIN_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(TRAIN_FLAGS) -Isrc/engine -c $< -o $@

$(BUILD)/f64/src/train/%.o: src/train/%.c $(ENGINE_HEADERS) $(TRAIN_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(TRAIN_FLAGS) -DDL_TRAIN_DOUBLE -Isrc/engine -c $< -o $@

$(TRAIN_LIB): $(TRAIN_SRC:%.c=$(BUILD)/%.o)
	@rm -f $@
	$(AR) rcs $@ $^

$(TRAIN_F64_LIB): $(TRAIN_SRC:%.c=$(BUILD)/f64/%.o)
	@rm -f $@
	$(AR) rcs $@ $^

$(DLM_MODEL): $(LOADER_MAIN:%.c=$(BUILD)/%.o) $(LOADER_LIB) $(TRAIN_LIB) $(ENGINE_LIB)
	$(CC) $(SANITIZE) -o $@ $(filter %.o,$^) $(LOADER_LIBS)

# --------------------------------------------------------------- model, install

$(FETCHED_BASE): $(MODEL_DIR)/base.json
	python3 models/fetch.py $(MODEL_DIR)/base.json $@
	@touch $@

# The digest is part of the extension's script: a conversion that gives another one is an error, not a surprise.
$(MODEL_FILE): $(MODEL_BASE) $(wildcard $(MODEL_DIR)/*.json $(MODEL_DIR)/*.safetensors) $(MODEL_DIR)/DIGEST $(MODEL_DIR)/WEIGHTS | $(DLM_MODEL)
	$(DLM_MODEL) convert $(MODEL_BASE) $@.new --lora $(MODEL_DIR) --weights $(MODEL_WEIGHTS)
	@got=$$($(DLM_MODEL) inspect $@.new | awk '$$1 == "digest" {print $$2}'); [ "$$got" = "$(MODEL_DIGEST)" ] || \
		{ echo "$@: digest $$got, but $(MODEL_DIR)/DIGEST says $(MODEL_DIGEST)" >&2; exit 1; }
	@mv $@.new $@

model: $(MODEL_FILE)

install: install-model

install-model: $(MODEL_FILE) $(DLM_MODEL)
	$(MKDIR_P) '$(DESTDIR)$(datadir)/dlm' '$(DESTDIR)$(bindir)'
	$(INSTALL_DATA) $(MODEL_FILE) '$(DESTDIR)$(datadir)/dlm/$(MODEL_DIGEST).dlm'
	$(INSTALL_PROGRAM) $(DLM_MODEL) '$(DESTDIR)$(bindir)/dlm-model'

uninstall: uninstall-model

uninstall-model:
	rm -f '$(DESTDIR)$(datadir)/dlm/$(MODEL_DIGEST).dlm' '$(DESTDIR)$(bindir)/dlm-model'

.PHONY: model install-model uninstall-model

# ----------------------------------------------------------------- engine tests

ENGINE_TESTS = $(patsubst test/engine/%.c,$(BUILD)/test/%,$(sort $(wildcard test/engine/t_*.c)))

$(BUILD)/test/t_%: test/engine/t_%.c $(wildcard test/engine/*.h) $(LOADER_LIB) $(TRAIN_LIB) $(ENGINE_LIB)
	@mkdir -p $(@D)
	$(CC) $(ENGINE_FLAGS) -Isrc/engine -Imodel_loader -Itest/engine -o $@ $< $(LOADER_LIBS)

# tests of the verbs of dlm-model call them as functions
CLI_OBJ = $(patsubst %.c,$(BUILD)/%.o,$(filter-out model_loader/main.c,$(LOADER_MAIN)))

$(BUILD)/test/t_cli_%: test/engine/t_cli_%.c $(wildcard test/engine/*.h) $(CLI_OBJ) $(LOADER_LIB) $(TRAIN_LIB) $(ENGINE_LIB)
	@mkdir -p $(@D)
	$(CC) $(ENGINE_FLAGS) -Isrc/engine -Imodel_loader -Itest/engine -o $@ $< $(CLI_OBJ) $(LOADER_LIBS)

engine-tests: $(ENGINE_TESTS)

# ---------------------------------------------------------------- trainer tests

TRAIN_TESTS = $(patsubst test/train/%.c,$(BUILD)/test-train/%,$(sort $(wildcard test/train/t_*.c)))

$(BUILD)/test-train/t_%: test/train/t_%.c $(wildcard test/train/*.h test/engine/*.h) $(TRAIN_LIB) $(TRAIN_F64_LIB) $(LOADER_LIB) $(ENGINE_LIB)
	@mkdir -p $(@D)
	$(CC) $(ENGINE_FLAGS) -Isrc/engine -Isrc/train -Imodel_loader -Itest/engine -Itest/train -o $@ $< \
		$(TRAIN_F64_LIB) $(LOADER_LIBS)

train-tests: $(TRAIN_TESTS)

# What is timed: build/bench/kernels, build/bench/forward, ...; see bench/SPEED.md.
$(BUILD)/bench/%: bench/%.c $(ENGINE_LIB)
	@mkdir -p $(@D)
	$(CC) $(ENGINE_FLAGS) -Isrc/engine -o $@ $< $(ENGINE_LIB) -lm

$(BUILD)/bench/train: bench/train.c $(TRAIN_LIB) $(ENGINE_LIB)
	@mkdir -p $(@D)
	$(CC) $(ENGINE_FLAGS) -Isrc/engine -Isrc/train -o $@ $< $(TRAIN_LIB) $(ENGINE_LIB) -lm

# Fuzzers: the sources they reach, built with clang's instrumentation beside the ordinary objects.
FUZZ_CC ?= clang-14
FUZZ_TARGETS = $(patsubst test/fuzz/%.c,$(BUILD)/fuzz/%,$(sort $(wildcard test/fuzz/fuzz_*.c)))

FUZZ_BASE = -std=c11 -D_GNU_SOURCE -g -ffp-contract=off -Isrc/engine -Isrc/train -Imodel_loader -Wno-unknown-pragmas
FUZZ_INSTRUMENT = -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined

# no file reaches the kernels but through checked tables, and instrumenting them takes minutes
$(BUILD)/fuzz/src/engine/kernels_%.o: src/engine/kernels_%.c $(ENGINE_HEADERS)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_BASE) -O1 -c $< -o $@

$(BUILD)/fuzz/%.o: %.c $(ENGINE_HEADERS) $(LOADER_HEADERS) $(TRAIN_HEADERS)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_BASE) $(FUZZ_INSTRUMENT) -c $< -o $@

$(BUILD)/fuzz/fuzz_%: $(BUILD)/fuzz/test/fuzz/fuzz_%.o $(patsubst %.c,$(BUILD)/fuzz/%.o,$(ENGINE_SRC) $(TRAIN_SRC) $(LOADER_SRC))
	$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $@ $^ -lcjson -lm

fuzzers: $(FUZZ_TARGETS)

.PHONY: engine-tests train-tests fuzzers
.SECONDARY:

endif
