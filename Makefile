# panelproof: make venv | demo | test | check | bench | mutants | campaigns
.RECIPEPREFIX = >
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: venv demo test check bench mutants campaigns clean
venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt find-python.sh
>@python=$$(sh find-python.sh) || exit 1; \
>echo "using $$python"; \
>rm -rf $(VENV) && "$$python" -m venv $(VENV)
>$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
>@touch $(STAMP)

demo: $(STAMP)
>$(BIN)/panelproof run bias --html runs/bias.html

test: $(STAMP)
>$(BIN)/python -m pytest -n 2

check: $(STAMP)
>$(BIN)/ruff check .
>$(BIN)/ruff format --check .
>$(BIN)/mypy
>$(BIN)/lint-imports
>$(BIN)/python -m pytest -n 2

bench: $(STAMP)
>$(BIN)/python tests/benchmarks/bench.py
>$(BIN)/python tests/benchmarks/costs_bench.py
>$(BIN)/python tests/benchmarks/placebo_bench.py
>$(BIN)/python tests/benchmarks/staggered_bench.py

mutants: $(STAMP)
>$(BIN)/python tests/mutants/run.py

campaigns: $(STAMP)
>$(BIN)/python tests/campaigns/run.py

clean:
>rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
