# The extension, by PGXS. libnorikv is linked in statically.

EXTENSION := norikv
EXTVERSION := 0.1
MODULE_big := norikv
OBJS := $(patsubst %.c,%.o,$(wildcard src/pg/*.c src/pg/*/*.c))

# In this order: later files use what earlier ones create.
SQL_PARTS := version connection keys bulk update stat \
	cache/cache \
	patterns/counter \
	patterns/dedup \
	patterns/document_search \
	patterns/election \
	patterns/event \
	patterns/fence \
	patterns/inventory \
	patterns/job \
	patterns/lock \
	patterns/ratelimit \
	patterns/recommendation \
	patterns/session \
	patterns/tenant \
	vector/distance \
	vector/embedder \
	vector/index \
	vector/vectors

DATA_built := norikv--$(EXTVERSION).sql
EXTRA_CLEAN := $(DATA_built)

# The server and the command line stand beside postgres, where the background
# worker looks for the one and people for the other.
SCRIPTS_built := build/release/norikvd build/release/norikv

# extension comes first: it creates it.
REGRESS := extension version options literals keys values encoding bulk scan update \
	access conventions connections stat tenant tenant_option tenant_vector \
	cache \
	counter \
	election \
	event \
	fence \
	inventory \
	job \
	lock \
	ratelimit \
	session \
	fdw_read fdw_read_encoding fdw_read_plans fdw_read_random fdw_import \
	fdw_write fdw_write_conflict fdw_write_savepoint fdw_write_expiry fdw_write_limits \
	fdw_write_trigger fdw_write_immediate fdw_lookup_join \
	vector_values embedder vector semantic vector_fdw vector_fdw_random
unlisted := $(filter-out $(REGRESS),$(basename $(notdir $(wildcard sql/*.sql))))
$(if $(unlisted),$(error not in REGRESS, so they would never run: $(unlisted)))
ISOLATION := $(sort $(basename $(notdir $(wildcard tests/isolation/specs/*.spec))))

LIBNORIKV := build/release/libnorikv.a
PG_CPPFLAGS := -Isrc/client -Isrc/pg -DNORIKV_EXTVERSION='"$(EXTVERSION)"'
ifdef WERROR
PG_CFLAGS := -Werror
endif
SHLIB_LINK := $(LIBNORIKV) -Wl,--exclude-libs,ALL -Wl,--as-needed \
	$(shell pkg-config --libs grpc libprotobuf-c libxxhash libcurl) -lgpr
# No bitcode: none of these functions gains from being inlined by the JIT.
override with_llvm := no

# PGXS takes the directory of the first makefile for it, which is mk.
override srcdir := .

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# Loops over the elements of vectors.
src/pg/vector/distance.o: CFLAGS += -O3

$(shlib): $(LIBNORIKV)
$(OBJS): $(wildcard src/pg/*.h src/pg/*/*.h) src/client/norikv.h

norikv--$(EXTVERSION).sql: $(SQL_PARTS:%=src/pg/%.sql)
	{ printf '%s\n' '\echo Use "CREATE EXTENSION norikv" to load this file. \quit'; cat $^; } > $@

# What a variable here holds, for scripts.
print-%:
	@echo $($*)
