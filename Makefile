# The two commands of the README are `make demo` and `make test`; both make the same virtual environment first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
KERAS  := .venv-keras
# Several at a time: what the tests wait for most is one Python. Four at most, for memory.
PYTEST  = $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist worksteal

.PHONY: help demo test test-all test-keras check-tensorrt-api check format clean

help:  ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## train, trace, compile, measure and judge a small ResNet on the shipped digits
	$(BIN)/edgeresnet run pipelines/digits.yaml

test: $(READY)  ## the default tests: no GPU, no network
	$(PYTEST)

test-all: test  ## then the slow ones: big networks, TensorRT-RTX, Keras, more moments to be killed at, the wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,tensorrt-rtx]'
	@$(MAKE) --no-print-directory $(KERAS)/.ready || echo "no environment with Keras: its tests are skipped"
	$(PYTEST) --slow

test-keras: $(READY) $(KERAS)/.ready  ## real Keras ResNets, written by Keras' own exporters in an environment of theirs
	$(BIN)/pytest --all tests/keras

check-tensorrt-api: $(READY)  ## TensorRT's real classes, 10.3 and the newest 11, have every name that is used here
	$(BIN)/pytest --all tests/targets/test_nvapi.py

check: $(READY)  ## lint, format, types, architecture, docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_architecture.py tests/test_docs.py

format: $(READY)  ## mend what the formatter and the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove the environments and the store
	rm -rf $(VENV) $(KERAS) artifacts .pytest_cache .mypy_cache .ruff_cache

# torch brings its CUDA libraries along: about 6 GB on disk and two to five minutes, once.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "edgeresnet needs Python 3.10 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# TensorFlow and its exporter to ONNX: about 2 GB on disk, and never beside torch.
$(KERAS)/.ready: tests/keras/requirements.txt
	$(PYTHON) -m venv $(KERAS)
	$(KERAS)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
