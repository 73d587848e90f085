# SPDX-License-Identifier: EUPL-1.2
# `make demo` shows the engine at work, `make test` proves it. Both install what they need.
.DEFAULT_GOAL := help
.PHONY: help demo test check deps diagnoses fuzz bench bench-floor mutant crash-test scale-test

CARGO ?= cargo

# Where cargo builds, as a shell word.
TARGET = $$($(CARGO) metadata --locked --format-version 1 --no-deps | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 16

demo: deps ## build, start on an example tenant, send two applications, show what arrives
	scripts/demo.sh

# Scripts that would break out of their limits are tried on both builds: stacks and speed differ.
test: deps ## all tests; those that need ../shared say so when it is missing
	$(CARGO) build --locked --package kop-cli
	$(CARGO) build --locked --release --package kop-cli
	target=$$($(CARGO) metadata --locked --format-version 1 --no-deps | sed -E 's/.*"target_directory":"([^"]*)".*/\1/') && \
	KOP_BIN="$${KOP_BIN:-$$target/debug/kop}" KOP_BIN_RELEASE="$${KOP_BIN_RELEASE:-$$target/release/kop}" \
		$(CARGO) test --locked --workspace --no-fail-fast

check: deps ## format, lints, documentation, licences and banned crates
	$(CARGO) fmt --all --check
	$(CARGO) metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null # its lock has to follow ours
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --locked check licenses bans sources

deps: ## Debian packages that building and testing need (as root; otherwise names them)
	@scripts/deps.sh

# Mistakes on purpose, which the crash test has to find; only there, since a mistake that needs luck to show would make
# every other run a matter of luck. Before any other build, because both builds of the program have the same name.
mutant: deps
	$(CARGO) build --locked --package kop-cli --features mutants
	target=$(TARGET) && cp "$$target/debug/kop" "$$target/debug/kop-mutant"

crash-test: deps mutant ## CRASHES (50) times kill -9, POWER_CUTS (5), DB_RESTARTS (20), full disks; nothing lost or twice unasked
	$(CARGO) build --locked --package kop-cli
	target=$(TARGET) && CRASHES="$${CRASHES:-50}" POWER_CUTS="$${POWER_CUTS:-5}" DB_RESTARTS="$${DB_RESTARTS:-20}" \
	KOP_BIN="$$target/debug/kop" KOP_BIN_MUTANT="$$target/debug/kop-mutant" \
		$(CARGO) test --locked --package kop-tests --test e2e crash:: -- --nocapture --test-threads=1

scale-test: deps ## two workers, PostgreSQL and RabbitMQ: SCALE (5000) applications, one worker and the broker killed half-way
	$(CARGO) build --locked --package kop-cli
	target=$(TARGET) && SCALE="$${SCALE:-5000}" KOP_BIN="$$target/debug/kop" \
		$(CARGO) test --locked --package kop-tests --test e2e scale:: -- --nocapture --test-threads=1

diagnoses: deps ## the score table of 40 seeded mistakes
	$(CARGO) build --locked --package kop-cli
	$(CARGO) test --locked --package kop-tests --test e2e diagnoses -- --nocapture

fuzz: deps ## mutated schemas, lists, archives and messages, FUZZ_SECONDS (600) each
	scripts/fuzz.sh

bench: deps ## µs per message, and the program under load: writes docs/leistung.md and its plot
	$(CARGO) build --locked --release --package kop-cli
	BENCH_WRITE=1 $(CARGO) bench --locked --package kop-bench

bench-floor: deps ## throughput beside a program without an engine: the same statements, a loop for mapping
	$(CARGO) build --locked --release --package kop-cli
	$(CARGO) bench --locked --package kop-bench --bench load -- floor
