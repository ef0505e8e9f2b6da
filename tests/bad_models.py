"""What the tests of broken models share."""

from typing import Any

import numpy as np
import pytest

from fixture_cases import FIXTURES
from trustformers import AutoModel

GOOD = FIXTURES / "bert" / "default"
IDS = np.array([[5, 9, 2, 17]])


def message(error: type[BaseException] | tuple[type[BaseException], ...], model: Any, **keywords: Any) -> str:
    """What opening the model says when it fails as it should."""
    with pytest.raises(error) as caught:
        AutoModel.from_pretrained(model, **keywords)
    text = str(caught.value)
    assert len(text) < 10_000, "an error is to be read"
    return text
