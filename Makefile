# Everything a newcomer types. Each target sets up what it needs, so that none has to be run before another.
#
#   PYTHON=...           the interpreter for .venv (3.11 or newer); found by itself if not given
#   TEST_POSTGRES_URI=.. an existing PostgreSQL for `make test`, instead of one the tests start
#   ARGS="..."           passed on to pytest by `make test`, to the demo by `make run`

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

# Tests start many processes, each of which would compile the whole package for itself.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps

# Some distributions keep an older `python3` and put the newer one beside it under its own name.
PYTHON ?= $(shell for candidate in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo $$candidate; exit; fi; done; echo python3)

# `-qq` leaves only errors. A wheel never runs code while it is installed; a source archive would, and would fetch build tools nobody pinned.
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install -qq --no-input
LOCKED := --require-hashes --only-binary :all:

.PHONY: help
help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMPS)/clarity ## Make .venv with Clarity and its locked dependencies.

.PHONY: run
run: setup ## Make a practice of synthetic patients and serve it on 127.0.0.1:8000.
	@exec $(BIN)/clarity demo $(ARGS)

.PHONY: test
test: $(STAMPS)/dev ## Run every test, on SQLite and on PostgreSQL.
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(ARGS)

.PHONY: check
check: $(STAMPS)/dev ## Check format, lint, types, import rules and migrations.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.check_migrations

.PHONY: guards
guards: $(STAMPS)/dev ## Remove each guard from a copy of the tree, and expect a test to fail.
	$(BIN)/python -m tests.mutate_guards $(ARGS)

.PHONY: soak
soak: $(STAMPS)/dev ## Put a practice under load and faults for five minutes, and judge what is left.
	$(BIN)/python -m pytest -m soak
	$(BIN)/python -m tests.soak $(ARGS)

.PHONY: day
day: $(STAMPS)/dev ## Let a practice have a day within an hour, and judge what its server holds when it is over.
	$(BIN)/python -m tests.soak.day $(ARGS)

.PHONY: fresh
fresh: $(STAMPS)/dev ## Search for each of 10,000 changes that other processes commit, on each database.
	$(BIN)/python -m tests.soak.freshness $(ARGS)

.PHONY: fuzz
fuzz: $(STAMPS)/dev ## Look for what nobody thought of, for five minutes: requests, and bytes to be read.
	$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: timing
timing: $(STAMPS)/dev ## Compare how long a refusal and an absence take, over many requests.
	$(BIN)/python -m tests.timing $(ARGS)

.PHONY: bench
bench: $(STAMPS)/bench ## Measure everything beside what people would use instead, in about an hour, and write it down.
	$(BIN)/python -m benchmarks.report $(ARGS)

.PHONY: bench-quick
bench-quick: $(STAMPS)/bench ## Try in under two minutes whether every benchmark runs; what they print is in bench-quick/.
	$(BIN)/python -m benchmarks.report --quick $(ARGS)

.PHONY: format
format: $(STAMPS)/dev ## Format the code and repair what can be repaired safely.
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

COMPILE := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url

.PHONY: lock
lock: $(VENV)/bin/python ## Pin the newest dependencies that pyproject.toml allows, with their hashes.
	@echo "Locking dependencies"
	@rm -rf $(VENV)/lock && $(BIN)/python -m venv $(VENV)/lock
	@$(VENV)/lock/bin/python -m pip --disable-pip-version-check install -qq --no-input uv
	@$(VENV)/lock/bin/uv pip compile $(COMPILE) pyproject.toml --all-extras --group build -o requirements.lock
	@$(VENV)/lock/bin/uv pip compile $(COMPILE) pyproject.toml --all-extras --group build --group dev \
		--constraint requirements.lock -o requirements-dev.lock
	@$(VENV)/lock/bin/uv pip compile $(COMPILE) pyproject.toml --all-extras --group build --group dev --group bench \
		--constraint requirements-dev.lock -o requirements-bench.lock
	@rm -rf $(VENV)/lock

.PHONY: clean
clean: ## Remove .venv and everything generated; your data in clarity-data stays.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage htmlcov dist
	rm -rf bench-quick bench-results
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Clarity needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." >&2; \
		echo "Install one (for example: apt install python3.11 python3.11-venv), then name it:" >&2; \
		echo "    make setup PYTHON=python3.11" >&2; \
		exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

$(STAMPS)/runtime: requirements.lock $(BIN)/python
	@echo "Installing dependencies (requirements.lock)"
	@$(PIP_INSTALL) $(LOCKED) -r requirements.lock
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/clarity: pyproject.toml $(STAMPS)/runtime
	@echo "Installing clarity"
	@$(PIP_INSTALL) --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(STAMPS)/dev: requirements-dev.lock $(STAMPS)/clarity
	@echo "Installing test and check tools (requirements-dev.lock)"
	@$(PIP_INSTALL) $(LOCKED) -r requirements-dev.lock
	@touch $@

$(STAMPS)/bench: requirements-bench.lock $(STAMPS)/dev
	@echo "Installing what benchmarks compare with (requirements-bench.lock)"
	@$(PIP_INSTALL) $(LOCKED) -r requirements-bench.lock
	@touch $@
