# All targets use .venv, made with Debian's python3 and the pinned, hashed requirements.lock.
VENV := .venv
BIN := $(VENV)/bin

# A worker takes whole modules as long as it can: the fixtures of a module are made once
PARALLEL := --numprocesses 2 --dist worksteal

.PHONY: help setup dev demo test fast lint types lock docs site bench bench-quick bench-skill

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(VENV)/.ready ## create .venv with the program

$(VENV)/.ready: requirements.lock pyproject.toml
	@echo "Setting up $(VENV) (about 200 MB of downloads the first time)"
	@test -x $(BIN)/python || python3 -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.lock
	@echo "Setting up the tools for development"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	@touch $@

dev: $(VENV)/.ready-dev ## add the tools for development

demo: setup ## load, train, backtest and forecast two real records
	@$(BIN)/energy-forecast demo $(ARGS)

test: dev ## run all tests on a separate PostgreSQL server; ARGS goes to pytest
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

fast: dev ## run the unit tests only
	@$(BIN)/python -m pytest $(PARALLEL) tests/unit $(ARGS)

lint: dev ## check code, imports and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/codespell
	@$(BIN)/sqlfluff lint --disable-progress-bar src
	@$(BIN)/zizmor --offline --quiet .github
	@$(BIN)/pre-commit validate-config

types: dev ## run mypy --strict
	@$(BIN)/mypy

docs: dev ## write docs/reference from the program
	@$(BIN)/python docs/generate.py

site: dev ## build the documentation into build/site; broken links fail
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

DATA ?= ../shared/data
RESULTS := benchmarks/results

# All benchmarks with their references: two hours and 25 GB; quick: the same at small size, in a minute, without stored results.
bench: setup ## run all benchmarks: two hours and 25 GB
	@$(BIN)/python benchmarks/bench.py $$(test -d $(DATA)/us_cities && echo --data $(DATA)/us_cities) $(ARGS)

bench-quick: setup ## run the benchmarks at small size, in a minute
	@$(BIN)/python benchmarks/bench.py --quick $(ARGS)

# The protocol of docs/decisions/appendix-models.md on the sample, and on the folders in DATA if they exist. Peers are scored too
# once `$(BIN)/pip install lightgbm mlforecast skforecast prophet statsforecast` has been run. ARGS='--model ensemble' chooses.
bench-skill: setup ## measure the accuracy of the models
	@mkdir -p $(RESULTS)
	@$(BIN)/python benchmarks/skill.py --last-fifth $(ARGS) | tee $(RESULTS)/skill-sample-$$(date +%F).csv
	@if test -d $(DATA)/us_cities; then $(BIN)/python benchmarks/skill.py $(DATA)/us_cities --horizon 24,168 --weather actual,none $(ARGS) \
	  | tee $(RESULTS)/skill-us-cities-$$(date +%F).csv; fi
	@if test -d $(DATA)/tetouan; then $(BIN)/python benchmarks/skill.py $(DATA)/tetouan --last-fifth --horizon 24,168 --weather actual,none $(ARGS) \
	  | tee $(RESULTS)/skill-tetouan-$$(date +%F).csv; fi

EXTRAS := --extra training --extra server --extra sample

# Needs uv. The locks name no registry, so they hold wherever the packages come from.
lock: ## resolve requirements*.lock again; needs uv
	uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command 'make lock' $(EXTRAS) pyproject.toml requirements-build.in --output-file requirements.lock
	uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command 'make lock' $(EXTRAS) --extra telemetry --extra dev --extra docs --constraint requirements.lock pyproject.toml requirements-build.in --output-file requirements-dev.lock
