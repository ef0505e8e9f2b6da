"""Configurations drawn at random: for every architecture the values that its fields may take."""

from collections.abc import Callable
from typing import Any

import numpy as np

Config = dict[str, Any]
Pick = Callable[..., Any]

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "gelu_fast", "quick_gelu", "tanh")


def draw(model_type: str, seed: int) -> Config:
    """A configuration in which every choice of the architecture is open."""
    random = np.random.default_rng([seed, *model_type.encode()])

    def pick(*options: Any) -> Any:
        return options[random.integers(len(options))]

    special = {"pad_token_id": pick(0, 3), "bos_token_id": 1, "eos_token_id": 2, "num_labels": pick(2, 4)}
    config = {"model_type": model_type, "vocab_size": pick(23, 40, 61)} | special
    return config | ARCHITECTURES[model_type](pick)


def either(pick: Pick) -> bool:
    return bool(pick(False, True))


def encoder(pick: Pick) -> Config:
    heads = pick(1, 2, 3, 5)
    return {
        "num_attention_heads": heads,
        "hidden_size": heads * pick(4, 7, 10),
        "num_hidden_layers": pick(1, 2, 3),
        "intermediate_size": pick(13, 32, 50),
        "max_position_embeddings": pick(24, 37),
        "type_vocab_size": pick(1, 2, 3),
        "layer_norm_eps": pick(1e-12, 1e-5, 1e-2),
        "hidden_act": pick(*ACTIVATIONS),
        "tie_word_embeddings": either(pick),
    }


def distilbert(pick: Pick) -> Config:
    heads = pick(1, 2, 3, 5)
    return {
        "n_heads": heads,
        "dim": heads * pick(4, 6, 10),
        "n_layers": pick(1, 2, 3),
        "hidden_dim": pick(13, 32, 50),
        "max_position_embeddings": pick(24, 37),
        "activation": pick("gelu", "relu"),
        "sinusoidal_pos_embds": either(pick),
        "tie_word_embeddings": either(pick),
    }


def albert(pick: Pick) -> Config:
    groups = pick(1, 2)
    layers = {"num_hidden_layers": groups * pick(1, 2), "num_hidden_groups": groups}
    return encoder(pick) | layers | {"inner_group_num": pick(1, 2), "embedding_size": pick(5, 12)}


def electra(pick: Pick) -> Config:
    return encoder(pick) | {"embedding_size": pick(5, 12)}


def deberta(pick: Pick) -> Config:
    config = encoder(pick) | {"type_vocab_size": pick(0, 2), "position_biased_input": either(pick)}
    config["pooler_hidden_size"] = config["hidden_size"]
    config |= {"legacy": True, "relative_attention": either(pick)}
    if config["relative_attention"]:
        config |= {
            "pos_att_type": pick("c2p", "p2c", "p2c|c2p", ["c2p", "p2c"]),
            "max_relative_positions": pick(-1, 7),
            "position_buckets": pick(-1, 4, 8),
            "norm_rel_ebd": pick("none", "layer_norm"),
            "share_att_key": either(pick),
        }
        if either(pick):
            config |= {"conv_kernel_size": pick(3, 5), "conv_act": pick("tanh", "gelu")}
    return config


def modernbert(pick: Pick) -> Config:
    heads = pick(1, 2, 3, 5)
    return {
        "num_attention_heads": heads,
        "hidden_size": heads * pick(4, 6, 10),
        "num_hidden_layers": pick(1, 3, 4),
        "intermediate_size": pick(13, 32, 50),
        "max_position_embeddings": pick(24, 37),
        "local_attention": pick(2, 4, 6),
        "global_attn_every_n_layers": pick(1, 2, 3),
        "global_rope_theta": pick(160000.0, 50.0),
        "local_rope_theta": pick(10000.0, 20.0),
        "norm_eps": pick(1e-5, 1e-2),
        "hidden_activation": pick(*ACTIVATIONS),
        "classifier_activation": pick("gelu", "relu"),
        "classifier_pooling": pick("cls", "mean"),
        "cls_token_id": 1,
        "sep_token_id": 2,
    } | {
        name: either(pick)
        for name in ("attention_bias", "mlp_bias", "norm_bias", "classifier_bias", "decoder_bias")
    }


