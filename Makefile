# dlm: diffusion language models inside PostgreSQL.
#
#   make demo     set everything up and run the main job on a real table
#   make check    every test track; last line "N passed, N failed"
#   make, make install, make installcheck    as in any extension
#
# The engine and the model loader are plain C11 libraries, compiled with their
# own flags and without PostgreSQL's include path; PGXS links them into dlm.so.

EXTENSION = dlm
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" dlm.control)
MODULE_big = dlm
BUILD = build

PG_CONFIG ?= pg_config
CC ?= cc
AR ?= ar

# -------------------------------------------------------------- engine, loader

# No -march=native (kernels choose at run time), no -ffast-math, and no contraction:
# a fused operation is written as one (DESIGN 5; test/lint/flags.sh reads these lines).
ENGINE_FLAGS = -std=c11 -D_GNU_SOURCE -O3 -g -fPIC -fopenmp -fvisibility=hidden -ffp-contract=off \
	-fno-strict-aliasing -Wall -Wextra -Wno-unused-parameter
LOADER_FLAGS = $(ENGINE_FLAGS)

ENGINE_SRC = $(sort $(wildcard src/engine/*.c))
ENGINE_OBJ = $(ENGINE_SRC:%.c=$(BUILD)/%.o)
ENGINE_LIB = $(BUILD)/libdlm_engine.a
LOADER_SRC = $(sort $(filter-out model_loader/main.c,$(wildcard model_loader/*.c)))
LOADER_OBJ = $(LOADER_SRC:%.c=$(BUILD)/%.o)
LOADER_LIB = $(BUILD)/libdlm_loader.a
LOADER_LIBS = $(LOADER_LIB) $(ENGINE_LIB) -lcjson -lm
DLM_MODEL = $(BUILD)/dlm-model

# ------------------------------------------------------------------- extension

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/pg/*.c)))
DATA_built = sql/extension/dlm--$(EXTVERSION).sql
PG_CPPFLAGS = -Isrc/engine -Imodel_loader
SHLIB_LINK = $(LOADER_LIB) $(ENGINE_LIB) -lcjson -fopenmp -lm -Wl,--exclude-libs,ALL
REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS = --load-extension=dlm
EXTRA_CLEAN = $(BUILD)

all: $(DLM_MODEL)

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(shlib): $(LOADER_LIB) $(ENGINE_LIB)

# Every header is a prerequisite of every object: the tree is small, a stale object is not worth it.
HEADERS_ALL := $(wildcard src/engine/*.h model_loader/*.h)

$(BUILD)/src/engine/%.o: src/engine/%.c $(HEADERS_ALL)
	@mkdir -p $(@D)
	$(CC) $(ENGINE_FLAGS) -c $< -o $@

$(BUILD)/model_loader/%.o: model_loader/%.c $(HEADERS_ALL)
	@mkdir -p $(@D)
	$(CC) $(LOADER_FLAGS) -Isrc/engine -c $< -o $@

$(ENGINE_LIB): $(ENGINE_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(LOADER_LIB): $(LOADER_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(DLM_MODEL): $(BUILD)/model_loader/main.o $(LOADER_LIB) $(ENGINE_LIB)
	$(CC) -fopenmp -o $@ $< $(LOADER_LIBS)

# ----------------------------------------------------------------- engine tests

ENGINE_TESTS = $(patsubst test/engine/%.c,$(BUILD)/test/%,$(sort $(wildcard test/engine/t_*.c)))

$(BUILD)/test/t_%: test/engine/t_%.c test/engine/harness.h $(LOADER_LIB) $(ENGINE_LIB)
	@mkdir -p $(@D)
	$(CC) $(ENGINE_FLAGS) -Isrc/engine -Imodel_loader -Itest/engine -o $@ $< $(LOADER_LIBS)

engine-tests: $(ENGINE_TESTS)
.PHONY: engine-tests
