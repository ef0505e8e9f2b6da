"""Rows of the encoders."""

from typing import Any

from reference.rows import ALL, BASE, MASKED, Config, Row

CAUSAL_ONLY = ("AutoModelForCausalLM",)


def tiny(model_type: str, **changes: Any) -> Config:
    return {
        "model_type": model_type,
        "vocab_size": 37,
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 40,
        "max_position_embeddings": 20,
        "layer_norm_eps": 1e-3,
    } | changes


def distilbert(**changes: Any) -> Config:
    return {
        "model_type": "distilbert",
        "vocab_size": 37,
        "dim": 24,
        "n_layers": 2,
        "n_heads": 3,
        "hidden_dim": 40,
        "max_position_embeddings": 20,
    } | changes


def modernbert(**changes: Any) -> Config:
    config = tiny("modernbert", norm_eps=1e-3, pad_token_id=1, bos_token_id=2, eos_token_id=3, cls_token_id=2)
    config |= {"sep_token_id": 3, "local_attention": 4, "num_hidden_layers": 3}
    del config["layer_norm_eps"]
    return config | changes


DEBERTA_V3 = tiny(
    "deberta-v2",
    relative_attention=True,
    max_relative_positions=-1,
    position_buckets=4,
    norm_rel_ebd="layer_norm",
    share_att_key=True,
    pos_att_type="p2c|c2p",
    position_biased_input=False,
    pooler_hidden_size=24,
)
AS_DECODER = {"is_decoder": True, "add_cross_attention": True}


def decoder_of(model_type: str, **changes: Any) -> Row:
    """An encoder as a causal language model that may look at another model's states."""
    return Row(
        f"architectures/{model_type}/decoder",
        tiny(model_type, **AS_DECODER, **changes),
        CAUSAL_ONLY,
        short=False,
    )


def default(config: Config, **options: Any) -> Row:
    """Every head and call of an architecture, with three labels."""
    row = f"architectures/{config['model_type']}/default"
    return Row(row, config | {"num_labels": 3}, ALL, **{"short": False, "as_written": True} | options)


ROWS = [
    default(tiny("bert")),
    decoder_of("bert"),
    Row("architectures/bert/untied", tiny("bert", tie_word_embeddings=False, type_vocab_size=3), MASKED),
    Row("architectures/bert/gelu_new", tiny("bert", hidden_act="gelu_new"), MASKED),
    Row("architectures/bert/gelu_pytorch_tanh", tiny("bert", hidden_act="gelu_pytorch_tanh"), BASE),
    Row("architectures/bert/relu", tiny("bert", hidden_act="relu"), BASE),
    Row("architectures/bert/silu", tiny("bert", hidden_act="silu"), BASE),
    default(tiny("roberta", max_position_embeddings=22)),
    decoder_of("roberta", max_position_embeddings=22),
    Row(
        "architectures/roberta/as_on_the_hub",
        tiny("roberta", type_vocab_size=1, max_position_embeddings=22),
        MASKED,
    ),
    Row(
        "architectures/roberta/untied", tiny("roberta", tie_word_embeddings=False, hidden_act="relu"), MASKED
    ),
    # RoBERTa under other names.
    default(tiny("xlm-roberta", max_position_embeddings=22), short=True),
    decoder_of("xlm-roberta", max_position_embeddings=22),
    default(tiny("camembert", max_position_embeddings=22), short=True),
    decoder_of("camembert", max_position_embeddings=22),
    default(distilbert()),
    Row(
        "architectures/distilbert/sinusoidal",
        distilbert(sinusoidal_pos_embds=True, activation="relu"),
        MASKED,
    ),
    Row("architectures/distilbert/untied", distilbert(tie_word_embeddings=False), MASKED),
    default(tiny("albert", embedding_size=10)),
    Row(
        "architectures/albert/groups",
        tiny("albert", embedding_size=24, num_hidden_layers=4, num_hidden_groups=2, inner_group_num=2),
        MASKED,
    ),
    Row(
        "architectures/albert/gelu",
        tiny("albert", embedding_size=10, hidden_act="gelu", type_vocab_size=3),
        MASKED,
    ),
    default(tiny("electra", embedding_size=10)),
    decoder_of("electra", embedding_size=10),
    Row(
        "architectures/electra/one_width",
        tiny("electra", embedding_size=24, tie_word_embeddings=False),
        MASKED,
    ),
    default(tiny("mpnet", max_position_embeddings=22)),
    Row(
        "architectures/mpnet/long",
        tiny("mpnet", hidden_act="gelu_new", tie_word_embeddings=False),
        MASKED,
        length=14,
    ),
    default(tiny("deberta-v2")),
    Row("architectures/deberta-v2/v3", DEBERTA_V3, short=False, length=12),
    Row(
        "architectures/deberta-v2/v3_positions",
        DEBERTA_V3 | {"position_biased_input": True, "type_vocab_size": 2},
        MASKED,
    ),
    Row(
        "architectures/deberta-v2/v2_convolution",
        DEBERTA_V3 | {"conv_kernel_size": 3, "conv_act": "gelu"},
        MASKED,
        length=12,
    ),
    Row(
        "architectures/deberta-v2/own_position_projections",
        DEBERTA_V3 | {"share_att_key": False, "position_buckets": -1, "norm_rel_ebd": "none"},
        MASKED,
    ),
    Row(
        "architectures/deberta-v2/c2p",
        DEBERTA_V3 | {"pos_att_type": ["c2p"], "legacy": False, "max_relative_positions": 4},
        MASKED,
    ),
    Row("architectures/deberta-v2/p2c", DEBERTA_V3 | {"pos_att_type": ["p2c"], "embedding_size": 10}, BASE),
    default(modernbert()),
    Row(
        "architectures/modernbert/as_on_the_hub",
        modernbert(
            global_attn_every_n_layers=2,
            global_rope_theta=160.0,
            local_rope_theta=10.0,
            classifier_pooling="mean",
        ),
        short=False,
    ),
    Row(
        "architectures/modernbert/biases",
        modernbert(
            attention_bias=True,
            mlp_bias=True,
            norm_bias=True,
            classifier_bias=True,
            decoder_bias=False,
            hidden_activation="silu",
            classifier_activation="relu",
            tie_word_embeddings=False,
        ),
        (*MASKED, "AutoModelForSequenceClassification"),
    ),
]
