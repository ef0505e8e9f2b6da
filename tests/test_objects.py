"""Objects of the package are Python's: pickled, copied, weakly referred to, shown."""

import copy
import gc
import io
import json
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trustformers as tf
from trustformers.pipelines.token_classification import Entities

IDS = np.arange(10).reshape(2, 5) + 3
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 100,
}


def bert() -> tf.PreTrainedModel:
    return tf.BertModel(tf.BertConfig(**SMALL), seed=1).eval()


def gpt2() -> tf.PreTrainedModel:
    return tf.GPT2LMHeadModel(tf.GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=100), seed=2).eval()


def t5() -> tf.PreTrainedModel:
    config = tf.T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, vocab_size=100)
    return tf.T5ForConditionalGeneration(config, seed=3).eval()


def optimizer() -> tf.AdamW:
    parameter = tf.tensor([1.0, 2.0], requires_grad=True)
    made = tf.AdamW([{"params": [parameter], "lr": 0.1}], lr=0.5)
    parameter.grad = tf.tensor([3.0, -4.0])
    made.step()
    return made


@pytest.fixture(scope="module")
def tokenizer(minilm_path: Path) -> tf.PreTrainedTokenizerBase:
    return tf.AutoTokenizer.from_pretrained(minilm_path)


OBJECTS: dict[str, Callable[[], Any]] = {
    "config": lambda: tf.BertConfig(**SMALL),
    "model": bert,
    "output": lambda: bert()(IDS, output_hidden_states=True),
    "output with a cache": lambda: gpt2()(IDS),
    "cache": lambda: gpt2()(IDS).past_key_values,
    "generation config": lambda: tf.GenerationConfig(max_new_tokens=3, do_sample=True),
    "generated": lambda: gpt2().generate(
        IDS, max_new_tokens=2, return_dict_in_generate=True, output_scores=True, pad_token_id=0
    ),
    "tensor": lambda: tf.tensor([[1.0, 2.0]], requires_grad=True),
    "bfloat16": lambda: tf.tensor([1.0, 2.0]).bfloat16(),
    "dtype": lambda: tf.bfloat16,
    "added token": lambda: tf.AddedToken("<x>", lstrip=True),
    "training arguments": lambda: tf.TrainingArguments(output_dir="out", num_train_epochs=3),
    "trainer state": tf.TrainerState,
    "optimizer": optimizer,
    "processor": lambda: tf.TopKLogitsWarper(5),
    "processors": lambda: tf.LogitsProcessorList([tf.TopKLogitsWarper(5), tf.TopPLogitsWarper(0.9)]),
    "criterion": lambda: tf.MaxLengthCriteria(7),
    "watermark": tf.WatermarkingConfig,
    "entities": lambda: Entities([{"entity": "B-PER", "start": 0, "end": 3}], text="Ada"),
    "encoder": lambda: t5().get_encoder(),
}
OF_TOKENIZERS: dict[str, Callable[[Any], Any]] = {
    "tokenizer": lambda tokenizer: tokenizer,
    "encoding of arrays": lambda tokenizer: tokenizer(["a b", "c"], padding=True, return_tensors="np"),
    "encoding of tensors": lambda tokenizer: tokenizer("a b", return_tensors="tensor"),
    "row": lambda tokenizer: tokenizer("a b")[0],
    "collator": tf.DataCollatorWithPadding,
    "stop strings": lambda tokenizer: tf.StopStringCriteria(tokenizer, ["end"]),
    "streamer": lambda tokenizer: tf.TextStreamer(tokenizer, skip_prompt=True),
}


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("twin_of", [pickled, copy.deepcopy, copy.copy])
@pytest.mark.parametrize("name", OBJECTS)
def test_a_twin_says_what_the_object_says(name: str, twin_of: Callable[[Any], Any]) -> None:
    made = OBJECTS[name]()
    twin = twin_of(made)
    assert type(twin) is type(made)
    assert repr(twin) == repr(made)


@pytest.mark.parametrize("twin_of", [pickled, copy.deepcopy, copy.copy])
@pytest.mark.parametrize("name", OF_TOKENIZERS)
def test_a_twin_of_a_tokenizers(name: str, twin_of: Callable[[Any], Any], tokenizer: Any) -> None:
    made = OF_TOKENIZERS[name](tokenizer)
    twin = twin_of(made)
    assert type(twin) is type(made)
    if name not in ("stop strings", "streamer"):  # which show no more than that they are
        assert repr(twin) == repr(made)


