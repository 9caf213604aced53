# Two commands for a newcomer: `make demo` and `make test`. Both install what the machine lacks (Debian).
.DEFAULT_GOAL := help
SHELL := /bin/bash
# Only where rust-toolchain.toml names a toolchain that isn't installed.
OTHER_TOOLCHAIN := $(shell scripts/toolchain.sh)
ifneq ($(OTHER_TOOLCHAIN),)
export RUSTUP_TOOLCHAIN := $(OTHER_TOOLCHAIN)
endif

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

.PHONY: demo
demo: ## See Valetkey at work: needs no account, no Redis, no configuration
	@scripts/install-build-deps.sh
	cargo run --release -- demo

.PHONY: test
test: ## All tests, on real servers that they start for themselves
	@scripts/install-test-deps.sh
	@scripts/run-tests.sh

.PHONY: test-chart
test-chart: ## The Helm chart's tests alone, some seconds once the binary is built; `make test` runs them, too
	@scripts/install-build-deps.sh
	@scripts/install-python-test-deps.sh
	@cargo build --quiet --locked
	@cd tests/helm && PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -m pytest -q -p no:cacheprovider

.PHONY: test-examples
test-examples: ## The examples alone, each started and called as its README says; `make test` runs them, too
	@scripts/install-test-deps.sh
	@cargo build --quiet --locked
	@cd tests/examples && PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -m pytest -q -p no:cacheprovider

.PHONY: chart
chart: ## What is made: the Grafana dashboard; of the Helm chart its README, the schema's `config`, and dashboard and rules
	@scripts/dashboard.py
	@scripts/chart.py

.PHONY: test-monitoring
test-monitoring: ## Dashboard and rules alone, with a real Prometheus and the real binary; `make test` runs them, too
	@scripts/install-test-deps.sh
	@cargo build --quiet --locked
	@cd tests/monitoring && PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -m pytest -q -p no:cacheprovider

MDBOOK := target/mdbook/bin/mdbook
.PHONY: docs
docs: $(MDBOOK) ## The documentation as a site, target/book/site, with every link of it looked at
	@scripts/book.py $(MDBOOK)

# Built once, some minutes; it goes with `cargo clean`.
$(MDBOOK):
	@scripts/install-build-deps.sh
	cargo install mdbook --version '^0.5' --locked --quiet --root target/mdbook --no-default-features --features search

.PHONY: test-docs
test-docs: ## The documentation alone: its links, and its commands typed; `make test` runs it, too
	@scripts/install-test-deps.sh
	@cargo build --quiet --locked
	@cd tests/docs && PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -m pytest -q -p no:cacheprovider

.PHONY: fmt
fmt: ## Format the code
	cargo fmt

.PHONY: lint
lint: ## Formatting and clippy, with and without the demo; warnings are errors
	@scripts/install-build-deps.sh
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo clippy --all-targets --locked --no-default-features -- -D warnings

.PHONY: audit
audit: ## Licences, sources and duplicates of dependencies, and known vulnerabilities where their list can be had
	@scripts/install-build-deps.sh
	@scripts/audit.sh

.PHONY: bench
bench: ## Requests per second and CPU per request, beside bare Pingora, nginx + Lua and Envoy
	@scripts/install-build-deps.sh
	@scripts/install-bench-deps.sh
	cargo build --release --locked --package valetkey --package valetkey-bench
	target/release/valetkey-bench

.PHONY: bench-full
bench-full: ## Every row too: latency, memory, JWT algorithms, refresh storm, a million connections, instructions
	@scripts/install-build-deps.sh
	@scripts/install-bench-deps.sh
	cargo build --release --locked --package valetkey --package valetkey-bench
	target/release/valetkey-bench --full --callgrind
	scripts/count-instructions.sh

.PHONY: bench-instructions
bench-instructions: ## Instructions a request, user and kernel, in an emulated machine: the same on every machine
	@scripts/install-build-deps.sh
	@scripts/install-bench-deps.sh
	cargo build --release --locked --package valetkey --package valetkey-bench
	scripts/count-instructions.sh

.PHONY: bench-micro
bench-micro: ## The pieces of a hot call, each by itself: route, caller, resolve, scopes, rewrite
	@scripts/install-build-deps.sh
	cargo bench --locked --bench pieces

.PHONY: binary
binary: ## The binary for images and packages, target/dist/valetkey: all optimisations, no profile, no demo
	@scripts/install-build-deps.sh
	scripts/dist.sh

.PHONY: dist-pgo
dist-pgo: ## The same by profile: counts under the bench's load first, then builds by what it counted (half an hour)
	@scripts/install-build-deps.sh
	scripts/pgo.sh

.PHONY: image
image: ## The image, target/image/valetkey-VERSION-ARCH.oci.tar, without a container daemon; ARCH=arm64, BINARY=FILE
	@scripts/install-image-deps.sh
	@scripts/image.sh $(ARCH)

.PHONY: test-image
test-image: ## Looks at what `make image` made, and runs it read-only as its user; `make test` does so with a debug binary
	@scripts/install-image-deps.sh
	@scripts/install-python-test-deps.sh
	@cd tests/dist && PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -m pytest -q -p no:cacheprovider test_image.py

.PHONY: dist
dist: binary ## Tarballs, a Debian package and SHA256SUMS in target/dist
	@scripts/install-image-deps.sh
	@scripts/packages.sh

.PHONY: test-dist
test-dist: ## Installs, starts, calls and removes each package of `make dist`, and leaves the machine as it was
	@scripts/install-image-deps.sh --test
	@scripts/install-python-test-deps.sh
	@cd tests/dist && PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -m pytest -q -p no:cacheprovider test_packages.py

.PHONY: chaos
chaos: ## The slow tests: kills, freezes and cut connections, many times over
	@scripts/install-test-deps.sh
	@scripts/run-tests.sh --chaos

.PHONY: screenshots
screenshots: ## The pictures in docs/images, taken anew
	@scripts/install-test-deps.sh
	cargo test --locked --test it -- --ignored --exact browser::screenshots
	OVERVIEW_IMAGES=$(CURDIR)/docs/images cargo test --locked --lib -- --exact web::tests::month::the_overview_says_how_a_month_went
