# The few words a newcomer needs. Each target installs the Debian packages it lacks (packages.txt), builds what it uses and
# nothing more. CMake presets do the work; this file only names it.
SHELL := /bin/sh
JOBS ?= $(shell nproc)
PACKAGES := integration/setup/packages.sh
RELEASE := build/release

PREFIX ?= /usr/local

.PHONY: help build install deb demo test bench fuzz-smoke sim format clean
help:
	@echo "make demo          two sites behind two NATs call each other's services (KEEP=1 leaves it up, BREAK=relay|dns|lb|nat must fail)"
	@echo "make test          everything CI runs: unit, sanitizers, simulation, acceptance, ARM under qemu, checks"
	@echo "make build         edgemeshd and edgemeshctl into $(RELEASE)"
	@echo "make install       programs, unit, manual pages and a configuration (PREFIX=/usr/local, DESTDIR=)"
	@echo "make deb           a Debian package into build/"
	@echo "make bench         the figures of docs/figures.md (NAMES=\"l4-kernel tunnel relay idle\")"
	@echo "make sim SEEDS=n   random simulations from n fresh seeds (SEED=x replays one, NODES=n: fleets)"
	@echo "make fuzz-smoke    every fuzz target for 60 s (SECONDS=n)"
	@echo "make format        clang-format over the tree"
	@echo "make clean         removes build/"

$(RELEASE)/build.ninja: | packages-build
	@cmake --preset release >$(RELEASE).log 2>&1 || { cat $(RELEASE).log; exit 1; }

.PHONY: packages-build packages-deb packages-demo packages-test packages-bench
packages-build:
	@mkdir -p build; $(PACKAGES) build
packages-deb:
	@mkdir -p build; $(PACKAGES) build deb
packages-demo:
	@mkdir -p build; $(PACKAGES) build demo
packages-test:
	@mkdir -p build; $(PACKAGES) build demo test
packages-bench:
	@mkdir -p build; $(PACKAGES) build demo bench

build: packages-build $(RELEASE)/build.ninja
	@ninja -C $(RELEASE) -j$(JOBS) edgemeshd edgemeshctl

install: build
	@DESTDIR=$(DESTDIR) cmake --install $(RELEASE) --prefix $(PREFIX)

deb: packages-deb build
	@deploy/debian/build.sh $(RELEASE) build

demo: packages-demo build
	@python3 integration/demo/demo.py $(if $(KEEP),--keep) $(if $(BREAK),--break $(BREAK))

test: packages-test
	@python3 integration/test/run.py $(STEPS)

bench: packages-bench build
	@integration/bench $(or $(NAMES),l4-kernel tunnel relay idle)

fuzz-smoke: packages-test
	@python3 integration/fuzz/smoke.py --seconds $(or $(SECONDS),60) $(TARGETS)

sim: packages-build
	@python3 integration/test/sim.py --seeds $(or $(SEEDS),20) $(if $(SEED),--seed $(SEED)) $(if $(NODES),--nodes $(NODES))

format:
	@$(PACKAGES) format
	@git ls-files '*.cc' '*.h' | xargs clang-format-19 -i

clean:
	rm -rf build
