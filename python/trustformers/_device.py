"""Where tensors and models lie."""

from __future__ import annotations

import builtins
import functools
import re
from typing import Any

_NAME = re.compile(r"(cpu|cuda)(?::(0|[1-9][0-9]*))?")


class Device(str):
    """The processor (``cpu``) or one of CUDA's GPUs (``cuda``, ``cuda:1``): torch's ``torch.device``.

    It is its name: it equals the text and can be given to whoever takes a name, such as PyTorch. A GPU
    without a number is the current one, see :func:`trustformers.cuda.set_device`.
    """

    __slots__ = ()

    def __new__(cls, type: Any, index: int | None = None) -> Device:
        """Take a name, a name and a number, the number of a GPU, or PyTorch's object.

        :raises RuntimeError: for what is no device. Whether it is there is seen when it is used.
        """
        name = f"cuda:{type}" if isinstance(type, int) and not isinstance(type, bool) else str(type)
        if index is not None:
            name = f"{name}:{index}"
        if _NAME.fullmatch(name) is None:
            raise RuntimeError(f"'{name}' is not a device: use 'cpu', 'cuda' or 'cuda:1'")
        return super().__new__(cls, name)

    @property
    def type(self) -> str:
        """``"cpu"`` or ``"cuda"``."""
        return str(self).partition(":")[0]

    @property
    def index(self) -> builtins.int | None:  # type: ignore[override]  # torch's name; text keeps find()
        """Which GPU, if the name says so."""
        number = str(self).partition(":")[2]
        return int(number) if number else None

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Device, (str(self),)


#: As torch calls it.
device = Device

#: The devices that tensors say they are on.
named = functools.cache(Device)
