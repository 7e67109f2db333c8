PYTHON ?= python3
VENV := .venv
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready
RUN := PATH="$(BIN):$$PATH" DVC_NO_ANALYTICS=1
TORCH ?=
REV ?= HEAD
SOURCES := src stages tests tools benchmarks

.DEFAULT_GOAL := help
.PHONY: help setup lock licences sbom advisories data repro verify test check lint types plots clean distclean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## create .venv and install the pinned packages

# Every package is taken by hash (tools/install.py). TORCH="torch==2.13.0" takes another build of torch than
# those of requirements-torch.lock from wherever pip is told to look, without a hash.
$(READY): pyproject.toml requirements.lock requirements-torch.lock requirements-cuda.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	@command -v git >/dev/null || { echo "git is needed and was not found"; exit 1; }
	@echo "setup: .venv with the packages of requirements.lock and $(or $(TORCH),requirements-torch.lock)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m tools.install $(TORCH)
	@touch $(READY)

lock: $(READY)  ## write the lock files anew; UPGRADE=--upgrade takes the newest versions
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev \
	    --generate-hashes --no-annotate --no-emit-package torch $(UPGRADE) pyproject.toml --output-file requirements.lock
	@$(RUN) python -m tools.supply_chain torch

licences: $(READY)  ## write docs/licences.md anew, from what is installed
	@$(RUN) python -m tools.supply_chain licences

sbom: $(READY)  ## write sbom.json: every locked package in CycloneDX form
	@$(RUN) python -m tools.supply_chain sbom

# --strict: else a package that the service does not know counts as one without weaknesses.
advisories: $(READY)  ## ask for published weaknesses of the locked packages; needs the network
	@cat requirements.lock requirements-torch.lock requirements-cuda.lock > $(VENV)/all.lock
	@$(BIN)/uv tool run pip-audit==2.10.1 --strict --require-hashes --disable-pip --progress-spinner off -r $(VENV)/all.lock

data: $(READY)  ## draw the embedded data set, unless data/ is there; never changes what lies there
	@$(RUN) python -m tools.embedded_data

# The verdict says whether this run is the committed one; with data or parameters of your own there is
# nothing to compare, which is no error.
repro: data  ## run the whole pipeline: data to report
	@$(RUN) dvc repro
	@echo "report: $(abspath report/report.html)"
	@echo "        $(abspath report/report.pdf)"
	@$(RUN) medaudit verify --brief || true

verify: $(READY)  ## compare the numbers of this run with those of a commit; REV=HEAD
	@$(RUN) medaudit verify $(REV)

lint: $(READY)  ## style, spelling
	@$(RUN) ruff check $(SOURCES)
	@$(RUN) ruff format --check --quiet $(SOURCES)
	@$(RUN) codespell src stages tests tools docs README.md

types: $(READY)  ## static types
	@$(RUN) mypy src stages

test: data lint types  ## lint, types and every test
	@$(RUN) pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 15

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
	-$(RUN) dvc config --local --quiet --unset core.site_cache_dir
	rm -rf $(VENV)
