"""The logits processors, each by itself."""

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest

import trustformers as tf
from fixture_cases import FIXTURES

RECORDED = json.loads((FIXTURES / "generation" / "processors.json").read_text())


def table(rows: Any) -> np.ndarray:
    values = np.array(rows, dtype=np.float32)
    values[np.isnan(values)] = -np.inf
    return values


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["name"])
def test_scores_become_what_transformers_makes_of_them(case: dict[str, Any]) -> None:
    processor = getattr(tf, case["name"])(**case["arguments"])
    for one in (processor, pickle.loads(pickle.dumps(processor)), copy.deepcopy(processor)):
        processed = one(np.array(case["input_ids"]), table(case["scores"]))
        np.testing.assert_allclose(processed, table(case["processed"]), rtol=1e-5, atol=1e-5)


def test_penalties_of_openai_count_what_was_generated() -> None:
    ids, scores = np.array([[4, 5, 5, 6]]), np.zeros((1, 8), np.float32)
    processor = tf.FrequencyPenaltyLogitsProcessor(0.5, 0.25, prompt_length=1)
    assert processor(ids, scores).tolist() == [[0, 0, 0, 0, 0, -1.25, -0.75, 0]]


def test_a_bias_is_added_to_tokens() -> None:
    processor = tf.LogitBiasLogitsProcessor({1: 2.0, 3: -100})
    assert processor(np.array([[0]]), np.zeros((1, 4), np.float32)).tolist() == [[0, 2, 0, -100]]
    with pytest.raises(ValueError, match="vocabulary has 2"):
        processor(np.array([[0]]), np.zeros((1, 2), np.float32))


def test_dry_punishes_what_goes_on_with_a_repetition() -> None:
    # 1 2 3 has come before, followed by 4; the run is one longer than what is free.
    ids = np.array([[1, 2, 3, 4, 9, 1, 2, 3]])
    punished = tf.DryLogitsProcessor(2.0, base=3.0, allowed_length=2)(ids, np.zeros((1, 10), np.float32))
    assert punished.tolist() == [[0, 0, 0, 0, -6, 0, 0, 0, 0, 0]]
    broken = tf.DryLogitsProcessor(2.0, allowed_length=2, sequence_breakers=[2])
    assert not broken(ids, np.zeros((1, 10), np.float32)).any(), "the run is but one token behind a breaker"


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: tf.TemperatureLogitsWarper(0.0), "do_sample=False"),
        (lambda: tf.TopKLogitsWarper(0), "top_k"),
        (lambda: tf.TopPLogitsWarper(1.5), "top_p"),
        (lambda: tf.MinPLogitsWarper(-0.1), "min_p"),
        (lambda: tf.MinPLogitsWarper(0.1, min_tokens_to_keep=0), "min_tokens_to_keep"),
        (lambda: tf.TypicalLogitsWarper(1.0), "typical_p"),
        (lambda: tf.EpsilonLogitsWarper(0.0), "epsilon_cutoff"),
        (lambda: tf.EtaLogitsWarper(1.0), "eta_cutoff"),
        (lambda: tf.TopHLogitsWarper(0.0), "top_h"),
        (lambda: tf.RepetitionPenaltyLogitsProcessor(-1.0), "penalty"),
        (lambda: tf.NoRepeatNGramLogitsProcessor(0), "ngram_size"),
        (lambda: tf.NoBadWordsLogitsProcessor([]), "bad_words_ids"),
        (lambda: tf.NoBadWordsLogitsProcessor([[]]), "bad_words_ids"),
        (lambda: tf.SequenceBiasLogitsProcessor({}), "sequence_bias"),
        (lambda: tf.ForcedEOSTokenLogitsProcessor(3, -1), "eos_token_id"),
        (lambda: tf.WatermarkLogitsProcessor(10, greenlist_ratio=1.0), "greenlist_ratio"),
        (lambda: tf.WatermarkLogitsProcessor(10, seeding_scheme="x"), "seeding_scheme"),
        (lambda: tf.FrequencyPenaltyLogitsProcessor(3.0), "frequency_penalty"),
        (lambda: tf.DryLogitsProcessor(-1.0), "dry_multiplier"),
    ],
)
def test_arguments_that_cannot_be_are_named(make: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make()


def test_a_list_runs_its_processors_in_order() -> None:
    class Double(tf.LogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            return scores * 2

    chain = tf.LogitsProcessorList([Double(), tf.LogitBiasLogitsProcessor({0: 1.0})])
    assert chain(np.array([[0]]), np.ones((1, 2), np.float32)).tolist() == [[3, 2]]
    with pytest.raises(NotImplementedError, match="abstract"):
        tf.LogitsProcessor()(None, None)
