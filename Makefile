# SPDX-License-Identifier: Apache-2.0
# The front door: every door is a script of scripts/; the build itself is meson and ninja.
#
#   PEERS=1      install and use the real peers (Redis, nginx, Prometheus, Node) in `make test`
#   FUZZ_RUNS=N  executions a target in `make fuzz`
#   JOBS=N       how many things at once (default: the number of cores)
#   PREFIX, DESTDIR  where `make install` puts things (default /usr/local)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build run test bench soak lint sanitize fuzz coverage docs install uninstall deb clean

help: ## list the doors
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

build: ## install what is missing and build the release binary, build/marketprism
	@scripts/build.sh

run: ## build, import examples/config, serve; Ctrl-C ends it
	@scripts/run.sh

test: ## build and run every suite; PEERS=1 also installs the real peers
	@scripts/test.sh

bench: ## measure, with the references beside it; a few minutes
	@scripts/bench.sh

soak: ## the long runs: faults, kill -9, storms, simulated hours; SOAK times the rounds of test
	@scripts/soak.sh

lint: ## format, clang-tidy, cppcheck, includes, banned calls, both compilers
	@scripts/lint.sh

sanitize: ## all suites with address+undefined, the threaded ones with thread
	@scripts/sanitize.sh

fuzz: ## every fuzz target, FUZZ_RUNS executions each (default 1000000)
	@scripts/fuzz.sh

coverage: ## line coverage of the suites; fails under 80 %
	@scripts/coverage.sh

docs: ## make the generated pages anew, from the tables in the code
	@scripts/docs.sh

install: ## install under PREFIX (default /usr/local)
	@scripts/install.sh

uninstall: ## remove what `make install` put there
	@scripts/uninstall.sh

deb: ## build the Debian packages into build-deb/
	@scripts/deb.sh

clean: ## remove the build folders (never data)
	@rm -rf build build-*