def gpt2(pick: Pick) -> Config:
    heads = pick(1, 2, 3, 5)
    return {
        "n_head": heads,
        "n_embd": heads * pick(4, 7, 10),
        "n_layer": pick(1, 2, 3),
        "n_inner": pick(None, 13, 50),
        "n_positions": pick(24, 37),
        "activation_function": pick(*ACTIVATIONS),
        "layer_norm_epsilon": pick(1e-5, 1e-2),
        "scale_attn_weights": either(pick),
        "scale_attn_by_inverse_layer_idx": either(pick),
        "reorder_and_upcast_attn": either(pick),
        "tie_word_embeddings": either(pick),
    }


def gpt_neo(pick: Pick) -> Config:
    heads, layers = pick(1, 2, 3, 5), pick(1, 2)
    return {
        "num_heads": heads,
        "hidden_size": heads * pick(4, 7, 10),
        "num_layers": 2 * layers,
        "attention_types": [[pick(["global", "local"], ["local", "global"], ["local", "local"]), layers]],
        "window_size": pick(1, 3, 5),
        "intermediate_size": pick(None, 13, 50),
        "max_position_embeddings": pick(24, 37),
        "activation_function": pick(*ACTIVATIONS),
        "layer_norm_epsilon": pick(1e-5, 1e-2),
        "tie_word_embeddings": either(pick),
    }


def gptj(pick: Pick) -> Config:
    heads = pick(1, 2, 3, 5)
    return {
        "n_head": heads,
        "n_embd": heads * pick(6, 10),
        "rotary_dim": pick(2, 4, 6),
        "n_layer": pick(1, 2, 3),
        "n_inner": pick(None, 13, 50),
        "n_positions": pick(24, 37),
        "activation_function": pick(*ACTIVATIONS),
        "layer_norm_epsilon": pick(1e-5, 1e-2),
    }


def opt(pick: Pick) -> Config:
    heads = pick(1, 2, 3, 5)
    hidden = heads * pick(4, 7, 10)
    return {
        "num_attention_heads": heads,
        "hidden_size": hidden,
        "word_embed_proj_dim": pick(hidden, 9),
        "num_hidden_layers": pick(1, 2, 3),
        "ffn_dim": pick(13, 32, 50),
        "max_position_embeddings": pick(24, 37),
        "activation_function": pick(*ACTIVATIONS),
        "do_layer_norm_before": either(pick),
        "enable_bias": either(pick),
        "layer_norm_elementwise_affine": either(pick),
        "tie_word_embeddings": either(pick),
    }


def bloom(pick: Pick) -> Config:
    heads = pick(1, 2, 3, 5, 8)
    return {
        "n_head": heads,
        "hidden_size": heads * pick(4, 7),
        "n_layer": pick(1, 2, 3),
        "layer_norm_epsilon": pick(1e-5, 1e-2),
        "apply_residual_connection_post_layernorm": either(pick),
        "tie_word_embeddings": either(pick),
    }


def falcon(pick: Pick) -> Config:
    groups = pick(1, 2, 3)
    heads = groups * pick(1, 2, 3)
    config = {
        "num_attention_heads": heads,
        "hidden_size": heads * pick(4, 8),
        "num_hidden_layers": pick(1, 2, 3),
        "max_position_embeddings": 32,
        "layer_norm_epsilon": pick(1e-5, 1e-2),
        "rope_theta": pick(10000.0, 50.0),
        "bias": either(pick),
        "activation": pick("gelu", "relu"),
        "tie_word_embeddings": either(pick),
        "new_decoder_architecture": either(pick),
    }
    if config["new_decoder_architecture"]:
        return config | {"num_kv_heads": groups, "num_ln_in_parallel_attn": pick(None, 1, 2)}
    return config | {name: either(pick) for name in ("alibi", "multi_query", "parallel_attn")}


