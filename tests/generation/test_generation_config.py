"""The settings by themselves."""

import copy
import json
import logging
import pickle
from pathlib import Path

import pytest

from trustformers import GenerationConfig, GenerationMode, WatermarkingConfig


def test_what_is_not_said_is_none_and_what_is_no_setting_is_kept() -> None:
    config = GenerationConfig(max_new_tokens=3, mine=1)
    assert config.temperature is None
    assert config.mine == 1
    assert config.update(top_k=7, other=2) == {"other": 2}
    assert config.top_k == 7
    with pytest.raises(AttributeError, match="nothing"):
        _ = config.nothing


def test_it_is_written_and_read(tmp_path: Path) -> None:
    config = GenerationConfig(
        num_beams=3, eos_token_id=[1, 2], watermarking_config=WatermarkingConfig(bias=1.0), sequence_bias=None
    )
    config.save_pretrained(tmp_path)
    again = GenerationConfig.from_pretrained(tmp_path, num_beams=4)
    assert (again.num_beams, again.eos_token_id) == (4, [1, 2])
    assert again.watermarking_config == WatermarkingConfig(bias=1.0)
    assert GenerationConfig.from_pretrained(tmp_path) == config == copy.deepcopy(config)
    assert pickle.loads(pickle.dumps(config)) == config
    _, unused = GenerationConfig.from_pretrained(tmp_path, top_k=3, foo=1, return_unused_kwargs=True)
    assert unused == {"foo": 1}
    assert "num_beams" in repr(config)
    with pytest.raises(OSError, match=r"other\.json"):
        GenerationConfig.from_pretrained(tmp_path, "other.json")
    for broken in ("{", "[1]"):
        (tmp_path / "generation_config.json").write_text(broken)
        with pytest.raises(OSError, match=r"generation_config\.json"):
            GenerationConfig.from_pretrained(tmp_path)


def test_older_checkpoints_have_settings_among_their_configuration() -> None:
    config = GenerationConfig.from_model_config(
        {"model_type": "bart", "num_beams": 4, "eos_token_id": 2, "hidden_size": 8, "output_attentions": True}
    )
    assert (config.num_beams, config.eos_token_id) == (4, 2)
    assert config.return_dict_in_generate
    assert not hasattr(config, "hidden_size")


def test_the_way_of_searching_follows_from_the_settings() -> None:
    def mode(**settings: object) -> GenerationMode:
        return GenerationConfig(**settings).get_generation_mode()

    assert mode() is GenerationMode.GREEDY_SEARCH
    assert mode(do_sample=True) is GenerationMode.SAMPLE
    assert mode(num_beams=2) is GenerationMode.BEAM_SEARCH
    assert mode(num_beams=2, do_sample=True) is GenerationMode.BEAM_SAMPLE
    assert mode(penalty_alpha=0.5, top_k=4) is GenerationMode.CONTRASTIVE_SEARCH
    assert mode(prompt_lookup_num_tokens=4) is GenerationMode.ASSISTED_GENERATION
    assert mode(prompt_lookup_num_tokens=4, num_beams=2) is GenerationMode.BEAM_SEARCH


@pytest.mark.parametrize(
    "settings",
    [
        {"max_new_tokens": -1},
        {"early_stopping": "sometimes"},
        {"num_return_sequences": 2},
        {"num_beams": 2, "num_return_sequences": 3},
        {"cache_implementation": "magic"},
        {"watermarking_config": {"seeding_scheme": "x"}},
        {"watermarking_config": {"greenlist_ratio": 2.0}},
        {"watermarking_config": {"context_width": 0}},
        {"streamer": 1},
        {"forced_bos_token_id": 1, "suppress_tokens": [1]},
    ],
    ids=json.dumps,
)
def test_what_cannot_be_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(reversed(settings)).split("_")[0]):
        GenerationConfig(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.5},
        {"length_penalty": 2.0},
        {"output_scores": True},
        {"pad_token_id": -1},
        {"use_cache": False, "cache_implementation": "static"},
    ],
    ids=json.dumps,
)
def test_what_has_no_effect_is_said(
    settings: dict[str, object], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with caplog.at_level(logging.WARNING):
        config = GenerationConfig(**settings)
    assert next(reversed(settings)) in caplog.text
    with pytest.raises(ValueError, match=next(reversed(settings))):
        config.save_pretrained(tmp_path)
