# panelproof: make venv | demo | test | check | docs | docs-refresh | bench | mutants | campaigns | faults | frozen
.RECIPEPREFIX = >
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# tests start hundreds of processes: without compiled files each compiles every module anew, which takes a second
unexport PYTHONDONTWRITEBYTECODE

.PHONY: venv demo test check types whole docs docs-refresh bench mutants campaigns faults frozen clean
venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt find-python.sh
>@python=$$(sh find-python.sh) || exit 1; \
>echo "using $$python"; \
>rm -rf $(VENV) && "$$python" -m venv $(VENV)
>@echo "installing panelproof and its libraries (numpy, pandas, dask, zarr, others)"
>@echo "into $(VENV): half a minute, some more on a slow network, a dot a second"
# uv needs a third of pip's time; where it cannot (an index that asks who you are, say), pip does all of it. Neither
# compiles modules: that is done when they are first imported, and few of them ever are
>@(n=0; while sleep 1 && kill -0 $$$$ 2>/dev/null; do printf .; n=$$((n + 1)); [ $$((n % 60)) != 0 ] || echo; done) & \
>dots=$$!; pip="$(BIN)/python -m pip --quiet --disable-pip-version-check"; \
>index=$$($$pip config list | sed -n "s/.*\.index-url='\(.*\)'/--default-index=\1/p" | tail -n 1); \
>{ $$pip install --no-compile -c constraints.txt uv \
>&& $(BIN)/uv pip install --quiet --python $(BIN)/python $$index -c constraints.txt -e '.[dev]' 2>/dev/null; } \
>|| $$pip install --no-compile -c constraints.txt -e '.[dev]'; \
>code=$$?; kill $$dots; echo; exit $$code
>@touch $(STAMP)

# which standard errors hold? one minute; the answer, its picture, and a page
demo: $(STAMP)
>@echo "now the study runs on simulated panels; its first lines come in a few seconds"
>@$(BIN)/panelproof run size --replications 1000 --html runs/size.html --chart --open

# what everybody runs, in 5 minutes; tests/support/tiers.py says how it is chosen
test: $(STAMP)
>$(BIN)/python -m pytest -n 2 --dist worksteal -m "not (long or browser or server or documents)"

# types are checked beside the tests; of these four run at once on two cores: a third of the time they wait for
# clusters, locks and broken links
check: $(STAMP)
>$(BIN)/ruff check .
>$(BIN)/ruff format --check .
>$(BIN)/lint-imports
>$(BIN)/codespell
>@$(MAKE) --no-print-directory --jobs 2 types whole

types: $(STAMP)
>$(BIN)/mypy

whole: $(STAMP)
>$(BIN)/python -m pytest -n 4 --dist worksteal

# the site, into build/site; it opens without a server
docs: $(STAMP)
>$(BIN)/python docs/build/reference_pages.py
>$(BIN)/python -m mkdocs build --strict

# all outputs and pictures of the documents again, by their own commands; the studies take an hour
docs-refresh: $(STAMP)
>$(BIN)/python docs/build/reference_pages.py
>$(BIN)/python docs/build/refresh.py
>$(BIN)/python docs/build/study_pages.py

bench: $(STAMP)
>$(BIN)/python tests/benchmarks/bench.py
>$(BIN)/python tests/benchmarks/costs_bench.py
>$(BIN)/python tests/benchmarks/placebo_bench.py
>$(BIN)/python tests/benchmarks/cluster_bench.py
>$(BIN)/python tests/benchmarks/staggered_bench.py
>$(BIN)/python tests/benchmarks/synthetic_bench.py
>$(BIN)/python tests/benchmarks/iv_bench.py
>$(BIN)/python tests/benchmarks/numbers_bench.py

mutants: $(STAMP)
>$(BIN)/python tests/mutants/run.py

campaigns: $(STAMP)
>$(BIN)/python tests/campaigns/run.py

faults: $(STAMP)
>$(BIN)/python tests/faults/run.py

# what the program computes and prints, against what is kept in tests/frozen
frozen: $(STAMP)
>$(BIN)/python tests/frozen/run.py

clean:
>rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
