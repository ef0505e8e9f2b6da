"""Compiles every CUDA kernel for every generation of GPUs, which needs none: `make cuda-check`.

NVRTC and ptxas come from NVIDIA's wheels. What ptxas says about registers is printed; more than some words
that a thread has in memory instead are an error. Where there is a hipcc, the same sources are compiled for
AMD too.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

KERNELS = Path(__file__).parents[2] / "crates/tensor/src/cuda/kernels"
GENERATIONS = (75, 80, 86, 89, 90, 100, 120)
AMD = ("gfx90a", "gfx1030")
# Bytes of a thread. Some words in memory cost nothing; arrays of sums there would be many times as slow. They
# are there when they are more than the registers, and when a loop over them is not unrolled, which ptxas does
# not call spilling.
IN_MEMORY = 96


def modules() -> list[tuple[Path, tuple[str, ...]]]:
    """Each file with each choice of its macros: the lines of modules.txt."""
    found = []
    for line in (KERNELS / "modules.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, *choices = line.split()
            found += [(KERNELS / f"{name}.cu", macros) for macros in combinations(choices)]
    missing = set(KERNELS.glob("*.cu")) - {path for path, _ in found}
    assert not missing, f"modules.txt lacks {missing}"
    return found


def combinations(choices: list[str]) -> list[tuple[str, ...]]:
    """`["T=f32,f16", "N=1"]` as `[("T=f32", "N=1"), ("T=f16", "N=1")]`."""
    if not choices:
        return [()]
    name, values = choices[0].split("=")
    return [(f"{name}={value}", *rest) for value in values.split(",") for rest in combinations(choices[1:])]


def wheel(package: str, cuda: int) -> Path:
    """Where one of NVIDIA's wheels lies: those of CUDA 12 each have a folder, those of 13 share one."""
    folder = package if cuda == 12 else f"cu{cuda}"
    found = importlib.util.find_spec("nvidia") and importlib.util.find_spec(f"nvidia.{folder}")
    if not found or not found.submodule_search_locations:
        raise SystemExit(f"nvidia.{folder} is missing: make cuda-check CUDA={cuda} installs it")
    return Path(next(iter(found.submodule_search_locations)))


