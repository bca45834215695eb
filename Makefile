# portcall: `make help` says what there is. Needs make and Python 3.11 or newer; nothing else.
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV ?= .venv
STAMP := $(VENV)/.portcall-setup
DEMO_DB := .portcall/demo.db
export VENV
export PYTHON

$(STAMP): requirements.lock pyproject.toml scripts/setup
	@sh scripts/setup

.PHONY: help setup demo test check format docs bench lock clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## .venv with everything, and the command at .venv/bin/portcall

demo: $(STAMP) ## a real pipeline: containers in flight on one worker slot, one grown after it ran out of memory
	@sh examples/demo/run

test: $(STAMP) ## every test that needs no cluster
	@$(VENV)/bin/pytest -n auto --maxprocesses 4 $(ARGS)

check: $(STAMP) ## format, lint, types, import rules, schemas, docs
	@sh scripts/check

format: $(STAMP) ## put the code into shape
	@$(VENV)/bin/ruff check --fix --quiet . ; $(VENV)/bin/ruff format --quiet .

docs: $(STAMP) ## the documentation as a site, in site/
	@$(VENV)/bin/zensical build --clean --strict --config-file mkdocs.yml

bench: $(STAMP) ## the figures of docs/benchmarks.md, on this machine (several minutes)
	@for part in start steps containers; do $(VENV)/bin/python bench/$$part.py || exit 1; done

lock: ## requirements.lock anew from pyproject.toml (needs uv)
	@sh scripts/lock

clean: ## remove what was made here, the virtual environment too
	rm -rf $(VENV) .portcall site dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
