#!/bin/sh
# Builds a CUDA that runs on the processor, as shared libraries under CUDA's own names, into the folder $1. A program finds them there by
# LD_LIBRARY_PATH. What is as new as its sources stays.
set -e
sources=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)

# A library's name, its version, its sources, and more for the linker.
library() {
    made="$folder/lib$1.so.$2"
    if [ ! -e "$made" ] || [ -n "$(find "$sources" "$sources/../emulator.h" "$sources/../fibers.h" "$sources/../kernel.h" -newer "$made" -type f)" ]; then
        # Under a name of its own until it is whole, for builds that go on side by side.
        (cd "$sources" && "${CXX:-c++}" -std=c++17 -O2 -shared -fPIC -fvisibility=hidden -Wall -Wextra -pthread \
            -DHEADERS="\"$sources/..\"" -Wl,-soname,"lib$1.so.$2" $3 -o "$made.$$" -L"$folder" -Wl,-rpath,'$ORIGIN' $4)
        mv "$made.$$" "$made"
    fi
    ln -sf "lib$1.so.$2" "$folder/lib$1.so"
}
library cuda 1 "device.cpp memory.cpp copy.cpp stream.cpp capture.cpp module.cpp image.cpp errors.cpp counters.cpp work.cpp" "-ldl"
library nvrtc 12 "nvrtc.cpp image.cpp" "-ldl"
library cublasLt 12 "cublaslt.cpp product.cpp" "-lcuda"