class Compiler:
    """NVRTC by ctypes."""

    def __init__(self, cuda: int) -> None:
        library = wheel("cuda_nvrtc", cuda) / f"lib/libnvrtc.so.{cuda}"
        self.nvrtc = ctypes.CDLL(str(library))
        # Those of nvcc are not in every place that has NVRTC.
        self.includes = [wheel("cuda_runtime", cuda) / "include"]
        self.ptxas = wheel("cuda_nvcc", cuda) / "bin/ptxas"

    def ptx(self, path: Path, macros: tuple[str, ...], generation: int) -> str:
        """The source as PTX; what NVRTC has against it is raised."""
        options = [f"-D{macro}" for macro in macros if not macro.startswith("FROM=")]
        options += [f"-arch=compute_{generation}", "-std=c++17"]
        options += [f"-I{folder}" for folder in (KERNELS, *self.includes)]
        # Templates compare with zero also what is never below it.
        options += ["-diag-suppress=186"]
        program, size = ctypes.c_void_p(), ctypes.c_size_t()
        name = path.name.encode()
        self.nvrtc.nvrtcCreateProgram(ctypes.byref(program), path.read_bytes(), name, 0, None, None)
        arguments = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        status = self.nvrtc.nvrtcCompileProgram(program, len(options), arguments)
        self.nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        self.nvrtc.nvrtcGetProgramLog(program, log)
        said = log.value.decode().strip()
        if status or said:
            raise ValueError(said)
        self.nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        self.nvrtc.nvrtcGetPTX(program, text)
        self.nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
        return text.value.decode()

    def resources(self, ptx: str, generation: int) -> dict[str, tuple[int, int]]:
        """For each kernel its registers and what a thread has in memory, by ptxas."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "kernels.ptx"
            source.write_text(ptx)
            command = [self.ptxas, "-v", f"-arch=sm_{generation}", source, "-o", f"{folder}/kernels.cubin"]
            said = subprocess.run(command, capture_output=True, text=True)
        if said.returncode:
            raise ValueError(said.stderr)
        found = {}
        for part in said.stderr.split("Compiling entry function '")[1:]:
            in_memory = re.search(r"(\d+) bytes stack frame", part)
            registers = re.search(r"Used (\d+) registers", part)
            found[part.split("'")[0]] = (
                int(registers[1]) if registers else 0,
                int(in_memory[1]) if in_memory else 0,
            )
        return found


def too_early(ptx: str) -> list[str]:
    """The kernels that wait for those in front of them and may read before what these write: plainly, or
    by what the compiler takes to be written by nobody, which it moves to where it likes.
    """
    kernels = [part.partition("griddepcontrol.wait") for part in ptx.split(".entry ")[1:]]
    return [
        before.split("(")[0]
        for before, wait, behind in kernels
        if wait
        and (re.search(r"\b(ld|st|atom|red)\.(?!param|local|shared)", before) or "ld.global.nc" in behind)
    ]


def is_asked(macros: tuple[str, ...], generation: int) -> bool:
    """Whether the product asks a generation for it."""
    return all(not macro.startswith("FROM=") or int(macro[5:]) <= generation for macro in macros)


def check(compiler: Compiler, module: tuple[Path, tuple[str, ...]], generation: int) -> list[str]:
    """What is wrong with a module on a generation."""
    path, macros = module
    title = f"sm_{generation} {path.stem} {' '.join(macros)}"
    try:
        ptx = compiler.ptx(path, macros, generation)
        resources = compiler.resources(ptx, generation)
    except ValueError as error:
        return [f"{title}: {error}"]
    told = ", ".join(f"{kernel} {registers}" for kernel, (registers, _) in resources.items())
    print(f"{title}: {told}", flush=True)
    return [f"{title}: {kernel} may read before it waits" for kernel in too_early(ptx)] + [
        f"{title}: {kernel} has {in_memory} bytes in memory"
        for kernel, (_, in_memory) in resources.items()
        if in_memory > IN_MEMORY
    ]


def check_amd(hipcc: str, module: tuple[Path, tuple[str, ...]], target: str) -> list[str]:
    """The same for a GPU of AMD."""
    path, macros = module
    command = [
        hipcc,
        "-x",
        "hip",
        "--cuda-device-only",
        f"--offload-arch={target}",
        "-std=c++17",
        "-O1",
        "-c",
        str(path),
    ]
    said = subprocess.run(
        [*command, *[f"-D{macro}" for macro in macros], "-o", "/dev/null"], capture_output=True, text=True
    )
    return [f"{target} {path.stem} {' '.join(macros)}: {said.stderr}"] if said.returncode else []


def main() -> None:
    """Compiles what is asked for, everything by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="files whose name starts so")
    parser.add_argument("--sm", type=int, nargs="*", default=GENERATIONS)
    parser.add_argument("--cuda", type=int, default=12, help="the version whose compiler is used")
    parser.add_argument("--no-amd", action="store_true")
    parser.add_argument("--first", action="store_true", help="of each file the first choice of macros alone")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    chosen = [module for module in modules() if module[0].stem.startswith(options.only)]
    if options.first:
        chosen = list({path: (path, macros) for path, macros in reversed(chosen)}.values())
    compiler = Compiler(options.cuda)
    with ThreadPoolExecutor(options.jobs) as pool:
        asked = [(module, sm) for module in chosen for sm in options.sm if is_asked(module[1], sm)]
        tasks = [pool.submit(check, compiler, module, sm) for module, sm in asked]
        if hipcc := None if options.no_amd else shutil.which("hipcc"):
            tasks += [pool.submit(check_amd, hipcc, module, target) for module in chosen for target in AMD]
        else:
            print("nothing is compiled for AMD")
        wrong = [line for task in tasks for line in task.result()]
    print(f"{len(tasks)} compilations, {len(wrong)} wrong")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
