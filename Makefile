# One file of commands. `make run` and `make test` set up everything they need, as root or not, in any path.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
KILLS ?= 200
MINUTES ?= 15
ARGS ?=

.PHONY: help run up test check contracts bench chaos storm soak lock format clean

help: ## Show these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

run: $(STAMP) ## Start the hub with the demo day streaming in (SPEED=60 times real time)
	@$(BIN)/hub run --demo $(if $(SPEED),--speed $(SPEED)) $(ARGS)

up: $(STAMP) ## Start the hub as in production: a real Kafka, PostgreSQL, a process for each service (RATE=5 referrals/s)
	@$(BIN)/hub up $(if $(RATE),--rate $(RATE)) $(ARGS)

test: $(STAMP) ## Run every test, with a real PostgreSQL, real partners and a real browser (ARGS="-k name")
	@$(BIN)/python scripts/ensure_browser.py
	@$(BIN)/python -m pytest $(ARGS)

check: $(STAMP) ## Format, lint, types, import contracts, dependencies, unit and architecture tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/deptry .
	@$(BIN)/python -m pytest -q tests/unit tests/architecture

contracts: $(STAMP) ## Write the schemas, AsyncAPI, OpenAPI and reference pages anew from the code
	@$(BIN)/python scripts/generate_contracts.py $(ARGS)

bench: $(STAMP) ## Run the benchmarks side by side with their rivals (NAME=append for one)
	@$(BIN)/python -m bench $(NAME)

chaos: $(STAMP) ## Kill the hub KILLS times in one process and KILLS times in many; nothing may be lost or doubled
	@HUB_CHAOS_KILLS=$(KILLS) $(BIN)/python -m pytest -s --timeout=0 tests/chaos $(ARGS)

storm: $(STAMP) ## A minute of rebalances and five minutes without Kafka, under load; then everything is counted
	@$(BIN)/python -m bench.storm $(ARGS)

soak: $(STAMP) ## RATE referrals a second (100) for MINUTES minutes (15); memory and lag must stay flat
	@$(BIN)/python -m bench.soak --minutes $(MINUTES) --rate $(or $(RATE),100) $(ARGS)

lock: $(STAMP) ## Pin the dependencies anew, with hashes and without hosts
	@$(BIN)/python -m pip install -q uv
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --all-extras --upgrade pyproject.toml -o requirements.lock

format: $(STAMP) ## Put the code into the house's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove the virtual environment and caches (never the data directory)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The first interpreter that is new enough and can make virtual environments.
$(STAMP): requirements.lock pyproject.toml
	@for python in python3.13 python3.12 python3.11 python3 /usr/bin/python3; do \
	  command -v "$$python" >/dev/null 2>&1 || continue; \
	  "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || continue; \
	  found="$$python"; break; \
	done; \
	if [ -z "$${found:-}" ]; then echo "Python 3.11 to 3.13 with venv is needed: install it, then run make again." >&2; exit 1; fi; \
	echo "Setting up $(VENV) with $$found (about a minute, once)."; \
	"$$found" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
