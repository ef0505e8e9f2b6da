"""What padding, truncation and return_tensors may be asked for."""

from __future__ import annotations

from enum import Enum


class ExplicitEnum(str, Enum):
    """An enum of strings that lists its values to who asks for another one."""

    @classmethod
    def _missing_(cls, value: object) -> ExplicitEnum:
        values = [member.value for member in cls]
        raise ValueError(f"{value} is not a valid {cls.__name__}, please select one of {values}")


class PaddingStrategy(ExplicitEnum):
    """How rows are filled up: to the longest of them, to a length, or not at all."""

    LONGEST = "longest"
    MAX_LENGTH = "max_length"
    DO_NOT_PAD = "do_not_pad"


class TruncationStrategy(ExplicitEnum):
    """Which of two sequences is cut: the first, the second, the longer one, or none."""

    ONLY_FIRST = "only_first"
    ONLY_SECOND = "only_second"
    LONGEST_FIRST = "longest_first"
    DO_NOT_TRUNCATE = "do_not_truncate"


class TensorType(ExplicitEnum):
    """What numbers are returned as: torch tensors, NumPy arrays, or this package's own tensors."""

    PYTORCH = "pt"
    NUMPY = "np"
    TENSOR = "tensor"
