# One folder, .venv, holds everything that is installed. uv installs fast; where it cannot be had, pip does the same.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find theory toys bridges reports -type f -not -path '*/__pycache__/*' 2>/dev/null)
# uv does not read pip's settings: hand it the same package folders and indexes that pip would use.
FIND_LINKS := $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null || echo "$$PIP_FIND_LINKS")
export UV_FIND_LINKS ?= $(FIND_LINKS)

.PHONY: demo test lint validate clean install

demo: install
	$(BIN)/overopt run tiny --out runs/demo

test: install
	$(BIN)/python -m pytest -n 2

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd $(VENV) && bin/mypy --config-file ../pyproject.toml -p overopt.theory -p overopt.toys -p overopt.bridges -p overopt.reports
	$(BIN)/mypy tests/benchmarks  # no test runs them: a changed signature shows here
	$(BIN)/lint-imports
	$(BIN)/deptry theory toys bridges reports

validate: install
	$(BIN)/overopt validate

install: $(VENV)/installed

# A regular install, not an editable one: what is tested is what users get.
$(VENV)/installed: pyproject.toml constraints.txt $(SOURCES)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv || true
	@rm -rf build  # a stale build folder would ship files that are gone
	@if test -x $(BIN)/uv; then \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --reinstall-package overopt '.[lm,dev]'; \
	else \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt '.[lm,dev]' && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall .; \
	fi
	@touch $@

clean:
	rm -rf $(VENV) build runs/demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
