"""Record what transformers generates with the tiny checkpoints of tests/fixtures/architectures.

    PYTHONPATH=tests:tests/generation python -m reference.generation

It writes tests/fixtures/generation: `texts.json`, the token numbers of every model and setting (only those
that rounding does not change), and `processors.json`, what each logits processor makes of drawn scores.
"""

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from settings import DRAWN, DRAWN_BY, GUIDED, NOT_RECORDED, SETTINGS, single

from fixture_cases import FIXTURES, heads
from reference import oracle

FOLDER = FIXTURES / "generation"


def prompts(key: str, config: Any) -> dict[str, list[list[int]]]:
    """Three texts of different lengths: padded in front for decoders, behind for encoders."""
    random = np.random.default_rng(zlib.crc32(key.encode()))
    ids = random.integers(4, config.vocab_size, (3, 6))
    shown = np.arange(6)[None, :] < np.array([[6], [4], [3]])
    mask = shown if config.is_encoder_decoder else shown[:, ::-1]
    ids = np.where(mask, ids, config.pad_token_id or 0)
    return {"input_ids": ids.tolist(), "attention_mask": mask.astype(int).tolist()}


def generated(model: Any, inputs: dict[str, Any], settings: dict[str, Any], texts: int) -> Any:
    settings = dict(settings)
    if "sequence_bias" in settings:
        settings["sequence_bias"] = {tuple(run): bias for run, bias in settings["sequence_bias"]}
    if "watermarking_config" in settings:
        settings["watermarking_config"] = hf.WatermarkingConfig(**settings["watermarking_config"])
    given = {name: torch.tensor(rows[:texts]) for name, rows in inputs.items()}
    return model.generate(**given, return_dict_in_generate=True, output_scores=True, **settings)


def texts_of(key: str, model: Any, shaken: Any) -> dict[str, Any]:
    """What a model writes with every setting."""
    inputs = prompts(key, model.config)
    found: dict[str, Any] = {"inputs": inputs, "always": {}, "texts": {}, "drawn": {}}
    starts = (model.generation_config.decoder_start_token_id, model.generation_config.bos_token_id)
    if model.config.is_encoder_decoder and starts == (None, None):
        found["always"] = {"decoder_start_token_id": 1}
    settings = SETTINGS | ({} if model.config.is_encoder_decoder else GUIDED)
    for name, setting in settings.items():
        texts = 1 if single(name) else 3
        if name in ("source", "watermark") and getattr(model.config, "decoder_vocab_size", None):
            continue  # the source's words are not the text's
        if name == "lookup" and "/dynamic-" in key:
            continue  # its rotation remembers the drafts that it has refused
        every = setting | found["always"]
        one, other = (generated(twin, inputs, every, texts) for twin in (model, shaken))
        if torch.equal(one.sequences, other.sequences):
            found["texts"][name] = {"sequences": one.sequences.tolist()}
            if "num_beams" in setting:
                found["texts"][name]["scores"] = rounded(one.sequences_scores)
    for name, setting in DRAWN.items() if key in DRAWN_BY else ():
        every = {"max_new_tokens": 1, "do_sample": True, **setting, **found["always"]}
        one = generated(model, inputs, every, 3)
        found["drawn"][name] = [rounded(row) for row in one.scores[0]]
    return found


