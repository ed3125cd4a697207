# Needs python3 (3.11 or newer, with venv), make and git; everything else is installed into this folder.
PYTHON ?= python3
PY := .venv/bin/python
POETRY_VERSION := 2.5.1
TOOLS := .tools/.poetry-$(POETRY_VERSION)
VENV := .venv/.installed
COMPOSE ?= docker compose
PROFILES ?= paper

# Neither the program nor its tests report anything to anyone.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
# Prefect makes a folder wherever it is imported: here, not in the home directory.
export PREFECT_HOME ?= $(CURDIR)/data/prefect

.DEFAULT_GOAL := help
.PHONY: help run operate test test-postgres test-compose storm check fuzz crash-matrix env update logs backup restore lint format browser install lock hooks migrate-apply migrate-create clean simulate mutants

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

run: $(VENV) ## start paper exchange, API and monitor; takes FEED= SYMBOL= FROM= TO= SPEED= PORT= PAPER_PORT=
	@exec $(PY) run.py

ARGS ?= status
operate: $(VENV) ## look at what is open, or act on it: make operate ARGS="close BTCUSDT"
	@$(PY) operate.py $(ARGS)

# `make check` is for every few minutes: fewer examples a property. `make test` tries them all.
PROFILE := quick
test: PROFILE := $(if $(CI),ci,default)
check: lint ## formatting, lint, types, import rules, unit tests with full coverage of the core
	HYPOTHESIS_PROFILE=$(PROFILE) $(PY) -m pytest tests/unit -n 2 --cov=core.domain --cov=core.grid --cov=core.money \
		--cov-branch --cov-report=term --cov-fail-under=100

lint: $(VENV)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy .
	$(PY) .venv/bin/lint-imports

# Three processes on two cores: half of these tests' time is waiting for other programs.
test: check browser ## everything: check, then integration, simulation, contract and browser tests
	HYPOTHESIS_PROFILE=$(PROFILE) $(PY) -m pytest tests --ignore=tests/unit --ignore=tests/compose -n 3 --dist worksteal

test-postgres: $(VENV) ## the stories with real processes once more, all of them on PostgreSQL
	STORIES_ON=postgresql $(PY) -m pytest tests/integration/e2e -n 2 --dist worksteal

storm: $(VENV) ## cycles while the exchange does everything wrong that it can: SEED=1 CYCLES=200 DATABASE=sqlite
	@$(PY) -m tests.storm --seed $${SEED:-1} --cycles $${CYCLES:-200} --database $${DATABASE:-sqlite}

fuzz: $(VENV) ## ten thousand requests of any kind to the API: FUZZ_EXAMPLES=10000
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-10000} $(PY) -m pytest -o timeout=3600 tests/integration/test_fuzz.py

crash-matrix: $(VENV) ## kill API and monitor at every point of whole cycles: DATABASE=postgresql WORKERS=8
	@$(PY) -m tests.crash_matrix --database $(or $(DATABASE),sqlite) --workers $(or $(WORKERS),8)
SEEDS ?= 1-200
simulate: $(VENV) ## thousands of cycles in virtual time: SEEDS=1-200, PRICES=file of klines, or REPLAY=file
	@$(PY) -m simulation $(if $(REPLAY),--replay "$(REPLAY)",--seeds "$(SEEDS)") $(if $(PRICES),--prices "$(PRICES)")

mutants: $(VENV) ## break each rule on purpose and show that the simulation finds it
	@$(PY) -m tests.simulation.mutation

test-compose: $(VENV) ## build the image, bring the whole stack up and try it; needs docker compose
	COMPOSE="$(COMPOSE)" $(PY) -m pytest -o timeout=1800 -p no:xdist -s tests/compose

env: ## write .env for docker compose with random passwords: make env PROFILES=paper,prefect
	@$(PYTHON) scripts/make_env.py --profiles "$(PROFILES)"

update: ## docker compose: pull, build, back up, migrate, restart
	git pull --ff-only
	$(COMPOSE) build --pull
	$(MAKE) backup
	$(COMPOSE) run --rm migrate
	$(COMPOSE) up --detach --remove-orphans

logs: ## docker compose: follow the logs of all services
	$(COMPOSE) logs --follow --tail 100

backup: ## docker compose: dump the database into backups/
	@COMPOSE="$(COMPOSE)" scripts/backup.sh

restore: ## docker compose: put a dump back: make restore FILE=backups/….dump
	@COMPOSE="$(COMPOSE)" scripts/restore.sh "$(FILE)"

format: $(VENV) ## format the code and mend what ruff can mend
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

browser: $(VENV) ## find a browser for the browser tests, or install one
	@$(PY) tests/browser/chromium.py

migrate-apply: $(VENV) ## bring the database up to date (DB_CONNECTION_STR)
	$(PY) -m alembic upgrade head

migrate-create: $(VENV) ## write a migration from the models: make migrate-create NAME="what it does"
	@test -n "$(NAME)" || { echo 'usage: make migrate-create NAME="what it does"' >&2; exit 2; }
	$(PY) -m alembic revision --autogenerate -m "$(NAME)"

install: $(VENV) ## install everything into .venv without running anything

lock: $(TOOLS) ## write poetry.lock anew after a change of the dependencies
	.tools/bin/python scripts/poetry.py lock

hooks: $(VENV) ## run `make check` before every commit
	$(PY) -m pre_commit install

clean: ## remove what was installed and every cache; data and settings stay
	rm -rf .venv .tools .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(TOOLS):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Tradebox needs Python 3.11 or newer as python3; or say which: make PYTHON=python3.12" >&2; exit 1; }
	@echo "preparing .tools (Poetry $(POETRY_VERSION)) ..."
	@$(PYTHON) -m venv .tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check \
		"poetry==$(POETRY_VERSION)" "poetry-plugin-pypi-mirror==0.6.5"
	@touch $@

$(VENV): $(TOOLS) pyproject.toml poetry.lock scripts/poetry.py
	@echo "installing the locked dependencies into .venv ..."
	@$(PY) -c "" 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@.tools/bin/python scripts/poetry.py install --no-interaction --quiet $(POETRY_INSTALL)
	@touch $@
