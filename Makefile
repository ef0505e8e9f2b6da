# Two commands for a stranger: `make demo` and `make test`. Both set up all they need in .venv, both may be run again.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check rust python lint fixtures bench clean

demo: $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python '.[demo]'
	$(BIN)/trustformers demo

test: check rust python

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip uv
