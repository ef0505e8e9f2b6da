#!/usr/bin/env bash
# What only a GPU can show, on a machine that has one: kernels and the Backend against the processor, every architecture, generation, training,
# bad input, and the benchmark beside the transformers and torch that are there. It builds nothing:
#
#     make gpu-kit                                              # where Rust is: the wheel and the test programs, in target/gpu
#     tests/gpu/run.sh target/gpu [results folder] [options]    # where the GPU is, in this repository
#
# PYTHON=some-venv/bin/python is the Python that has transformers and torch; nothing is installed there. CUDA's libraries are found beside its
# torch, and are fetched from PyPI otherwise. Options are those of benches/gpu.py: `--size tiny` is enough to see that it all runs.
set -uo pipefail
kit=$(realpath "${1:?the folder that make gpu-kit has filled}")
shift
results=$kit/results
case ${1:--} in -*) ;; *) results=$(realpath -m "$1") && shift ;; esac
cd "$(dirname "$0")/../.." || exit 1
mkdir -p "$results" || exit 1
wheel=$(ls "$kit"/*.whl) || exit 1
given=${PYTHON:-python3}
python=$results/venv/bin/python
if [ ! -x "$python" ]; then
    "$given" -m venv "$results/venv" || exit 1
    # What is installed there is seen from here, also where it is a venv itself, whose packages `--system-site-packages` would pass over.
    "$given" -c 'import sys; print(*(path for path in sys.path if path.endswith("-packages")), sep="\n")' \
        >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beside.pth"
fi
pip() { "$python" -m pip --disable-pip-version-check install --quiet "$@" || exit 1; }
pip --no-deps --force-reinstall "$wheel"
"$python" -c 'import numpy, pytest' 2>/dev/null || pip numpy pytest
"$python" -c '
from trustformers import cuda
assert cuda.is_available(), "there is no CUDA device"' || exit 1
# A product and attention want all of the compiler, its headers and cuBLASLt. Torch brings them, unless it is one without CUDA or of a CUDA
# that the driver does not know.
works='
from trustformers import GPT2Config, GPT2Model
model = GPT2Model(GPT2Config(n_embd=128, n_layer=1, n_head=2, vocab_size=9)).to(dtype="bfloat16").cuda()
model([[1, 2, 3]])'
"$python" -c "$works" 2>/dev/null || { pip "$wheel[cuda]" && "$python" -c "$works"; } || exit 1
"$python" -c '
from trustformers import cuda
print(cuda.get_device_name(), cuda.get_device_capability())'

failed=0
run() { # NAME COMMAND... A GPU that has stopped would hold us forever.
    local name=$1 said=passed
    shift
    timeout --kill-after=60 "${LIMIT:-1h}" "$@" >"$results/$name.log" 2>&1 || { failed=1 said="FAILED, see $results/$name.log"; }
    echo "$name: $said"
}
folders=$("$python" -c 'from trustformers._cuda_libraries import folders; print(":".join(folders()))')
export TRUSTFORMERS_CUDA_PATH=${TRUSTFORMERS_CUDA_PATH:+$TRUSTFORMERS_CUDA_PATH:}$folders
for program in "$kit"/tests/*; do
    # Cargo would say where the sources of the kernels are.
    run "$(basename "$program")" env TRUSTFORMERS_TEST_GPU=1 CARGO_MANIFEST_DIR="$PWD/crates/tensor" "$program"
done
run python "$python" -m pytest -q -p no:cacheprovider tests/cuda
run benchmark "$python" benches/gpu.py --results "$results" --rounds 3 --seconds 1 "$@"
echo
cat "$results/gpu.md" 2>/dev/null
exit $failed
