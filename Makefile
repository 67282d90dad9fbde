# `make` lists the targets. Each one that needs it makes the virtual environment first.
.DEFAULT_GOAL := help
.PHONY: help demo test lint clean

VENV := .venv
BIN := $(VENV)/bin
# Newer than everything that decides what is installed, so nothing is installed twice.
STAMP := $(VENV)/.installed
SOURCES := $(wildcard src tests examples benchmarks tools)
PYTEST_ARGS ?=

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP) ## Train a small agent here and now: two cores, about ten minutes, no download but packages
	$(BIN)/hiper demo

test: lint ## Run every check: style, types, tests (PYTEST_ARGS="-k credit" to choose)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

lint: $(STAMP) ## Style and types only
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

clean: ## Remove the virtual environment and every cache
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# `python3` may be too old, and a version manager's `python3.x` may be a stub that does not start:
# take the first that runs and is new enough. PYTHON=/path/to/python chooses by hand.
$(BIN)/python:
	@for p in $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3 python; do \
	  if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "making $(VENV) with $$p"; exec "$$p" -m venv $(VENV); \
	  fi; \
	done; \
	echo "make: no Python 3.11 or newer found; name one with PYTHON=/path/to/python" >&2; exit 1

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
