# `make` alone lists the targets. Everything lives in .venv; nothing is installed outside it.
VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed

TASK          ?= charger
ROBOT         ?= agibot_g1_geniesim
SEED          ?= 0
ROBOT_MINUTES ?= 9
OUT           ?= runs/$(TASK)$(if $(filter-out agibot_g1_geniesim,$(ROBOT)),-$(ROBOT))
PYTEST_ARGS   ?=

# One thread per process: the networks are small, and more threads compete on a small machine.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install train test test-lerobot lint types format reference opengl clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

install: $(STAMP)  ## set up .venv (CPU build of torch without a GPU)

$(STAMP): pyproject.toml constraints.txt setup.py tools/install.sh tools/check_system.sh
	@tools/install.sh $(VENV)

train: install opengl  ## train TASK on the graph with a simulated ROBOT, and write OUT/report.html
	$(BIN)/rlt-ros launch train --robot $(ROBOT) --task $(TASK) --seed $(SEED) --robot-minutes $(ROBOT_MINUTES) --out $(OUT)

test: install opengl  ## run the tests
	@echo "About 3,000 tests: 12 minutes on two idle cores"
	$(BIN)/python -m pytest -q -n 2 $(PYTEST_ARGS)

test-lerobot: install opengl  ## run the tests of the lerobot back end, in a separate environment
	@tools/test_lerobot.sh $(VENV) $(PYTEST_ARGS)

lint: install  ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install  ## mypy on rlt_ros/
	$(BIN)/mypy

format: install  ## apply ruff's fixes and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: install  ## generate docs/reference/, config/rlt.yaml and the security policy from the code
	$(BIN)/python tools/make_reference.py
	$(BIN)/python tools/make_policy.py

opengl: install
	@$(BIN)/python -m rlt_ros.sim.opengl

clean:  ## remove caches and builds; .venv and runs/ stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find rlt_ros test -name __pycache__ -type d -prune -exec rm -rf {} +
