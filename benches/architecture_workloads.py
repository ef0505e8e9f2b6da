"""Every architecture at one size, wide and shallow: hidden 512, 4 layers, 8 heads, float32."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

PLAIN = {
    "hidden_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
    "vocab_size": 1000,
}
GROUPED = PLAIN | {"num_key_value_heads": 2, "head_dim": 64}
LLAMA = PLAIN | {"num_key_value_heads": 8}
PADDED = {"pad_token_id": 0}
GPT2 = {"n_embd": 512, "n_layer": 4, "n_head": 8, "vocab_size": 1000}
BART = {"d_model": 512, "vocab_size": 1000, "pad_token_id": 1, "decoder_start_token_id": 2}
BART |= {
    f"{side}_{what}": size
    for side in ("encoder", "decoder")
    for what, size in (("layers", 4), ("ffn_dim", 2048))
}
BART |= {
    "encoder_attention_heads": 8,
    "decoder_attention_heads": 8,
    "eos_token_id": 2,
    "forced_eos_token_id": 2,
}
T5 = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 4, "num_heads": 8, "vocab_size": 1000}
EXPERTS = {"num_local_experts": 4, "intermediate_size": 1024}

#: Model type to the keywords of its configuration.
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": PLAIN,
    "roberta": PLAIN | {"max_position_embeddings": 514},
    "xlm-roberta": PLAIN | {"max_position_embeddings": 514},
    "camembert": PLAIN | {"max_position_embeddings": 514},
    "distilbert": {"dim": 512, "n_layers": 4, "n_heads": 8, "hidden_dim": 2048, "vocab_size": 1000},
    "albert": PLAIN | {"embedding_size": 128},
    "electra": PLAIN | {"embedding_size": 512},
    "mpnet": PLAIN | {"max_position_embeddings": 514},
    "deberta-v2": PLAIN | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "modernbert": PLAIN
    | PADDED
    | {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2},
    "gpt2": GPT2 | {"n_positions": 1024},
    "gpt_neo": {
        "hidden_size": 512,
        "num_layers": 4,
        "num_heads": 8,
        "vocab_size": 1000,
        "attention_types": [[["global", "local"], 2]],
    },
    "gpt_neox": PLAIN,
    "gptj": GPT2 | {"rotary_dim": 32},
    "opt": {
        "hidden_size": 512,
        "word_embed_proj_dim": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "ffn_dim": 2048,
        "vocab_size": 1000,
    },
    "bloom": {"hidden_size": 512, "n_layer": 4, "n_head": 8, "vocab_size": 1000},
    "falcon": {"hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "vocab_size": 1000},
    "llama": LLAMA,
    "mistral": GROUPED,
    "mixtral": GROUPED | EXPERTS,
    "qwen2": GROUPED,
    "qwen3": GROUPED,
    "gemma": GROUPED | PADDED,
    "gemma2": GROUPED | PADDED,
    "gemma3_text": GROUPED | PADDED,
    "phi": LLAMA,
    "phi3": LLAMA | PADDED,
    "stablelm": LLAMA,
    "olmo2": LLAMA | PADDED,
    "smollm3": GROUPED | PADDED,
    "t5": T5,
    "mt5": T5,
    "bart": BART,
    "mbart": BART,
    "pegasus": BART,
    "marian": BART | {"decoder_vocab_size": 1000},
    "m2m_100": BART,
    "blenderbot": BART | {"max_position_embeddings": 512},
}
SHAPES = ((1, 16), (8, 128), (1, 512))
TWO_STACKS = ("t5", "mt5", "bart", "mbart", "pegasus", "marian", "m2m_100", "blenderbot")


def calls(make: Callable[[str, dict[str, Any]], Any], convert: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """The forward passes of every architecture; a model is made when it is first asked for."""
    opened = cache(lambda model_type: make(model_type, CONFIGS[model_type]))

    def call(model_type: str, batch: int, length: int) -> None:
        ids = convert(np.random.default_rng(1).integers(10, 1000, (batch, length)))
        more = {"decoder_input_ids": ids} if model_type in TWO_STACKS else {}
        opened(model_type)(ids, use_cache=False, **more)

    return {
        f"{model_type}, {batch} x {length}": lambda args=(model_type, batch, length): call(*args)
        for model_type in CONFIGS
        for batch, length in SHAPES
    }
