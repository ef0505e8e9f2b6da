"""How generate is called: what goes in and comes out, and what is refused."""

import copy
import json
import pickle
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import trustformers as tf
from fixture_cases import FIXTURES, heads

HEADS = {str(head): head for head in heads(FIXTURES / "architectures")}
IDS = np.array([[7, 8, 9, 5], [11, 5, 6, 10]])


@pytest.fixture(scope="module")
def gpt2() -> Any:
    return HEADS["architectures/gpt2/default-GPT2LMHeadModel"].model


@pytest.fixture(scope="module")
def t5() -> Any:
    return next(head.model for key, head in HEADS.items() if "/t5/" in key and "ForCond" in key)


def test_the_prompt_may_be_given_in_several_ways(gpt2: Any) -> None:
    wanted = gpt2.generate(IDS, max_new_tokens=4)
    assert wanted.shape == (2, 8)
    assert wanted.dtype == np.int64
    encoding = tf.BatchEncoding({"input_ids": IDS, "attention_mask": np.ones_like(IDS)})
    for ways in ((encoding,), (), (IDS.tolist(),)):
        named = {} if ways else {"input_ids": IDS}
        np.testing.assert_array_equal(gpt2.generate(*ways, **named, max_new_tokens=4), wanted)
    np.testing.assert_array_equal(gpt2.generate(IDS[0], max_new_tokens=4), wanted[:1])
    as_tensor = gpt2.generate(tf.tensor(IDS.tolist()), max_new_tokens=4)
    assert isinstance(as_tensor, tf.Tensor)
    assert as_tensor.tolist() == wanted.tolist()
    embeds = gpt2.get_input_embeddings()(tf.tensor(IDS.tolist())).numpy()
    np.testing.assert_array_equal(gpt2.generate(inputs_embeds=embeds, max_new_tokens=4), wanted[:, 4:])


def test_padding_in_front_changes_nothing(gpt2: Any) -> None:
    alone = gpt2.generate(IDS[:1], max_new_tokens=6)
    padded = np.concatenate([np.zeros((1, 3), int), IDS[:1]], axis=1)
    mask = np.array([[0, 0, 0, 1, 1, 1, 1]])
    texts = gpt2.generate(padded, attention_mask=mask, max_new_tokens=6)
    np.testing.assert_array_equal(texts[:, 3:], alone)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("head", ["gpt2/default-GPT2LMHeadModel", "llama/default-LlamaForCausalLM"])
def test_behind_padding_the_last_position_speaks(head: str) -> None:
    """What transformers writes there, and warns of: padding asks, at position 0, and is not seen."""
    model = HEADS[f"architectures/{head}"].model
    shown, length, wanted = np.array([True, True, True, False, False]), 5, []
    ids, positions = np.array([[7, 8, 9, 1, 1]]), [0, 1, 2, 0, 0]
    options = {"max_new_tokens": 4, "eos_token_id": None, "pad_token_id": 1}
    found = model.generate(ids, attention_mask=shown[None].astype(int), **options)
    for _ in range(4):
        matrix = np.tril(np.ones((length, length), bool)) & shown
        logits = model(found[:, :length], attention_mask=matrix[None, None], position_ids=[positions]).logits
        wanted.append(logits[0, -1].argmax())
        shown, length, positions = np.append(shown, True), length + 1, [*positions, positions[-1] + 1]
    np.testing.assert_array_equal(found[0, 5:], wanted)


def test_a_generation_goes_on_from_its_cache(gpt2: Any) -> None:
    wanted = gpt2.generate(IDS, max_new_tokens=7, eos_token_id=None)
    first = gpt2.generate(IDS, max_new_tokens=3, return_dict_in_generate=True, eos_token_id=None)
    again = gpt2.generate(
        first.sequences, past_key_values=first.past_key_values, max_new_tokens=4, eos_token_id=None
    )
    np.testing.assert_array_equal(again, wanted)
    assert first.past_key_values.get_seq_length() == 10


