# What a person types. Each target installs or names the system packages it needs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Captures of many vendors' exporters, kept beside the repository; without them the golden tests do not run.
export CATCHMENT_SHARED ?= $(abspath ../shared)
# Test services and tools, fetched once.
export CATCHMENT_CACHE ?= $(HOME)/.cache/catchment
target := $(abspath $(or $(CARGO_TARGET_DIR),target))

cargo_deny_version := 0.20.2
cargo_deny := $(CATCHMENT_CACHE)/cargo-deny-$(cargo_deny_version)/bin/cargo-deny
shell_scripts := $(shell grep -lE '^\#!.*\b(ba)?sh$$' dev/* .ci/*)

.PHONY: help run cluster image test test-k8s lint bench fuzz soak audit testdata

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

run: ## half a minute of a small cluster on recorded traffic: no services, no configuration
	@dev/install-packages build
	cargo build --release --locked -p ingest-node -p coordinator -p loadtest
	exec $(target)/release/loadtest demo

cluster: ## four nodes, three coordinators, etcd and Kafka in network namespaces behind a virtual address (as root)
	@dev/install-packages test cluster
	cargo build --release --locked -p ingest-node -p coordinator -p loadtest -p catchctl
	CATCHMENT_PROGRAMS=$(target)/release dev/cluster up

image: ## the container image of all programs as an archive for docker load, podman load or ctr; needs no container engine
	@dev/install-packages build image
	cargo build --release --locked -p ingest-node -p coordinator -p catchctl -p loadtest
	dev/image $(target)/release $(target)/catchment-image.tar

test: ## everything, against a real Kafka
	@dev/install-packages test
	-@dev/install-packages exporters
	dev/test-services
	dev/services run kafka etcd -- dev/test $(target)

test-k8s: ## the chart on a real cluster: the one of KUBECONFIG, or one of its own (as root); STEPS="..." only some steps
	@dev/install-packages test image
	cargo build --release --locked -p ingest-node -p coordinator -p catchctl -p loadtest
	dev/test-k8s $(target)/release $(STEPS)

lint: $(cargo_deny) ## formatting, clippy, licences, sources and reasons of dependencies, shell scripts, the chart
	@dev/install-packages lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(cargo_deny) --locked --log-level error check bans licenses sources
	dev/check-dependencies
	shellcheck $(shell_scripts)
	dev/chart check

bench: ## criterion, and instruction counts under callgrind
	@dev/install-packages bench
	cargo bench --workspace --locked
	if [[ -x dev/bench ]]; then dev/bench; fi

fuzz: ## each fuzz target for a minute (nightly toolchain); FUZZ_SECONDS=1800 for half an hour each
	@dev/install-packages build
	dev/fuzz run $(or $(FUZZ_SECONDS),60)

soak: ## what takes longer than a minute: measurements with bounds, against a real Kafka and a real etcd
	@dev/install-packages test
	dev/soak

audit: $(cargo_deny) ## known vulnerabilities in dependencies (reads a database from the network)
	$(cargo_deny) --locked check advisories

testdata: ## record testdata/ again from real exporters (as root)
	@dev/install-packages record
	dev/record-testdata

# About two minutes on two cores, once. The debug profile builds sooner and checks as fast.
$(cargo_deny):
	@dev/install-packages build
	env -u CARGO_TARGET_DIR cargo install --quiet --locked --debug --version $(cargo_deny_version) \
	    --root $(CATCHMENT_CACHE)/cargo-deny-$(cargo_deny_version) cargo-deny
