# What people and CI run. `make run` needs Python 3.11 or newer and nothing else.

PYTHON ?= python3
ARGS ?=
# Processes that run tests in parallel. Many tests wait, so three of them keep two cores busy.
TEST_PROCESSES ?= 3

BIN := .venv/bin
# The locks are complete, so pip resolves nothing (--no-deps below): older versions of pip take a newer release that the
# lock does not name for a package that is wanted with an extra, such as coverage[toml], and then refuse it.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK := uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links --extra embedded --extra postgres

.PHONY: run test test-fast coverage lint demo-data screenshots bench bench-live corpus matching mending soak chaos hostile soak-web lock clean

run: .venv/runtime  # everything, as in: make run ARGS="--port 8080 --workers 4"
	@$(BIN)/bulk-upload serve $(ARGS)

test: .venv/dev  # all tests in parallel; with ARGS in one process, as in: make test ARGS="-k reader"
	$(BIN)/python -m pytest $(or $(ARGS),-n $(TEST_PROCESSES) --dist worksteal)

# Takes less than a minute: only the tests of jobs and webapp that start no server (Redis, PostgreSQL), no other process
# and no browser. tests/conftest.py marks them as `unit` by the fixtures and modules that they use.
test-fast: .venv/dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m unit $(ARGS)

coverage: .venv/dev  # which lines the tests run, in every process that they start
	$(BIN)/python -m pytest --cov --cov-report=term $(or $(ARGS),-n $(TEST_PROCESSES) --dist worksteal)

lint: .venv/dev  # style, types, and which room may import which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

demo-data: .venv/dev  # files to try, up to 3.4 million rows
	@$(BIN)/python -m tests.support.demo_data

# Takes less than a minute, and needs Chromium.
screenshots: .venv/dev  # each page in each state, as in: make screenshots ARGS="screenshots history upload-failed"
	@$(BIN)/python -m tests.support.screenshots $(ARGS)

bench: .venv/dev  # speed and memory beside what they are measured against, as in: make bench ARGS="--only sqlite"
	@$(BIN)/python -m tests.benchmarks.importing $(ARGS)

bench-live: .venv/dev  # what a thousand open pages cost, as in: make bench-live ARGS="--only storm"
	@$(BIN)/python -m tests.benchmarks.streaming $(ARGS)

# Takes about a minute.
corpus: .venv/dev  # which messy files are read exactly right, as in: make corpus ARGS="--only headers/ --verbose"
	@$(BIN)/python -m tests.benchmarks.corpus $(ARGS)

matching: .venv/dev  # how well columns are matched to fields, as in: make matching ARGS="--verbose"
	@$(BIN)/python -m tests.benchmarks.matching $(ARGS)

mending: .venv/dev  # how much of dirty columns is repaired rightly, as in: make mending ARGS="--verbose"
	@$(BIN)/python -m tests.benchmarks.mending $(ARGS)

soak: .venv/dev  # 50 kills on each database, as in: make soak ARGS="--seed 7"
	@$(BIN)/python -m tests.benchmarks.soak $(ARGS)

# Takes ten minutes on each database, and needs root; with libfaketime (apt install faketime) it moves clocks too.
chaos: .venv/dev  # every part killed, stopped, cut off, filled up, as in: make chaos ARGS="--minutes 1 --seed 7"
	@$(BIN)/python -m tests.benchmarks.chaos $(ARGS)

# Takes about a quarter of an hour, the two minutes of mutants included.
hostile: .venv/dev  # files and requests that mean harm, as in: make hostile ARGS="--only zip:"
	@$(BIN)/python -m tests.benchmarks.hostile $(or $(ARGS),--fuzz 120)

soak-web: .venv/dev  # 10,000 uploads while pages and streams are open, as in: make soak-web ARGS="--uploads 2000"
	@$(BIN)/python -m tests.benchmarks.soak_web $(ARGS)

lock:  # the newest versions of everything; needs uv
	$(LOCK) --upgrade --group dev pyproject.toml --output-file requirements-dev.lock
	$(LOCK) --upgrade --constraint requirements-dev.lock pyproject.toml --output-file requirements.lock

clean:  # what was installed, and every cache; uploads stay
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .coverage .coverage.*

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/runtime: requirements.lock pyproject.toml | .venv/made
	@echo "Installing into .venv (once; it may take a minute or two) ..."
	@$(INSTALL) --no-deps --require-hashes -r requirements.lock
	@$(INSTALL) --no-deps --editable .
	@touch $@

.venv/dev: requirements-dev.lock .venv/runtime
	@echo "Installing what tests and lint need ..."
	@$(INSTALL) --no-deps --require-hashes -r requirements-dev.lock
	@touch $@
