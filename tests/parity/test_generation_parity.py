"""The live suite of generation: models of configurations drawn at random write what transformers writes.

TRUSTFORMERS_DRAWS=20 python -m pytest tests/parity/test_generation_parity.py -k llama
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_parity import MODELS, configuration, oracle, write

import trustformers

hf = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

sys.path.append(str(Path(__file__).parent.parent / "generation"))
from settings import GUIDED, SETTINGS, single  # noqa: E402

from reference.generation import generated, prompts  # noqa: E402

WRITERS = [
    parameter
    for parameter in MODELS
    if parameter.values[1] in ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM")
]


@pytest.mark.parametrize(("model_type", "auto", "name", "number"), WRITERS)
def test_it_writes_what_transformers_writes(
    model_type: str, auto: str, name: str, number: int, tmp_path: Path
) -> None:
    config = configuration(model_type, auto, number)
    if "num_decoder_layers" in config:
        config["num_decoder_layers"] = config["num_layers"]  # by which transformers counts its cache
    if "decoder_layers" in config:
        config["decoder_layers"] = config["encoder_layers"]
    config["output_router_logits"] = False  # with which transformers cannot generate
    write(tmp_path, name, config)
    theirs = oracle.opened(name, tmp_path)
    shaken = oracle.shaken(theirs)
    ours = getattr(trustformers, auto).from_pretrained(tmp_path, dtype="float32")
    inputs = prompts(f"{model_type} {number}", theirs.config)
    always: dict[str, Any] = {"eos_token_id": 2, "decoder_start_token_id": 1}
    settings = SETTINGS | ({} if theirs.config.is_encoder_decoder else GUIDED)
    for setting, options in settings.items():
        texts = 1 if single(setting) else 3
        if "decoder_vocab_size" in config and setting in ("source", "watermark"):
            continue
        try:
            one, other = (generated(twin, inputs, options | always, texts) for twin in (theirs, shaken))
        except (IndexError, RuntimeError) as error:
            if setting == "lookup" and "`crop` was called" in str(error):
                continue  # its cache of windows cannot forget
            raise
        if not torch.equal(one.sequences, other.sequences):
            continue
        arrays = {key: np.array(rows[:texts]) for key, rows in inputs.items()}
        found = ours.generate(**arrays, **(options | always))
        assert found.tolist() == one.sequences.tolist(), f"{name} {setting}\n{config}"
