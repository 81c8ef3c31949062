# Two commands do everything: `make demo` and `make test`. Both make .venv first; only Python 3.11+ and make are needed.
# `make demo` installs what runs networks (360 MB), `make test` torch too, and what tests need. `make test` takes some
# minutes, `make test-all` (what `.ci/run` does) two or three times as long.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
STAMP := $(VENV)/.installed
# On Linux PyPI's torch brings gigabytes of CUDA; the CPU wheels lie on an index of their own.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# A process per core, each with whole files of tests, so that what a file's tests share is made once.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: install demo test test-all wheel container docs lint types clean

install: $(STAMP)

$(CORE): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt -e .
	touch $@

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import torch' 2>/dev/null \
		|| $(PIP) install -q --no-deps --retries 1 --timeout 15 --extra-index-url $(TORCH_INDEX) -c constraints.txt torch
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	touch $@ $(CORE)

demo: $(CORE)
	$(BIN)/python demo.py

test: $(STAMP)
	$(PYTEST) -m 'not slow'

test-all: $(STAMP)
	$(PYTEST)

wheel: # build sdist and wheel, install the wheel into a clean environment, and develop the sample there
	$(PYTHON) tests/wheel.py

container: # what the Dockerfile does, without Docker: as root, on Linux
	$(PYTHON) -m tests.container

docs: $(CORE) # the site, build/site; a warning is an error
	$(PIP) install -q -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict # with --quiet it would be strict no more

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo build *.egg-info .mypy_cache .pytest_cache .ruff_cache
