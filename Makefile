# For a checkout on a machine with python3 and make. Users who only want the package: pip install .
#   make demo    a mock survey, all the way to a catalog and its report, in demo/
#   make test    the test suite and the doctests
#   make fuzz    2,000 bad inputs for every reader, from a seed of the day (FUZZ_CASES, FUZZ_SEED); ten minutes
#   make coverage  branch coverage of data, selection and model; fails unless above 95%; ten minutes
#   make mutation  do the tests notice a changed kernel, cut, fold, match or error? a quarter of an hour
#   make crash   ingest, tune and catalog killed, interrupted and without room, 100 times each (CRASH_TIMES, CRASH_SEED);
#                then workers of a cluster killed in a catalog, 20 times
#   make nojit   the tests of the kernels, of the objective and of the Gram matrix without the compiler
#   make zero-point  the fitted zero point on 20 mock surveys; three minutes
#   make docs    the documentation, in docs/_build/html; its tutorial runs, which takes most of a minute
#   make lint    ruff
# One environment, .venv, serves all four. Another interpreter: make demo PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
FUZZ_CASES ?= 2000
CRASH_TIMES ?= 100
CRASH_SEED ?= 1
FUZZ_SEED ?= $(shell date +%Y%m%d)

.DEFAULT_GOAL := help
.PHONY: help demo test fuzz zero-point crash nojit coverage mutation docs lint clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/installed-demo
	$(VENV)/bin/spfast demo demo/ --overwrite

# Two processes: most tests keep one core busy.
test: $(VENV)/installed-test
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

fuzz: $(VENV)/installed-test
	SPFAST_FUZZ_CASES=$(FUZZ_CASES) $(VENV)/bin/python -m pytest tests/*/test_fuzz_*.py --hypothesis-seed=$(FUZZ_SEED) --durations=0 $(PYTEST_ARGS)

coverage: $(VENV)/installed-dev
	$(VENV)/bin/python -m coverage erase
	$(VENV)/bin/python -m coverage run -m pytest -q $(PYTEST_ARGS)
	$(VENV)/bin/python -m coverage combine -q
	$(VENV)/bin/python -m coverage report --show-missing
	$(VENV)/bin/python tests/branches.py

mutation: $(VENV)/installed-dev
	$(VENV)/bin/python tests/mutation.py

crash: $(VENV)/installed-test
	$(VENV)/bin/python tests/crash_runs.py --times $(CRASH_TIMES) --seed $(CRASH_SEED)
	PYTHONPATH=tests $(VENV)/bin/python tests/cluster_runs.py --seed $(CRASH_SEED)

# What the compiler takes for infinity, plain Python warns of.
nojit: $(VENV)/installed-test
	NUMBA_DISABLE_JIT=1 $(VENV)/bin/python -m pytest -W ignore::RuntimeWarning tests/kernels \
		tests/model/test_objective.py tests/solvers/test_working_gram.py tests/data/test_continuum.py \
		tests/data/test_continuum_pixels.py tests/data/test_bad_pixels.py

zero-point: $(VENV)/installed-core
	$(VENV)/bin/python docs/measure_zero_point.py --seeds 161-180

docs: $(VENV)/installed-docs
	$(VENV)/bin/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check --quiet .

clean:
	rm -rf demo docs/_build docs/tutorials build dist *.egg-info .pytest_cache .ruff_cache

# What each environment needs beyond the core; the stamp is renewed when pyproject.toml changes.
$(VENV)/installed-core: extras =
$(VENV)/installed-demo: extras = [report]
$(VENV)/installed-test: extras = [test,completion,dask,fast,hdf5,healpix,parquet,query,report,sklearn,zeropoint]
$(VENV)/installed-docs: extras = [docs,sklearn]
$(VENV)/installed-dev: extras = [dev]

# Editable, so that a change in spfast/ needs no new install. A half-made environment is made again in place.
$(VENV)/installed-%: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("spfast needs Python 3.11 or newer, $(PYTHON) is %d.%d: name another, e.g. make PYTHON=python3.12" % v[:2])'
	@$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.$(extras)'
	@touch $@
