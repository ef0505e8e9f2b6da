#!/usr/bin/env bash
# What only a GPU can show, on a machine that has one: kernels and the Backend against the processor, every architecture, generation, training,
# bad input, and the benchmark beside the transformers and torch that are there. It builds nothing:
#
#     make gpu-kit                                  # where Rust is: the wheel and the test programs, in target/gpu
#     tests/gpu/run.sh target/gpu [results folder]  # where the GPU is, in this repository
#
# CUDA's libraries are found beside torch if that is installed, and are fetched from PyPI otherwise.
set -uo pipefail
kit=$(realpath "${1:?the folder that make gpu-kit has filled}")
results=$(realpath -m "${2:-target/gpu/results}")
cd "$(dirname "$0")/../.." || exit 1
mkdir -p "$results"
python=${PYTHON:-python3}
venv=$results/venv
if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv --system-site-packages "$venv" || exit 1
    "$venv/bin/pip" install --quiet --no-deps "$kit"/*.whl || exit 1
    "$venv/bin/python" -c 'import numpy, pytest' 2>/dev/null || "$venv/bin/pip" install --quiet numpy pytest
    "$venv/bin/python" -c 'import torch' 2>/dev/null || "$venv/bin/pip" install --quiet "$(ls "$kit"/*.whl)[cuda]"
fi
"$venv/bin/python" -c '
import trustformers
assert trustformers.cuda.is_available(), "there is no CUDA device"
print(trustformers.cuda.get_device_name(), trustformers.cuda.get_device_capability())' || exit 1

declare -A said
run() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$results/$name.log" 2>&1; then said[$name]=passed; else said[$name]="FAILED, see $results/$name.log"; fi
    echo "$name: ${said[$name]}"
}
folders=$("$venv/bin/python" -c 'from trustformers._cuda_libraries import folders; print(":".join(folders()))')
for program in "$kit"/tests/*; do
    run "$(basename "$program")" env TRUSTFORMERS_CUDA_PATH="$folders" "$program"
done
run python "$venv/bin/python" -m pytest -q -p no:cacheprovider tests/cuda
run benchmark "$venv/bin/python" benches/gpu.py --results "$results" --rounds 3 --seconds 1
echo
cat "$results/gpu.md" 2>/dev/null
for name in "${!said[@]}"; do [ "${said[$name]}" = passed ] || exit 1; done
