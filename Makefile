# Each target sets itself up in .venv the first time: `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv_lowest
# LOCKED=1: exactly the versions of constraints.txt, those that the stated numbers and the tests were last run with.
STAMP := $(if $(LOCKED),.locked,.ready)
READY := $(VENV)/$(STAMP)
DOCS_READY := $(READY)_docs
WEB_READY := $(READY)_web
EXTRAS := demo,photos,dev

# TORCH=cpu: torch for machines without a GPU, some 200 MB in place of 6 GB. TORCH_INDEX=: another index of torch's builds,
# such as a mirror, or https://download.pytorch.org/whl/cu126 for older drivers.
ifneq ($(filter-out cpu,$(TORCH)),)
$(error TORCH=$(TORCH) must be cpu, or be left away for the CUDA build of PyPI; TORCH_INDEX= names another index)
endif
TORCH_INDEX ?= $(if $(TORCH),https://download.pytorch.org/whl/cpu)
# Of equal versions pip takes that with a local part, such as 2.9.1+cpu, so that the index's builds win over PyPI's.
PIP_INSTALL = $(BIN)/python -m pip install --quiet \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(if $(LOCKED),--constraint constraints.txt)
SIZE := $(if $(TORCH),about 2 GB,about 6 GB with torch's CUDA build)

# Idle threads soon sleep, so that other programs on the same cores lose nothing (common/process_setup.py).
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 1000

# Tests are many small operations: processes with one thread each serve them better than one process with all threads.
WORKERS ?= auto
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal

# What else is given on make's command line is an option of the script behind `make demo` or `make web`, which checks it.
# ARGS="--cfg job": what is no name=value. Values are quoted as they are, so that a shell reads none of their characters.
MAKE_VARIABLES := PYTHON TORCH TORCH_INDEX LOCKED WORKERS ARGS VENV LOWEST EXTRAS OMP_WAIT_POLICY GOMP_SPINCOUNT SHELL
SCRIPT_OPTIONS := $(sort $(foreach .each,$(filter-out $(MAKE_VARIABLES),$(.VARIABLES)),$(if $(filter command,$(origin $(.each))),$(.each))))
.quoted = '$(subst ','\'',$(1))'
OPTIONS = $(foreach .each,$(SCRIPT_OPTIONS),$(call .quoted,$(.each)=$(value $(.each)))) $(ARGS)
ifneq ($(filter-out demo web,$(MAKECMDGOALS)),)
ifneq ($(SCRIPT_OPTIONS)$(filter command,$(origin ARGS)),)
$(error $(if $(SCRIPT_OPTIONS),$(firstword $(SCRIPT_OPTIONS))=,ARGS=) says nothing to make $(filter-out demo web,$(MAKECMDGOALS)): options of scripts are for make demo and make web; \
those of make itself are PYTHON, TORCH, TORCH_INDEX, LOCKED and WORKERS)
endif
endif

.PHONY: demo web test test-all coverage lint types docs lock lowest torch-is-right web-torch-is-right clean
.DEFAULT_GOAL := demo

# torch and torchvision must match, so one resolver run installs everything.
$(READY): pyproject.toml $(if $(LOCKED),constraints.txt)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "Installing what pyproject.toml asks for ($(SIZE); minutes) ..."
	$(PIP_INSTALL) --editable ".[$(EXTRAS)]"
	touch $(READY)

# An environment of before keeps its torch, so that TORCH=cpu would change nothing: then it says so.
torch-is-right: $(READY)
web-torch-is-right: $(WEB_READY)
torch-is-right web-torch-is-right:
ifeq ($(TORCH),cpu)
	@$(BIN)/python -c 'import torch; exit(torch.version.cuda and 1)' || \
	{ echo "TORCH=cpu: $(VENV) has torch with CUDA from before. Remove the environment, rm -r $(VENV), and try again"; exit 1; }
endif

# With what the page needs alone: no metrics, no tests.
$(WEB_READY): pyproject.toml $(if $(LOCKED),constraints.txt)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what the web page needs ($(SIZE); minutes) ..."
	$(PIP_INSTALL) --editable ".[web]"
	touch $(WEB_READY)

$(DOCS_READY): $(READY)
	$(PIP_INSTALL) --editable ".[docs]"
	touch $(DOCS_READY)

# Captions of pictures; or `make demo modality=sound`, `make demo modality=video 'seeds=[0,1]'`.
demo: torch-is-right
	$(BIN)/python scripts/demo.py $(OPTIONS)

# The web page, on http://127.0.0.1:7860/; or `make web checkpoint=sounds port=8000 draw_with=null`.
web: web-torch-is-right
	$(BIN)/python scripts/web.py $(OPTIONS)

test: torch-is-right
	$(PYTEST) -m "not slow and not gpu and not browser"

test-all: torch-is-right
	$(PYTEST)

# The same tests, with the share of lines that they run, in total and per file.
coverage: torch-is-right
	$(PYTEST) -m "not slow and not gpu and not browser" --cov --cov-report=term

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/basedpyright

# The site, into site/. A broken link is an error.
docs: $(DOCS_READY)
	$(BIN)/mkdocs build --strict

# constraints.txt: what is installed here, and for other systems and versions of Python what goes with it.
lock: $(READY)
	$(BIN)/python -m pip list --format freeze --exclude-editable --exclude pip > constraints.txt
	$(BIN)/uv pip compile pyproject.toml $(foreach extra,demo photos dev docs web,--extra $(extra)) --universal --python-version 3.10 \
		--no-annotate --quiet --custom-compile-command "make lock" --output-file constraints.txt

# The lower bounds of pyproject.toml are true: the tests with the oldest versions that they allow.
lowest: $(READY)
	$(BIN)/uv venv --seed --quiet --clear --python 3.10 $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct --editable ".[$(EXTRAS)]"
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n $(WORKERS) --maxprocesses 8 -m "not slow and not gpu and not browser"

clean:
	rm -rf outputs site data/demo*
