# Every target sets up what it needs: a virtual environment in .venv, filled from pyproject.toml.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
JOBS   ?= 2
TARGET ?= cpu

.PHONY: test lint format demo bench conformance gpu-test gpu-verify gpu-sanitize setup clean

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "lumir needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=23"
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	@touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

demo: $(READY)
	@$(BIN)/python benchmarks/demo.py

bench: $(READY)
	$(BIN)/python benchmarks/minilm.py

conformance: $(READY)
	$(BIN)/python -m tests.conformance.run --target $(TARGET) --jobs $(JOBS) --write-coverage

# Runs every kernel of the corpus whose PTX changed on this machine's GPU, and enters it into the ledger.
gpu-verify: $(READY)
	$(BIN)/python tests/verified/verify.py

# Runs the same kernels under compute-sanitizer of the CUDA toolkit.
gpu-sanitize: $(READY)
	$(BIN)/python tests/verified/sanitize.py --tool memcheck --tool synccheck

gpu-test: $(READY)
	$(BIN)/python -m pytest -m gpu

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .demo
