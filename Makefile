# One entry for everything: make run, make test, make check. `make help` lists the targets.
# The virtual environment is made once; a stamp in it says what has been installed.

PYTHON   ?= python3
VENV     ?= .venv
# More words for pip, e.g. PIP_ARGS="--index-url ..." to choose a build of PyTorch.
PIP_ARGS ?=
WORKERS  ?= 2

BIN     := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements/ci.txt $(PIP_ARGS)
PICTURE := src/vl2/assets/pictures/shapes.png
OUTPUT  := output

.PHONY: help run test check format clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  \1\t/' | expand -t 12

run: $(VENV)/core.stamp ## Ask the embedded model about a bundled picture and draw the box it finds
	@mkdir -p $(OUTPUT)
	$(BIN)/vl2 ask $(PICTURE) "What shape is red?"
	$(BIN)/vl2 locate $(PICTURE) "the red star" --draw $(OUTPUT)/located.png

test: $(VENV)/dev.stamp ## Run the unit tests
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "not gpu and not weights"

check: $(VENV)/dev.stamp ## Lint, format, types, floor plan, spelling, docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check --summary=none
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m pytest -q tests/docs/test_links.py tests/docs/test_options.py

format: $(VENV)/dev.stamp ## Rewrite the code as ruff wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment and what the commands wrote
	rm -rf $(VENV) $(OUTPUT) dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/core.stamp: pyproject.toml requirements/ci.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/core.stamp
	$(INSTALL) -e '.[dev]'
	@touch $@
