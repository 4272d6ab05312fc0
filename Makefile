# Each target works alone on a fresh clone with Python >= 3.11, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install test lint demo clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, not " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

test: install lint
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: install
	$(BIN)/python -m examples.demo_videos demo/videos
	$(BIN)/vidu-pipe extract --videos demo/videos --out demo/features
	$(BIN)/vidu-pipe train-fusion --store demo/features --out demo/run-$$(date +%Y%m%d-%H%M%S)

clean:
	rm -rf $(VENV) demo
