"""Rows of the decoders."""

from typing import Any

from reference.rows import ALL, BASE, CAUSAL, Config, Row

WORDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def gpt2(model_type: str = "gpt2", **changes: Any) -> Config:
    return (
        {
            "model_type": model_type,
            "vocab_size": 37,
            "n_embd": 24,
            "n_layer": 2,
            "n_head": 3,
            "n_positions": 20,
            "layer_norm_epsilon": 1e-3,
        }
        | WORDS
        | changes
    )


def gpt_neo(**changes: Any) -> Config:
    return (
        {
            "model_type": "gpt_neo",
            "vocab_size": 37,
            "hidden_size": 24,
            "num_layers": 2,
            "num_heads": 3,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 3,
            "max_position_embeddings": 20,
            "layer_norm_epsilon": 1e-3,
        }
        | WORDS
        | changes
    )


def opt(**changes: Any) -> Config:
    return {
        "model_type": "opt",
        "vocab_size": 37,
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "ffn_dim": 40,
        "word_embed_proj_dim": 24,
        "max_position_embeddings": 20,
        "pad_token_id": 1,
    } | changes


def bloom(**changes: Any) -> Config:
    return (
        {
            "model_type": "bloom",
            "vocab_size": 37,
            "hidden_size": 24,
            "n_layer": 2,
            "n_head": 3,
            "layer_norm_epsilon": 1e-3,
        }
        | WORDS
        | changes
    )


def modern(model_type: str, **changes: Any) -> Config:
    """The fields that the decoders since GPT-NeoX share."""
    return (
        {
            "model_type": model_type,
            "vocab_size": 37,
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "max_position_embeddings": 32,
        }
        | WORDS
        | changes
    )


def falcon(**changes: Any) -> Config:
    config = modern("falcon", layer_norm_epsilon=1e-3)
    del config["intermediate_size"]
    return config | changes


def llama(model_type: str = "llama", **changes: Any) -> Config:
    return modern(model_type, rms_norm_eps=1e-3, num_key_value_heads=1) | changes


def gemma(model_type: str, **changes: Any) -> Config:
    return llama(model_type, head_dim=10) | changes


def stablelm(**changes: Any) -> Config:
    return modern("stablelm", layer_norm_eps=1e-3, num_key_value_heads=3) | changes


def phi3(**changes: Any) -> Config:
    return llama("phi3", num_key_value_heads=3) | changes


def default(config: Config, **options: Any) -> Row:
    """Every head and call of an architecture, with three labels."""
    row = f"architectures/{config['model_type']}/default"
    return Row(row, config | {"num_labels": 3}, ALL, **{"short": False, "as_written": True} | options)


LONGROPE = {
    "type": "longrope",
    "short_factor": [1.0, 1.1, 1.3, 1.7],
    "long_factor": [1.5, 2.0, 4.0, 8.0],
}

