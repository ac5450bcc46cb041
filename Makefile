# Two commands are all a newcomer needs: `make run` and `make test`.

CARGO ?= cargo
PYTHON ?= python3
VENV := .venv
BENCH_VENV := .venv-bench
NODE_DIR := gateway/tests/sdk/node
# The black-box tests drive an optimised binary; `ci` is `release` without the long link.
PROFILE := ci

.PHONY: run build release image test lint unit sdk bench soak soak-steady fuzz deny fmt clean
# Installs packages of Debian and Ubuntu; elsewhere it says what to install.
define install
	@command -v apt-get >/dev/null || { echo "please install: $(1)" >&2; exit 1; }
	@sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; echo "installing $(1)"; \
	$$sudo apt-get update -qq && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null
endef
# The compiler without its own descriptions is half of it.
MISSING_PROTOC := $(shell t=$$(mktemp -d); echo 'import "google/protobuf/descriptor.proto";' >$$t/a.proto; \
	protoc -I$$t -o/dev/null $$t/a.proto >/dev/null 2>&1 || echo protoc; rm -r $$t)
MISSING_ETCD := $(if $(and $(shell command -v etcd),$(shell command -v etcdctl)),,etcd)
MISSING_REDIS := $(if $(and $(shell command -v redis-server),$(shell command -v redis-cli)),,redis)
MISSING_NGHTTP := $(if $(and $(shell command -v nghttp),$(shell command -v h2load)),,nghttp)
# The tests of the image need root, and skip without it.
MISSING_ISOLATION := $(if $(filter 0,$(shell id -u)),$(if $(and $(shell command -v setcap),$(shell command -v ip)),,isolation))
MISSING_VALGRIND := $(if $(shell command -v valgrind),,valgrind)
# Users other than root have no path to the programs of the system.
MISSING_NGINX := $(if $(shell PATH=$$PATH:/usr/sbin command -v nginx),,nginx)
MISSING_WRK := $(if $(shell command -v wrk),,wrk)
# One of them counts system calls; perf is faster, and part of the kernel's own packages.
MISSING_TRACER := $(if $(or $(shell command -v perf),$(shell command -v strace)),,strace)
MISSING_STRACE := $(if $(shell command -v strace),,strace)
MISSING_NODE := $(if $(and $(shell command -v node),$(shell command -v npm)),,node)

## Build in release mode and serve a resources file with a scripted LLM upstream beside it.
run: build
	@examples/quickstart/run.sh

build: $(MISSING_PROTOC)
	$(CARGO) build --release --locked -p gateway -p loadtest

## What is shipped: target/guided/sluice, compiled for what a minute of load has shown (docs/performance.md).
release: $(MISSING_PROTOC)
	@loadtest/guided-build.sh

## The container image; needs Docker or Podman, and the network.
image:
	docker build --build-arg SLUICE_COMMIT=$$(git rev-parse --short HEAD) --tag sluice:0.1.0 .

## Everything that CI checks.
test: lint unit sdk

lint: $(MISSING_PROTOC)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --profile $(PROFILE) -- -D warnings

unit: nextest $(MISSING_PROTOC) $(MISSING_ETCD) $(MISSING_REDIS) $(MISSING_NGHTTP) $(MISSING_ISOLATION) $(MISSING_VALGRIND) $(MISSING_STRACE)
	$(CARGO) nextest run --locked --workspace --cargo-profile $(PROFILE) --no-fail-fast
	$(CARGO) test --locked --workspace --profile $(PROFILE) --doc --quiet

## The official packages of Python and Node against the real binary, on both I/O engines.
## The harness of `make bench` is tested with it, in its short form beside nginx.
sdk: $(VENV)/ready $(NODE_DIR)/node_modules/ready $(BENCH_VENV)/ready $(MISSING_PROTOC) $(MISSING_NGINX)
	$(CARGO) build --locked --profile $(PROFILE) -p gateway -p loadtest
	BIN_DIR=target/$(PROFILE) $(VENV)/bin/python -m pytest -q gateway/tests/sdk
	BIN_DIR=target/$(PROFILE) $(BENCH_VENV)/bin/python -m pytest -q loadtest/harness/tests

$(VENV)/ready: gateway/tests/sdk/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --requirement $<
	touch $@

