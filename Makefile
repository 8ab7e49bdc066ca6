# `make demo` and `make test` need Python 3.11 or later and nothing else; everything is installed into .venv.
#
#   make demo   install, then predict and score synthetic CTs with the bundled checkpoint
#   make test   install with the test tools, then run the whole test suite
#   make lint   ruff and mypy          make docs   the documentation, into docs/_build/html
#   make wheel  dist/*.whl             make readme the checkpoint table of README.md, from the cards
#   make dev    install with all tools  make clean  remove everything that make made
#   make audit  known vulnerabilities of the pinned versions, and the licences of what users install
#   make sbom   dist/suprem.cdx.json, the list of everything that the wheel brings along (CycloneDX)
#
# PYTHON=python3.12 chooses the interpreter; DEMO_ARGS and PYTEST_ARGS are passed on; pip's own settings apply, e.g. a
# PIP_EXTRA_INDEX_URL with CPU builds of torch.

VENV ?= .venv
PYTHON ?=
DEMO_ARGS ?=
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install $(if $(CI),--quiet) --disable-pip-version-check -c constraints.txt
# One stamp per set of extras; its name changes with the pinned versions and with the folder, so that a venv of an older
# checkout or of a moved one is brought up to date. (An editable install remembers the absolute path.)
KEY := $(shell (cat pyproject.toml setup.cfg constraints.txt; pwd) | cksum | cut -d' ' -f1)
STAMP := $(VENV)/.installed-$(KEY)
SUPPORTED := import sys; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.PHONY: help venv dev demo test lint docs readme wheel audit sbom clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# Not a file target: a .venv may exist and yet be broken (its interpreter upgraded or moved away, or stopped while made).
venv:
	@if ! $(BIN)/python -c 'import pip; $(SUPPORTED)' 2>/dev/null; then \
	    found=; \
	    for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14 python); do \
	        if "$$candidate" -c '$(SUPPORTED)' 2>/dev/null; then found=$$candidate; break; fi; \
	    done; \
	    if [ -z "$$found" ]; then \
	        echo "suprem needs Python 3.11 or later; '$(or $(PYTHON),python3)' is: $$($(or $(PYTHON),python3) --version 2>&1 | head -n 1)." >&2; \
	        echo "Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	        exit 1; \
	    fi; \
	    echo "Making $(VENV) with $$("$$found" --version)"; \
	    "$$found" -m venv --clear $(VENV) || { \
	        rm -rf $(VENV); echo "'$$found -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	fi

# $(call ensure,NAME,REQUIREMENT): installs once per venv; dev holds what the others ask for. torch comes first and alone,
# so that no other package's wider bound can choose its build.
define ensure
@if ! [ -e $(STAMP)-$(1) ] && ! [ -e $(STAMP)-dev ]; then \
    echo "Installing suprem and what it needs: $(1)" && $(PIP) torch && $(PIP) --editable "$(2)" && touch $(STAMP)-$(1); \
fi
endef

dev: venv
	$(call ensure,dev,.[dev])

demo: venv
	$(call ensure,core,.)
	$(BIN)/suprem demo $(DEMO_ARGS)

# One process per core, one thread each: with more threads than cores, torch slows down several times. Files are handed
# out in the order of tests/conftest.py, the slow ones first, so that no core waits for another at the end.
test: venv
	$(call ensure,test,.[test])
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md docs src zoo/*.yaml experiments

docs: venv
	$(call ensure,docs,.[docs])
	$(BIN)/python -m sphinx -W --keep-going -n -b html docs docs/_build/html

readme: venv
	$(call ensure,core,.)
	$(BIN)/python docs/_ext/readme_table.py

wheel: dev
	$(BIN)/python -m build --wheel --outdir dist .

# Advisories may be out of reach, which is said and passes; a licence that nobody has read does not.
audit: venv
	$(call ensure,audit,.[audit])
	$(BIN)/python .ci/licences.py
	$(BIN)/python .ci/advisories.py

# Of an environment with the wheel alone: no tool of ours is in the list.
sbom: wheel
	$(call ensure,audit,.[audit])
	$(BIN)/python -m venv --clear build/sbom
	build/sbom/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	build/sbom/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	$(BIN)/python -m cyclonedx_py environment --output-reproducible --output-format JSON \
	    --output-file dist/suprem.cdx.json build/sbom/bin/python

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build docs/reference/generated .pytest_cache .mypy_cache .ruff_cache suprem-demo