def test_everything_that_is_asked_for_comes_back(gpt2: Any, t5: Any) -> None:
    asked = {f"output_{name}": True for name in ("scores", "logits", "attentions", "hidden_states")}
    texts = gpt2.generate(IDS, max_new_tokens=3, return_dict_in_generate=True, **asked)
    assert type(texts) is tf.GenerateDecoderOnlyOutput
    layers = gpt2.config.n_layer
    assert [len(texts[name]) for name in ("scores", "logits", "attentions", "hidden_states")] == [3] * 4
    assert [len(step) for step in texts.hidden_states] == [layers + 1] * 3
    assert [step[0].shape[1] for step in texts.hidden_states] == [4, 1, 1]
    assert [step[0].shape[2:] for step in texts.attentions] == [(4, 4), (1, 5), (1, 6)]
    texts = t5.generate(IDS, max_new_tokens=3, num_beams=2, return_dict_in_generate=True, **asked)
    assert type(texts) is tf.GenerateBeamEncoderDecoderOutput
    assert texts.encoder_hidden_states[0].shape[:2] == IDS.shape
    assert texts.cross_attentions[0][0].shape[0] == 4
    transitions = t5.compute_transition_scores(texts.sequences, texts.scores, texts.beam_indices)
    lengths = (texts.beam_indices >= 0).sum(axis=1)
    np.testing.assert_allclose(transitions.sum(axis=1) / lengths, texts.sequences_scores, rtol=1e-4)
    assert "scores" not in gpt2.generate(IDS, max_new_tokens=2, return_dict_in_generate=True)


def test_drawing_is_repeatable(gpt2: Any) -> None:
    def draw(**options: Any) -> Any:
        return gpt2.generate(IDS, do_sample=True, top_k=0, max_new_tokens=8, **options).tolist()

    assert draw(generator=1) == draw(generator=1) != draw(generator=2)
    tf.set_seed(5)
    one = draw()
    tf.set_seed(5)
    assert draw() == one
    assert len(draw(num_return_sequences=3)) == 6


def test_an_assistant_changes_nothing(gpt2: Any) -> None:
    wanted = gpt2.generate(IDS[:1], max_new_tokens=9)
    for options in ({"assistant_model": gpt2}, {"prompt_lookup_num_tokens": 3}):
        np.testing.assert_array_equal(gpt2.generate(IDS[:1], max_new_tokens=9, **options), wanted)
    drawn = gpt2.generate(IDS[:1], max_new_tokens=9, do_sample=True, assistant_model=gpt2)
    assert drawn.shape[1] <= 13


def test_contrastive_search_is_greedy_without_its_penalty(gpt2: Any) -> None:
    wanted = gpt2.generate(IDS, max_new_tokens=6)
    almost = gpt2.generate(IDS, max_new_tokens=6, penalty_alpha=1e-9, top_k=4)
    np.testing.assert_array_equal(almost, wanted)
    other = gpt2.generate(IDS, max_new_tokens=6, penalty_alpha=0.9, top_k=4)
    assert other.tolist() != wanted.tolist()


