"""The live suite: models of configurations drawn at random answer as transformers answers, at this moment.

    make parity PEERS=a/python/with/transformers/and/torch
    TRUSTFORMERS_DRAWS=50 python -m pytest tests/parity -k llama       # many configurations of one

The weights are those of fixtures, a function of their names, so a failure is made again by its number.
"""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_configs import ARCHITECTURES, Config, draw

import gaps
import trustformers
from agreement import TOLERANCE, errors
from drawn_weights import draw_all
from fixture_cases import Call

hf = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from reference import oracle  # noqa: E402
from reference.cases import HEADS  # noqa: E402

DRAWS = range(int(os.environ.get("TRUSTFORMERS_DRAWS", 3)))
DTYPES = [torch.float32, torch.bfloat16]
hf.logging.set_verbosity_error()
hf.logging.disable_progress_bar()
torch.set_num_threads(1)  # the models are tiny

#: An architecture, one of its heads, and the number of a configuration.
MODELS = [
    pytest.param(model_type, auto, name, number, id=f"{model_type}-{name}-{number}")
    for model_type in ARCHITECTURES
    for auto, name in oracle.heads(model_type).items()
    if name not in gaps.CLASSES
    for number in DRAWS
]


def configuration(model_type: str, auto: str, number: int) -> Config:
    """The configuration of that number, as this head wants it."""
    config = draw(model_type, number)
    if auto == "AutoModelForCausalLM" and model_type in oracle.AUTO["AutoModelForMaskedLM"]:
        config |= {"is_decoder": True, "add_cross_attention": True}
    if auto == "AutoModelForCausalLM" and "decoder_layers" in config:
        config["encoder_layers"] = config["decoder_layers"]  # by which transformers counts its cache
    if auto == "AutoModelForQuestionAnswering":
        config["num_labels"] = 2
    return config


def write(folder: Path, name: str, config: Config, dtype: Any = torch.float32) -> None:
    """A checkpoint of this class."""
    (folder / "config.json").write_text(json.dumps(config))
    shapes = oracle.shapes(name, hf.AutoConfig.from_pretrained(folder))
    drawn = draw_all(json.dumps(config, sort_keys=True), shapes)
    tensors = {key: torch.from_numpy(array).to(dtype) for key, array in drawn.items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(("model_type", "auto", "name", "number"), MODELS)
def test_it_answers_what_transformers_answers(
    model_type: str, auto: str, name: str, number: int, tmp_path: Path
) -> None:
    config = configuration(model_type, auto, number)
    write(tmp_path, name, config, DTYPES[number % len(DTYPES)])
    theirs = oracle.opened(name, tmp_path)
    shaken = oracle.shaken(theirs)
    ours = getattr(trustformers, auto).from_pretrained(tmp_path, dtype="float32")

    random = np.random.default_rng(number)
    parts = tuple(random.random(random.integers(2, 5)))
    subject = oracle.subject(
        theirs, seed=f"{model_type} {number}", length=int(random.integers(4, 15)), parts=parts
    )
    cases = HEADS[auto](subject)
    states = any(case.states for case in cases)
    for case in cases:
        if (name, case.name) in gaps.CALLS:
            continue
        if states and len(case.steps) == 1:
            case = replace(case, states=True)
        answers, others = oracle.answers(theirs, case), oracle.answers(shaken, case)
        past: dict[str, Any] = {"use_cache": True} if len(case.steps) > 1 else {}
        for step, (inputs, answer, other) in enumerate(zip(case.steps, answers, others, strict=True)):
            call, mask = Call(inputs, answer), oracle.mask_of(answer)
            found = ours(**call.arguments, **call.flags, **past)
            rounding = {field: error for error, field in errors(inputs, other, answer, mask)}
            wrong = [
                f"{field} is off by {error:.1e}"
                for error, field in errors(inputs, found, answer, mask)
                if error > TOLERANCE + 5 * rounding[field]
            ]
            assert not wrong, f"{name} {case.name}, call {step}: {', '.join(wrong)}\n{config}"
            if past:
                past["past_key_values"] = found.past_key_values


@pytest.mark.skipif(
    not hasattr(trustformers.PreTrainedModel, "save_pretrained"), reason="models cannot be saved yet"
)
@pytest.mark.parametrize(("model_type", "auto", "name", "number"), [p for p in MODELS if p.values[3] < 2])
def test_what_we_save_is_what_transformers_saves(
    model_type: str, auto: str, name: str, number: int, tmp_path: Path
) -> None:
    dtype = DTYPES[number % len(DTYPES)]
    original, ours, theirs = (tmp_path / folder for folder in ("original", "ours", "theirs"))
    original.mkdir()
    write(original, name, configuration(model_type, auto, number), dtype)
    getattr(trustformers, auto).from_pretrained(original).save_pretrained(ours)
    oracle.opened(name, original, dtype).save_pretrained(theirs)

    configs = [json.loads((folder / "config.json").read_text()) for folder in (ours, theirs)]
    for config in configs:
        config.pop("transformers_version", None)
    # Two labels are left out by transformers even where the architecture's default is another number.
    left_out = configs[0].keys() & {"id2label", "label2id"} - configs[1].keys()
    for field in left_out:
        assert len(configs[0].pop(field)) == 2
    assert configs[0] == configs[1]
    found, wanted = (load_file(folder / "model.safetensors") for folder in (ours, theirs))
    assert found.keys() == wanted.keys()
    for key, tensor in wanted.items():
        assert found[key].dtype is tensor.dtype, key
        assert torch.equal(found[key], tensor), key
    # And each opens what the other saved, with nothing missing.
    oracle.opened(name, ours, dtype)
    labels = {"num_labels": 2} if left_out else {}
    _, info = getattr(trustformers, auto).from_pretrained(theirs, output_loading_info=True, **labels)
    assert not any(info.values())
