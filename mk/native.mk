# Everything that is not PostgreSQL's: the protocol, libnorikv, norikvd, the
# command line and their tests. Objects go to build/$(VARIANT).

VARIANT ?= release
OUT := build/$(VARIANT)
VERSION := 0.1.0
SONAME := libnorikv.so.0

prefix ?= /usr/local
bindir ?= $(prefix)/bin
libdir ?= $(prefix)/lib
includedir ?= $(prefix)/include
mandir ?= $(prefix)/share/man

CC ?= gcc
PACKAGES := grpc libprotobuf-c libxxhash
WARNINGS := -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes \
	-Wmissing-prototypes -Wno-missing-field-initializers -Wno-sign-compare
ifdef WERROR
WARNINGS += -Werror
endif
OPT_release := -O2 -g
OPT_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
OPT_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
# Fuzzers: make -f mk/native.mk VARIANT=fuzz fuzzers. libFuzzer is clang's. What only C++
# is checked for needs a runtime of its own, and is left out.
OPT_fuzz := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=undefined -fno-sanitize=vptr,function
ifeq ($(VARIANT),fuzz)
CC := $(shell for name in clang clang-14 clang-16 clang-19 clang-21; do \
	command -v $$name && break; done)
CXX := $(subst clang,clang++,$(CC))
endif
OPT := $(or $(OPT_$(VARIANT)),-O2 -g)

CPPFLAGS_ALL := -D_GNU_SOURCE -I$(OUT)/proto -Isrc/wire -Isrc/client -Isrc/server \
	-Isrc/server/engine -Isrc/server/vector $(shell pkg-config --cflags $(PACKAGES)) $(CPPFLAGS)
CFLAGS_ALL := -std=gnu11 $(OPT) $(WARNINGS) -fPIC -fvisibility=hidden -pthread $(CFLAGS)
CXXFLAGS_ALL := -std=gnu++17 $(OPT) $(filter-out -Wstrict-prototypes -Wmissing-prototypes,$(WARNINGS)) \
	-fPIC -fvisibility=hidden -pthread $(CXXFLAGS)
# gRPC core and RocksDB are C++ inside; the C API is all we link against. pkg-config
# names what a static gRPC would need too: of the shared ones, no more than are used.
LIBS := -Wl,--as-needed $(shell pkg-config --libs grpc libprotobuf-c libxxhash) -lgpr -lpthread
SERVER_LIBS := $(LIBS) -lrocksdb -lcrypto -lstdc++ -lm
VECTOR_LIBS := -Wl,--as-needed -lxxhash -lstdc++ -lm -lpthread
TEST_LIBS := -lcmocka

PROTO := norikv norikv_ext health
PROTO_C := $(PROTO:%=$(OUT)/proto/%.pb-c.c)
PROTO_H := $(PROTO:%=$(OUT)/proto/%.pb-c.h)
PROTO_O := $(PROTO:%=$(OUT)/proto/%.pb-c.o)

