"""A function whose types say what it takes, to type checkers and to readers."""

from typing import Any

import numpy as np
import numpy.typing as npt

from trustformers import AutoModel, AutoTokenizer


def embed(model: AutoModel, inputs: dict[str, npt.NDArray[np.int64]]) -> dict[str, Any]:
    """The outputs of a model as lists of numbers, ready for JSON."""
    outputs = model(**inputs)
    return outputs.to_list()


model = AutoModel.from_pretrained("bert-base-uncased")
tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased")
answer = embed(model, dict(tokenizer("Hello, world!", return_tensors="np")))
print(answer.keys())
assert isinstance(model, AutoModel)
