# Thin on purpose: what a target does is Python, so that it works without make too (see README).
PYTHON ?= python3
VENV := .venv
# Windows keeps the interpreter in Scripts.
PY := $(if $(filter Windows_NT,$(OS)),$(VENV)/Scripts/python.exe,$(VENV)/bin/python)
READY := $(VENV)/.ready

.PHONY: help lab test notebooks editions bench toys records clean
.DEFAULT_GOAL := help

help:  ## Show this list
	@sed -n 's/^\([a-z.]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

lab: $(READY)  ## Open JupyterLab on your own copy of notebook 00 (flags for it: LAB_FLAGS=...)
	@$(PY) -m netwright lab

test: $(READY)  ## Run every check: ruff, then pytest
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m pytest -n 2 --dist loadgroup

notebooks: $(READY)  ## Build the notebooks whose source has changed (ALL=1: every one)
	$(PY) -m netwright notebooks $(if $(ALL),--all)

editions: $(READY)  ## For a course: student, solution, instructor, slides, nbgrader, in build/editions (EDITION_FLAGS=--zip)
	@$(PY) -m netwright editions $(EDITION_FLAGS)

bench: $(READY)  ## Measure speed side by side with timm (flags: BENCH_FLAGS=--quick)
	$(PY) tests/bench.py $(BENCH_FLAGS)
	$(PY) tests/bench_training.py $(BENCH_FLAGS)
	$(PY) tests/bench_views.py $(BENCH_FLAGS)

toys: $(READY)  ## Train the toy nets anew, five seeds each: hours (flags: TOY_FLAGS="--runs FOLDER")
	$(PY) tests/make_toy_nets.py $(TOY_FLAGS)

records: $(READY)  ## Make anew what the views show of the toy nets: grades, optimised pictures, trainings, screenshots
	$(PY) tests/make_league.py
	$(PY) tests/make_optimised.py
	$(PY) tests/make_trainings.py runs/toys
	$(PY) tests/make_screenshots.py

clean:  ## Remove .venv and what the tools leave behind; workbook/ and notebooks/ stay
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
	find lib tests notebooks -name __pycache__ -prune -exec rm -rf {} +

$(VENV): $(READY)

# Touched last: after an interruption or a failure the next make goes on where this one stopped.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "netwright needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ". Another one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@# torch by itself first: with it in place, nothing that comes later can bring another build of it.
	$(PY) -m pip install --disable-pip-version-check "$$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.lock)"
	$(PY) -m pip install --disable-pip-version-check -r requirements.lock
	$(PY) -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)
