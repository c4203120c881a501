# Every command of the project. `make help` lists them; `make demo` and `make test` set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCK := uv pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.11
PEERS := .venv-peers
PEER_LISTS := benchmarks/peers/requirements

SEED ?= 1
ROUNDS ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup check format test-fast test faults demo bench bench-peers lock clean
.PHONY: local-up local-down local-logs redis-cli deploy-all

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv with the pinned dependencies and this project

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Penstock needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

check: setup ## format, lint, types, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## let the formatter and the linter mend what they can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test-fast: setup ## what runs in seconds and starts no process
	$(BIN)/pytest -q -m "not slow" tests/unit tests/architecture

test: setup ## everything that must pass, four tests at a time: most of them wait for processes
	$(BIN)/pytest -q --numprocesses 4 --dist worksteal

faults: setup ## deployments under random faults, and what became of every job; SEED=7 ROUNDS=20 ARGS=--help
	PYTHONPATH=tests $(BIN)/python -m support.faults --seed $(SEED) --rounds $(ROUNDS) $(ARGS)

demo: setup ## 50 million loans under three scenarios, live, on a node of its own
	$(BIN)/python examples/demo.py

bench: setup ## measure the embedded node and print a table
	$(BIN)/python benchmarks/embedded.py

bench-peers: setup $(patsubst $(PEER_LISTS)/%.txt,$(PEERS)/%/.ready,$(wildcard $(PEER_LISTS)/*.txt)) ## compare with other task queues over Redis; ARGS=--quick for a trial
	PYTHONPATH=benchmarks $(BIN)/python -m peers $(ARGS)

$(PEERS)/%/.ready: $(PEER_LISTS)/%.txt
	$(PYTHON) -m venv $(PEERS)/$*
	$(PEERS)/$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

local-up: ## the whole system in containers on this machine; WORKERS=5, PROFILE=monitoring
	@deploy/local.sh up

local-down: ## stop it; jobs and history stay, unless ARGS=--volumes
	@deploy/local.sh down $(ARGS)

local-logs: ## follow its logs; ARGS="worker api1" for some of them
	@deploy/local.sh logs $(ARGS)

redis-cli: ## look into its Redis; ARGS="info memory"
	@deploy/local.sh redis-cli $(ARGS)

deploy-all: ## API and workers on Cloud Run; PROJECT_ID=name, REGION=, DRY_RUN=1 only prints the commands
	@deploy/cloud-run.sh

lock: setup ## pin the dependencies anew (needs uv); those of the image are the same but fewer
	$(LOCK) --extra dev pyproject.toml -o requirements/dev.txt
	$(LOCK) -c requirements/dev.txt pyproject.toml -o requirements/base.txt
	$(LOCK) -c requirements/dev.txt --extra streamlit pyproject.toml -o requirements/page.txt
	echo 'hatchling>=1.27' | $(LOCK) -c requirements/dev.txt - -o requirements/build.txt

clean: ## remove what was made here
	rm -rf $(VENV) $(PEERS) .penstock demo-output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
