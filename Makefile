# Everything runs in .venv, which is made on demand. It needs make and any Python from 3.11 on, nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
# What `pip install airflow-provider-adjust` installs, without the development tools.
RUNTIME := .venv-runtime
# Only here is the FAB auth manager, since Airflow lists what is installed.
FAB := .venv-fab
# The drivers of databases that PyPI has. fakesnow, a stand-in for Snowflake, contradicts the pins: its test is skipped.
WAREHOUSES := .venv-warehouses
HEADERS := gcc, pkg-config, libmariadb-dev
UV := $(VENV)/bin/uv
# The releases that the tests, the demo and CI use, by the digests of their files; scripts/pin_dependencies.py writes them.
# Only pyproject.toml binds a user of the provider.
LOCKED := requirements/locked.txt
# $(call install,PYTHON,GROUPS AND EXTRAS,THE PACKAGE): a file whose digest is not among LOCKED's is refused. The package is
# this source tree, which has no digest; what builds it has one.
install = $(UV) pip install --quiet --python $(1) --require-hashes -c $(LOCKED) -r pyproject.toml $(2) && \
	$(UV) pip install --quiet --python $(1) --build-constraints $(LOCKED) --no-deps $(3)

# The first that runs and is new enough: a `python3.12` on the path may be a version manager's shim with no Python behind.
NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$p" -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

# The tests of one file share their setup, so they stay in one process. One process more than two cores: much of the time
# passes while an Airflow starts.
PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder
# Arguments of what a target runs: make test PYTEST_ARGS="-k intake -x"
PYTEST_ARGS ?=
COMPATIBILITY_ARGS ?=
BENCH_ARGS ?=
UI_ARGS ?=
FAULTS_ARGS ?=
CRASHES_ARGS ?= --kills 200
FUZZ_SECONDS ?= 60
# Variants of a target.
BENCH ?=
COVERAGE ?=
SCREENSHOTS ?=
SUITE ?= slow

.PHONY: help demo ui test test-slow test-warehouses test-all lint docs bench faults crashes fuzz release clean \
	suite.slow suite.celery suite.fab suite.mutants suite.thorough screenshots.
ENOUGH_KILLED := import json, sys; \
	found = json.load(open("mutants/mutmut-cicd-stats.json")); \
	noticed = found["killed"] + found["timeout"]; \
	print(noticed, "of", found["total"], "mutants were noticed"); \
	sys.exit(noticed < 0.9 * found["total"])
COVERAGE_ARGS := --cov-branch --cov-report=term-missing:skip-covered

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-demo ## See the provider deliver to a local stand-in for Adjust
	$(PY) scripts/demo.py

ui: $(VENV)/.installed-demo ## Start Airflow with the demo's purchases and the stand-in; Ctrl-C stops it (UI_ARGS="--port 8081")
	$(PY) scripts/ui.py $(UI_ARGS)

# With COVERAGE=s2s, the tests of s2s/ alone have to take every branch of s2s/.
test: $(VENV)/.installed-dev ## Run the tests except the slow ones (COVERAGE=1 also requires 95 % of all branches, 100 % of s2s/)
ifeq ($(COVERAGE),s2s)
	$(PY) -m pytest tests/s2s -q $(PARALLEL) --cov=airflow_provider_adjust.s2s $(COVERAGE_ARGS) --cov-fail-under=100 $(PYTEST_ARGS)
else
	$(PY) -m pytest -m "not slow" $(PARALLEL) $(if $(COVERAGE),--cov $(COVERAGE_ARGS) --cov-fail-under=95) $(PYTEST_ARGS)
	$(if $(COVERAGE),$(PY) -m coverage report --include='airflow_provider_adjust/s2s/*' --show-missing --skip-covered --fail-under=100)
endif

test-slow: suite.$(SUITE) ## Run the tests that take minutes (SUITE=celery, fab or mutants for one of the special suites)

# The tests with more and new examples of every property.
suite.thorough: export HYPOTHESIS_PROFILE := thorough
suite.thorough: test

suite.slow: $(VENV)/.installed-dev $(VENV)/.installed-ui
	$(PY) -m pytest -m slow $(PYTEST_ARGS)

# Two Celery workers share a night, and a limit; needs a redis-server on the path.
suite.celery: $(VENV)/.installed-celery
	$(PY) -m pytest -m slow tests/campaign/test_celery.py tests/campaign/test_rate_group_on_celery.py $(PYTEST_ARGS)

# The page of deliveries shows to each person what their role in the FAB auth manager allows.
suite.fab: $(FAB)/.installed
	$(FAB)/bin/python -m pytest -m slow tests/deliveries_page/test_fab_auth_manager.py $(PYTEST_ARGS)

# The tests notice at least nine in ten small defects in the modules where a defect costs revenue.
suite.mutants: $(VENV)/.installed-mutants
	rm -rf mutants
	HYPOTHESIS_PROFILE=mutants $(VENV)/bin/mutmut run
	$(VENV)/bin/mutmut export-cicd-stats
	$(PY) -c '$(ENOUGH_KILLED)'

