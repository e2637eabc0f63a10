# Every command of the house. All of it lives in .venv and data/; neither is under version control.

PYTHON := .venv/bin/python
PIP := $(PYTHON) -m pip --disable-pip-version-check
# One version of each package for every Python and platform, so that what was tested is what is installed.
PIN := .venv/bin/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --no-header
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/.venv/.cache/hypothesis

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run serve demo test check bench torture format requirements audit

help: ## Show this list.
	@sed -n 's/^\([a-z]*\):.*## \(.*\)$$/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s%s\n", $$1, $$2 }'

run: .venv/runtime.stamp ## Start the console and the four demo agents, and print the link to open.
	@SIGNOFF_DEMO=1 exec $(PYTHON) app.py serve

serve: .venv/runtime.stamp ## Start the console alone, for agents of your own.
	@exec $(PYTHON) app.py serve

demo: .venv/runtime.stamp ## Start only the demo agents, against a console that runs already.
	@exec $(PYTHON) -m agents.demo

test: .venv/dev.stamp ## Run every test, on both databases and in a real browser, and print the branch coverage.
	@$(PYTHON) tests/ensure_chromium.py
	$(PYTHON) -m pytest -n 3 --dist worksteal --cov --cov-report=term

check: .venv/dev.stamp ## Check format, lint, types, floors and migrations.
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports --cache-dir .venv/.cache/import-linter
	$(PYTHON) -m db.check

bench: .venv/dev.stamp ## Measure the house, beside the raw rate of the same databases.
	$(PYTHON) -m bench

torture: .venv/dev.stamp ## Kill agents and servers a thousand times and race for everything, then count up what was promised.
	$(PYTHON) -m tests.torture

format: .venv/dev.stamp ## Put the code into the house's format.
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

requirements: .venv/dev.stamp ## Pin requirements*.in anew; what is pinned stays unless the .in files ask otherwise.
	$(PIN) requirements.in -o requirements.txt
	$(PIN) -c requirements.txt requirements-dev.in -o requirements-dev.txt

# In an environment of its own, which shares nothing with what it looks at. It says 1 where something is known against a
# package, and where one could not be looked up; where no advisories can be reached that is said too.
audit: .venv/dev.stamp ## Ask PyPI whether anything is known against the packages that are pinned.
	@.venv/bin/uv tool run --from pip-audit==2.10.1 pip-audit --version >/dev/null || \
		{ echo "pip-audit could not be installed: nothing was audited." >&2; exit 2; }
	@$(PYTHON) -c "import urllib.request as u; u.urlopen('https://pypi.org/pypi/pip/json', timeout=20).read(1)" 2>/dev/null || \
		{ echo "The advisories at pypi.org cannot be reached from here: nothing was audited." >&2; exit 2; }
	.venv/bin/uv tool run --from pip-audit==2.10.1 pip-audit --strict --disable-pip --no-deps --progress-spinner off \
		--requirement requirements.txt

# A Python is good enough when it can also make a virtual environment; Debian, for one, packs that apart.
.venv/bin/python:
	@for name in python3.14 python3.13 python3.12 python3.11 python3; do \
		if $$name -c 'import sys, ensurepip, sqlite3, ssl, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Making .venv with $$($$name --version)."; exec $$name -m venv --clear .venv; \
		fi; \
	done; \
	echo "Signoff needs Python 3.11 or newer with its venv module (on Debian: apt install python3 python3-venv)." >&2; \
	exit 1

.venv/runtime.stamp: requirements.txt | .venv/bin/python
	@echo "Installing what the console needs (once; a minute or two)."
	@$(PIP) install --quiet --requirement requirements.txt
	@touch $@

.venv/dev.stamp: requirements-dev.txt requirements.txt | .venv/bin/python
	@echo "Installing what the checks and tests need (once; a minute or two)."
	@$(PIP) install --quiet --requirement requirements-dev.txt
	@touch $@ .venv/runtime.stamp