objects = $(patsubst %.c,$(OUT)/%.o,$(wildcard $(1)))
WIRE_O := $(call objects,src/wire/*.c)
CLIENT_O := $(call objects,src/client/*.c)
# Vectors: C, and the one C++ file, which wraps hnswlib.
VECTOR_O := $(call objects,src/server/vector/*.c) $(OUT)/src/server/vector/vector_graph.o
SERVER_O := $(call objects,src/server/*.c src/server/engine/*.c) $(VECTOR_O)
CLI_O := $(call objects,src/cli/*.c)
SUPPORT_O := $(call objects,tests/support/*.c)
CLIENT_SUPPORT_O := $(call objects,tests/client/support/*.c)
ENGINE_O := $(call objects,src/server/engine/*.c)
ENGINE_SUPPORT_O := $(call objects,tests/server/support/*.c)

CLIENT_TESTS := $(patsubst %.c,$(OUT)/%,$(wildcard tests/client/test_*.c))
SERVER_TESTS := $(patsubst %.c,$(OUT)/%,$(wildcard tests/server/test_*.c))
VECTOR_TESTS := $(filter $(OUT)/tests/server/test_vector_%,$(SERVER_TESTS))
ENGINE_TESTS := $(filter $(OUT)/tests/server/test_engine_%,$(SERVER_TESTS))
# Preloaded by tests: disks that fill up, or lose what was not synced; clocks that are off.
SHIMS := $(patsubst %.c,$(OUT)/%.so,$(wildcard tests/tools/shims/*.c))
# Programs that tests run beside what they test: the fake server, the proxy.
TOOLS := $(patsubst %.c,$(OUT)/%,$(wildcard tests/tools/*.c))
FUZZERS := $(patsubst %.c,$(OUT)/%,$(wildcard tests/fuzz/fuzz_*.c))
BENCHES := $(patsubst %.c,$(OUT)/%,$(wildcard tests/bench/*.c))

.PHONY: all tests tools benches fuzzers install uninstall
.SECONDARY:

all: $(OUT)/libnorikv.a $(OUT)/libnorikv.so $(OUT)/norikv.pc $(OUT)/norikvd $(OUT)/norikv
tests: $(CLIENT_TESTS) $(SERVER_TESTS) tools
tools: $(TOOLS) $(SHIMS)
benches: $(BENCHES)
fuzzers: $(FUZZERS)

$(OUT)/proto/%.pb-c.c $(OUT)/proto/%.pb-c.h: proto/%.proto
	@mkdir -p $(OUT)/proto
	protoc-c --proto_path=proto --c_out=$(OUT)/proto $<

$(OUT)/proto/%.o: $(OUT)/proto/%.c | $(PROTO_H)
	$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -Wno-strict-prototypes -c -o $@ $<

$(OUT)/%.o: %.c | $(PROTO_H)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(OUT)/%.o: %.cc
	@mkdir -p $(@D)
	$(CXX) $(CPPFLAGS_ALL) $(CXXFLAGS_ALL) -MMD -MP -c -o $@ $<

$(OUT)/libnorikv.a: $(PROTO_O) $(WIRE_O) $(CLIENT_O)
	rm -f $@
	ar rcs $@ $^

$(OUT)/libnorikv.so: $(PROTO_O) $(WIRE_O) $(CLIENT_O)
	$(CC) -shared -Wl,-soname,$(SONAME) $(OPT) -o $@ $^ $(LIBS)

$(OUT)/norikv.pc: src/client/norikv.pc.in
	sed -e 's|@prefix@|$(prefix)|' -e 's|@libdir@|$(libdir)|' \
		-e 's|@includedir@|$(includedir)|' -e 's|@version@|$(VERSION)|' $< > $@

$(OUT)/norikvd: $(PROTO_O) $(WIRE_O) $(SERVER_O)
	$(CC) $(OPT) -o $@ $^ $(SERVER_LIBS)

$(OUT)/norikv: $(CLI_O) $(OUT)/libnorikv.a
	$(CC) $(OPT) -o $@ $^ $(LIBS)

$(CLIENT_TESTS): $(OUT)/%: $(OUT)/%.o $(SUPPORT_O) $(CLIENT_SUPPORT_O) $(OUT)/libnorikv.a
	$(CC) $(OPT) -o $@ $^ $(LIBS) $(TEST_LIBS)

$(filter-out $(ENGINE_TESTS) $(VECTOR_TESTS),$(SERVER_TESTS)): $(OUT)/%: $(OUT)/%.o $(SUPPORT_O) $(filter-out %/main.o,$(SERVER_O)) $(OUT)/libnorikv.a
	$(CC) $(OPT) -o $@ $^ $(SERVER_LIBS) $(TEST_LIBS)

$(ENGINE_TESTS): $(OUT)/%: $(OUT)/%.o $(ENGINE_SUPPORT_O) $(ENGINE_O) $(VECTOR_O) | $(SHIMS)
	$(CC) $(OPT) -o $@ $^ $(SERVER_LIBS) $(TEST_LIBS)

$(VECTOR_TESTS): $(OUT)/%: $(OUT)/%.o $(OUT)/tests/server/support/vectors.o $(VECTOR_O)
	$(CC) $(OPT) -o $@ $^ $(VECTOR_LIBS) $(TEST_LIBS)

# Without sanitizers: a shim runs before they are set up.
$(SHIMS): $(OUT)/%.so: %.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu11 -O2 -g $(WARNINGS) -fPIC -shared -o $@ $< -ldl -lpthread

$(TOOLS) $(BENCHES): $(OUT)/%: $(OUT)/%.o $(SUPPORT_O) $(OUT)/libnorikv.a
	$(CC) $(OPT) -o $@ $(filter-out %.a,$^) $(filter %.a,$^) $(LIBS) $(LIBS_$(@F))
$(FUZZERS): $(OUT)/%: $(OUT)/%.o $(filter-out %/main.o,$(SERVER_O)) $(OUT)/libnorikv.a
	$(CC) $(OPT) -fsanitize=fuzzer -o $@ $^ $(SERVER_LIBS)

LIBS_redis_bench := -lhiredis
LIBS_fake_norikv := -lm

# Against hnswlib as it is, built for this CPU.
$(OUT)/tests/bench/hnswlib_peer.o: CXXFLAGS_ALL += -O3 -march=native
$(OUT)/tests/bench/vector_bench: $(OUT)/tests/bench/hnswlib_peer.o \
	$(OUT)/tests/server/support/vectors.o $(VECTOR_O)
LIBS_vector_bench := $(VECTOR_LIBS)

# Debian's faiss is a static library, and says nowhere what it wants.
$(OUT)/tests/bench/vector_peers_bench: $(OUT)/tests/bench/hnswlib_peer.o \
	$(OUT)/tests/bench/faiss_peer.o $(OUT)/tests/server/support/vectors.o
LIBS_vector_peers_bench := -lfaiss -llapack -lblas -lgomp -lstdc++ -lm -lpthread
$(OUT)/tests/bench/faiss_peer.o: CXXFLAGS_ALL += -fopenmp

$(OUT)/tests/bench/etcd.pb-c.c $(OUT)/tests/bench/etcd.pb-c.h: tests/bench/etcd.proto
	@mkdir -p $(@D)
	protoc-c --proto_path=tests/bench --c_out=$(@D) $<

$(OUT)/tests/bench/etcd.pb-c.o: $(OUT)/tests/bench/etcd.pb-c.c
	$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -Wno-strict-prototypes -c -o $@ $<

$(OUT)/tests/bench/etcd_bench.o: CPPFLAGS_ALL += -I$(OUT)/tests/bench
$(OUT)/tests/bench/etcd_bench.o: $(OUT)/tests/bench/etcd.pb-c.h
$(OUT)/tests/bench/etcd_bench: $(OUT)/tests/bench/etcd.pb-c.o
$(OUT)/tests/tools/proxy: $(call objects,tests/tools/faults/*.c)
$(OUT)/tests/tools/fake_norikv: $(call objects,tests/tools/fake/*.c)

install: all
	install -d $(DESTDIR)$(bindir) $(DESTDIR)$(libdir)/pkgconfig $(DESTDIR)$(includedir)
	install -m 755 $(OUT)/norikvd $(OUT)/norikv $(DESTDIR)$(bindir)
	install -m 644 $(OUT)/libnorikv.a $(DESTDIR)$(libdir)
	install -m 755 $(OUT)/libnorikv.so $(DESTDIR)$(libdir)/libnorikv.so.$(VERSION)
	ln -sf libnorikv.so.$(VERSION) $(DESTDIR)$(libdir)/$(SONAME)
	ln -sf libnorikv.so.$(VERSION) $(DESTDIR)$(libdir)/libnorikv.so
	install -m 644 src/client/norikv.h $(DESTDIR)$(includedir)
	install -m 644 $(OUT)/norikv.pc $(DESTDIR)$(libdir)/pkgconfig
	install -d $(addprefix $(DESTDIR)$(mandir)/man,1 3 8)
	install -m 644 docs/man/norikv.1 $(DESTDIR)$(mandir)/man1
	install -m 644 docs/man/norikv.3 $(DESTDIR)$(mandir)/man3
	install -m 644 docs/man/norikvd.8 $(DESTDIR)$(mandir)/man8

uninstall:
	rm -f $(addprefix $(DESTDIR)$(bindir)/,norikvd norikv) \
		$(addprefix $(DESTDIR)$(libdir)/,libnorikv.a libnorikv.so $(SONAME) libnorikv.so.$(VERSION) pkgconfig/norikv.pc) \
		$(DESTDIR)$(includedir)/norikv.h \
		$(addprefix $(DESTDIR)$(mandir)/,man1/norikv.1 man3/norikv.3 man8/norikvd.8)

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
