PYTHON ?= python3
VENV := .venv
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready
RUN := PATH="$(BIN):$$PATH" DVC_NO_ANALYTICS=1
SOURCES := src stages tests tools benchmarks

.DEFAULT_GOAL := help
.PHONY: help setup data repro test check lint types plots clean distclean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## create .venv and install the pinned packages

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	@command -v git >/dev/null || { echo "git is needed and was not found"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $(READY)

data: $(READY)  ## fetch the embedded data set from the repository's own store
	@$(RUN) dvc pull --quiet data.dvc || { \
	    echo "data/ is not what data.dvc names. Your own data: dvc add data. Else: dvc checkout --force data.dvc"; \
	    exit 1; }

repro: data  ## run the whole pipeline: data to report
	@$(RUN) dvc repro
	@echo "report: $(abspath report/report.html)"
	@echo "        $(abspath report/report.pdf)"

lint: $(READY)  ## style, spelling
	@$(RUN) ruff check $(SOURCES)
	@$(RUN) ruff format --check --quiet $(SOURCES)
	@$(RUN) codespell src stages tests tools docs README.md

types: $(READY)  ## static types
	@$(RUN) mypy src stages

test: data lint types  ## lint, types and every test
	@$(RUN) pytest -n 2 --dist loadfile

check: $(READY) lint  ## the quick subset: lint and fast tests
	@$(RUN) pytest -n 2 -q -m "not slow and not pipeline and not realdata"

plots: data  ## charts of the committed results as one offline page
	@$(RUN) python tools/plots_page.py
	@$(RUN) dvc plots show --out dvc_plots
	@echo "plots:  $(abspath dvc_plots/index.html)"

clean:  ## remove what a run leaves aside (checkpoints, timings, caches of tools)
	rm -rf .resume runtime dvc_plots .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## as clean, and the environment
	rm -rf $(VENV)
