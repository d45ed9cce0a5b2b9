.POSIX:

# The Python that the environment is made from: make PYTHON=python3.12 test
PYTHON = python3
BIN = .venv/bin

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

# Each job starts a new interpreter: where PYTHONDONTWRITEBYTECODE is set, it would compile the
# package anew every time.
venv: .venv/installed ## make the environment in .venv, with all that developers need
	@$(BIN)/python -m compileall -q persist_magic

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: venv ## run the example from end to end
	$(BIN)/python notebooks/demo.py

lab: venv ## open the quickstart notebook in JupyterLab
	$(BIN)/jupyter lab notebooks/quickstart.ipynb

lint: venv ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## set up everything, lint, and run all tests
	$(BIN)/pytest -n 2 --dist loadfile

bench-latency: venv ## measure how long small jobs take
	$(BIN)/python benchmarks/latency.py

clean: ## remove the environments, caches and builds
	rm -rf .venv .venvs build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help venv demo lab lint test bench-latency clean
