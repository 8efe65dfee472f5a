# `make demo` shows ccproxy at work, `make test` runs the tests, and `make help` lists all targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# The newest Python from 3.11 that starts, on the path or of pyenv; PYTHON=... overrides.
define find_python
	works() { "$$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }; \
	if [ -n "$(PYTHON)" ]; then \
	  works "$(PYTHON)" || { echo "PYTHON=$(PYTHON) is not a working Python >= 3.11 with venv" >&2; exit 1; }; echo "$(PYTHON)"; exit 0; \
	fi; \
	for v in 3.14 3.13 3.12 3.11; do \
	  for p in python$$v $$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$v*/bin/python 2>/dev/null | sort -rV); do \
	    if works "$$p"; then echo "$$p"; exit 0; fi; \
	  done; \
	done; \
	if works python3; then echo python3; exit 0; fi; \
	echo "no Python >= 3.11 with venv found: install one or set PYTHON=/path/to/python" >&2; exit 1
endef

# A stamp for each set of packages, so that nothing is installed twice. A changed Python creates a new environment.
STAMP := $(VENV)/.stamp

.PHONY: venv
venv:
	@python=$$($(find_python)); \
	want=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	have=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true); \
	if [ -z "$$have" ] || { [ -n "$(PYTHON)" ] && [ "$$have" != "$$want" ]; }; then \
	  rm -rf $(VENV); echo "making $(VENV) with Python $$want"; "$$python" -m venv $(VENV); \
	  $(BIN)/python -m pip install -q -c constraints.txt 'pip>=25.1'; \
	fi

.PHONY: install-run install-demo install-test install-check
install-demo: venv
	@[ $(STAMP)-demo -nt constraints.txt ] && [ $(STAMP)-demo -nt pyproject.toml ] || \
	  { echo "installing ccproxy"; $(BIN)/pip install -q -c constraints.txt -e .; touch $(STAMP)-demo; }

install-run: venv
	@[ $(STAMP)-run -nt constraints.txt ] && [ $(STAMP)-run -nt pyproject.toml ] || \
	  { echo "installing ccproxy with the Claude SDK"; $(BIN)/pip install -q -c constraints.txt -e '.[claude]'; touch $(STAMP)-run $(STAMP)-demo; }

install-test: venv
	@[ $(STAMP)-test -nt constraints.txt ] && [ $(STAMP)-test -nt pyproject.toml ] || \
	  { echo "installing ccproxy with the Claude SDK and the test dependencies"; \
	    $(BIN)/pip install -q -c constraints.txt -e '.[claude]' --group test; touch $(STAMP)-test $(STAMP)-run $(STAMP)-demo; }

install-check: install-test
	@[ $(STAMP)-check -nt constraints.txt ] && [ $(STAMP)-check -nt pyproject.toml ] || \
	  { echo "installing the checkers"; $(BIN)/pip install -q -c constraints.txt --group lint --group types; touch $(STAMP)-check; }

.PHONY: demo run test fuzz check fmt docs reference conformance mutants help constraints clean
demo: install-demo  ## start the proxy with the mock provider, and send it requests
	@$(BIN)/ccproxy demo

run: install-run  ## start the proxy: ccproxy serve
	@$(BIN)/ccproxy serve

# A test goes to the next idle core; more than eight would spend longer on starting than on testing. ARGS="-n 0 --pdb" stays in one process.
test: install-test  ## run the whole suite on all cores; ARGS="-k stream" selects tests, ARGS="-n 0" uses one process
	@$(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist worksteal $(ARGS)

# A test may take an hour here, which the time limit for one that hangs would end.
fuzz: install-test  ## try thousands of examples for each fuzzing test, new ones each time; ARGS="-k http1" selects tests
	@HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest -q -n auto --maxprocesses 8 -o faulthandler_timeout=0 tests/property $(ARGS)

check: install-check  ## lint, types, import contracts, spelling
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/codespell ccproxy tests docs README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md

fmt: install-check  ## format the code and sort the imports
	@$(BIN)/ruff check --fix -q . || true
	@$(BIN)/ruff format .

docs: venv  ## build the documentation into site/
	@[ $(STAMP)-docs -nt constraints.txt ] || { $(BIN)/pip install -q -c constraints.txt --group docs; touch $(STAMP)-docs; }
	@$(BIN)/mkdocs build --strict -q

reference: install-demo  ## write the generated pages of docs/reference
	@$(BIN)/python -m ccproxy.cli.reference docs/reference

conformance: install-test  ## run the real Codex CLI, Claude Code and SDKs against fakes (npm programs, once, about 500 MB)
	@$(BIN)/python -m tests.conformance $(ARGS)

mutants: install-test  ## mutate 200 random places of the code and list the mutants that no test kills; ARGS="--count 40 --seed 7 translate"
	@[ $(STAMP)-mutants -nt constraints.txt ] || { $(BIN)/pip install -q -c constraints.txt --group mutants; touch $(STAMP)-mutants; }
	@$(BIN)/python -m tests.mutation $(ARGS)

constraints: venv  ## resolve every dependency again for all supported Pythons (needs uv)
	@uv pip compile -q --universal --python-version 3.11 --upgrade pyproject.toml --extra claude --group test --group lint --group types \
	  --group docs --group bench --group mutants --no-emit-index-url --no-emit-find-links --no-annotate --no-header -o constraints.txt

clean:  ## remove environments and caches
	rm -rf .venv* .mypy_cache .ruff_cache .pytest_cache .hypothesis site

help:  ## this list
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*  ## (.*)/  make \1\t\2/' | expand -t 22
