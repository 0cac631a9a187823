# Each target sets itself up in .venv the first time: `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs_ready
WEB_READY := $(VENV)/.web_ready

# Idle threads soon sleep, so that other programs on the same cores lose nothing (common/process_setup.py).
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 1000

# Tests are many small operations: processes with one thread each serve them better than one process with all threads.
WORKERS ?= auto
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal

.PHONY: demo web test test-all coverage lint types docs clean
.DEFAULT_GOAL := demo

# torch and torchvision must match, so one resolver run installs everything.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "Installing what pyproject.toml asks for (about 6 GB with torch's CUDA build; minutes) ..."
	$(BIN)/python -m pip install --quiet --editable ".[demo,photos,dev]"
	touch $(READY)

# With what the page needs alone: no metrics, no tests.
$(WEB_READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what the web page needs (about 6 GB with torch's CUDA build; minutes) ..."
	$(BIN)/python -m pip install --quiet --editable ".[web]"
	touch $(WEB_READY)

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $(DOCS_READY)

# Captions of pictures; or `make demo modality=sound`, `make demo modality=video`.
modality ?= image

demo: $(READY)
	$(BIN)/python scripts/demo.py modality=$(modality)

# The web page, on http://127.0.0.1:7860/; or `make web checkpoint=sounds port=8000`.
checkpoint ?= photos
port ?= 7860

web: $(WEB_READY)
	$(BIN)/python scripts/web.py checkpoint=$(checkpoint) port=$(port)

test: $(READY)
	$(PYTEST) -m "not slow and not gpu and not browser"

test-all: $(READY)
	$(PYTEST)

# The same tests, with the share of lines that they run, in total and per file.
coverage: $(READY)
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

clean:
	rm -rf outputs site data/demo*