ROWS = [
    default(gpt2()),
    Row(
        "architectures/gpt2/scaled_by_layer",
        gpt2(scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True, n_inner=30),
        CAUSAL,
    ),
    Row("architectures/gpt2/unscaled", gpt2(scale_attn_weights=False, activation_function="relu"), CAUSAL),
    Row("architectures/gpt2/untied", gpt2(tie_word_embeddings=False, activation_function="gelu"), CAUSAL),
    Row(
        "architectures/gpt2/cross_attention",
        gpt2(add_cross_attention=True),
        ("AutoModelForCausalLM",),
        short=False,
    ),
    default(gpt_neo()),
    Row(
        "architectures/gpt_neo/local_first",
        gpt_neo(num_layers=3, attention_types=[[["local"], 2], [["global"], 1]], intermediate_size=30),
        CAUSAL,
    ),
    default(modern("gpt_neox", layer_norm_eps=1e-3)),
    Row(
        "architectures/gpt_neox/as_on_the_hub",
        modern("gpt_neox", layer_norm_eps=1e-3, rotary_pct=0.5, rotary_emb_base=100, hidden_act="gelu_fast"),
        CAUSAL,
    ),
    Row(
        "architectures/gpt_neox/sequential",
        modern(
            "gpt_neox",
            use_parallel_residual=False,
            attention_bias=False,
            tie_word_embeddings=True,
            rotary_pct=1.0,
        ),
        CAUSAL,
    ),
    default(gpt2("gptj", rotary_dim=4)),
    Row(
        "architectures/gptj/whole_head_turns",
        gpt2("gptj", rotary_dim=8, n_inner=30, activation_function="gelu"),
        CAUSAL,
    ),
    default(opt()),
    Row("architectures/opt/350m", opt(do_layer_norm_before=False, word_embed_proj_dim=10), CAUSAL),
    Row(
        "architectures/opt/350m_all_heads",
        opt(do_layer_norm_before=False, word_embed_proj_dim=10, tie_word_embeddings=False),
        ALL,
    ),
    Row(
        "architectures/opt/no_biases",
        opt(enable_bias=False, layer_norm_elementwise_affine=False, activation_function="gelu"),
        CAUSAL,
    ),
    Row("architectures/opt/no_final_norm", opt(_remove_final_layer_norm=True), CAUSAL),
    default(bloom()),
    Row(
        "architectures/bloom/four_heads",
        bloom(n_head=4, apply_residual_connection_post_layernorm=True),
        CAUSAL,
    ),
    Row(
        "architectures/bloom/as_on_the_hub",
        {
            "n_embed": 24,
            "num_attention_heads": 6,
            **{k: v for k, v in bloom().items() if k not in ("hidden_size", "n_head")},
        },
        CAUSAL,
    ),
    default(falcon()),
    Row(
        "architectures/falcon/rw",
        falcon(alibi=True, multi_query=False, parallel_attn=False, bias=True, new_decoder_architecture=False),
        short=False,
    ),
    Row(
        "architectures/falcon/rw_four_heads",
        falcon(alibi=True, multi_query=False, parallel_attn=False, bias=True, num_attention_heads=4),
        CAUSAL,
    ),
    Row(
        "architectures/falcon/40b",
        falcon(new_decoder_architecture=True, num_attention_heads=6, num_kv_heads=2),
        short=False,
    ),
    Row(
        "architectures/falcon/11b",
        falcon(
            new_decoder_architecture=True, num_attention_heads=6, num_kv_heads=3, num_ln_in_parallel_attn=1
        )
        | {"ffn_hidden_size": 30, "rope_theta": 500.0},
        CAUSAL,
    ),
    Row(
        "architectures/falcon/every_head_its_own",
        falcon(multi_query=False, bias=True, activation="relu", tie_word_embeddings=False),
        CAUSAL,
    ),
    default(llama(num_key_value_heads=3)),
    Row("architectures/llama/grouped", llama(num_attention_heads=6, num_key_value_heads=2), ALL, short=False),
    Row("architectures/llama/tied", llama(tie_word_embeddings=True, hidden_act="gelu"), CAUSAL),
    Row("architectures/llama/biases", llama(attention_bias=True, mlp_bias=True), CAUSAL),
    Row("architectures/llama/wide_heads", llama(head_dim=12, rope_theta=100.0), CAUSAL),
    Row(
        "architectures/llama/far",
        llama(max_position_embeddings=131072, head_dim=10, rope_theta=500000.0),
        BASE,
        short=False,
    ),
    Row(
        "architectures/llama/linear",
        llama(rope_theta=100.0, rope_scaling={"type": "linear", "factor": 2.5}),
        CAUSAL,
    ),
    Row(
        "architectures/llama/dynamic",
        llama(max_position_embeddings=8, rope_theta=100.0, rope_scaling={"type": "dynamic", "factor": 2.0}),
        CAUSAL,
        length=10,
    ),
    Row(
        "architectures/llama/llama3",
        llama(
            rope_theta=10.0,
            rope_scaling={
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
            max_position_embeddings=256,
        ),
        CAUSAL,
        length=12,
    ),
    Row(
        "architectures/llama/yarn",
        llama(
            rope_theta=100.0,
            rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
            max_position_embeddings=64,
        ),
        CAUSAL,
        length=12,
    ),
    Row(
        "architectures/llama/yarn_every_setting",
        llama(
            rope_parameters={
                "rope_type": "yarn",
                "rope_theta": 100.0,
                "factor": 4.0,
                "original_max_position_embeddings": 16,
                "beta_fast": 4.0,
                "beta_slow": 0.5,
                "mscale": 0.8,
                "mscale_all_dim": 0.5,
                "truncate": False,
            },
            max_position_embeddings=64,
        ),
        CAUSAL,
        length=12,
    ),
    Row(
        "architectures/llama/yarn_attention_factor",
        llama(
            rope_parameters={
                "rope_type": "yarn",
                "rope_theta": 100.0,
                "factor": 4.0,
                "original_max_position_embeddings": 16,
                "attention_factor": 1.5,
            },
            max_position_embeddings=64,
        ),
        BASE,
        length=12,
    ),
    default(llama("mistral", sliding_window=3)),
    Row(
        "architectures/mistral/no_window",
        llama("mistral", sliding_window=None, head_dim=6, rope_theta=100.0),
        CAUSAL,
    ),
    Row(
        "architectures/mistral/window_of_two",
        llama("mistral", sliding_window=2, tie_word_embeddings=True),
        CAUSAL,
    ),
    default(llama("mixtral", num_local_experts=4)),
    Row(
        "architectures/mixtral/one_expert",
        llama("mixtral", num_local_experts=3, num_experts_per_tok=1, sliding_window=3),
        CAUSAL,
    ),
    Row(
        "architectures/mixtral/router",
        llama("mixtral", num_local_experts=4, output_router_logits=True, rope_theta=100.0),
        CAUSAL,
    ),
    default(llama("qwen2")),
    Row(
        "architectures/qwen2/windows",
        llama(
            "qwen2", use_sliding_window=True, sliding_window=3, max_window_layers=1, tie_word_embeddings=True
        ),
        CAUSAL,
    ),
    Row(
        "architectures/qwen2/layer_types",
        llama(
            "qwen2",
            use_sliding_window=True,
            sliding_window=2,
            layer_types=["sliding_attention", "full_attention"],
        ),
        BASE,
    ),
    default(llama("qwen3", head_dim=8)),
    Row(
        "architectures/qwen3/biases",
        llama("qwen3", head_dim=12, attention_bias=True, tie_word_embeddings=True),
        CAUSAL,
    ),
    Row(
        "architectures/qwen3/windows",
        llama("qwen3", head_dim=8, use_sliding_window=True, sliding_window=3, max_window_layers=1),
        BASE,
    ),
    default(gemma("gemma")),
    Row(
        "architectures/gemma/as_on_the_hub",
        gemma("gemma", hidden_act="gelu", hidden_activation=None, num_key_value_heads=3),
        CAUSAL,
    ),
    default(gemma("gemma2", query_pre_attn_scalar=7, sliding_window=3)),
    Row(
        "architectures/gemma2/soft_caps",
        gemma(
            "gemma2",
            attn_logit_softcapping=2.0,
            final_logit_softcapping=1.5,
            sliding_window=3,
            cache_implementation="hybrid",
        ),
        (*CAUSAL, "AutoModelForSequenceClassification"),
    ),
    Row(
        "architectures/gemma2/no_caps",
        gemma("gemma2", attn_logit_softcapping=None, final_logit_softcapping=None),
        CAUSAL,
    ),
    default(
        gemma(
            "gemma3_text",
            query_pre_attn_scalar=7,
            sliding_window=3,
            layer_types=["sliding_attention", "full_attention"],
        )
    ),
    Row(
        "architectures/gemma3_text/as_on_the_hub",
        gemma(
            "gemma3_text", num_hidden_layers=3, sliding_window=3, sliding_window_pattern=3, rope_theta=1000.0
        )
        | {"rope_local_base_freq": 10.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
        CAUSAL,
    ),
    Row(
        "architectures/gemma3_text/caps",
        gemma(
            "gemma3_text", attn_logit_softcapping=2.0, final_logit_softcapping=1.5, tie_word_embeddings=False
        ),
        CAUSAL,
    ),
    Row(
        "architectures/gemma3_text/both_directions",
        gemma("gemma3_text", use_bidirectional_attention=True, sliding_window=4),
        BASE,
    ),
    default(modern("phi", layer_norm_eps=1e-3, num_key_value_heads=3)),
    Row(
        "architectures/phi/grouped",
        modern(
            "phi", layer_norm_eps=1e-3, num_key_value_heads=1, partial_rotary_factor=0.75, qk_layernorm=True
        )
        | {"rope_theta": 100.0},
        CAUSAL,
    ),
    default(phi3()),
    Row(
        "architectures/phi3/window",
        phi3(sliding_window=3, num_key_value_heads=1, partial_rotary_factor=0.5),
        CAUSAL,
    ),
    Row(
        "architectures/phi3/longrope",
        phi3(
            rope_scaling=LONGROPE,
            original_max_position_embeddings=8,
            rope_theta=100.0,
            tie_word_embeddings=True,
        ),
        CAUSAL,
    ),
    Row(
        "architectures/phi3/longrope_long",
        phi3(rope_scaling=LONGROPE, original_max_position_embeddings=8, rope_theta=100.0),
        CAUSAL,
        length=10,
    ),
    default(stablelm()),
    Row(
        "architectures/stablelm/parallel",
        stablelm(
            use_parallel_residual=True, qk_layernorm=True, num_key_value_heads=1, partial_rotary_factor=0.5
        ),
        CAUSAL,
    ),
    Row(
        "architectures/stablelm/biases",
        stablelm(use_qkv_bias=True, rope_theta=100.0, tie_word_embeddings=True),
        CAUSAL,
    ),
    default(llama("olmo2", pad_token_id=1)),
    Row(
        "architectures/olmo2/biases",
        llama("olmo2", attention_bias=True, num_key_value_heads=3, rope_theta=100.0),
        CAUSAL,
    ),
    default(llama("smollm3", no_rope_layer_interval=2)),
    Row(
        "architectures/smollm3/windows",
        llama(
            "smollm3",
            no_rope_layers=[0, 1],
            use_sliding_window=True,
            sliding_window=3,
            tie_word_embeddings=False,
        )
        | {"layer_types": ["full_attention", "sliding_attention"], "attention_bias": True, "mlp_bias": True},
        CAUSAL,
    ),
]
