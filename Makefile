# `make demo` and `make test` need nothing but Python 3.11 or newer; each prepares .venv itself.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench fuzz faults odd clusters clean docs site reproduction wheel-check

demo: .venv/core
	$(BIN)/scalefit demo

# BLAS on one thread: the matrices are small, and threads would only wait for each other.
test: .venv/dev lint
	OPENBLAS_NUM_THREADS=1 $(BIN)/pytest

bench: .venv/dev
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.run $(BENCH)

docs: .venv/dev
	$(BIN)/python -m tools.pages
	$(BIN)/python -m tools.architecture
	$(BIN)/python -m tools.pictures

# build/site/html: the documentation with a gallery and references, searched without a network.
site: .venv/dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[site]'
	$(BIN)/python -m tools.site

reproduction: .venv/dev
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.reproduction

# Mutated inputs of every kind: about an hour. FUZZ="--count 100" is minutes; FUZZ="--guided fit",
# led by coverage, needs pip install '.[fuzz]' and runs until it is stopped.
fuzz: .venv/dev
	$(BIN)/python -m tests.fuzz $(or $(FUZZ),--count 2500)
	$(BIN)/python -m tests.adapters.fuzz_sources

# Every law on every odd table: about an hour. ODD="--law chinchilla" is seconds.
odd: .venv/dev
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.fitting.odd $(ODD)

# Three writers of one store, killed at random moments; commands that are interrupted; single bits
# flipped; two writers in S3 whose answers go astray: about twenty minutes.
faults: .venv/dev
	$(BIN)/python -m tests.store.faults $(or $(KILLS),200)
	$(BIN)/python -m tests.store.interrupts $(or $(INTERRUPTS),200)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.store.flips $(or $(FLIPS),1000)
	$(BIN)/python -m tests.store.answers $(or $(ANSWERS),200)

# Work on real clusters of two workers each, of Dask, of Ray and of dask-jobqueue's scripts, and four
# processes that write into one bucket: two minutes, and the clients are installed first.
clusters: .venv/dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,dask,ray,slurm]'
	OPENBLAS_NUM_THREADS=1 $(BIN)/pytest --numprocesses 0 tests/clusters tests/store/test_remote_store.py

# The wheel and the source distribution, built clean; the installed wheel runs the demo and the tests
# of the command line without the checkout: two minutes.
wheel-check: .venv/core
	$(BIN)/python -m tools.wheel_check

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "scalefit needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/core: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@$(BIN)/python -m compileall -q scaling_cli # half of a command's start would be compiling
	@touch $@

.venv/dev: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
