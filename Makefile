# Two commands do all the set-up: `make quickstart` and `make test`.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# two BLAS threads on two cores cost the controller 8 to 25 ms now and then
export OMP_NUM_THREADS ?= 1

.PHONY: help venv quickstart test test-all lint bench docs clean

help:  ## Show what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "icl-vla needs Python 3.11 (pybullet has no newer wheel); set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench,text]'
	@touch $@

quickstart: venv  ## Install, then run the whole main job in simulation, with pictures at the end
	$(BIN)/icl-vla quickstart

test: venv  ## Fast tests and the checks of the house (minutes)
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-all: venv  ## Every test, slow ones too, with the built-in robots (0.4 GB of meshes)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench,text,robots]'
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: venv  ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: venv  ## Side-by-side measurements (minutes); ratios, not promises
	-$(BIN)/python benchmarks/wbc/arm.py --ticks 200
	-$(BIN)/python benchmarks/wbc/one_step.py
	-$(BIN)/python benchmarks/wbc/first_command.py
	@mkdir -p build
	$(BIN)/python benchmarks/wbc/cost.py --small --plot build/cost.png
	$(BIN)/python benchmarks/command_line.py

docs: venv  ## Check the documentation against the code
	$(BIN)/python -m pytest tests/test_docs.py

clean:
	rm -rf $(VENV) quickstart build dist
