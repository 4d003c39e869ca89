# `make env` installs requirements.lock in .venv, and reinstalls it when the lock changes.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help env tables test docs pictures bench lock clean
.DELETE_ON_ERROR:

VENV := .venv
COMPLETE := $(VENV)/complete
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(FITS)' 2> /dev/null && echo $$python && break; done)

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

help:
	@echo "make env      install all packages in $(VENV): some GB of downloads, some minutes"
	@echo "make tables   the whole pipeline on generated images; about 12 min on 2 cores"
	@echo "make test     checks and tests; about 13 min on 2 cores"
	@echo "make docs     the documentation as a site, in build/site"
	@echo "make pictures update the pictures in docs/, from the results of make tables"
	@echo "make bench    compare time and memory with others', in benchmarks/README.md; at most an hour"
	@echo "make lock     update requirements.lock, from pyproject.toml"
	@echo "make clean    remove the results of the study rehearsal and all caches; keeps $(VENV)"
	@echo "All but clean run make env first, if $(VENV) is missing or older than the lock."
	@echo "PYTHON=... chooses the Python (3.11, 3.12 or 3.13) of $(VENV)."

env: $(COMPLETE)

tables: $(COMPLETE)
	@echo "== study rehearsal: generated images, a tiny SAM, nine tasks, twelve methods, two seeds; in results/rehearsal"
	@snakemake --profile local all_tables

test: $(COMPLETE)
	@tests/run

docs: $(COMPLETE)
	@NO_MKDOCS_2_WARNING=1 mkdocs build --strict
	@echo "The site: build/site/index.html, for any browser, without a network"

pictures: tables
	@workflow/pictures

# AUTOGLUON=... is the path of a copy of AutoGluon's adaptation_layers.py, to compare with it too.
bench: $(COMPLETE)
	@python benchmarks/bench.py $(if $(AUTOGLUON),--autogluon "$(AUTOGLUON)")

$(COMPLETE): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c '$(FITS)' 2> /dev/null; then \
		echo "error: naslora needs Python 3.11, 3.12 or 3.13; this is" \
			"$$($(or $(PYTHON),python3) --version 2>&1)"; \
		echo "  what to do: install one of these, and run make PYTHON=python3.12 $(MAKECMDGOALS)"; \
		exit 1; fi >&2
	@workflow/environment "$(PYTHON)" $(VENV)
	@touch $@

lock: $(COMPLETE)
	@uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --quiet -o requirements.lock
	@echo "requirements.lock: $$(grep -c == requirements.lock) packages"

clean:
	rm -rf results/rehearsal .snakemake build .pytest_cache .mypy_cache .ruff_cache .hypothesis
