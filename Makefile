# Two commands do everything on a fresh machine with Python 3.11 and make: `make devnet` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CODE := atlas_tables atlas_verify consensus guards ledger node p2p simulations social client-api/client_api
URL_PORT ?= 8080

.DEFAULT_GOAL := help
.PHONY: help devnet devnet-fresh test check bench soak chaos simulate contract catalogues clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(READY): requirements-dev.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is missing: install the package python3.11 (Debian: python3.11-venv too)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is missing: install the package python3.11-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# Wheels only, so that no compiler is needed; these two are pure Python and come as source alone.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --no-binary=python-baseconv,varint --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@# libp2p pulls in trio-typing, whose stub folders hide trio's own types.
	rm -rf $(VENV)/lib/python3.11/site-packages/trio-stubs $(VENV)/lib/python3.11/site-packages/outcome-stubs
	@touch $@

devnet: $(READY) ## Four validators and a gateway on this machine, with real sample posts; Ctrl-C stops them
	$(BIN)/atlas devnet --port $(URL_PORT)

devnet-fresh: $(READY) ## The same, from an empty network
	$(BIN)/atlas devnet --port $(URL_PORT) --fresh

test: $(READY) check ## Everything that CI runs: static checks, then tests, the fast ones first
	$(BIN)/python -m pytest -m "not network"
	$(BIN)/python -m pytest -m network

check: $(READY) ## Format, lint, types, import contracts, determinism scan, API contract, catalogues
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python tools/zero_sim.py
	$(BIN)/python -m client_api.openapi | cmp - client-api/openapi.json || { echo "the API changed: run make contract"; exit 1; }
	$(BIN)/python tools/make_catalogues.py --check

contract: $(READY) ## Write client-api/openapi.json anew
	$(BIN)/python -m client_api.openapi > client-api/openapi.json

catalogues: $(READY) ## Write docs/events.md, docs/guards.md and docs/policies.md anew
	$(BIN)/python tools/make_catalogues.py

bench: $(READY) ## Measure a four-validator network under load; writes build/bench.json
	$(BIN)/python tools/bench.py

soak: $(READY) ## Long runs: all posts of a data file (POSTS=...), replay of every node under other seeds and locales
	$(BIN)/python tools/soak.py --posts "$(POSTS)"

chaos: $(READY) ## Four validators under load and 200 random faults, then every check; SEED=... and FAULTS=... to repeat
	$(BIN)/python -m tools.chaos --faults $(or $(FAULTS),200) $(if $(SEED),--seed $(SEED))

simulate: $(READY) ## Networks in one thread and virtual time; SCENARIO=soup SEEDS=1-20 REPLICAS=4, or SEED=... to repeat one
	$(BIN)/python -m simulations $(or $(SCENARIO),soup) $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1-20)) $(if $(REPLICAS),--replicas $(REPLICAS))

clean: ## Remove what was built, networks included
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
