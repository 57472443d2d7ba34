# `make demo` runs word count over real sockets; `make test` checks everything. Each sets up what it needs under target/, from
# git, make, cargo and python3 (3.9 or later) alone. What is up to date is not done again.

PYTHON ?= python3
CARGO ?= cargo
PYTEST_FLAGS ?=

VENV := target/venv
BIN := $(VENV)/bin
# One stamp a step that is known by its effect on a folder rather than by one file.
STAMPS := target/stamps

RUST_SOURCES := Cargo.toml Cargo.lock \
    $(shell find protocol/Cargo.toml protocol/src orchestrator/Cargo.toml orchestrator/src orchestrator/templates -type f)
SDK_SOURCES := $(wildcard python-sdk/pyproject.toml python-sdk/README.md) \
    $(shell find python-sdk/src -type f -not -name '*.pyc')
REQUIREMENTS := python-sdk/requirements-dev.txt tests/requirements.txt

.DELETE_ON_ERROR:
.PHONY: help demo test lint format test-rust test-sdk test-e2e word-count-full outage-full chaos-full recovery-full memory-full \
    durable-full restarts-full changes-full bench docs clean

help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1 \t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: $(STAMPS)/installed ## word count of a text, over sockets, with two workers
	$(BIN)/python examples/word_count/demo.py

test: lint test-rust test-sdk test-e2e ## everything that is checked before a change lands

lint: $(STAMPS)/installed ## formatting, lints, types, circles between modules, lengths of files and functions
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(BIN)/ruff format --check python-sdk tests examples orchestrator/templates
	$(BIN)/ruff check python-sdk tests examples orchestrator/templates
	cd python-sdk && ../$(BIN)/mypy
	$(BIN)/python -m tests.typed
	$(BIN)/python -m tests.circles
	$(BIN)/python -m tests.house

format: $(STAMPS)/venv ## rewrite the sources as `make lint` wants them
	$(CARGO) fmt --all
	$(BIN)/ruff format python-sdk tests examples orchestrator/templates
	$(BIN)/ruff check --fix python-sdk tests examples orchestrator/templates

test-rust: ## unit tests, vectors, properties, simulator
	$(CARGO) test --locked --workspace

test-sdk: $(STAMPS)/installed ## the SDK's tests under every Python found
	$(BIN)/python -m tests.sdk_everywhere $(PYTEST_FLAGS)

test-e2e: $(STAMPS)/installed ## real binary, real sockets, real interpreters
	$(BIN)/python -m pytest tests $(PYTEST_FLAGS)

word-count-full: $(STAMPS)/installed ## 200,000 lines with 1, 2 and 3 workers, every count checked
	$(BIN)/python -m tests.word_count_full

outage-full: $(STAMPS)/installed ## a sink away for 10 s twice under a fast sender, and the memory that takes
	$(BIN)/python -m tests.outage_full

market-spread-full: $(STAMPS)/installed ## 100,000 quotes and 50,000 orders with 1, 2 and 3 workers, against a model
	$(BIN)/python -m tests.market_spread_full

chaos-full: $(STAMPS)/installed ## workers killed and frozen for 10 minutes, in every way, with 2 and with 3 workers
	$(BIN)/python -m tests.chaos --seconds 600

recovery-full: $(STAMPS)/installed ## how long a slot is away when its worker is killed, 200 times
	$(BIN)/python -m tests.recovery

durable-full: $(STAMPS)/installed ## the orchestrator killed 250 times in each of four streams and in random ones, every message checked
	$(BIN)/python -m tests.durable

memory-full: $(STAMPS)/installed ## the orchestrator's memory over 10 minutes of full load
	$(BIN)/python -m tests.memory_full

restarts-full: $(STAMPS)/installed ## descriptors and zombies after 1,000 deaths
	$(BIN)/python -m pytest tests/test_leftovers.py -k restarts --restarts 1000 -s

changes-full: $(STAMPS)/installed ## scale, swap interpreters and reload code under full load, three times each
	$(BIN)/python -m tests.changes

# Options after BENCH=, as in BENCH="--quick --workload word-count"; ROUNDS=5 unless said.
ROUNDS ?= 5
bench: $(STAMPS)/installed $(STAMPS)/bench ## the comparison with an embedded interpreter and others, into target/bench
	$(BIN)/python -m tests.bench --rounds $(ROUNDS) $(BENCH)

$(STAMPS)/bench: $(STAMPS)/venv tests/bench/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/bench/requirements.txt
	@touch $@

docs: $(STAMPS)/docs-venv ## the documentation of the SDK as a web site, into target/docs
	target/docs-venv/bin/mkdocs build --strict --quiet -f python-sdk/mkdocs.yml

$(STAMPS)/docs-venv: python-sdk/requirements-docs.txt
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv target/docs-venv
	target/docs-venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

clean: ## remove everything that was built
	rm -rf target

$(STAMPS)/venv: $(REQUIREMENTS) python-sdk/requirements-pyright.txt
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) cannot make virtual environments; Debian: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(REQUIREMENTS:%=-r %)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r python-sdk/requirements-pyright.txt \
	    || echo "skipped, cannot be installed: basedpyright" >&2
	@touch $@

# The wheel's name carries a version, so a stamp stands for it.
$(STAMPS)/wheel: $(STAMPS)/venv $(RUST_SOURCES) $(SDK_SOURCES)
	rm -rf target/dist
	cd python-sdk && ../$(BIN)/maturin build --release --locked --out ../target/dist
	@touch $@

$(STAMPS)/installed: $(STAMPS)/wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps target/dist/*.whl
	@touch $@
