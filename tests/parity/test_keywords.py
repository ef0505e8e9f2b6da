"""The forward pass of every class takes the keywords that transformers' takes."""

import inspect

import pytest
from drawn_configs import ARCHITECTURES, draw

import trustformers
from trustformers import AutoConfig, _engine
from trustformers.models.calls import _NONE_ONLY, accepted

hf = pytest.importorskip("transformers")

CLASSES = [
    pytest.param(about["model_type"], name, task, id=name)
    for about in _engine.architectures()
    for name, task, _ in about["classes"]
    if about["model_type"] in ARCHITECTURES
]


@pytest.mark.parametrize(("model_type", "name", "task"), CLASSES)
def test_every_keyword_is_taken(model_type: str, name: str, task: str) -> None:
    config = AutoConfig.for_model(**draw(model_type, 0))
    decoders = [True, False] if hasattr(config, "add_cross_attention") else [False]
    wanted = set(inspect.signature(getattr(hf, name).forward).parameters) - {"self", "args", "kwargs"}
    for is_decoder in decoders:
        config.is_decoder = config.add_cross_attention = is_decoder
        model = getattr(trustformers, name)(config)
        family, has_experts = model._engine.family, hasattr(config, "output_router_logits")
        taken = {*accepted(family, task, has_experts), "cache"}
        # What a decoder alone could use, an encoder takes as None.
        assert not wanted - taken - (set(_NONE_ONLY) if family == "encoder" else set())
        ids = [[[5, 6], [7, 8]]] if task == "MultipleChoice" else [[5, 6, config.eos_token_id]]
        given = {name: ids for name in ("input_ids", "decoder_input_ids") if name in wanted}
        model(**dict.fromkeys(wanted) | given)
