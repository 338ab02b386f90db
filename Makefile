# Two targets are enough to begin: `make lab` opens the quickstart, `make test` runs everything.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS ?=
BROWSER ?= yes
# processes that share the unit tests and the notebooks, and that train in one thread each: with as many threads as cores
# they wait for each other, and everything takes several times as long
WORKERS ?= 2
ALONE := OMP_NUM_THREADS=1
# what `make quick` and `make lowest` run: the unit tests that train little and start no other process
QUICK := tests/core tests/tasks tests/models tests/checkpoints tests/methods/comparison tests/test_packaging.py
LOWEST := .venv-lowest
NOTEBOOK ?= notebooks/01_quickstart.ipynb
ROOT_FLAG := $(shell test "$$(id -u)" = 0 && echo --allow-root)

.PHONY: lab test quick quick-tests lowest mutants unit notebooks browser soak lint format docs bench frontend screenshot pin clean

lab: $(VENV)/.installed-lab
	@# JupyterLab shows widgets only in notebooks that are trusted, and these are the project's own
	$(BIN)/jupyter trust notebooks/*.ipynb > /dev/null
	$(BIN)/jupyter lab $(ROOT_FLAG) $(ARGS) $(NOTEBOOK)

test: $(VENV)/.installed-test lint unit notebooks browser

# a minute while working; `make test` is what a change has to pass
quick: $(VENV)/.installed-test
	@$(MAKE) --no-print-directory -j2 --output-sync=target lint quick-tests

# mypy and the contract share the cores with the tests
quick-tests: $(VENV)/.installed-test
	$(ALONE) $(BIN)/python -m pytest -m "not browser" -n $(WORKERS) --dist worksteal -q $(QUICK)

# old releases warn of each other's newer ones, which is nothing of ours
lowest: $(LOWEST)/.installed
	$(ALONE) $(LOWEST)/bin/python -m pytest -m "not browser" -W ignore::DeprecationWarning -n $(WORKERS) --dist worksteal -q $(QUICK)

mutants: $(VENV)/.installed-test
	$(BIN)/python tools/mutants.py $(ARGS)

unit: $(VENV)/.installed-test
	$(ALONE) $(BIN)/python -m pytest -m "not browser" -n $(WORKERS) --dist worksteal tests

notebooks: $(VENV)/.installed-test
	$(ALONE) $(BIN)/python -m pytest --nbval --nbval-sanitize-with notebooks/nbval_sanitize.cfg \
	  --nbval-cell-timeout 300 --timeout 600 -n $(WORKERS) --dist loadscope notebooks

browser: $(VENV)/.installed-test
ifeq ($(BROWSER),no)
	@echo "Browser tests are left out (BROWSER=no)."
else
	$(BIN)/python tools/chromium.py
	$(ALONE) $(BIN)/python -m pytest -m browser -n 2 --dist loadfile tests
endif

# longer faults, bounded in time: some ten minutes
soak: $(VENV)/.installed-test
	$(BIN)/python tools/chromium.py
	WORKBENCH_KILLS=12 $(BIN)/python -m pytest --timeout 1200 tests/faults
	$(BIN)/python -m tests.soak.memory --minutes 5 $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-lab
	$(BIN)/python tools/reference.py

bench: $(VENV)/.installed-lab
	$(PIP) install -c constraints.txt -e ".[bench]"
	@# comes with the peers, is used by none of what is measured, and its wheel fails beside a torch of another build
	$(PIP) uninstall -y torchvision
	$(BIN)/python -m benchmarks.run $(ARGS)

frontend:
	cd frontend && npm ci && npm run check && npm run build

screenshot: $(VENV)/.installed-test
	$(BIN)/python -m tools.screenshot $(ARGS)

# write constraints.txt from what is installed now
pin: $(VENV)/.installed-test
	$(BIN)/python tools/pin.py

clean:
	rm -rf $(VENV) $(LOWEST) build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set it with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

# a stamp a set-up: a second call installs nothing, unless the requirements have changed
$(VENV)/.installed-lab: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -c constraints.txt -e ".[lab]"
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -c constraints.txt -e ".[lab,test,dev]"
	@touch $@ $(VENV)/.installed-lab

# torch comes first, as it is pinned: pip is not to choose another build
$(LOWEST)/.installed: pyproject.toml tools/lowest.py constraints.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python tools/lowest.py > $(LOWEST)/requirements.txt
	$(LOWEST)/bin/python -m pip --disable-pip-version-check --quiet install \
	  "$$(grep ^torch== constraints.txt)" -r $(LOWEST)/requirements.txt -e ".[lab,test]"
	@touch $@