$(NODE_DIR)/node_modules/ready: $(NODE_DIR)/package-lock.json $(MISSING_NODE)
	cd $(NODE_DIR) && npm ci --no-audit --no-fund --silent
	touch $@

.PHONY: nextest protoc etcd redis nghttp isolation valgrind node nginx wrk strace
## Runs the official packages of Node.
node:
	$(call install,nodejs npm)

## Compiles the wire format of etcd, at build time.
protoc:
	$(call install,protobuf-compiler libprotobuf-dev)

## The tests run against a real store.
etcd:
	$(call install,etcd-server etcd-client)

## The tests run against real servers.
redis:
	$(call install,redis-server redis-tools)

## HTTP/2 over TLS is tested with nghttp2's own clients.
nghttp:
	$(call install,nghttp2-client)

## The image is tested with its capability, in namespaces.
isolation:
	$(call install,libcap2-bin iproute2)

## Counts the instructions of the hot path.
valgrind:
	$(call install,valgrind)

## What Sluice is measured beside. Its service is not started: the harness has one of its own.
nginx:
	@policy=/usr/sbin/policy-rc.d; sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; [ -e $$policy ] || \
	{ printf '#!/bin/sh\nexit 101\n' | $$sudo install -m 0755 /dev/stdin $$policy && trap "$$sudo rm $$policy" EXIT; } || exit 1; \
	$(MAKE) --no-print-directory nginx-package

.PHONY: nginx-package
nginx-package:
	$(call install,nginx-light)

## Load over TLS.
wrk:
	$(call install,wrk)

## Counts system calls where perf is not there.
strace:
	$(call install,strace)

nextest:
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-nextest

## Long runs, kept out of CI.
soak:
	$(CARGO) nextest run --release --locked -p gateway --run-ignored ignored-only

## Sluice beside nginx, about 25 minutes: .run/bench/report.html. BENCH_SCENARIOS, BENCH_ROUNDS, BENCH_SECS, BENCH_RUNS,
## BENCH_BIN and BENCH_QUICK=1 may be set (docs/benchmarks.md).
bench: $(if $(BENCH_BIN),,build) $(BENCH_VENV)/ready $(MISSING_NGINX) $(MISSING_WRK) $(MISSING_NGHTTP) $(MISSING_TRACER) $(MISSING_ETCD)
	cd loadtest && ../$(BENCH_VENV)/bin/python -m harness bench

$(BENCH_VENV)/ready: loadtest/harness/requirements.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --requirement $<
	touch $@

## Steady load for MINUTES, and whether memory grows; the samples go to .run/bench/soak.json (docs/benchmarks.md).
MINUTES := 120
soak-steady: $(if $(BENCH_BIN),,build)
	cd loadtest && $(PYTHON) -m harness soak --minutes $(MINUTES) --out ../.run/bench/soak.json

## Seconds per target, and the targets; `make fuzz FUZZ_SECS=3600 FUZZ_TARGETS=resource` for one of them.
FUZZ_SECS := 60
FUZZ_TARGETS = $$($(CARGO) fuzz list)
## What is found grows gateway/fuzz/corpus/; the first failure ends it and stays in gateway/fuzz/artifacts/.
fuzz: fuzzer $(MISSING_PROTOC)
	cd gateway/fuzz && for target in $(FUZZ_TARGETS); do \
		mkdir -p corpus/$$target; \
		dictionary=dictionaries/$$target.dict; \
		$(CARGO) +nightly fuzz run $$target corpus/$$target $$(ls -d seeds/$$target 2>/dev/null) -- \
			-max_total_time=$(FUZZ_SECS) -timeout=10 $$([ ! -f $$dictionary ] || echo -dict=$$dictionary) \
			|| exit 1; done

.PHONY: fuzzer
## libFuzzer needs the nightly compiler, nothing else does.
fuzzer:
	@$(CARGO) +nightly --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal || \
		{ echo "please install a nightly compiler that \`cargo +nightly\` finds" >&2; exit 1; }
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz

## Licences, duplicates, sources and advisories; needs `cargo install cargo-deny`.
deny:
	$(CARGO) deny check

fmt:
	$(CARGO) fmt --all

clean:
	$(CARGO) clean
	rm -rf $(VENV) $(BENCH_VENV) .run