def rounded(values: Any) -> list[float | None]:
    """Six digits; -inf, which JSON does not know, is null."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values.tolist()]


def processors() -> list[dict[str, Any]]:
    """Every processor with drawn arguments, tokens and scores."""
    random = np.random.default_rng(7)
    found = []
    for vocabulary, rows, length in [(11, 1, 1), (11, 3, 6), (40, 2, 12)]:
        ids = random.integers(0, vocabulary, (rows, length))
        scores = np.round(random.normal(size=(rows, vocabulary)) * 3, 4).astype(np.float32)
        scores[:, 3] = -np.inf
        source = random.integers(0, vocabulary, (rows, 5)).tolist()
        last = int(ids[0, -1])
        for name, arguments in {
            "TemperatureLogitsWarper": {"temperature": 0.6},
            "TopKLogitsWarper": {"top_k": 4, "min_tokens_to_keep": 5},
            "TopPLogitsWarper": {"top_p": 0.7, "min_tokens_to_keep": 2},
            "MinPLogitsWarper": {"min_p": 0.2},
            "TypicalLogitsWarper": {"mass": 0.6},
            "EpsilonLogitsWarper": {"epsilon": 0.05},
            "EtaLogitsWarper": {"epsilon": 0.1},
            "TopHLogitsWarper": {"top_h": 0.6},
            "RepetitionPenaltyLogitsProcessor": {"penalty": 1.4},
            "EncoderRepetitionPenaltyLogitsProcessor": {"penalty": 1.4, "encoder_input_ids": source},
            "NoRepeatNGramLogitsProcessor": {"ngram_size": 2},
            "EncoderNoRepeatNGramLogitsProcessor": {"encoder_ngram_size": 2, "encoder_input_ids": source},
            "MinLengthLogitsProcessor": {"min_length": 5, "eos_token_id": 2},
            "MinNewTokensLengthLogitsProcessor": {
                "prompt_length_to_skip": 1,
                "min_new_tokens": 3,
                "eos_token_id": [1, 2],
            },
            "NoBadWordsLogitsProcessor": {"bad_words_ids": [[1], [last, 4], [2]], "eos_token_id": [2]},
            "ForcedBOSTokenLogitsProcessor": {"bos_token_id": 1},
            "ForcedEOSTokenLogitsProcessor": {"max_length": length + 1, "eos_token_id": [1, 2]},
            "InfNanRemoveLogitsProcessor": {},
            "ExponentialDecayLengthPenalty": {
                "exponential_decay_length_penalty": [2, 1.2],
                "eos_token_id": 2,
                "input_ids_seq_length": 1,
            },
            "LogitNormalization": {},
            "SuppressTokensLogitsProcessor": {"suppress_tokens": [0, 4]},
            "SuppressTokensAtBeginLogitsProcessor": {"begin_suppress_tokens": [0, 4], "begin_index": 6},
            "SequenceBiasLogitsProcessor": {"sequence_bias": [[[1], 2.0], [[last, 2], -3.0]]},
            "WatermarkLogitsProcessor": {"vocab_size": vocabulary, "context_width": 1},
        }.items():
            given = {
                key: torch.tensor(value) if key == "encoder_input_ids" else value
                for key, value in arguments.items()
            }
            if name == "WatermarkLogitsProcessor":
                given["device"] = "cpu"
            changed = getattr(hf, name)(**given)(torch.tensor(ids), torch.tensor(scores))
            found.append(
                {
                    "name": name,
                    "arguments": arguments,
                    "input_ids": ids.tolist(),
                    "scores": [rounded(row) for row in scores],
                    "processed": [rounded(row) for row in changed],
                }
            )
    return found


def main() -> None:
    hf.logging.set_verbosity_error()
    hf.logging.disable_progress_bar()
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    found = {}
    for head in heads(FIXTURES / "architectures"):
        if head.auto in ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM"):
            model = oracle.opened(head.class_name, Path(head.folder), **head.load)
            model.config.output_router_logits = False  # with which transformers cannot generate
            if str(head) not in NOT_RECORDED:
                found[str(head)] = texts_of(str(head), model, oracle.shaken(model))
    write("texts.json", found)
    write("processors.json", processors())


def write(name: str, value: Any) -> None:
    """JSON with a line for each entry."""
    if isinstance(value, dict):
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(item)}" for key, item in value.items())
        text = f"{{\n{lines}\n}}\n"
    else:
        text = "[\n" + ",\n".join(json.dumps(item) for item in value) + "\n]\n"
    (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
