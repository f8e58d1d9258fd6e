# Every target works on a fresh machine: it first makes the virtual environment when that is missing or stale.
SHELL  := /bin/bash
PYTHON ?= python3
PY     := .venv/bin/python
# What .venv holds: what a run needs; the Hopsworks SDK too; and what tests need. Each includes those before it.
READY  := .venv/.dagsverk-ready
SDK    := .venv/.dagsverk-hopsworks
DEV    := .venv/.dagsverk-dev
PINS   := pyproject.toml constraints.txt constraints-hopsworks.txt
# uv reads its own variable: pass on where pip was told to look for files (e.g. the CPU build of torch)
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# prints how long a command took, whether it succeeded or not
timed = start=$$(date +%s); $(2); status=$$?; \
        echo "$(1): $$(( $$(date +%s) - start )) s"; exit $$status

# how many processes share the tests, file by file; one for tests that somebody names, so that --pdb works
PROCESSES ?= $(if $(TEST),0,2)
SIDE_BY_SIDE = -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

set-up = $(call timed,set-up,PYTHON='$(PYTHON)' bash deployments/setup.sh $(1) && touch $(2))

.DEFAULT_GOAL := help
.PHONY: help setup hopsworks demo up ui test lint bench gpu audit pins clean browser

help:           ## what can be made
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /  make \1|/' | column -t -s '|'

setup: $(READY) ## the virtual environment with the versions in constraints.txt

hopsworks: $(SDK) ## adds the Hopsworks SDK, with the older versions that it asks for

# An environment that holds more is brought up to date with all that it holds.
$(READY): $(PINS)
	@$(call set-up,$(if $(wildcard $(DEV)),dev,$(if $(wildcard $(SDK)),hopsworks,run)),$@ $(wildcard $(SDK) $(DEV)))
$(SDK): $(PINS)
	@$(call set-up,$(if $(wildcard $(DEV)),dev,hopsworks),$(READY) $@ $(wildcard $(DEV)))
$(DEV): $(PINS)
	@$(call set-up,dev,$(READY) $(SDK) $@)

demo: $(if $(STORE),$(DEV),$(READY)) ## one whole day of every system, then a summary (DEMO='--systems iris' STORE=s3, or hopsworks-emulator)
	@$(if $(STORE),$(PY) tests/support/store_servers.py $(STORE) -- )$(PY) -m deployments.demo $(DEMO)

up: $(READY)    ## Prefect, workers and pages, until Ctrl-C (UP='--no-pages')
	@$(PY) -m deployments.up $(UP)

ui: $(READY)    ## the pages alone
	@$(PY) -m ui $(UI)

test: $(DEV) $(if $(FAST),,browser) ## all tests; the fast ones (FAST=1); some (TEST='tests/test_store_rows.py -x')
	@$(call timed,tests,$(PY) -m pytest $(SIDE_BY_SIDE) $(if $(FAST),--fast) $(TEST))

lint: $(DEV)    ## ruff and strict mypy
	@$(call timed,lint,$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy)

bench: $(DEV)   ## every benchmark with its default sizes
	@$(call timed,benchmarks,set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(PY) $$script; done)

gpu: $(READY)   ## the benchmarks that want a GPU, into benchmarks/RESULTS.md (PARTS='small evaluate')
	@bash benchmarks/on_gpu.sh $(PARTS)

audit: $(READY) ## known holes and licences of all that is installed; a bill of materials in build/
	@$(PY) -m deployments.audit

pins: $(READY)  ## both constraints files anew: the newest versions that pyproject.toml allows
	@bash deployments/pins.sh

browser:
	@bash deployments/browser.sh

clean:          ## the virtual environment and caches; your data in .dagsverk stays
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
