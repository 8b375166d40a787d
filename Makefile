# Every target sets up what it needs in .venv; nothing else on the machine is touched.
PYTHON ?= python3
BIN := .venv/bin
MODEL ?= examples/mnist_mlp.py
ARGS ?=

# Hundreds of interpreters start in one run of the tests: each finds the bytecode of the first.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help train test torture coverage check peers bench pages docs generated clean
.DELETE_ON_ERROR:

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# One stamp for each set of extras, so that a second `make test` starts at once.
.venv/ready-%: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(subst +,$(comma),$*)]'
	@touch $@
comma := ,
.PRECIOUS: .venv/ready-%

train: .venv/ready-test ## Train the MNIST perceptron (without MNIST: the 8x8 digits that are inside)
	$(BIN)/gradwright train $(MODEL) $(ARGS)

test: .venv/ready-test ## Run the tests (no network, no torch)
	$(BIN)/python -m pytest -n 2 --dist worksteal -q $(ARGS)

torture: .venv/ready-test ## Run the long versions of the tests: hours, a table each
	@status=0; for topic in $(basename $(notdir $(wildcard tests/torture/*.py))); do \
	    echo; echo "## $$topic"; echo; $(BIN)/python -m tests.torture.$$topic || status=1; \
	done; exit $$status

# Not under coverage: what counts every allocation, for coverage allocates too.
coverage: .venv/ready-test+coverage ## Run the tests, and list the lines and branches that none takes
	$(BIN)/python -m pytest -n 2 --dist worksteal -q -k "not allocates" --cov=ir --cov=compiler --cov=codegen --cov-branch \
	    --cov-report=term-missing:skip-covered $(ARGS)

check: .venv/ready-test+dev ## Lint and type-check
	$(BIN)/ruff check .
	$(BIN)/mypy

peers: .venv/ready-test+peers ## Compare with torch and jax (a large download the first time)
	$(BIN)/python -m pytest -q -s tests/peers $(ARGS)

bench: .venv/ready-bench ## Compare with torch, JAX, PyTensor, tinygrad (a large download the first time)
	$(BIN)/python -m benchmarks $(ARGS)

pages: .venv/ready-pages ## Open the inspection pages in headless Chromium and use them
	$(BIN)/python -m tests.browser.open_pages $(ARGS)

docs: .venv/ready-docs ## Build the documents as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

generated: .venv/ready-test ## Emit generated/ and the README's quotations afresh
	GRADWRIGHT_UPDATE=1 $(BIN)/python -m pytest -q tests/test_generated.py tests/test_portable.py \
	    tests/test_docs.py::test_the_readme_quotes_what_is_emitted

clean: ## Remove the environment, caches and build leftovers
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
