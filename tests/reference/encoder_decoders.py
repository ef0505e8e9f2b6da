"""Rows of the encoder-decoders."""

from typing import Any

from reference.rows import ALL, SEQ2SEQ, Config, Row


def t5(model_type: str = "t5", **changes: Any) -> Config:
    return {
        "model_type": model_type,
        "vocab_size": 37,
        "d_model": 24,
        "d_kv": 6,
        "d_ff": 40,
        "num_layers": 2,
        "num_heads": 3,
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 10,
        "layer_norm_epsilon": 1e-3,
        "decoder_start_token_id": 0,
    } | changes


def bart(model_type: str, **changes: Any) -> Config:
    return {
        "model_type": model_type,
        "vocab_size": 37,
        "d_model": 24,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 3,
        "decoder_attention_heads": 3,
        "encoder_ffn_dim": 40,
        "decoder_ffn_dim": 36,
        "max_position_embeddings": 20,
    } | changes


def marian(**changes: Any) -> Config:
    words = {"decoder_vocab_size": 37, "pad_token_id": 36, "decoder_start_token_id": 36}
    return bart("marian", **words | changes)


def default(config: Config, **options: Any) -> Row:
    """Every head and call of an architecture, with three labels."""
    row = f"architectures/{config['model_type']}/default"
    return Row(row, config | {"num_labels": 3}, ALL, **{"short": False, "as_written": True} | options)


LOPSIDED = {
    "encoder_layers": 1,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
}

ROWS = [
    default(t5(), length=10),
    Row(
        "architectures/t5/v1_1",
        t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False, num_decoder_layers=3),
        ALL,
        short=False,
        length=10,
    ),
    Row("architectures/t5/gated_silu", t5(feed_forward_proj="gated-silu", num_decoder_layers=1), SEQ2SEQ),
    Row("architectures/t5/gelu_new", t5(feed_forward_proj="gelu_new", d_kv=8), SEQ2SEQ),
    default(t5("mt5"), length=10, short=True),  # T5 v1.1 under another name
    Row("architectures/mt5/as_on_the_hub", t5("mt5", tie_word_embeddings=False), SEQ2SEQ),
    default(bart("bart")),
    Row(
        "architectures/bart/scaled",
        bart("bart", scale_embedding=True, activation_function="relu", **LOPSIDED),
        SEQ2SEQ,
    ),
    Row(
        "architectures/bart/untied",
        bart("bart", tie_word_embeddings=False, activation_function="gelu_new"),
        SEQ2SEQ,
    ),
    default(bart("mbart")),
    Row(
        "architectures/mbart/scaled",
        bart("mbart", scale_embedding=True, activation_function="relu", **LOPSIDED),
        SEQ2SEQ,
    ),
    default(bart("pegasus")),
    Row(
        "architectures/pegasus/scaled",
        bart("pegasus", scale_embedding=True, activation_function="relu", **LOPSIDED),
        SEQ2SEQ,
    ),
    default(marian()),
    Row(
        "architectures/marian/as_on_the_hub",
        marian(scale_embedding=True, activation_function="swish", **LOPSIDED),
        SEQ2SEQ,
    ),
    Row(
        "architectures/marian/two_vocabularies",
        marian(share_encoder_decoder_embeddings=False, decoder_vocab_size=31, tie_word_embeddings=False)
        | {"decoder_start_token_id": 30, "pad_token_id": 30},
        SEQ2SEQ,
    ),
    default(bart("m2m_100")),
    Row(
        "architectures/m2m_100/unscaled",
        bart("m2m_100", scale_embedding=False, activation_function="gelu", **LOPSIDED),
        SEQ2SEQ,
    ),
    default(bart("blenderbot")),
    Row(
        "architectures/blenderbot/scaled",
        bart("blenderbot", scale_embedding=True, activation_function="relu", **LOPSIDED),
        SEQ2SEQ,
    ),
]
