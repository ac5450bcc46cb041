# Two commands are all a newcomer needs: `make run` and `make test`.

CARGO ?= cargo
PYTHON ?= python3
VENV := .venv
# The black-box tests drive an optimised binary; `ci` is `release` without the long link.
PROFILE := ci

.PHONY: run build test lint unit sdk soak fuzz deny fmt clean

## Build in release mode and serve a resources file with a scripted LLM upstream beside it.
run: build
	@examples/quickstart/run.sh

build:
	$(CARGO) build --release --locked -p gateway -p loadtest

## Everything that CI checks.
test: lint unit sdk

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --profile $(PROFILE) -- -D warnings

unit: nextest
	$(CARGO) nextest run --locked --workspace --cargo-profile $(PROFILE) --no-fail-fast
	$(CARGO) test --locked --workspace --profile $(PROFILE) --doc --quiet

## The official `openai` package against the real binary, on both I/O engines.
sdk: $(VENV)/ready
	$(CARGO) build --locked --profile $(PROFILE) -p gateway -p loadtest
	BIN_DIR=target/$(PROFILE) $(VENV)/bin/python -m pytest -q gateway/tests/sdk

$(VENV)/ready: gateway/tests/sdk/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --requirement $<
	touch $@

.PHONY: nextest
nextest:
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-nextest

## Long runs, kept out of CI.
soak:
	$(CARGO) nextest run --release --locked -p gateway --run-ignored ignored-only

fuzz:
	cd gateway/fuzz && for target in $$($(CARGO) fuzz list); do \
		$(CARGO) +nightly fuzz run $$target -- -max_total_time=60 || exit 1; done

## Licences, duplicates, sources and advisories; needs `cargo install cargo-deny`.
deny:
	$(CARGO) deny check

fmt:
	$(CARGO) fmt --all

clean:
	$(CARGO) clean
	rm -rf $(VENV) .run
