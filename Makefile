# Needs python3 (3.11 or newer, with venv) and make; everything else is installed into .venv from hashed lock files.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# One thread per process: the suite and the demo use processes, and results must not depend on the machine's cores.
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check bench faults validate-stats docs build lock env-demo env-test

help: ## list the targets
	@$(PYTHON) -c "import re; [print(f'make {t:<15}{h}') for t, h in re.findall(r'^([\w-]+):.*?## (.*)', open('Makefile').read(), re.M)]"

demo: env-demo ## one model's story from training to rollback, on real network data
	$(BIN)/sentinelzer0 demo

test: env-test ## everything CI runs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: env-test ## style, types, import contracts, budgets: under two minutes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/architecture

bench: env-test ## measure, and write benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks

faults: env-test ## kill -9 at every system call of the use cases (needs strace; takes an hour)
	$(BIN)/python -m tests.faults.every_syscall

validate-stats: env-test ## measure every figure the statistics promise, on 10,000 simulated tests (under 15 minutes)
	$(BIN)/python -m tests.statistics.validate

docs: env-test ## run every example of the README, docs/ and the docstrings; follow every link
	$(BIN)/python -m pytest -q tests/docs sentinelzer0

build: env-test ## dist/: an sdist, and the wheel built from it
	$(BIN)/python -m build --no-isolation

COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
	--custom-compile-command "make lock" pyproject.toml
lock: env-test ## pin the newest allowed releases in requirements/
	$(COMPILE) --upgrade --group test --extra demo --extra mlflow --extra postgres -o requirements/test.txt
	$(COMPILE) --upgrade --group install --extra demo -c requirements/test.txt --no-annotate -o requirements/demo.txt

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "SentinelZer0 needs Python 3.11 or newer; '$(PYTHON)' is not. Name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu, 'apt-get install python3-venv' adds what is missing." >&2; exit 1; }

# The stamp holds a checksum of what was installed, so a current environment costs one Python start.
env-demo env-test: env-%: $(BIN)/python
	@sum=$$($(BIN)/python -c "import hashlib, pathlib; print(hashlib.sha256(b''.join(pathlib.Path(p).read_bytes() \
	  for p in ('requirements/$*.txt', 'pyproject.toml'))).hexdigest())") && \
	if [ "$$(cat $(VENV)/installed-$* 2>/dev/null)" != "$$sum" ]; then \
	  echo "Installing requirements/$*.txt into $(VENV) (a minute or two the first time)" >&2 && \
	  $(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check --no-compile --only-binary :all: \
	    --require-hashes -r requirements/$*.txt && \
	  $(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check --no-index \
	    --no-deps --no-build-isolation --editable . && \
	  echo "$$sum" > $(VENV)/installed-$*; \
	fi
