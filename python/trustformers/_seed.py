"""One seed for all random numbers."""

from __future__ import annotations

import random
import sys

from . import _engine


def set_seed(seed: int, deterministic: bool = False) -> None:
    """Make all random numbers that follow repeatable: Python's, NumPy's, ours, and torch's if it is there.

    Ours are the same whatever the number of threads, so ``deterministic`` changes nothing.
    """
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    _engine.manual_seed(seed)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)
