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
PROGRAMS := build/conformance/.gateway

OLDEST := build/oldest/torch-2.6 build/oldest/lowest

.PHONY: help setup demo serve gateway test check test-unit test-oldest conformance load sweep faults bench-client bench docs gpu gpu-wheels

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## create .venv with the three packages and everything the tests need

$(INSTALLED): requirements.txt python_backend/pyproject.toml client_sdk/pyproject.toml gateway/pyproject.toml
	@$(PYTHON) tools/check_python.py
	test -x $(BIN)/python || { echo "==> creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	echo "==> installing the pinned requirements (torch is the large one)"
	$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements.txt
	echo "==> installing asr-backend, asr-client and asr-gateway from this tree"
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation \
	    --editable python_backend --editable client_sdk --editable gateway
	touch $@

demo: $(INSTALLED) ## transcribe the recordings in tests/data on a real tritonserver
	@$(BIN)/python -m tools.demo

serve: $(INSTALLED) ## run the server in the foreground until Ctrl-C
	@exec $(BIN)/asr-server

gateway: $(INSTALLED) ## run the server and, at http://127.0.0.1:8080, the gateway until Ctrl-C
	@exec $(BIN)/python -m tools.gateway

check: $(INSTALLED) ## lint, types and import rules
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-unit: $(INSTALLED) ## the tests that start no server
	@$(BIN)/python -m pytest -m "not server and not conformance"

$(CONFORMANCE): tests/conformance/kserve.txt $(INSTALLED)
	@echo "==> installing KServe's client, which tests/conformance runs, into build/conformance"
	$(BIN)/python -m tests.conformance.environment kserve
	touch $@

# Two processes; all tests of a file run in one of them, where they share servers. The slow ones, on real
# servers, come first in the order of names. JOBS=0 runs all in one process.
test: JOBS ?= 2
test: check $(CONFORMANCE) ## check, then every test, those on the real server too
	@$(BIN)/python -m pytest -m "not conformance" --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

$(PROGRAMS): tests/conformance/environment.py $(wildcard tests/conformance/*.txt) examples/gateway/package-lock.json $(INSTALLED)
	@echo "==> installing Schemathesis, Kubernetes' schemas, what drives Chromium, and OpenAI's npm package"
	$(BIN)/python -m tests.conformance.environment others
	touch $@

conformance: $(PROGRAMS) ## programs that others wrote; needs packages of Debian that .ci/run installs
	@$(BIN)/python -m pytest -m "not server" tests/conformance tests/unit/gateway/test_openai_package.py

# Older packages warn of what newer ones changed: warnings are no failures there. The gateway's tests
# run with the pins alone.
test-oldest: $(OLDEST:=/.installed) ## every test with torch 2.6 and with the lowest declared versions; by hand
	@for environment in $(OLDEST); do
	    echo "==> the tests in $$environment"
	    $$environment/bin/python -m pytest -W default -m "not conformance" \
	        --ignore=tests/unit/gateway --ignore=tests/integration/test_gateway.py $(TESTS)
	done

build/oldest/%/.installed: $(INSTALLED) tools/oldest_requirements.py
	@test -x $(@D)/bin/python || { echo "==> creating $(@D)"; $(PYTHON) -m venv $(@D); }
	$(BIN)/python -m tools.oldest_requirements $* > $(@D)/requirements.txt
	$(@D)/bin/python -m pip install --disable-pip-version-check --requirement $(@D)/requirements.txt
	$(@D)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation \
	    --editable python_backend --editable client_sdk
	$(@D)/bin/python -m pip check
	touch $@

load: $(INSTALLED) ## a minute of load on a server of its own, with gates
	@$(BIN)/python -m load_tests

sweep: $(INSTALLED) ## find how many callers this machine holds, and with which settings
	@$(BIN)/python -m load_tests.sweep

bench: $(INSTALLED) ## the service beside its peers, 25 minutes; results in build/benchmarks/latest
	@$(BIN)/python -m benchmarks
	@$(BIN)/python -m benchmarks.start

faults: $(INSTALLED) ## kill and stop processes of a real server at random moments; an hour
	@$(BIN)/python -m tools.faults
	@$(BIN)/python -m tools.live_faults

gpu: $(INSTALLED) ## what a GPU is worth, in 8 minutes, to build/gpu; DEVICE=cpu only tries the parts
	@$(BIN)/python -m benchmarks.gpu --device $(or $(DEVICE),cuda)

gpu-wheels: $(INSTALLED) ## wheels for a GPU machine without a registry, in build/gpu-wheels
	@$(BIN)/python -m tools.gpu_wheels build/gpu-wheels

bench-client: $(INSTALLED) ## what the SDK makes of failures, and what a call costs; two minutes
	@$(BIN)/python -m benchmarks.client

docs: $(INSTALLED) ## the documentation and the API reference as a site, in build/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
