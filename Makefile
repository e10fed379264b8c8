# The door for newcomers: `make demo`, `make test`. Needs Python >= 3.11 with venv, make and git; no compiler.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help install demo test lint docs bench scale faults image image-test lowest fuzz clean distclean

BIN := .venv/bin
DEMO := out/demo
SAMPLE := s2_18SVG_crop_10band_20m
IMAGE := terrasketch
N ?= 50
SEED ?= 0
# Each candidate is run, not just looked up: a version manager's shim may stand for a Python that is not there.
CANDIDATES := python3.11 python3.12 python3.13 python3
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

help:
	@echo "make install   the environment in .venv (again only when pyproject.toml changes)"
	@echo "make demo      the whole pipeline on the Sentinel-2 sample, into $(DEMO)"
	@echo "make test      all tests"
	@echo "make lint      ruff, mypy, the import floors, hadolint"
	@echo "make docs      the pages of docs/ and an API reference, into site/; a broken link is an error"
	@echo "make bench     side by side with peers"
	@echo "make scale     a million tiles through a real scheduler"
	@echo "make faults    kill, fill and tear at random, resume, compare every byte: N=50 schedules of SEED=0"
	@echo "make image     the container image, with docker, podman or buildah"
	@echo "make image-test  build it with buildah as root, and run the demo inside"
	@echo "make lowest    the tests that touch dependencies, with each at its lower bound"
	@echo "make fuzz      damaged files at every door, for MINUTES"
	@echo "make clean     remove outputs and caches; distclean removes .venv too"

install: .venv/.installed

.venv/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python >= 3.11 among: $(CANDIDATES);" \
		"install one, or give it: make PYTHON=/path/to/python3 install" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "error: $(PYTHON) cannot make virtual" \
		"environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	test -x $(BIN)/pip || "$(PYTHON)" -m venv .venv
	$(BIN)/pip install --quiet --editable '.[cluster,dev]'
	@touch $@

.venv/.bench: .venv/.installed
	$(BIN)/pip install --quiet --editable '.[bench]'
	@touch $@

demo: install
	$(BIN)/terrasketch run workflows/scene.yaml
	@echo
	$(BIN)/terrasketch inspect $(DEMO)/$(SAMPLE)/scene.zarr
	@echo
	$(BIN)/terrasketch compare sample_data/$(SAMPLE).tif $(DEMO)/$(SAMPLE)/scene.zarr
	@echo
	@du -sh $(DEMO)/$(SAMPLE)/*

# In groups that tests/conftest.py makes; a test starts processes of its own, so four at once are enough. Hundreds of
# them: where the environment forbids Python to keep bytecode, each would compile all sources again.
test: install
	$(BIN)/python -m compileall -q pipeline benchmarks sample_data
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadgroup

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

.venv/.docs: .venv/.installed
	$(BIN)/pip install --quiet --editable '.[docs]'
	@touch $@

# Links in one folder, so that mkdocs sees the paths of the repository and can check those that leave docs/.
docs: .venv/.docs
	rm -rf out/site-source && mkdir -p out/site-source
	for part in README.md CHANGELOG.md docs workflows sample_data; do ln -s ../../$$part out/site-source/$$part; done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/.bench
	$(BIN)/python -m benchmarks

scale: install
	$(BIN)/python -m benchmarks scale $(if $(TILES),--tiles $(TILES))

faults: install
	$(BIN)/python -m tests.faults --schedules $(N) --seed $(SEED)

image:
	@for tool in docker podman buildah; do \
		if command -v $$tool >/dev/null; then set -x; exec $$tool build --tag $(IMAGE) .; fi; \
	done; echo "skipped: the image needs docker, podman or buildah; see docs/docker.md"

image-test:
	sh tests/image.sh

LOWEST := .venv-lowest/bin
lowest:
	test -x $(LOWEST)/python || "$(PYTHON)" -m venv .venv-lowest
	$(LOWEST)/python -m pip install --quiet uv
	$(LOWEST)/uv pip install --quiet --python $(LOWEST)/python --resolution lowest-direct --editable '.[cluster]'
	$(LOWEST)/uv pip freeze --quiet --python $(LOWEST)/python --exclude-editable > .venv-lowest/constraints.txt
	$(LOWEST)/uv pip install --quiet --python $(LOWEST)/python --constraint .venv-lowest/constraints.txt \
		pytest hypothesis jsonschema rio-cogeo rio-tiler odc-geo scikit-image
	$(LOWEST)/python -m pytest -o filterwarnings=default tests/test_03* tests/test_20_codec_zarr.py tests/test_23* tests/test_3* \
		tests/test_40* tests/test_5* tests/test_6[01]* tests/test_62_many* tests/test_7[0-4]*

MINUTES ?= 10
fuzz: install
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES)

clean:
	rm -rf out site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv .venv-lowest