# What the system does not have skips its tests, which say so. Debian's names: mariadb-server, unixodbc, odbc-mariadb,
# odbc-postgresql, default-jre-headless, libpostgresql-jdbc-java.
test-warehouses: $(WAREHOUSES)/.installed ## Read through every database driver: real servers, and stand-ins for clouds
	$(WAREHOUSES)/bin/python -m pytest tests/sources $(PYTEST_ARGS)

test-all: $(VENV)/.installed-dev ## Test the wheel on every Airflow and Python (COMPATIBILITY_ARGS="--only 3.1" for one)
	$(PY) scripts/compatibility.py $(COMPATIBILITY_ARGS)

lint: $(VENV)/.installed-dev ## Check style, format, words, types and workflows
	$(PY) -m ruff check .
	$(PY) -m ruff check --preview --select AIR .
	$(PY) -m ruff format --check .
	$(PY) scripts/prose.py
	$(PY) -m mypy
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/{bug,idea}.yml
	$(VENV)/bin/zizmor --offline --quiet .

docs: $(if $(SCREENSHOTS),screenshots.) $(VENV)/.installed-docs ## Build the docs' site in build/site (SCREENSHOTS=1 takes its pictures anew, in a real Chromium)
	$(PY) scripts/generate_docs.py --check
	$(PY) -m sphinx --builder html --fail-on-warning --keep-going --jobs auto --quiet docs build/site

screenshots.: $(VENV)/.installed-demo $(VENV)/.installed-ui
	$(PY) scripts/screenshots.py
	$(PY) scripts/screenshot_deliveries_page.py

bench: $(VENV)/.installed-bench ## Measure speed, and write the page of benchmarks: 15 minutes (BENCH_ARGS=--quick writes nothing; BENCH=scale for one part)
	PYTHONPATH=scripts $(PY) -m benchmark$(if $(BENCH),.$(BENCH)) $(BENCH_ARGS)

faults: $(VENV)/.installed-dev ## Send 100,000 events through every fault and outage, and show that none is lost
	PYTHONPATH=scripts $(PY) -m campaign.faults $(FAULTS_ARGS)

crashes: $(VENV)/.installed-dev ## Kill sending tasks 200 times, and show that every promise is kept
	PYTHONPATH=scripts $(PY) -m campaign.crashes $(CRASHES_ARGS)

fuzz: $(VENV)/.installed-fuzz ## Search for rows, files and answers that break the parser (FUZZ_SECONDS=600 for longer)
	$(PY) scripts/fuzz.py parse --seconds $(FUZZ_SECONDS)
	$(PY) scripts/fuzz.py csv --seconds $(FUZZ_SECONDS)
	$(PY) scripts/fuzz.py jsonl --seconds $(FUZZ_SECONDS)
	$(PY) scripts/fuzz.py classify --seconds $(FUZZ_SECONDS)

release: $(VENV)/.installed-dev $(VENV)/.installed-release $(RUNTIME)/.installed ## Build sdist and wheel in dist/, check licences and vulnerabilities, write build/sbom.cdx.json
	rm -rf dist
	$(UV) build --quiet --python $(PY) --build-constraints $(LOCKED) --require-hashes
	$(PY) -m twine check --strict dist/*
	$(VENV)/bin/pip-licenses --python=$(RUNTIME)/bin/python
	$(PY) scripts/bundled_libraries.py $(RUNTIME)
	mkdir -p build
	$(VENV)/bin/cyclonedx-py environment $(RUNTIME)/bin/python --pyproject pyproject.toml --mc-type library \
		--output-reproducible --output-format JSON --output-file - | $(PY) scripts/bill_of_materials.py $(RUNTIME) > build/sbom.cdx.json
	$(PY) scripts/vulnerabilities.py $(RUNTIME)

clean: ## Remove the virtual environments and everything built
	rm -rf $(VENV) $(RUNTIME) $(FAB) $(WAREHOUSES) .demo .ui dist build mutants htmlcov .coverage .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps make a second call instant, and are stale as soon as a dependency may have changed.
$(VENV)/.installed-%: pyproject.toml $(LOCKED) | $(UV)
	$(call install,$(PY),--group $*,--editable .)
	@touch $@

$(RUNTIME)/.installed: pyproject.toml $(LOCKED) | $(UV)
	$(UV) venv --quiet --clear --python $(PY) $(RUNTIME)
	$(call install,$(RUNTIME)/bin/python,,.)
	@touch $@

$(FAB)/.installed: pyproject.toml $(LOCKED) | $(UV)
	$(UV) venv --quiet --clear --python $(PY) $(FAB)
	$(call install,$(FAB)/bin/python,--group fab,--editable .)
	@touch $@

$(WAREHOUSES)/.installed: pyproject.toml $(LOCKED) | $(UV)
	$(UV) venv --quiet --clear --python $(PY) $(WAREHOUSES)
	$(call install,$(WAREHOUSES)/bin/python,--group drivers,--editable .) || \
		{ echo "mysqlclient is built here and needs headers; Debian has them in $(HEADERS)" >&2; exit 1; }
	@touch $@

$(UV):
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 with its venv module found. Name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' || { echo "$(PYTHON) is not a Python >= 3.11 with its venv module." >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/uv.txt
