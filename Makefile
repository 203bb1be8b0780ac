# The commands of the project. `make` alone lists them.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Idle OpenMP threads that spin make torch many times slower where other work shares the cores.
export OMP_WAIT_POLICY ?= PASSIVE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CONFORMANCE := build/conformance/.installed

.PHONY: help setup demo serve test check test-unit load sweep bench-client bench docs

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## create .venv with both packages and everything the tests need

$(INSTALLED): requirements.txt python_backend/pyproject.toml client_sdk/pyproject.toml
	@$(PYTHON) tools/check_python.py
	test -x $(BIN)/python || { echo "==> creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	echo "==> installing the pinned requirements (torch is the large one)"
	$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements.txt
	echo "==> installing asr-backend and asr-client from this tree"
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation \
	    --editable python_backend --editable client_sdk
	touch $@

demo: $(INSTALLED) ## transcribe the recordings in tests/data on a real tritonserver
	@$(BIN)/python -m tools.demo

serve: $(INSTALLED) ## run the server in the foreground until Ctrl-C
	@exec $(BIN)/asr-server

check: $(INSTALLED) ## lint, types and import rules
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-unit: $(INSTALLED) ## the tests that start no server
	@$(BIN)/python -m pytest -m "not server"

$(CONFORMANCE): tests/conformance/kserve.txt $(INSTALLED)
	@echo "==> installing KServe's client, which tests/conformance runs, into build/conformance"
	$(BIN)/python -m tests.conformance.environment
	touch $@

test: check $(CONFORMANCE) ## check, then every test, those on the real server too
	@$(BIN)/python -m pytest

load: $(INSTALLED) ## a minute of load on a server of its own, with gates
	@$(BIN)/python -m load_tests

sweep: $(INSTALLED) ## find how many callers this machine holds, and with which settings
	@$(BIN)/python -m load_tests.sweep

bench: $(INSTALLED) ## the service beside its peers, 25 minutes; results in build/benchmarks/latest
	@$(BIN)/python -m benchmarks

bench-client: $(INSTALLED) ## what the SDK makes of failures, and what a call costs; two minutes
	@$(BIN)/python -m benchmarks.client

docs: $(INSTALLED) ## the documentation and the API reference as a site, in build/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