def test_own_processors_and_criteria_are_asked_at_every_step(gpt2: Any) -> None:
    seen = []

    class Always(tf.LogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            seen.append(input_ids.shape)
            scores = scores.copy()
            scores[:, 12] = 1e9
            return scores

    texts = gpt2.generate(IDS, max_new_tokens=3, logits_processor=[Always()])
    assert (texts[:, 4:] == 12).all()
    assert seen == [(2, 4), (2, 5), (2, 6)]
    kept: list[int] = []

    def stop(input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        kept.append(len(scores))
        return input_ids.shape[1] >= 6

    asked = {"return_dict_in_generate": True, "output_scores": True}
    assert gpt2.generate(IDS, max_new_tokens=9, stopping_criteria=[stop], **asked).sequences.shape == (2, 6)
    assert kept == [1, 2]
    longer = tf.StoppingCriteriaList([tf.MaxLengthCriteria(7)])
    assert gpt2.generate(IDS, max_new_tokens=2, stopping_criteria=longer).shape == (2, 7)
    own = tf.LogitsProcessorList([tf.TemperatureLogitsWarper(0.5), tf.MinLengthLogitsProcessor(6, 12)])
    assert gpt2.generate(IDS, max_new_tokens=2, logits_processor=own).shape == (2, 6)


def test_several_processors_and_criteria_of_one_class_all_count(gpt2: Any) -> None:
    def likelier(token: int) -> Any:
        def process(input_ids: Any, scores: Any) -> Any:
            return scores + np.where(np.arange(scores.shape[1]) == token, 1e4, 0).astype(np.float32)

        return process

    texts = gpt2.generate(IDS, max_new_tokens=2, logits_processor=[likelier(12), likelier(-1)])
    assert (texts[:, 4:] == 12).all()
    penalties = [tf.SequenceBiasLogitsProcessor({(token,): bias}) for token, bias in ((12, 1e4), (13, 1.0))]
    for options in ({}, {"sequence_bias": {(14,): 1e9}}):
        texts = gpt2.generate(IDS, max_new_tokens=2, logits_processor=penalties, **options)
        assert (texts[:, 4:] == 12).all()

    def longer(length: int) -> Any:
        return lambda input_ids, scores, **kwargs: input_ids.shape[1] >= length

    assert gpt2.generate(IDS, max_new_tokens=9, stopping_criteria=[longer(6), longer(8)]).shape == (2, 6)


def test_vectors_count_towards_the_lengths_though_they_are_not_returned(gpt2: Any) -> None:
    embeds = gpt2.get_input_embeddings()(tf.tensor(IDS.tolist())).numpy()
    wanted = gpt2.generate(IDS, max_length=9, min_length=8)[:, 4:]
    np.testing.assert_array_equal(gpt2.generate(inputs_embeds=embeds, max_length=9, min_length=8), wanted)
    with pytest.raises(ValueError, match="`max_length` is set to -1"):
        gpt2.generate(inputs_embeds=embeds, max_length=3)
    with pytest.warns(UserWarning, match="only to newly generated tokens"):
        gpt2.generate(inputs_embeds=embeds, max_new_tokens=1, repetition_penalty=1.5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"max_new_tokens": 3, "min_new_tokens": 5},
            r"`min_new_tokens` \(5\), when added to the prompt length \(4\)",
        ),
        (
            {"max_new_tokens": 3, "min_length": 9},
            r"`min_length` \(9\) is larger than the maximum possible length \(7\)",
        ),
        ({"min_length": 30}, r"`min_length` \(30\) is larger"),
        ({}, r"default `max_length` \(=20\)"),
    ],
    ids=str,
)
def test_lengths_that_cannot_be_are_said(gpt2: Any, options: dict[str, Any], said: str) -> None:
    with pytest.warns(UserWarning, match=said):
        gpt2.generate(IDS, **options)


def test_what_may_go_wrong_is_logged(gpt2: Any, caplog: pytest.LogCaptureFixture) -> None:
    llama = HEADS["architectures/llama/default-LlamaForCausalLM"].model
    mask = np.ones_like(IDS)
    gpt2.generate(IDS, attention_mask=mask, max_new_tokens=3, min_new_tokens=1, eos_token_id=None)
    gpt2.generate(IDS, max_new_tokens=1, pad_token_id=None, eos_token_id=None)
    assert not caplog.records
    gpt2.generate(IDS, attention_mask=mask, max_new_tokens=3, min_new_tokens=1, min_length=2)
    assert "`min_new_tokens` (=1) and `min_length`(=2)" in caplog.text
    gpt2.generate(IDS, attention_mask=mask, max_new_tokens=1, eos_token_id=-1)
    assert "`eos_token_id` should consist of positive integers" in caplog.text
    positions = llama.config.max_position_embeddings
    llama.generate(np.full((1, positions), 7), max_new_tokens=2, eos_token_id=None)
    assert f"exceeded the model's predefined maximum length ({positions})" in caplog.text


