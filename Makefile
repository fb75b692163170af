# Each target makes .venv by itself, with what it needs and no more, and again when setup.cfg has changed.
PYTHON ?= python3
PY := .venv/bin/python

.PHONY: demo test lint validate bench compat clean
.NOTPARALLEL:

demo: .venv/installed
	.venv/bin/l96kit demo

test: .venv/installed-test
	$(PY) -m pytest -n auto --dist loadfile

# All options stand here, since ruff cannot read setup.cfg.
lint: .venv/installed-test
	.venv/bin/ruff check --isolated --target-version py310 --line-length 120 \
	    --select B,C4,E,F,I,NPY,PIE,SIM,UP,W --ignore B905 --config 'lint.isort.known-first-party = ["l96kit"]' .

validate: .venv/installed-test
	$(PY) -m l96kit.validation.gradients
	$(PY) -m l96kit.validation.mutation
	$(PY) -m l96kit.validation.fuzz
	$(PY) -m l96kit.validation.slips
	$(PY) -m l96kit.validation.fourdvar --truths 5 --length 10 --windows 16 24 32 40 48 56 64 72

bench: .venv/installed-peers
	$(PY) -m l96kit.validation.speed --peers jax
	$(PY) -m l96kit.validation.speed --emulators --peers torch jax
	$(PY) -m l96kit.validation.speed --filters --peers dapper

# The oldest and the newest dependencies that setup.cfg admits, each in an environment of its own.
compat: .venv-oldest/installed .venv-newest/installed
	for age in oldest newest; do .venv-$$age/bin/python -m pytest -n 0 $(SMOKE) || exit 1; done

SMOKE = tests/test_readme.py tests/test_published_numbers.py tests/test_store.py tests/test_plots.py \
    "tests/test_operators.py::test_operator_passes_the_battery[lorenz96.trajectory, rk4, F number, float64]" \
    "tests/test_operators.py::test_operator_passes_the_battery[mixed network.tendency, float64]" \
    tests/test_targets.py::test_programs_run_in_the_simulator \
    tests/test_targets.py::test_an_adjoint_compiles_to_ptx_without_spills

clean:
	rm -rf .venv* build dist *.egg-info .pytest_cache .hypothesis .ruff_cache

# One stamp for each set of extras. A second set is added to the first; a broken environment is made anew.
.venv/installed-test: EXTRAS = [test]
.venv/installed-peers: EXTRAS = [peers]
.venv/installed .venv/installed-test .venv/installed-peers: setup.cfg pyproject.toml
	$(PY) -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.$(EXTRAS)'
	touch $@

.venv-oldest/installed: CONSTRAINTS = --constraint $(@D)/constraints.txt
.venv-oldest/installed .venv-newest/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv --clear $(@D)
	sed -n 's/^    \([a-z0-9-]*\)[^>]*>=\([0-9.]*\).*/\1==\2/p' setup.cfg | sort -u > $(@D)/constraints.txt
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]' $(CONSTRAINTS)
	touch $@
