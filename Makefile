# SPDX-License-Identifier: Apache-2.0
#
# make demo      install srdfast into .venv, attack sample images, purify them, and show the result in demo/
# make test      install it with its test tools and run the Python suite
# make bench     time it beside its rivals; the figures go to bench/results/ (BENCH_ARGS=--quick: does it run?)
# make bench-video  frames a second of the clips in VIDEOS=FOLDER, and a long run that looks for leaks
# make lint      formatters, linters and types
# make sanitize  the C++ tests under the thread, address and undefined-behaviour sanitizers
# make kernels   compile the CUDA kernels for many GPUs and print what each takes of one (needs CUDA 12.8 or newer)
# make emulate   the tests of GPU arrays, with the CUDA kernels' work done by threads of the CPU
# make gpu-check build, tests, sanitizers and timings on a GPU; logs and figures go to bench/results/
# make wheel     build dist/srdfast-*.whl; make wheel ARCHITECTURES=release insists on CUDA kernels, for all GPUs
# make clean     remove everything that the above made, but for the figures
#
# A machine needs a C++20 compiler and Python 3.11 or newer (make PYTHON=/path/to/python3 names another one).

PYTHON ?= python3
PYTEST_ARGS ?=
BENCH_ARGS ?=
VIDEOS ?= ../shared/data/video
# Of GPUs: what CMAKE_CUDA_ARCHITECTURES takes, or "release": each on its own, and code that newer ones compile.
ARCHITECTURES ?=
RELEASE := 75-real;80-real;86-real;89-real;90-real;100-real;120

architectures = $(if $(filter release,$(ARCHITECTURES)),$(RELEASE),$(ARCHITECTURES))

VENV := .venv
BIN := $(VENV)/bin
SOURCES := CMakeLists.txt pyproject.toml constraints.txt README.md LICENSE \
  $(shell find csrc srdfast -not -path '*/__pycache__*')

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# `python -m pytest` must find the installed package, not the folder of the same name beside it.
export PYTHONSAFEPATH := 1

.PHONY: demo test bench bench-video lint sanitize kernels emulate gpu-check wheel clean
.NOTPARALLEL:

demo: $(VENV)/.demo
	$(BIN)/srdfast demo --out demo/

test: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# OpenBLAS must choose its kernels for this machine by itself, or numpy's side would be slower than it is.
bench: $(VENV)/.bench
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python -m pytest bench -q \
	  -o python_files='bench_*.py' -o python_functions='bench_*' \
	  --benchmark-quiet --benchmark-json=bench/results/latest.json --results=bench/results $(BENCH_ARGS)

bench-video: $(VENV)/.bench
	$(BIN)/python bench/video.py soak
	$(BIN)/python bench/video.py clips $(VIDEOS) --results bench/results

lint: $(VENV)/.test $(VENV)/.lint
	$(BIN)/ruff check srdfast python_tests bench .ci
	$(BIN)/ruff format --check srdfast python_tests bench .ci
	$(BIN)/mypy srdfast
	find csrc -name '*.[ch]pp' -o -name '*.cu' -o -name '*.cuh' | xargs $(BIN)/clang-format --dry-run --Werror

sanitize: $(VENV)/.build
	@set -e; for sanitizers in thread address,undefined; do \
	  subjects="teams tiles encoder"; [ $$sanitizers != thread ] || subjects="$$subjects devices"; \
	  $(BIN)/cmake -G Ninja -S . -B build/$$sanitizers -DSRDFAST_TESTS=ON -DSRDFAST_CUDA=OFF -DCMAKE_BUILD_TYPE=Debug \
	    -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) -DCMAKE_CXX_FLAGS="-O1 -fsanitize=$$sanitizers" >/dev/null \
	  && { $(BIN)/cmake --build build/$$sanitizers --target $$(printf 'test_%s ' $$subjects) >build/$$sanitizers/log \
	    || { cat build/$$sanitizers/log; exit 1; }; } \
	  && for subject in $$subjects; do setarch -R build/$$sanitizers/test_$$subject || exit 1; done || exit 1; \
	done

kernels: $(VENV)/.build
	rm -rf build/kernels
	$(BIN)/cmake -G Ninja -S . -B build/kernels -DSRDFAST_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$(or $(architectures),75-real;80-real;90)" \
	  -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) >/dev/null
	$(BIN)/cmake --build build/kernels --target srdfast_cuda --verbose >build/kernels/log \
	  || { cat build/kernels/log; exit 1; }
	$(BIN)/python .ci/kernels.py <build/kernels/log

emulate: $(VENV)/.test
	$(BIN)/pip install --quiet --no-build-isolation --no-deps --upgrade --target build/host \
	  -C build-dir=build/host-cmake -C cmake.define.SRDFAST_CUDA=HOST .
	PYTHONPATH=build/host $(BIN)/python -m pytest -m gpu

gpu-check: $(VENV)/.bench
	PYTHON=$(BIN)/python .ci/gpu-check bench/results

wheel: $(VENV)/.build
	rm -rf dist
	$(BIN)/pip wheel --no-build-isolation --no-deps --wheel-dir dist $(if $(architectures),\
	  -C cmake.define.SRDFAST_CUDA=ON -C cmake.define.CMAKE_CUDA_ARCHITECTURES="$(architectures)") .

clean:
	rm -rf $(VENV) build dist demo

# Each stamp file in the environment says that an installation is up to date. The build tools live in it as well, so
# that a second build compiles only what changed.
install = $(BIN)/pip install --quiet -c constraints.txt

$(VENV)/.build: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "srdfast needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(install) scikit-build-core pybind11 cmake ninja
	touch $@

$(VENV)/.demo: $(SOURCES) | $(VENV)/.build
	@echo "installing srdfast and what it needs into $(VENV) (some minutes the first time)"
	$(install) --no-build-isolation ".[train]"
	touch $@

$(VENV)/.test: $(SOURCES) | $(VENV)/.build
	@echo "installing srdfast and what its tests need into $(VENV) (some minutes the first time)"
	$(install) --no-build-isolation ".[train,test]"
	touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.test
	$(install) --no-build-isolation ".[train,test,bench]"
	touch $@

$(VENV)/.lint: constraints.txt | $(VENV)/.build
	$(install) ruff mypy clang-format
	touch $@
