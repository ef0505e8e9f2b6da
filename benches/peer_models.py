"""The models that all peers open, made once: real shapes, drawn weights, and numbers for words."""

import json
from pathlib import Path
from typing import Any

SPECIAL = ("<pad>", "</s>", "<unk>")


def make(folder: Path) -> Path:
    """Those that are not there yet; transformers, CTranslate2 and candle read what ours saves."""
    from trustformers import (
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForSeq2SeqLM,
        BertConfig,
        GPT2Config,
        T5Config,
    )

    models: dict[str, tuple[Any, Any]] = {
        # CTranslate2 asks for what transformers 5 no longer says.
        "bert": (AutoModel, BertConfig(position_embedding_type="absolute")),
        "gpt2": (AutoModelForCausalLM, GPT2Config()),
        "t5": (AutoModelForSeq2SeqLM, T5Config(decoder_start_token_id=0)),
    }
    for name, (auto, config) in models.items():
        if not (folder / name / "tokenizer_config.json").exists():
            auto.from_config(config).save_pretrained(folder / name)
            write_tokenizer(folder / name, config.vocab_size)
    return folder


def write_tokenizer(folder: Path, size: int) -> None:
    """CTranslate2 converts no model without one, nor one of another size than the model's."""
    words = [*SPECIAL, *map(str, range(len(SPECIAL), size))]
    model = {
        "type": "WordLevel",
        "vocab": {word: number for number, word in enumerate(words)},
        "unk_token": "<unk>",
    }
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": model,
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    special = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "</s>", "unk_token": "<unk>"}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
