# Two commands: `make run` executes the notebooks, `make test` runs every check.
# Needs Python 3.11 or newer and the package index, nothing else.
#   make PYTHON=python3.12 run                       another interpreter
#   make PIP_FLAGS="-c requirements-lock.txt" run    exactly the tested versions
#   make PYTHON=python3.11 lowest                    the quick tests on the lowest versions that are allowed

PYTHON    ?= python3
VENV      ?= .venv
LOWEST    ?= .venv-lowest
PIP_FLAGS ?=
NOTEBOOKS ?=
PYTEST_FLAGS ?=

BIN     := $(VENV)/bin
PY      := $(BIN)/python
PIP     := $(PY) -m pip --disable-pip-version-check --retries 10 --timeout 120
READY   := $(VENV)/.ready
MODELS  := $(VENV)/.models
TESTING := $(VENV)/.ready-test

.DEFAULT_GOAL := help
.PHONY: help run notebooks slides lab test lowest bench fuzz format clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1#/p' Makefile | tr '#' '\t' | expand -t 18

run: $(MODELS)  ## execute every notebook; executed copies and one HTML file each go to build/
	@$(PY) notebooks/run.py --out build $(NOTEBOOKS)
	@echo "To work in them:  make lab    (or: $(BIN)/jupyter lab notebooks)"

notebooks: $(MODELS)  ## the same, and store the outputs in notebooks/
	@$(PY) notebooks/run.py --out build --store $(NOTEBOOKS)

slides: $(READY)  ## the stored notebooks as slides that need no network, one file each in build/slides/
	@$(PY) notebooks/run.py --out build/slides --slides $(NOTEBOOKS)

lab: $(MODELS)  ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks

# One process per processor, at most four, of one thread each: most tests are too small for a second thread to pay.
test: export OMP_NUM_THREADS ?= 1
test: $(TESTING) $(MODELS)  ## ruff, mypy, then unit, notebook and browser tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PY) -m pytest -n logical --maxprocesses 4 --dist worksteal --durations=15 $(PYTEST_FLAGS)

# An environment of its own, of 5 GB; the package index and Python 3.11, the oldest that is allowed, are all it needs.
lowest: export OMP_NUM_THREADS ?= 1
lowest: $(LOWEST)/.ready  ## the quick tests on Python 3.11 and the lowest versions that requirements.txt allows
	$(LOWEST)/bin/python -m pytest -n logical --maxprocesses 4 --dist worksteal -m "not notebook and not browser" $(PYTEST_FLAGS)

bench: $(READY)  ## what the figures of the README come from: runs each bench_*.py of benchmarks/
	@for f in benchmarks/bench_*.py; do echo "== $$f"; $(PY) $$f || exit 1; done

fuzz: $(TESTING)  ## 10,000 damaged files and odd arguments: a result or an error of ours, each time
	@OMP_NUM_THREADS=1 $(PY) benchmarks/bench_hard.py

format: $(TESTING)  ## sort imports and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove build/ and the environments
	rm -rf build $(VENV) $(LOWEST)

# One pip call, so that torch and torchvision are resolved together; once more if the network hiccups.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is %s: make PYTHON=python3.12 ..." % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "Installing requirements.txt into $(VENV) (about 5 GB with CUDA; a few minutes the first time)"
	@$(PIP) install $(PIP_FLAGS) -r requirements.txt -e . || (sleep 5; $(PIP) install $(PIP_FLAGS) -r requirements.txt -e .)
	@touch $@

# Two real models, about 180 MB, once; without them the notebooks use the bundled teaching models and say so.
$(MODELS): $(READY)
	@if $(PY) -m ultra_kit fetch all; then touch $@; else echo "Going on with the bundled models; the next run asks again."; fi

$(TESTING): $(READY) requirements-test.txt
	@$(PIP) install $(PIP_FLAGS) -r requirements-test.txt || (sleep 5; $(PIP) install $(PIP_FLAGS) -r requirements-test.txt)
	@touch $@

# Made anew each time, so that no version of an earlier list is kept. uv is what resolves to the lowest versions.
$(LOWEST)/.ready: requirements.txt requirements-test.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("The lowest versions are those for Python 3.11, this is %s: make PYTHON=python3.11 lowest" % sys.version.split()[0] if sys.version_info[:2] != (3, 11) else 0)'
	@$(PYTHON) -m venv --clear $(LOWEST)
	@echo "Installing the lowest versions into $(LOWEST) (about 5 GB with CUDA; a few minutes)"
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@UV_HTTP_TIMEOUT=300 $(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct -r requirements.txt -r requirements-test.txt -e .
	@touch $@