def rotary(pick: Pick) -> Config:
    """A rotation, scaled in one of the ways that all have or not at all."""
    theta = {"rope_theta": pick(10000.0, 100.0)}
    kind = pick("default", "default", "linear", "dynamic", "yarn", "llama3")
    if kind == "default":
        return theta
    scaling: Config = {pick("type", "rope_type"): kind, "factor": pick(1.5, 4.0)}
    if kind == "yarn":
        scaling |= {"original_max_position_embeddings": pick(8, 16), "beta_fast": pick(4.0, 32.0)}
    if kind == "llama3":
        scaling |= {"original_max_position_embeddings": pick(8, 16)}
        scaling |= {"low_freq_factor": 1.0, "high_freq_factor": pick(2.0, 4.0)}
    return theta | {"rope_scaling": scaling, "max_position_embeddings": pick(8, 64)}


def modern(pick: Pick, **changes: Any) -> Config:
    """The fields that the decoders since LLaMA share."""
    groups = pick(1, 2, 3)
    heads, width = groups * pick(1, 2, 3), pick(4, 6, 8)
    return {
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "hidden_size": heads * width,
        "num_hidden_layers": pick(1, 2, 3),
        "intermediate_size": pick(13, 32, 50),
        "max_position_embeddings": 32,
        "rms_norm_eps": pick(1e-6, 1e-2),
        "hidden_act": pick("silu", "gelu", "gelu_pytorch_tanh", "relu"),
        "tie_word_embeddings": either(pick),
    } | changes


def own_head_width(pick: Pick) -> Config:
    return {"head_dim": pick(4, 10)} if either(pick) else {}


def windows(pick: Pick, config: Config) -> Config:
    """Windows in the layers from some number on."""
    if not either(pick):
        return {"use_sliding_window": False}
    first = int(pick(*range(config["num_hidden_layers"] + 1)))
    return {"use_sliding_window": True, "sliding_window": pick(2, 3, 5), "max_window_layers": first}


def llama(pick: Pick) -> Config:
    config = modern(pick) | rotary(pick) | own_head_width(pick)
    return config | {"attention_bias": either(pick), "mlp_bias": either(pick)}


def mistral(pick: Pick) -> Config:
    return modern(pick) | rotary(pick) | own_head_width(pick) | {"sliding_window": pick(None, 2, 4)}


def mixtral(pick: Pick) -> Config:
    config = modern(pick) | {"sliding_window": pick(None, 2, 4), "rope_theta": pick(1e6, 100.0)}
    config |= {"num_local_experts": pick(2, 3, 5), "num_experts_per_tok": pick(1, 2)}
    # transformers' product of experts wants rows of 16 bytes.
    return config | {
        "hidden_size": config["num_attention_heads"] * pick(4, 8),
        "intermediate_size": pick(12, 52),
    }


def qwen2(pick: Pick) -> Config:
    config = modern(pick) | rotary(pick)
    return config | windows(pick, config)


def qwen3(pick: Pick) -> Config:
    return qwen2(pick) | {"head_dim": pick(4, 10), "attention_bias": either(pick)}


def gemma(pick: Pick) -> Config:
    return modern(pick) | {"head_dim": pick(4, 10), "rope_theta": pick(10000.0, 100.0)}


def gemma2(pick: Pick) -> Config:
    return gemma(pick) | {
        "hidden_activation": pick("gelu_pytorch_tanh", "gelu", "silu"),
        "query_pre_attn_scalar": pick(4, 11),
        "sliding_window": pick(2, 4),
        "attn_logit_softcapping": pick(None, 2.0),
        "final_logit_softcapping": pick(None, 3.0),
    }


def gemma3(pick: Pick) -> Config:
    return gemma2(pick) | {
        "sliding_window_pattern": pick(1, 2, 3),
        "rope_local_base_freq": pick(10000.0, 20.0),
    }


def partly_rotary(pick: Pick) -> Config:
    config = modern(pick, layer_norm_eps=pick(1e-5, 1e-2), partial_rotary_factor=pick(0.5, 1.0))
    return config | {"hidden_size": config["num_attention_heads"] * 8, "rope_theta": pick(10000.0, 100.0)}


