# Two commands do everything: `make demo` and `make test`. Both make .venv first; only Python 3.11+ and make are needed.
# `make demo` installs what runs networks (360 MB), `make test` torch too, and what tests need. `make test` takes some
# minutes, `make test-all` (what `.ci/run` does) two or three times as long.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
STAMP := $(VENV)/.installed
TOOLS := $(VENV)/tools/.installed
# On Linux PyPI's torch brings gigabytes of CUDA; the CPU wheels lie on an index of their own, whose hashes no lock has.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# A process per core, each with whole files of tests, so that what a file's tests share is made once.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Only what a lock names is installed, and only files whose SHA-256 it has; then lwisp itself, for which nothing is fetched.
LOCKED := $(PIP) install -q --require-hashes -r
SELF := $(PIP) install -q --no-deps --no-build-isolation -e .
# All platforms and Pythons that we promise in one lock; of torch on Linux the part without CUDA.
COMPILE := $(VENV)/tools/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make locks'

.PHONY: install demo test test-all wheel container abuse docs lint types locks sums audit clean

install: $(STAMP)

$(CORE): pyproject.toml locks/core.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(LOCKED) locks/core.txt
	$(SELF)
	touch $@

$(STAMP): pyproject.toml locks/dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test "$$(uname)" != Linux || $(BIN)/python -c 'import torch' 2>/dev/null \
		|| $(PIP) install -q --no-deps --retries 1 --timeout 15 --extra-index-url $(TORCH_INDEX) -c constraints.txt torch
	$(LOCKED) locks/dev.txt
	$(SELF)
	touch $@ $(CORE)

$(TOOLS): locks/tools.txt
	test -x $(VENV)/tools/bin/python || $(PYTHON) -m venv $(VENV)/tools
	$(VENV)/tools/bin/python -m pip --disable-pip-version-check install -q --require-hashes -r locks/tools.txt
	touch $@

demo: $(CORE)
	$(BIN)/python demo.py

test: $(STAMP)
	$(PYTEST) -m 'not slow'

test-all: $(STAMP)
	$(PYTEST)

wheel: # dist/: sdist, wheel, list of parts; the wheel installed into a clean environment, which develops the sample
	$(PYTHON) tests/wheel.py dist

container: # what the Dockerfile does, without Docker: as root, on Linux
	$(PYTHON) -m tests.container

abuse: $(STAMP) # the long runs of docs/reliability.md: a night
	$(PIP) install -q -c constraints.txt -e '.[fuzz,mutation]'
	$(BIN)/python -m fuzz all
	$(BIN)/python -m tests.faults --long
	$(BIN)/python benchmarks/serve_load.py
	$(BIN)/python benchmarks/same_pixels.py --output build
	$(BIN)/python -m tests.mutation

docs: $(CORE) # the site, build/site; a warning is an error
	$(LOCKED) locks/docs.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict # with --quiet it would be strict no more

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

locks: $(TOOLS) # locks/*.txt of pyproject.toml and the versions in constraints.txt; needs the network
	for extra in dev docs; do $(COMPILE) pyproject.toml locks/build.in --extra $$extra --excludes locks/excludes.in \
		-c constraints.txt -o locks/$$extra.txt || exit 1; done
	$(COMPILE) pyproject.toml locks/build.in -c locks/dev.txt -o locks/core.txt
	$(COMPILE) locks/tools.in -c locks/dev.txt -o locks/tools.txt

sums: # lwisp/assets/SHA256SUMS, after a change of what comes with lwisp; needs sha256sum
	cd lwisp/assets && sha256sum *.png *.safetensors structures/* weights/* > SHA256SUMS

audit: $(TOOLS) # are there known weaknesses in what the locks name? asks the database of PyPI
	for lock in core dev docs tools; do $(VENV)/tools/bin/pip-audit --strict --disable-pip --require-hashes \
		--progress-spinner off -r locks/$$lock.txt || exit 1; done

clean:
	rm -rf $(VENV) demo build *.egg-info .mypy_cache .pytest_cache .ruff_cache
