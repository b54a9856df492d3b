# The two commands: `make demo` and `make test`. Both do their own set-up; scripts/ has what they do.

VERSION = $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml | head -n 1)
ARCH = $(shell dpkg --print-architecture)
PROGRAM = $(or $(CARGO_TARGET_DIR),target)/release/gpu-session-monitor

.PHONY: help demo test day accuracy bench bench-cluster bench-page audit fuzz page generate golden build image deb release gpu-check

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 15

demo: ## Run a simulated node: real output, no GPU, no root (DEMO_SECONDS=N ends it)
	@scripts/demo.sh

test: ## Run every test
	@scripts/test.sh

day: ## Run a simulated day of 24 hours, with 20 000 sessions, through the agent (minutes)
	cargo build --quiet --workspace
	DAY_HOURS=24 cargo test -p gpu-session-monitor --test day

accuracy: ## Hold what serve, collect and other tools say against known truth; writes docs/accuracy.md (needs root; 20 minutes)
	@scripts/accuracy.sh

bench: ## Measure collect beside the bare calls that it needs, and serve beside other exporters; prints ratios
	@scripts/bench.sh

bench-cluster: ## Time every panel's and recipe's query for 1 000 nodes of 8 GPUs, on Prometheus and VictoriaMetrics (CLUSTER_NODES=N)
	@scripts/bench-cluster.sh

audit: ## Check the dependencies against the advisory database; an unfetched database is a failure
	@scripts/audit.sh

page: ## Build the web page from web/: crates/agent/assets/page
	@scripts/page.sh

bench-page: ## Measure the page in Chromium: first paint with 224 sessions, and interactions with 20 000
	@scripts/bench-page.sh

fuzz: ## Fuzz every target for FUZZ_SECONDS (600) each under libFuzzer, or FUZZ_TARGET alone (docs/fuzzing.md)
	@scripts/fuzz.sh

generate: ## Write the generated references and schemas anew
	cargo xtask generate

golden: ## Record the captures and their expected output anew; review the diff
	cargo build --quiet --workspace
	UPDATE_GOLDEN=1 cargo test --quiet -p gpu-session-monitor --test it -- recording
	UPDATE_GOLDEN=1 cargo test --quiet -p gpu-session-monitor --test it -- golden
	UPDATE_GOLDEN=1 cargo test --quiet -p gpu-session-monitor --test it -- reliability

gpu-check: ## Hold the collector against a real card (docs/gpu-check.md); needs an NVIDIA GPU
	@scripts/gpu-check.sh $(GPU_CHECK_ARGS)

build: ## Build the program for use, without the demo: target/release/gpu-session-monitor
	@scripts/build.sh

image: build ## Make the container image, without a registry: dist/gpu-session-monitor-VERSION-ARCH.tar
	@scripts/image.sh $(PROGRAM) dist/gpu-session-monitor-$(VERSION)-$(ARCH).tar

deb: build ## Make the Debian package: dist/gpu-session-monitor_<version>_<architecture>.deb
	cargo xtask dist target/package
	scripts/deb.sh $(PROGRAM) target/package dist

release: ## Make everything of a release, with checksums: dist/
	@scripts/release.sh
