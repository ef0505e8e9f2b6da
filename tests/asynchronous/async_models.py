"""Small models for the asynchronous tests, and one whose operations take long."""

from functools import cache
from typing import Any

import trustformers as tf

_SMALL: dict[str, Any] = {"vocab_size": 60, "initializer_range": 0.4}
_LLAMA: dict[str, Any] = {
    **_SMALL,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
_GPT2: dict[str, Any] = {
    **_SMALL,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 4,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

#: Decoders that differ in how they count positions and how far they see.
DECODERS = ("llama", "gpt2", "gpt2_short", "bloom", "mistral", "gemma2")


@cache
def decoder(name: str) -> Any:
    """A decoder with a language model's head."""
    match name:
        case "llama":
            return tf.LlamaForCausalLM(tf.LlamaConfig(**_LLAMA), seed=1).eval()
        case "gpt2":
            return tf.GPT2LMHeadModel(tf.GPT2Config(**_GPT2, n_positions=128), seed=1).eval()
        case "gpt2_short":
            return tf.GPT2LMHeadModel(tf.GPT2Config(**_GPT2, n_positions=24), seed=1).eval()
        case "bloom":
            bloom = tf.BloomConfig(**_SMALL, hidden_size=16, n_layer=2, n_head=4)
            return tf.BloomForCausalLM(bloom, seed=1).eval()
        case "mistral":
            return tf.MistralForCausalLM(tf.MistralConfig(**_LLAMA, sliding_window=5), seed=1).eval()
        case "gemma2":
            config = tf.Gemma2Config(**_LLAMA, head_dim=4, sliding_window=5)
            return tf.Gemma2ForCausalLM(config, seed=1).eval()
    raise KeyError(name)


@cache
def encoder() -> Any:
    """An encoder, bare."""
    return tf.BertModel(_bert(32, 2), seed=2).eval()


@cache
def wide_encoder() -> Any:
    """An encoder whose layers take long: about 3 GFLOP for each 100 tokens of a layer."""
    return tf.BertModel(_bert(1024, 2), seed=3).eval()


@cache
def classifier() -> Any:
    """A decoder that classifies, which finds the end of a text by its padding."""
    config = tf.LlamaConfig(**_LLAMA, pad_token_id=0)
    return tf.LlamaForSequenceClassification(config, seed=4).eval()


@cache
def answerer() -> Any:
    """A model with two numbers for each token."""
    return tf.BertForQuestionAnswering(_bert(32, 2), seed=5).eval()


def _bert(width: int, layers: int) -> Any:
    return tf.BertConfig(
        vocab_size=1000,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 16,
        intermediate_size=4 * width,
        initializer_range=0.2,
    )