def gpt_neox(pick: Pick) -> Config:
    config = partly_rotary(pick) | {"attention_bias": either(pick), "use_parallel_residual": either(pick)}
    names = {"rotary_pct": "partial_rotary_factor", "rotary_emb_base": "rope_theta"}
    return config | {its: config.pop(general) for its, general in names.items()}


def phi(pick: Pick) -> Config:
    return partly_rotary(pick) | {"qk_layernorm": either(pick)}


def phi3(pick: Pick) -> Config:
    config = partly_rotary(pick) | {"sliding_window": pick(None, 3)}
    if either(pick):
        rotated = int(8 * config["partial_rotary_factor"]) // 2
        scaling = {
            "short_factor": [1.0, 1.1, 1.3, 1.7][:rotated],
            "long_factor": [1.5, 2.0, 4.0, 8.0][:rotated],
        }
        config |= {"rope_scaling": {"type": "longrope"} | scaling, "original_max_position_embeddings": 8}
    return config


def stablelm(pick: Pick) -> Config:
    flags = ("use_qkv_bias", "qk_layernorm", "use_parallel_residual")
    return partly_rotary(pick) | {name: either(pick) for name in flags}


def olmo2(pick: Pick) -> Config:
    return modern(pick) | rotary(pick) | {"attention_bias": either(pick)}


def smollm3(pick: Pick) -> Config:
    config = modern(pick) | rotary(pick)
    config |= {"attention_bias": either(pick), "mlp_bias": either(pick)}
    return config | {"no_rope_layer_interval": pick(1, 2, 3)}


def t5(pick: Pick) -> Config:
    buckets, distance = pick((4, 6), (8, 20), (32, 40))
    return {
        "d_model": pick(12, 20, 31),
        "d_kv": pick(4, 7),
        "num_heads": pick(1, 2, 3),
        "num_layers": pick(1, 2, 3),
        "num_decoder_layers": pick(1, 2, 3),
        "d_ff": pick(13, 50),
        "feed_forward_proj": pick("relu", "gelu", "gated-gelu", "gated-silu"),
        "relative_attention_num_buckets": buckets,
        "relative_attention_max_distance": distance,
        "layer_norm_epsilon": pick(1e-6, 1e-2),
        "tie_word_embeddings": either(pick),
        "decoder_start_token_id": pick(0, 3),
    }


def bart(pick: Pick) -> Config:
    return {
        "d_model": 4 * pick(6, 9),
        "encoder_attention_heads": pick(1, 2, 3, 4),
        "decoder_attention_heads": pick(1, 2, 3, 4),
        "encoder_layers": pick(1, 2, 3),
        "decoder_layers": pick(1, 2, 3),
        "encoder_ffn_dim": pick(13, 50),
        "decoder_ffn_dim": pick(13, 50),
        "max_position_embeddings": pick(24, 37),
        "activation_function": pick(*ACTIVATIONS),
        "scale_embedding": either(pick),
        "decoder_start_token_id": 2,
    }


ARCHITECTURES: dict[str, Callable[[Pick], Config]] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "mpnet"), encoder),
    "distilbert": distilbert,
    "albert": albert,
    "electra": electra,
    "deberta-v2": deberta,
    "modernbert": modernbert,
    "gpt2": gpt2,
    "gpt_neo": gpt_neo,
    "gpt_neox": gpt_neox,
    "gptj": gptj,
    "opt": opt,
    "bloom": bloom,
    "falcon": falcon,
    "llama": llama,
    "mistral": mistral,
    "mixtral": mixtral,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "gemma": gemma,
    "gemma2": gemma2,
    "gemma3_text": gemma3,
    "phi": phi,
    "phi3": phi3,
    "stablelm": stablelm,
    "olmo2": olmo2,
    "smollm3": smollm3,
    **dict.fromkeys(("t5", "mt5"), t5),
    **dict.fromkeys(("bart", "mbart", "pegasus", "marian", "m2m_100", "blenderbot"), bart),
}
