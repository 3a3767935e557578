# `make demo` and `make test` are all a newcomer needs; both install what they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Worker processes of pytest; the networks of each use one thread then.
WORKERS ?= 2
SHARED ?= ../shared

.PHONY: demo test check soak bench format clean install

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[export,bench,dev]'
	touch $@

demo: install
	$(BIN)/scanside demo demo-out

test: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope -m 'not slow and not gpu'

soak: install
	$(BIN)/python -m pytest -m slow

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The figures of README.md; wants an idle machine and takes about an hour. Results go to benchmarks/results.
bench: install
	$(BIN)/python -m scanside.benchmarks.headline --shared $(SHARED) --out benchmarks/results

clean:
	rm -rf $(VENV) demo-out dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
