# norikv: NoriKV from SQL. `make demo` shows it, `make test` tests it; both
# install what they need first. `make help` lists the rest.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
NATIVE := $(MAKE) -f mk/native.mk
PGXS_MAKE := $(MAKE) -f mk/pgxs.mk

.PHONY: all help deps install uninstall clean demo test stress mutants bench

all:
	+$(NATIVE) all
	+$(PGXS_MAKE) all

help:
	@echo 'make demo     install dependencies, build, start a private PostgreSQL, show what norikv does'
	@echo 'make test     the same set-up, then every test'
	@echo 'make stress   the tests with all their rounds'
	@echo 'make mutants  put known defects in, one at a time: a test must fail for each'
	@echo 'make bench    measure; prints ratios'
	@echo 'make          build the client, the server, the command line and the extension'
	@echo 'make install  install them (PG_CONFIG=..., DESTDIR=..., prefix=...)'

# Only what a command needs is installed for it.
deps:
	scripts/install-deps
deps-%:
	scripts/install-deps $*

install: all
	+$(NATIVE) install
	+$(PGXS_MAKE) install

uninstall:
	+$(NATIVE) uninstall
	+$(PGXS_MAKE) uninstall

clean:
	-$(PGXS_MAKE) clean
	rm -rf build

demo: deps-demo
	scripts/demo

test: deps-test
	scripts/test

stress: deps-test
	NORIKV_STRESS=1 scripts/test

mutants: deps-test
	scripts/mutants

bench: deps-bench
	scripts/bench