def test_numbers_may_be_infinite_or_below_zero_as_in_transformers(gpt2: Any) -> None:
    wanted = gpt2.generate(IDS, max_new_tokens=3)
    without = {"min_length": -1, "no_repeat_ngram_size": -1, "min_new_tokens": -1, "top_k": -1}
    np.testing.assert_array_equal(gpt2.generate(IDS, max_new_tokens=3, **without), wanted)
    banned = int(wanted[0, 4])
    texts = gpt2.generate(IDS, max_new_tokens=3, sequence_bias={(banned,): -float("inf")})
    np.testing.assert_array_equal(texts, gpt2.generate(IDS, max_new_tokens=3, bad_words_ids=[[banned]]))
    assert (gpt2.generate(IDS, max_new_tokens=3, sequence_bias={(9,): float("inf")})[:, 4:] == 9).all()
    bias = tf.SequenceBiasLogitsProcessor({(1,): -float("inf")})
    assert bias(IDS, np.zeros((2, 3), np.float32)).tolist() == [[0, -float("inf"), 0]] * 2
    beams = gpt2.generate(IDS, max_new_tokens=3, num_beams=2, early_stopping=1)
    np.testing.assert_array_equal(
        beams, gpt2.generate(IDS, max_new_tokens=3, num_beams=2, early_stopping=True)
    )


def test_beams_that_must_end_alike_all_end(gpt2: Any) -> None:
    forced = {"max_new_tokens": 1, "forced_eos_token_id": 5, "eos_token_id": None}
    texts = gpt2.generate(IDS, num_beams=3, num_return_sequences=2, **forced)
    assert (texts[:, 4:] == 5).all()


def test_a_model_with_settings_that_are_not_there_can_be_loaded(tmp_path: Path) -> None:
    head = HEADS["architectures/gpt2/default-GPT2LMHeadModel"]
    model = tf.AutoModelForCausalLM.from_pretrained(head.folder)
    model.save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text(
        '{"num_beams": 4, "num_beam_groups": 2, "low_memory": true}'
    )
    model = tf.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model(IDS).logits.shape[:2] == IDS.shape
    with pytest.raises(ValueError, match="num_beam_groups"):
        model.generate(IDS)
    assert model.generate(IDS, num_beam_groups=1, max_new_tokens=2).shape == (2, 6)


def test_the_configuration_of_a_model_says_nothing_about_generation(gpt2: Any) -> None:
    model = copy.deepcopy(gpt2)
    model.config.num_beams = 3
    with pytest.raises(ValueError, match=r"\{'num_beams': 3\}.*model.generation_config"):
        model.generate(IDS, max_new_tokens=1)
    assert model.generate(IDS, generation_config=tf.GenerationConfig(max_new_tokens=1)).shape == (2, 5)


def test_settings_may_be_those_of_transformers(gpt2: Any) -> None:
    theirs = SimpleNamespace(to_dict=lambda: {"max_new_tokens": 3, "transformers_version": "5.24.0"})
    assert gpt2.generate(IDS, generation_config=theirs).shape == (2, 7)
    with pytest.raises(ValueError, match="must be a GenerationConfig, got dict"):
        gpt2.generate(IDS, generation_config={"max_new_tokens": 3})


def test_only_what_a_function_allows_comes(gpt2: Any) -> None:
    def allowed(batch: int, text: Any) -> list[int]:
        return [20 + batch, 30 + len(text)]

    texts = gpt2.generate(IDS, max_new_tokens=3, num_beams=2, prefix_allowed_tokens_fn=allowed)
    for batch, text in enumerate(texts.tolist()):
        for place, token in enumerate(text[4:], start=4):
            assert token in (20 + batch, 30 + place)
    with pytest.raises(ValueError, match="empty list for batch ID 0"):
        gpt2.generate(IDS, max_new_tokens=3, prefix_allowed_tokens_fn=lambda batch, text: [])


