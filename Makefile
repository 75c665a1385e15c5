# The commands of a checkout. `make setup` is part of each and costs nothing once it is done.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PIP := -m pip --disable-pip-version-check -qq
# Two stacks at a time are what a small machine carries; tests of one file share theirs.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: help setup demo local test check bench soak chaos clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / - /'

setup: .venv/.done .venv-aws/.done ## install everything into this folder (no root, no Docker)

.venv/.done: requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make setup PYTHON=/path/to/python3"; exit 1; }
	@echo "Installing into .venv (a minute or two, the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python $(PIP) install -r requirements-dev.txt
	@$(BIN)/python $(PIP) install --no-deps -e .
	@touch $@

.venv-aws/.done: requirements-aws-standin.txt
	@echo "Installing the stand-in for AWS into .venv-aws"
	@test -x .venv-aws/bin/python || $(PYTHON) -m venv .venv-aws
	@.venv-aws/bin/python $(PIP) install -r requirements-aws-standin.txt
	@touch $@

demo: setup ## run a workflow on real data, live in the terminal
	@$(BIN)/graft demo

local: setup ## run a whole Graft on loopback until Ctrl-C
	@$(BIN)/graft local up

test: setup ## run all tests
	@$(PYTEST)

check: setup ## format, lint, types, import rules, sizes, then all tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m infra.checks.size_limits
	$(PYTEST)

bench: setup ## measure, side by side with the bare calls
	@$(BIN)/graft bench

chaos: setup ## kill processes and Redis with its data for two minutes while 200 runs are at work (ARGS="--seed 7")
	@$(BIN)/python -m infra.chaos $(ARGS)

soak: setup ## simulate new worlds for SOAK_S seconds (default 600)
	SOAK_S=$${SOAK_S:-600} $(BIN)/python -m pytest -m soak tests/simulation

clean: ## remove what setup installed
	rm -rf .venv .venv-aws .graft *.egg-info
