# Everything happens in .venv, which is made on demand. It needs make and any Python from 3.11 on; nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
# What a user's `pip install airflow-provider-adjust[curl]` brings, and nothing of what develops it.
RUNTIME := .venv-runtime
# The FAB auth manager needs an older python-dateutil than the other tests have.
FAB := .venv-fab
UV := $(VENV)/bin/uv
# The releases that the tests, the demo and CI use. A user of the provider is bound by pyproject.toml alone.
CONSTRAINTS := requirements/constraints.txt

# Airflow's release lives here; `make constraints AIRFLOW=3.4.0` moves to another.
AIRFLOW := 3.3.2
# The groups of pyproject.toml; `demo`, `lint` and `test` are part of others.
PINNED_GROUPS := bench celery dev docs fuzz mutants release ui

# The first that runs and is new enough: a `python3.12` on the path may be a version manager's shim with no Python behind.
NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$p" -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

# A file's tests share what was set up for them, so they stay in one process. One more than two cores: much of the time goes
# by while an Airflow starts.
PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder
# pytest's own arguments: make test PYTEST_ARGS="-k intake -x"
PYTEST_ARGS ?=
COMPATIBILITY_ARGS ?=
CONSTRAINTS_ARGS ?=
BENCH_ARGS ?=
UI_ARGS ?=
SCALE_ARGS ?=
FAULTS_ARGS ?=
CRASHES_ARGS ?= --kills 200
FUZZ_SECONDS ?= 60

.PHONY: help demo ui screenshots docs test test-thorough test-slow test-celery test-fab lint bench scale \
	wheel constraints clean faults crashes fuzz test-all coverage coverage-s2s mutants licences sbom
ENOUGH_KILLED := import json, sys; \
	found = json.load(open("mutants/mutmut-cicd-stats.json")); \
	noticed = found["killed"] + found["timeout"]; \
	print(noticed, "of", found["total"], "mutants were noticed"); \
	sys.exit(noticed < 0.9 * found["total"])


help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-demo ## See the provider deliver to a local stand-in for Adjust
	$(PY) scripts/demo.py

ui: $(VENV)/.installed-demo ## Start Airflow with the demo's purchases and the stand-in; Ctrl-C stops it (UI_ARGS="--port 8081")
	$(PY) scripts/ui.py $(UI_ARGS)

screenshots: $(VENV)/.installed-demo $(VENV)/.installed-ui ## Take the pictures in docs/images anew, in a real Chromium
	$(PY) scripts/screenshots.py
	$(PY) scripts/screenshot_deliveries_page.py

docs: $(VENV)/.installed-docs ## Build the documentation's site in build/site; warnings are errors
	$(PY) scripts/generate_docs.py --check
	$(PY) -m sphinx --builder html --fail-on-warning --keep-going --jobs auto --quiet docs build/site

test: $(VENV)/.installed-dev ## Run the tests, all but the slow ones
	$(PY) -m pytest -m "not slow" $(PARALLEL) $(PYTEST_ARGS)

test-thorough: export HYPOTHESIS_PROFILE := thorough
test-thorough: test ## Run the tests with more and new examples of every property

test-slow: $(VENV)/.installed-dev $(VENV)/.installed-ui ## Run the tests that take minutes
	$(PY) -m pytest -m slow $(PYTEST_ARGS)

test-celery: $(VENV)/.installed-celery ## Share a night between two Celery workers (needs a redis-server)
	$(PY) -m pytest -m slow tests/campaign/test_celery.py $(PYTEST_ARGS)

test-fab: $(FAB)/.installed ## Show that each sees what their role in the FAB auth manager allows
	$(FAB)/bin/python -m pytest -m slow tests/deliveries_page/test_fab_auth_manager.py $(PYTEST_ARGS)

test-all: $(VENV)/.installed-dev ## Test the wheel on every Airflow and Python (COMPATIBILITY_ARGS="--only 3.1" for one)
	$(PY) scripts/compatibility.py $(COMPATIBILITY_ARGS)

coverage: PYTEST_ARGS += --cov --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=95
coverage: test ## Run the tests, and show that they take 95 % of all branches, and every one of s2s/
	$(PY) -m coverage report --include='airflow_provider_adjust/s2s/*' --show-missing --skip-covered --fail-under=100

coverage-s2s: $(VENV)/.installed-dev ## Show that the tests of s2s/ alone take every branch of it
	$(PY) -m pytest tests/s2s -q $(PARALLEL) --cov=airflow_provider_adjust.s2s --cov-branch \
		--cov-report=term-missing:skip-covered --cov-fail-under=100