@pytest.mark.parametrize("name", [*OBJECTS, *OF_TOKENIZERS])
def test_weak_references(name: str, tokenizer: Any) -> None:
    made = OBJECTS[name]() if name in OBJECTS else OF_TOKENIZERS[name](tokenizer)
    refer = weakref.ref(made)
    assert refer() is made
    if name not in ("dtype", "tokenizer"):  # which live on elsewhere
        del made
        gc.collect()
        assert refer() is None


@pytest.mark.parametrize("twin_of", [pickled, copy.deepcopy])
def test_a_twin_of_a_model_is_its_own(twin_of: Callable[[Any], Any]) -> None:
    model = bert()
    before = model(IDS).last_hidden_state
    twin = twin_of(model)
    assert np.array_equal(twin(IDS).last_hidden_state, before)
    twin.get_input_embeddings().weight.fill_(0)
    assert np.array_equal(model(IDS).last_hidden_state, before)
    assert not np.array_equal(twin(IDS).last_hidden_state, before)


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("mask", [None, [[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]])
def test_a_pickled_cache_goes_on(quantized: bool, mask: Any) -> None:
    model = gpt2()
    cache = tf.QuantizedCache("quanto", model.config) if quantized else tf.DynamicCache()
    model(IDS, attention_mask=mask, past_key_values=cache)
    twin = pickled(cache)
    longer = None if mask is None else [[*row, 1] for row in mask]
    one, other = (model([[7], [8]], attention_mask=longer, past_key_values=past) for past in (cache, twin))
    assert np.array_equal(one.logits, other.logits)
    assert twin.get_seq_length() == cache.get_seq_length() == 6


def test_a_pickled_cache_of_an_encoder_decoder_goes_on() -> None:
    model = t5()
    mask = [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    given = {"attention_mask": mask, "decoder_input_ids": [[0], [0]]}
    outputs = model(IDS, **given)
    encoded = (outputs.encoder_last_hidden_state,)
    step = {"attention_mask": mask, "encoder_outputs": encoded, "decoder_input_ids": [[5], [6]]}
    twin = pickled(outputs.past_key_values)
    one = model(**step, past_key_values=outputs.past_key_values)
    assert np.array_equal(one.logits, model(**step, past_key_values=twin).logits)


def test_parts_that_do_not_fit_are_no_cache() -> None:
    cache = gpt2()(IDS).past_key_values._engine
    capacity, shown, slots, layers, _ = cache.parts()
    make = tf._engine.Cache.from_parts
    keys = layers[0][0]
    for parts in (
        (capacity + 1, shown, slots, layers, None),
        (capacity, [shown[0]], slots, layers, None),
        (capacity, [shown[0], shown[1][1:]], slots, layers, None),
        (1, shown, slots, layers, None),
        (capacity, shown, [0], layers, None),
        (capacity, shown, [0, 0], layers, None),
        (capacity, shown, [0, 2], layers, None),
        (2**63, shown, slots, [], None),
        (capacity, shown, slots, [(keys, keys.double())], None),
        (capacity, shown, slots, [(keys, keys.reshape(-1))], None),
        (capacity, shown, slots, [(keys, keys.half())], None),
        (capacity, shown, slots, layers, ([(keys, keys)], [(10**9, [True]), (0, [True])])),
        (capacity, shown, slots, layers, ([(keys, keys)], [(2**64 - 1, [True]), (0, [True])])),
        (capacity, shown, slots, layers, ([(keys, keys)], [(0, [True]), (0, [True, True])])),
    ):
        with pytest.raises((ValueError, RuntimeError), match="parts of the cache do not fit"):
            make(*parts)
    assert make(capacity, shown, slots, layers, None).length() == cache.length()


def test_a_pickled_optimizer_goes_on() -> None:
    one = optimizer()
    other = pickled(one)
    for each in (one, other):
        (parameter,) = each.param_groups[0]["params"]
        parameter.grad = tf.tensor([0.5, 0.5])
        each.step()
    first, second = (each.param_groups[0]["params"][0] for each in (one, other))
    assert first.tolist() == second.tolist()
    assert json.dumps(one.state[0]["step"]) == json.dumps(other.state[0]["step"]) == "2"


def test_a_pipeline_is_pickled_and_copied(minilm_path: Path) -> None:
    embed = tf.pipeline("feature-extraction", model=str(minilm_path))
    for twin in (pickled(embed), copy.deepcopy(embed)):
        assert twin("two words") == embed("two words")


def test_auto_classes_are_bases_of_what_they_open() -> None:
    class Mine(tf.BertModel): ...

    assert isinstance(bert(), tf.AutoModel)
    assert isinstance(gpt2(), tf.AutoModelForCausalLM)
    assert issubclass(tf.BertForMaskedLM, tf.AutoModelForMaskedLM)
    assert issubclass(Mine, tf.AutoModel)
    assert issubclass(tf.AutoModel, tf.AutoModel)
    for value in (3, "bert", gpt2(), tf.BertConfig()):
        assert not isinstance(value, tf.AutoModel)
    assert not issubclass(tf.AutoModel, tf.AutoModelForMaskedLM)


def test_outputs_name_the_kind_of_their_arrays() -> None:
    made = tf.models.outputs.MaskedLMOutput[np.ndarray](logits=np.zeros(2))
    assert type(made) is tf.MaskedLMOutput
    assert list(made) == ["logits"]
    assert type(pickled(made)) is tf.MaskedLMOutput


def test_a_model_is_shown_as_a_tree() -> None:
    lines = repr(bert()).splitlines()
    assert lines[0] == "BertModel(  # bert, 46,400 parameters, float32, cpu"
    assert lines[1:4] == [
        "  (embeddings): (",
        "    (word_embeddings): weight (100, 32)",
        "    (position_embeddings): weight (512, 32)",
    ]
    # Layers that are alike are shown once.
    assert sum("(0-2): 3 x (" in line for line in lines) == 1
    assert sum("(query): weight (32, 32), bias (32,)" in line for line in lines) == 1
    assert lines[-1] == ")"


def test_reprs_say_what_is_inside() -> None:
    assert (
        repr(tf.TopKLogitsWarper(5)) == "TopKLogitsWarper(top_k=5, filter_value=-inf, min_tokens_to_keep=1)"
    )
    assert repr(tf.MaxLengthCriteria(7)) == "MaxLengthCriteria(max_length=7, max_position_embeddings=None)"
    assert "text-classification" in repr(tf.PIPELINE_REGISTRY)
    assert repr(t5().get_encoder()).startswith("Encoder of T5ForConditionalGeneration(")


def test_names_are_listed() -> None:
    model = bert()
    assert {"forward", "config", "num_parameters"} <= set(dir(model))
    assert {"AutoModel", "BertModel", "BertTokenizer", "models", "__version__"} <= set(dir(tf))
    assert {"last_hidden_state", "to_tuple", "to_list"} <= set(dir(model(IDS)))


def test_a_tensor_in_a_notebook() -> None:
    html = tf.tensor([[1.5, 2.0], [3.25, -4.0]])._repr_html_()
    assert "Tensor (2, 2), float32, cpu" in html
    assert html.count("<td") == 4
    assert ">3.25<" in html
    wide = tf.arange(10_000).reshape(100, 100)._repr_html_()
    assert wide.count("<td") == 81
    assert all(f">{cell}<" in wide for cell in ("0", "9999", "&#8942;", "&#8230;", "&#8945;"))
    for tensor in (tf.tensor(3.5), tf.zeros(2, 2, 2), tf.zeros(0, 3)):
        assert "<pre>tensor(" in tensor._repr_html_()
    assert "requires_grad" in tf.tensor([1.0], requires_grad=True)._repr_html_()
    assert tf.tensor([True, False])._repr_html_().count("True") == 1


def test_entities_in_a_notebook() -> None:
    text = "Ada <b>Lovelace</b> met Babbage & co"
    plain = [
        {"entity_group": "PER", "score": np.float32(0.99), "word": "Babbage", "start": 24, "end": 31},
        {"entity_group": "<x>", "score": np.float32(0.5), "word": "Ada", "start": 0, "end": 3},
    ]
    entities = Entities(plain, text=text)
    assert entities == plain
    assert isinstance(entities, list)
    html = entities._repr_html_()
    assert html is not None
    assert html.index("Ada") < html.index("Babbage")
    assert "&lt;b&gt;Lovelace" in html
    assert "<b>" not in html
    assert "&lt;x&gt;" in html
    assert 'title="0.9900"' in html
    # Without places in the text there is nothing to mark.
    assert Entities([{"entity": "PER", "start": None, "end": None}], text=text)._repr_html_() is None
    assert pickled(entities).text == text


def test_what_a_pipeline_finds_is_shown_in_its_text(tokenizer: Any) -> None:
    config = tf.BertConfig(**{**SMALL, "vocab_size": 30522}, id2label={0: "A", 1: "B"})
    find = tf.pipeline(
        "ner", model=tf.BertForTokenClassification(config, seed=5), tokenizer=tokenizer, ignore_labels=[]
    )
    one, *_ = answers = find(["Where is Ada?", "Here."])
    assert isinstance(one, Entities)
    assert "Ada" in (one._repr_html_() or "")
    assert json.loads(json.dumps(answers, default=float))[0][0]["word"] == "where"
    buffer = io.StringIO()
    print(one, file=buffer)
    assert buffer.getvalue().startswith("[{'entity': ")
