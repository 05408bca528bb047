# The project's commands. Everything they need is installed by themselves; only Python 3.11+ and make must be there.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo test lint types imports unit format lock bench chaos fuzz serve sandbox clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: .venv/installed ## Make .venv and install the hash-locked requirements

install-dev: .venv/installed-dev ## The same with everything that the tests need

demo: install ## Watch the main job: sandbox, service and three CRMs on this machine (ARGS=--once ends by itself)
	$(BIN)/crm-to-chartmogul demo $(ARGS)

test: install-dev lint types imports unit chaos ## Run every check that CI runs

lint: install-dev ## Check style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: install-dev ## Check types
	$(BIN)/mypy

imports: install-dev ## Check that rooms import only from below
	$(BIN)/lint-imports

unit: install-dev ## Run the tests with branch coverage, then hold it against its gates
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=97
	$(BIN)/coverage report --fail-under=100 --include='$(PURE)'

PURE := service/sources/*,service/mapping/*,service/coalesce.py,service/shadow.py,service/drift/*,service/retry.py,service/paths.py,service/times.py,service/pace.py,service/model/*,service/errors.py

format: install-dev ## Format and mend what can be mended
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: install-dev ## Compile the hash-locked requirements from pyproject.toml
	$(LOCK) --group build -o requirements.txt
	$(LOCK) --group build --group dev -o requirements-dev.txt

LOCK = $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate --upgrade --quiet

bench: install-dev ## Measure against the bounds of this machine; prints ratios and writes bench.json
	$(BIN)/python -m tests.benchmarks $(ARGS)

# As a part of test, ARGS are those of pytest.
chaos: install-dev ## Kill, fail, repeat and reorder for a minute; nothing may be lost (ARGS="--seconds 600 --seed 7")
	$(BIN)/python -m tests.chaos $(if $(filter test,$(MAKECMDGOALS)),,$(ARGS))

fuzz: install-dev ## Send 100,000 requests that no CRM should send; none may do harm (ARGS="--requests 1000000 --seed 7")
	$(BIN)/python -m tests.fuzz $(ARGS)

serve: install ## Run the service with config.yaml
	$(BIN)/crm-to-chartmogul serve $(ARGS)

sandbox: install ## Run a ChartMogul to try things on
	$(BIN)/crm-to-chartmogul sandbox $(ARGS)

clean: ## Remove everything that was installed or made here
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* build *.egg-info

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt pyproject.toml | .venv/bin/python
	$(PIP) install --require-hashes -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(PIP) install --require-hashes -r requirements-dev.txt
	touch $@