def test_what_a_callers_own_part_raises_is_raised(gpt2: Any) -> None:
    def broken(*arguments: Any) -> Any:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        gpt2.generate(IDS, max_new_tokens=3, logits_processor=[broken])
    with pytest.raises(LookupError, match="mine"):
        gpt2.generate(IDS, max_new_tokens=3, stopping_criteria=[broken])
    with pytest.raises(ValueError, match=r"scores of the shape \(2, "):
        gpt2.generate(IDS, max_new_tokens=3, logits_processor=[lambda ids, scores: scores[:, :3]])
    with pytest.raises(ValueError, match="a flag for each of 2 rows"):
        gpt2.generate(IDS, max_new_tokens=3, stopping_criteria=[lambda ids, scores: [True] * 3])


def test_scores_that_are_no_distribution_are_refused(gpt2: Any) -> None:
    def nothing(ids: Any, scores: Any) -> Any:
        return np.full_like(scores, np.nan)

    with pytest.raises(RuntimeError, match="remove_invalid_values"):
        gpt2.generate(IDS, max_new_tokens=3, do_sample=True, logits_processor=[nothing])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_length": 3}, "Input length of input_ids is 4"),
        ({"num_return_sequences": 2}, "num_return_sequences"),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences"),
        ({"do_sample": True, "temperature": 0.0}, "temperature"),
        ({"do_sample": True, "top_p": 1.5}, None),
        ({"do_sample": True, "top_p": -1.0}, "top_p"),
        ({"repetition_penalty": -1.0}, "penalty"),
        ({"early_stopping": 3}, "early_stopping"),
        ({"cache_implementation": "x"}, "cache_implementation"),
        ({"bad_words_ids": []}, "bad_words_ids"),
        ({"sequence_bias": {(9999,): 1.0}}, "vocabulary size"),
        ({"stop_strings": "a"}, "tokenizer"),
        ({"streamer": "somebody", "num_beams": 2}, "streamer"),
        ({"suppress_tokens": [2], "forced_eos_token_id": 2}, "suppress_tokens"),
        ({"prompt_lookup_num_tokens": 2}, "batch_size = 1"),
        (
            {"prompt_lookup_num_tokens": 2, "do_sample": True, "num_return_sequences": 2},
            "num_return_sequences",
        ),
        ({"typo": 2}, r"\['typo'\]"),
        ({"labels": IDS}, "labels"),
        ({"custom_generate": "somebody/something"}, "custom_generate"),
        ({"dola_layers": "high"}, "dola_layers"),
        ({"constraints": [1]}, "constraints"),
        ({"num_beams": 4, "num_beam_groups": 2}, "num_beam_groups"),
        ({"generator": "x"}, "generator"),
        ({"input_ids": IDS}, "alongside input_ids"),
        ({"past_key_values": ((1, 2),)}, "past_key_values"),
        ({"past_key_values": tf.DynamicCache(), "cache_implementation": "static"}, "cache_implementation"),
        ({"forced_eos_token_id": 9999, "max_new_tokens": 1}, "forced_eos_token_id"),
        ({"do_sample": True, "top_k": -1}, "`top_k` cannot be -1"),
        ({"attention_mask": np.ones((2, 9), int)}, "attention_mask"),
        ({"attention_mask": np.ones((2, 1, 4, 4), int)}, "must be 2D"),
    ],
    ids=str,
)
def test_what_cannot_be_is_named(gpt2: Any, options: dict[str, Any], named: str | None) -> None:
    if named is None:  # more than everything is everything, as in transformers
        assert gpt2.generate(IDS, **options, max_new_tokens=1).shape == (2, 5)
        return
    with pytest.raises(ValueError, match=named):
        gpt2.generate(IDS, **options)


def test_models_that_cannot_write_say_so() -> None:
    for key, head in HEADS.items():
        if "/bert/" in key and head.auto == "AutoModel":
            with pytest.raises(ValueError, match="AutoModelForCausalLM"):
                head.model.generate(IDS)
            assert head.model.generation_config is None
            assert not head.model.can_generate()
            return