mutants: $(VENV)/.installed-mutants ## Break events, responses and schedule in every small way; the tests must notice
	rm -rf mutants
	HYPOTHESIS_PROFILE=mutants $(VENV)/bin/mutmut run
	$(VENV)/bin/mutmut export-cicd-stats
	$(PY) -c '$(ENOUGH_KILLED)'

lint: $(VENV)/.installed-dev ## Check style, format, types and workflows
	$(PY) -m ruff check .
	$(PY) -m ruff check --preview --select AIR .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/{bug,idea}.yml
	$(VENV)/bin/zizmor --offline --quiet .

bench: $(VENV)/.installed-bench ## Compare speeds with what one writes by hand (BENCH_ARGS=--quick for a look)
	PYTHONPATH=scripts $(PY) -m benchmark $(BENCH_ARGS)

scale: $(VENV)/.installed-bench ## Show that memory and cost an event stay flat up to a million events
	PYTHONPATH=scripts $(PY) -m benchmark.scale $(SCALE_ARGS)

faults: $(VENV)/.installed-dev ## Send 100,000 events through every fault and outage, and show that none is lost
	PYTHONPATH=scripts $(PY) -m campaign.faults $(FAULTS_ARGS)

crashes: $(VENV)/.installed-dev ## Kill sending tasks 200 times, and show that every promise is kept
	PYTHONPATH=scripts $(PY) -m campaign.crashes $(CRASHES_ARGS)

fuzz: $(VENV)/.installed-fuzz ## Look for rows and answers that break the parser (FUZZ_SECONDS=600 for longer)
	$(PY) scripts/fuzz.py parse --seconds $(FUZZ_SECONDS)
	$(PY) scripts/fuzz.py classify --seconds $(FUZZ_SECONDS)

wheel: $(VENV)/.installed-dev ## Build the sdist and the wheel into dist/, and check their metadata
	rm -rf dist
	$(PY) -m build --installer uv
	$(PY) -m twine check --strict dist/*

licences: $(VENV)/.installed-release $(RUNTIME)/.installed ## List the licences of all that an installation brings; fail at one that may not be
	$(VENV)/bin/pip-licenses --python=$(RUNTIME)/bin/python

sbom: $(VENV)/.installed-release $(RUNTIME)/.installed ## Write build/sbom.cdx.json, a release's software bill of materials
	mkdir -p build
	$(VENV)/bin/cyclonedx-py environment $(RUNTIME)/bin/python --pyproject pyproject.toml --mc-type library \
		--output-reproducible --output-format JSON --output-file - | $(PY) scripts/bill_of_materials.py > build/sbom.cdx.json

constraints: $(UV) ## Pin what pyproject.toml newly asks for; what is pinned stays (CONSTRAINTS_ARGS=--upgrade to renew)
	$(UV) pip compile pyproject.toml --all-extras $(addprefix --group ,$(PINNED_GROUPS)) -c <(echo apache-airflow==$(AIRFLOW)) \
		--universal --python-version 3.11 --quiet --no-emit-index-url --no-emit-find-links --no-annotate \
		--custom-compile-command "make constraints" --output-file $(CONSTRAINTS) $(CONSTRAINTS_ARGS)

clean: ## Remove the virtual environment and everything built
	rm -rf $(VENV) $(RUNTIME) $(FAB) .demo .ui dist build mutants htmlcov .coverage .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps make a second call instant, and are stale as soon as a dependency may have changed.
$(VENV)/.installed-%: pyproject.toml $(CONSTRAINTS) | $(UV)
	$(UV) pip install --quiet --python $(PY) -c $(CONSTRAINTS) -e . --group $*
	@touch $@

$(RUNTIME)/.installed: pyproject.toml $(CONSTRAINTS) | $(UV)
	$(UV) venv --quiet --clear --python $(PY) $(RUNTIME)
	$(UV) pip install --quiet --python $(RUNTIME)/bin/python -c $(CONSTRAINTS) '.[curl]'
	@touch $@

$(FAB)/.installed: pyproject.toml $(CONSTRAINTS) | $(UV)
	$(UV) venv --quiet --clear --python $(PY) $(FAB)
	$(UV) pip install --quiet --python $(FAB)/bin/python -c <(grep -v '^python-dateutil' $(CONSTRAINTS)) -e . --group fab
	@touch $@

$(UV):
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 with its venv module found. Name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' || { echo "$(PYTHON) is no Python >= 3.11 with its venv module." >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check uv
