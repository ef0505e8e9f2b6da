"""Write the files of tests/fixtures/torch: what torch.save makes of state dicts, and the same as safetensors.

    python tests/reference/torch_files.py

It needs `torch`. `evil.bin` is a pickle that runs a command when it is loaded as pickles are; ours must name
the command and not run it.
"""

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "torch"


def numbers(*shape: int) -> torch.Tensor:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape) - 1.5


def plain() -> dict[str, torch.Tensor]:
    """As models give it: an OrderedDict with metadata as an attribute."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2)).state_dict()


def parameters() -> dict[str, torch.Tensor]:
    marked = torch.nn.Parameter(numbers(2))
    marked.of = "the optimizer"  # type: ignore[attr-defined]
    frozen = torch.nn.Parameter(numbers(4), requires_grad=False)
    return {"weight": torch.nn.Parameter(numbers(2, 3)), "frozen": frozen, "marked": marked}


def dtypes() -> dict[str, torch.Tensor]:
    names = (
        "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 uint16 uint32 uint64"
    )
    tensors = {name: torch.tensor([0, 1, 0, 3]).to(getattr(torch, name)) for name in names.split()}
    return tensors | {"scalar": torch.tensor(7.5), "empty": torch.zeros(0, 3)}


def views() -> dict[str, torch.Tensor]:
    """Views of one storage, and others that are not contiguous."""
    base = numbers(4, 6)
    return {
        "base": base,
        "row": base[2],
        "transposed": base.T,
        "every_other": base[1::2, ::3],
        "expanded": numbers(1, 3).expand(5, 3),
        "tied": base,
        "last": numbers(100)[99:],
    }


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo ran > ran",)


def evil() -> None:
    path = FOLDER / "evil.bin"
    torch.save(OrderedDict(weight=numbers(2)), path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, pickle.dumps(Evil(), protocol=2) if name.endswith("data.pkl") else data)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for state in (plain, parameters, dtypes, views):
        tensors = state()
        torch.save(tensors, FOLDER / f"{state.__name__}.bin")
        torch.save(tensors, FOLDER / f"{state.__name__}.legacy.bin", _use_new_zipfile_serialization=False)
        expected = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
        save_file(expected, FOLDER / f"{state.__name__}.safetensors")
    torch.save(plain(), FOLDER / "protocol4.bin", pickle_protocol=4)
    torch.save({"state_dict": plain(), "epoch": 3}, FOLDER / "training.bin")
    evil()


if __name__ == "__main__":
    main()
