"""Several texts in one row: positions that begin anew part them from one another, as in transformers."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_configs import ARCHITECTURES

import trustformers

hf = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from test_parity import DRAWS, configuration, write  # noqa: E402

from reference import oracle  # noqa: E402

AUTO = "AutoModelForCausalLM"


def takes_positions(model_type: str) -> bool:
    name = oracle.heads(model_type).get(AUTO)
    return name is not None and "position_ids" in inspect.signature(getattr(hf, name).forward).parameters


@pytest.mark.parametrize("number", DRAWS)
@pytest.mark.parametrize("model_type", [one for one in ARCHITECTURES if takes_positions(one)])
def test_texts_in_one_row_are_parted_as_transformers_parts_them(
    model_type: str, number: int, tmp_path: Path
) -> None:
    config = configuration(model_type, AUTO, number) | {"add_cross_attention": False}
    name = oracle.heads(model_type)[AUTO]
    write(tmp_path, name, config)
    theirs = oracle.opened(name, tmp_path)
    ours = trustformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype="float32")

    random = np.random.default_rng(number)
    ids = random.integers(3, config["vocab_size"], (2, 13))
    positions = np.stack(
        [np.concatenate([np.arange(n) for n in lengths]) for lengths in ((4, 1, 8), (10, 3))]
    )
    offset = 4 if model_type in ("roberta", "xlm-roberta", "camembert") else 0
    given = {"input_ids": ids, "position_ids": positions + offset, "labels": ids}
    for others in (
        {"use_cache": False},
        {"use_cache": False, "output_attentions": True, "output_hidden_states": True},
        {"use_cache": True},
        {"use_cache": False, "attention_mask": np.ones_like(ids)},
        {},
    ):
        given: dict[str, Any] = {
            "input_ids": ids,
            "position_ids": positions + offset,
            "labels": ids,
            **others,
        }
        tensors = {key: torch.tensor(v) if isinstance(v, np.ndarray) else v for key, v in given.items()}
        with torch.no_grad():
            wanted = theirs(**tensors)
        found = ours(**given)
        for key in ("loss", "logits", "hidden_states", "attentions"):
            for one, other in zip(several(found.get(key)), several(wanted.get(key)), strict=True):
                np.testing.assert_allclose(
                    one, np.asarray(other), atol=2e-4, rtol=2e-4, err_msg=f"{key} {others}"
                )


def several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)
