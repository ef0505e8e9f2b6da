"""The settings that generation is compared with: by transformers' recordings, and live."""

from typing import Any

#: Of every model. The first are the ways of searching, the others what shapes scores.
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"max_new_tokens": 8},
    "no_cache": {"max_new_tokens": 5, "use_cache": False},
    "beams": {"max_new_tokens": 8, "num_beams": 3},
    "beams_early": {
        "max_new_tokens": 7,
        "num_beams": 4,
        "num_return_sequences": 3,
        "length_penalty": 0.3,
        "early_stopping": True,
    },
    "beams_never": {"max_new_tokens": 6, "num_beams": 2, "early_stopping": "never", "length_penalty": 2.0},
    "beams_normalized": {"max_length": 14, "num_beams": 2, "renormalize_logits": True},
    "repetition": {"max_new_tokens": 8, "repetition_penalty": 1.7, "no_repeat_ngram_size": 2},
    "forbidden": {
        "max_new_tokens": 8,
        "min_new_tokens": 5,
        "bad_words_ids": [[5], [7, 8]],
        "suppress_tokens": [9],
        "begin_suppress_tokens": [4],
    },
    "biased": {
        "max_new_tokens": 8,
        "sequence_bias": [[[5], 3.0], [[6, 7], -4.0]],
        "exponential_decay_length_penalty": [2, 1.5],
        "eos_token_id": 2,
    },
    "source": {
        "max_new_tokens": 5,
        "forced_eos_token_id": 2,
        "encoder_repetition_penalty": 1.3,
        "encoder_no_repeat_ngram_size": 2,
    },
    "watermark": {"max_new_tokens": 5, "watermarking_config": {"bias": 2.5}},
    "lookup": {"max_new_tokens": 8, "prompt_lookup_num_tokens": 3},
}
#: Of decoders, since guidance leaves a prompt out.
GUIDED: dict[str, dict[str, Any]] = {"guidance": {"max_new_tokens": 5, "guidance_scale": 1.5}}
#: What a token is drawn from: compared are the scores of the first one.
DRAWN: dict[str, dict[str, Any]] = {
    "warm": {"temperature": 1.5, "top_k": 7},
    "nucleus": {"top_p": 0.8, "top_k": 0},
    "min_p": {"min_p": 0.1, "temperature": 0.7},
    "typical": {"typical_p": 0.6},
    "cutoffs": {"epsilon_cutoff": 0.02, "eta_cutoff": 0.03},
    "top_h": {"top_h": 0.5},
    "beams": {"num_beams": 3, "top_k": 5},
}
#: Who draws: what is drawn from does not depend on the model.
DRAWN_BY = (
    "architectures/gpt2/default-GPT2LMHeadModel",
    "architectures/llama/default-LlamaForCausalLM",
    "architectures/t5/default-T5ForConditionalGeneration",
    "architectures/bart/default-BartForConditionalGeneration",
)


def single(name: str) -> bool:
    """Whether a case is of one text: drafts are verified for one only."""
    return name == "lookup"


#: Encoder-decoders with fewer encoder layers than decoder layers: by those transformers counts its cache.
NOT_RECORDED = {
    "architectures/bart/scaled-BartForConditionalGeneration",
    "architectures/blenderbot/scaled-BlenderbotForConditionalGeneration",
    "architectures/m2m_100/unscaled-M2M100ForConditionalGeneration",
    "architectures/marian/as_on_the_hub-MarianMTModel",
    "architectures/mbart/scaled-MBartForConditionalGeneration",
    "architectures/pegasus/scaled-PegasusForConditionalGeneration",
    "architectures/t5/v1_1-T5ForConditionalGeneration",
}
