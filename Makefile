# One target a job; each sets up what it needs, so `make demo` and `make test` work on a fresh machine.
#   demo     install and restore a synthetic scene (and a real capture where the data is present)
#   test     the Python tests        native   the C++ tests
#   lint     ruff                    types    mypy
#   asan     native tests with address and undefined-behaviour sanitizers
#   tsan     native tests with the thread sanitizer
#   fuzz     a short run of the fuzzers: records, options and (with clang) the JPEG path
#   docs     the site in build/site, warnings are errors; figures: its pictures, from the data
#   bench    latency gates and benchmarks
#   sdist    the source archive in dist/, installed and tried in an environment of its own
#   wheel, wheel-aarch64   payload wheels for x86-64 and aarch64 in dist/ (docs/wheels.md)
#   all      lint, types, native, test
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Where test images are; tests that need them skip where the folder is absent.
export IMAGINE_DEBLUR_DATA ?= $(abspath ../shared/data)
BUILD_TOOLS := "scikit-build-core>=0.10" "pybind11>=2.13" "cmake>=3.25" ninja
PACKAGES := g++ libjpeg-dev $(notdir $(PYTHON))-dev $(notdir $(PYTHON))-venv
# Empty where compiler, libjpeg's headers, Python's headers and venv are all there.
MISSING = $(shell printf '\#include <cstdio>\n\#include <jpeglib.h>\n\#include <Python.h>\n' \
  | g++ -x c++ -E -I"$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')" - \
  >/dev/null 2>&1 && $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || echo yes)

.PHONY: all demo test lint format types native asan tsan fuzz bench docs figures sdist wheel \
  wheel-aarch64 clean
all: lint types native test

# Compiler and headers: installed where we may, else the one line to type is named.
build/.system:
	@mkdir -p build
	@if [ -n "$(MISSING)" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	      apt-get install -y -qq --no-install-recommends $(PACKAGES); \
	  else \
	    echo "A compiler or headers are missing. On Debian or Ubuntu type this, then run make again:"; \
	    echo "  sudo apt-get install -y $(PACKAGES)"; exit 1; \
	  fi; \
	fi
	@touch $@

$(BIN)/python: build/.system
	$(PYTHON) -m venv $(VENV)
	@touch $@

build/.tools: $(BIN)/python
	$(BIN)/pip install -q $(BUILD_TOOLS)
	@touch $@

# The package itself, rebuilt when native sources or metadata change.
build/.installed: build/.tools pyproject.toml python/imagine_deblur/_version.py \
    $(shell find CMakeLists.txt csrc -type f)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pip install -q --no-build-isolation -e .
	@touch $@

build/.dev: build/.installed
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pip install -q --no-build-isolation -e ".[dev,geo,archive,raster]"
	@touch $@

demo: build/.installed
	$(BIN)/imagine-deblur demo -o demo
	@capture=$$(ls "$$IMAGINE_DEBLUR_DATA"/captures/payload/*.jpg 2>/dev/null | head -n 1); \
	if [ -n "$$capture" ]; then \
	  $(BIN)/imagine-deblur process "$$capture" -o "demo/$$(basename "$$capture")" --overwrite >demo/report.json \
	  && echo "a real capture  $$capture -> demo/$$(basename "$$capture"), report in demo/report.json"; \
	fi

test: build/.dev
	$(BIN)/python -m pytest

lint: build/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: build/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: build/.dev
	$(BIN)/mypy

native: build/.tools
	$(BIN)/cmake --preset release -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja
	$(BIN)/cmake --build --preset release
	$(BIN)/ctest --preset release

asan tsan: build/.tools
	$(BIN)/cmake --preset $@ -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja
	$(BIN)/cmake --build --preset $@
	$(BIN)/ctest --preset $@

fuzz: build/.dev
	$(BIN)/python tests/fuzz/fuzz_python.py --seconds 40
	PYTHON=$(BIN)/python tests/fuzz/fuzz_jpeg.sh 20

bench: build/.dev
	$(BIN)/python -m pytest tests/test_latency_gates.py
	$(BIN)/python bench/bench_jpeg.py
	$(BIN)/python bench/bench_pipeline.py --only parts
	$(BIN)/python bench/bench_memory.py --sizes "3 MP"
	$(BIN)/python bench/memory_gates.py

build/.docs: build/.installed
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pip install -q --no-build-isolation -e ".[docs]"
	@touch $@

docs: build/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict -q
	@echo "open build/site/index.html"

figures: build/.docs
	$(BIN)/python docs/make_figures.py

sdist: build/.tools
	PATH="$(abspath $(BIN)):$$PATH" packaging/check_sdist.sh $(BIN)/python

wheel:
	packaging/build_wheel.sh

wheel-aarch64:
	packaging/cross_aarch64.sh

clean:
	rm -rf build dist demo $(VENV)
