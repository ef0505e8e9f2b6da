"""In training, models drop what transformers drops.

Masks are drawn otherwise than torch draws them, so they cannot be compared. But with a probability of 1 every
mask is zero, and what a model then answers says where they are: one kind of dropout at a time, in every
architecture and head. Where nothing is left after the first (a model without biases), the spread of many
answers says the same.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_configs import ARCHITECTURES, Config

import gaps
import trustformers
from agreement import TOLERANCE, errors
from fixture_cases import Call

pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from test_parity import configuration, write  # noqa: E402

from reference import oracle  # noqa: E402
from reference.cases import HEADS  # noqa: E402

MODELS = [
    pytest.param(model_type, auto, name, id=f"{model_type}-{name}")
    for model_type in ARCHITECTURES
    for auto, name in oracle.heads(model_type).items()
    if name not in gaps.CLASSES
]
#: Of how many answers the spread is taken.
ANSWERS = 300


def settings(model_type: str, auto: str) -> dict[str, Config]:
    """Configurations by the one field that drops in them."""
    config = configuration(model_type, auto, 0)
    known = trustformers.AutoConfig.for_model(**config).to_dict()
    fields = {name: value for name, value in known.items() if "drop" in name}
    if auto == "AutoModelForTokenClassification":
        # Decoders have no field for it, and drop a tenth.
        fields.setdefault("classifier_dropout", 0.0)
    # What is null follows another one, and shall.
    off = {name: None if value is None else 0.0 for name, value in fields.items()}
    return {name: {**config, **off, name: 1.0} for name in fields}


def both(name: str, auto: str, config: Config, folder: Path) -> tuple[Any, Any]:
    """Their model and ours, in training."""
    folder.mkdir()
    write(folder, name, config)
    theirs = oracle.opened(name, folder).train()
    ours = getattr(trustformers, auto).from_pretrained(folder)
    assert not ours.training
    return theirs, ours.train()


@pytest.mark.parametrize(("model_type", "auto", "name"), MODELS)
def test_what_is_dropped_is_where_transformers_drops(
    model_type: str, auto: str, name: str, tmp_path: Path
) -> None:
    for field, config in settings(model_type, auto).items():
        theirs, ours = both(name, auto, config, tmp_path / field)
        shaken = oracle.shaken(theirs)
        subject = oracle.subject(theirs, seed=f"{model_type} {field}", length=7, parts=(0.4, 0.6))
        case = next(case for case in HEADS[auto](subject) if len(case.steps) == 1 and not case.states)
        (answer,), (other,) = oracle.answers(theirs, case), oracle.answers(shaken, case)
        call, mask = Call(case.steps[0], answer), oracle.mask_of(answer)
        with trustformers.no_grad():
            found = ours(**call.arguments, **call.flags)
        rounding = {output: error for error, output in errors(case.steps[0], other, answer, mask)}
        for error, output in errors(case.steps[0], found, answer, mask):
            assert error <= TOLERANCE + 5 * rounding[output], (
                f"{field}: {output} is off by {error:.1e}\n{config}"
            )


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_answers_spread_as_those_of_transformers(model_type: str, tmp_path: Path) -> None:
    auto = "AutoModel"
    name = oracle.heads(model_type)[auto]
    for field, config in settings(model_type, auto).items():
        p = 0.3 if "layer" not in field else 0.5
        theirs, ours = both(name, auto, {**config, field: p}, tmp_path / field)
        ids = np.random.default_rng(1).integers(4, 20, (1, 6))
        inputs = {"input_ids": ids}
        if theirs.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = ids[:, ::-1].copy()
        given = {key: torch.tensor(value) for key, value in inputs.items()}
        torch.manual_seed(0)
        trustformers.manual_seed(0)
        with torch.no_grad(), trustformers.no_grad():
            wanted = np.stack([theirs(**given).last_hidden_state.numpy() for _ in range(ANSWERS)])
            found = np.stack([ours(**inputs).last_hidden_state for _ in range(ANSWERS)])
        spread, expected = found.std(0), wanted.std(0)
        if expected.max() < 1e-5:  # what rounding leaves
            assert spread.max() < 1e-5, field
            continue
        # Each is off by some 4 %, their mean by far less; elements that hang together make it more.
        assert abs(np.log(spread.mean() / expected.mean())) < 0.06, (
            f"{field}: {spread.mean()} and {expected.mean()}"
        )
        distance = np.abs(found.mean(0) - wanted.mean(0)) / np.maximum(expected, 1e-3)
        assert distance.mean() < 4 / np.sqrt(ANSWERS), f"{field}: {distance.mean()}"
