# Every target does its own set-up on a bare machine: Python >= 3.11, git, make and C tools.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test bench chaos lint migrate connector constraints clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/ -/'

$(STAMP): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "supplyhub needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q hub connectors pricing catalog orders fulfillment
	@touch $@

demo: $(STAMP) ## Run the main job on embedded servers and print a report (KEEP=1 stays up, JSON=FILE writes it)
	$(BIN)/supplyhub demo $(if $(JSON),--json $(JSON)) $(if $(KEEP),--keep)

test: $(STAMP) lint ## Lint, types, walls, migrations, then the whole suite
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

lint: $(STAMP) ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) ## Measure every claimed speed beside its limit (ONLY=name, N=products, JSON=FILE)
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(N),--n $(N)) $(if $(JSON),--json $(JSON))

chaos: $(STAMP) ## The long fault tests (ONLY=name, N=count, JSON=FILE)
	$(BIN)/python -m tests.chaos $(if $(ONLY),--only $(ONLY)) $(if $(N),--n $(N)) $(if $(JSON),--json $(JSON))

migrate: $(STAMP) ## Bring the configured database to the newest schema
	$(BIN)/supplyhub migrate

connector: $(STAMP) ## Scaffold a connector: make connector NAME=acme
	$(BIN)/supplyhub connector new $(NAME)

constraints: ## Renew the pinned, hashed constraints (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -o constraints.txt

clean: ## Remove what the targets made
	rm -rf $(VENV) .data build dist *.egg-info