def test_a_prompt_longer_than_the_models_positions_is_refused(gpt2: Any) -> None:
    long = np.full((1, gpt2.config.n_positions + 1), 7)
    with pytest.raises((ValueError, RuntimeError), match="positions"):
        gpt2.generate(long, max_new_tokens=1)


def test_no_prompt_begins_with_the_first_token(gpt2: Any) -> None:
    assert gpt2.generate(max_new_tokens=2, bos_token_id=7)[0, 0] == 7
    with pytest.raises(ValueError, match="bos_token_id"):
        gpt2.generate(max_new_tokens=2, bos_token_id=None)


def test_time_runs_out(gpt2: Any) -> None:
    begun = time.monotonic()
    text = gpt2.generate(IDS[:1], max_new_tokens=30, max_time=0.0, eos_token_id=None)
    assert text.shape[1] == 5, "the first token is always written"
    assert time.monotonic() - begun < 5


def test_the_default_length_is_said(gpt2: Any) -> None:
    with pytest.warns(UserWarning, match="max_new_tokens"):
        assert gpt2.generate(IDS[:1], eos_token_id=None).shape[1] == gpt2.config.n_positions == 20


def test_a_model_writes_in_several_threads_at_once(gpt2: Any) -> None:
    wanted = [gpt2.generate(IDS[row : row + 1], max_new_tokens=8).tolist() for row in range(2)]
    found: list[Any] = [None] * 8

    def write(place: int) -> None:
        found[place] = gpt2.generate(IDS[place % 2 : place % 2 + 1], max_new_tokens=8).tolist()

    threads = [threading.Thread(target=write, args=(place,)) for place in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found == [wanted[place % 2] for place in range(8)]


def test_settings_come_with_the_model_and_are_saved_with_it(tmp_path: Path) -> None:
    head = HEADS["architectures/gpt2/default-GPT2LMHeadModel"]
    model = tf.AutoModelForCausalLM.from_pretrained(head.folder)
    model.generation_config.max_new_tokens = 3
    assert model.generate(IDS).shape == (2, 7)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "generation_config.json").read_text())["max_new_tokens"] == 3
    again = tf.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.generate(IDS).shape == (2, 7)
    assert again.generate(IDS, max_new_tokens=1).shape == (2, 5)
    config = tf.GenerationConfig(max_new_tokens=2)
    assert again.generate(IDS, generation_config=config).shape == (2, 6)
    other = tf.AutoModelForCausalLM.from_pretrained(tmp_path, generation_config=config)
    assert other.generate(IDS).shape == (2, 6)


def test_flags_of_criteria_are_of_the_kind_of_the_texts() -> None:
    criteria = [tf.EosTokenCriteria(2), tf.MaxLengthCriteria(2), tf.MaxTimeCriteria(-1.0)]
    for one in (*criteria, tf.StoppingCriteriaList(criteria)):
        flags = one(tf.tensor([[2]]), None)
        assert isinstance(flags, tf.Tensor)
        assert flags.dtype == tf.bool
        assert flags.tolist() == one(np.array([[2]]), None).tolist()


def test_a_stop_string_stops_as_a_setting_and_as_a_criterion(gpt2: Any) -> None:
    tokenizer = tf.AutoTokenizer.from_pretrained(FIXTURES / "tokenizers" / "byte_level")
    options: dict[str, Any] = {
        "max_new_tokens": 8,
        "no_repeat_ngram_size": 1,
        "suppress_tokens": [0, 1, 2, 3, 4],
    }
    whole = gpt2.generate(IDS[:1], **options)[0]
    string = tokenizer.decode(whole[5:7])
    as_setting = gpt2.generate(IDS[:1], **options, stop_strings=string, tokenizer=tokenizer)
    criterion = tf.StopStringCriteria(tokenizer, string)
    for one in (criterion, pickle.loads(pickle.dumps(criterion))):
        found = gpt2.generate(IDS[:1], **options, stopping_criteria=[one])
        np.testing.assert_array_equal(found, as_setting)
        assert one(found, None).tolist() == [True]
        assert one(found[:, :-1], None).tolist() == [False]
    assert len(as_setting[0]) == 7
