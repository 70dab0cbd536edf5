# Every target works alone on a fresh machine: it makes .venv and installs what the lock files name, checked by hash.
# Needed beforehand: make and Python >= 3.11 with its venv module. PYTHON=... picks another interpreter.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
USABLE = -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
PYTHON ?= $(shell for p in python3 python python3.13 python3.12 python3.11 python3.14 /usr/bin/python3; do \
    if $$p $(USABLE); then echo $$p; break; fi; done)
UV ?= uv
ARGS ?=

# No file of this project names a package index: pip takes the one that the machine is set up for.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --quiet --require-hashes --no-build-isolation
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

.PHONY: help demo kafka test test-quick test-drawn lint bench bench-kafka bench-statistics chaos lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r name text; do \
	    printf '  make %-16s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.demo $(if $(BROKER),$(VENV)/.kafka) ## watch a model through a year of real flights, then open the page on it (about a minute after set-up); BROKER=1: through Kafka
	$(BIN)/driftline demo $(if $(BROKER),--kafka) $(ARGS)

kafka: $(VENV)/.kafka ## a real Kafka on this machine (needs Java 17 and Maven); ends with: .venv/bin/driftline dev-broker down
	$(BIN)/driftline dev-broker up $(ARGS)

test: $(VENV)/.dev ## every test, on two cores; ARGS="-k name" for some
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-quick: $(VENV)/.dev ## the tests that need no broker and little time (below three minutes)
	$(BIN)/python -m pytest -m "not slow and not kafka" -n 2 $(ARGS)

test-drawn: $(VENV)/.dev ## all drawn histories of the simulated runs, of which `make test` takes about two thirds (quarter of an hour)
	DRIFTLINE_SEEDS=all $(BIN)/python -m pytest -n 2 tests/simulation tests/kafka/test_processors.py $(ARGS)

lint: $(VENV)/.dev ## format, style, types, and the spelling of the documents
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m tests.spelling

bench: $(VENV)/.dev ## cost per joined pair beside a hand-written ideal
	$(BIN)/python -m tests.bench $(ARGS)

bench-kafka: $(VENV)/.dev ## the same on a real broker, with latency, restore and memory (about an hour; ARGS="--help")
	$(BIN)/python -m tests.bench.kafka $(ARGS)

bench-statistics: $(VENV)/.dev ## false alarms and delays of the default rules, all together and one by one (more than an hour; ARGS="--runs 20" for less)
	$(BIN)/python -m tests.bench.statistics $(ARGS)
	$(BIN)/python -m tests.bench.feature_faults $(ARGS)
	$(BIN)/python -m tests.bench.all_rules $(ARGS)

chaos: $(VENV)/.dev ## kill workers and broker again and again, then count everything (about an hour; ARGS="--help")
	$(BIN)/python -m tests.chaos $(ARGS)

lock: ## renew the lock files (needs uv; everybody else needs only pip)
	$(COMPILE) requirements/build.in -o requirements/build.txt
	$(COMPILE) pyproject.toml --extra dev -c requirements/build.txt -o requirements/dev.txt
	$(COMPILE) pyproject.toml --extra demo --extra serve -c requirements/dev.txt -o requirements/demo.txt
	$(COMPILE) pyproject.toml --extra kafka --extra redis -c requirements/dev.txt -o requirements/kafka.txt

clean: ## forget .venv and what the tools left behind
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis driftline-demo

$(VENV)/.build: requirements/build.txt
	@test -n "$(PYTHON)" || { echo "driftline: needs Python >= 3.11 with venv and ensurepip; none found. Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) $(USABLE) || { echo "driftline: $(PYTHON) is older than Python 3.11 or lacks venv or ensurepip" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --quiet --require-hashes -r requirements/build.txt
	@touch $@

$(VENV)/.demo: $(VENV)/.build requirements/demo.txt pyproject.toml
	$(INSTALL) -r requirements/demo.txt
	$(PIP) install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.kafka: $(VENV)/.build requirements/kafka.txt pyproject.toml
	$(INSTALL) -r requirements/kafka.txt
	$(PIP) install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.build requirements/dev.txt pyproject.toml
	$(INSTALL) -r requirements/dev.txt
	$(PIP) install --quiet --no-build-isolation --no-deps --editable .
	@touch $@
