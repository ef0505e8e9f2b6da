"""What type checkers must see of the package; read by mypy and pyright, never run."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import assert_type

import trustformers as tf
from trustformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForMaskedLM,
    BertForSequenceClassification,
    Tensor,
    pipeline,
)
from trustformers.models.outputs import MaskedLMOutput, SequenceClassifierOutput
from trustformers.tokenizers import BatchEncoding

Array = npt.NDArray[Any]


def tokenizers(tokenizer: tf.PreTrainedTokenizerBase) -> None:
    assert_type(tokenizer("a", return_tensors="np"), BatchEncoding[npt.NDArray[np.int64]])
    assert_type(tokenizer(["a"], padding=True, return_tensors="np").input_ids, npt.NDArray[np.int64])
    assert_type(tokenizer("a", return_tensors="tensor"), BatchEncoding[Tensor])
    assert_type(tokenizer("a", return_tensors="tensor")["input_ids"], Tensor)
    assert_type(tokenizer(["a", "b"]), BatchEncoding[Any])
    tokenizer("a", paddin=True, return_tensors="np")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


def arrays_in_arrays_out(ids: npt.NDArray[np.int64], text: str) -> None:
    model = BertForMaskedLM.from_pretrained("bert-base-uncased")
    assert_type(model, BertForMaskedLM)
    assert_type(model(ids), MaskedLMOutput[Array])
    assert_type(model(ids).logits, Array)
    assert_type(model(input_ids=ids, attention_mask=ids).logits, Array)
    assert_type(model([[1, 2]]).logits, Array)
    assert_type(model(ids, output_attentions=True).attentions, tuple[Array, ...] | None)
    assert_type(model(ids, return_dict=False), tuple[Any, ...])

    tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased")
    inputs = tokenizer(text, return_tensors="np")
    assert_type(model(**inputs).logits, Array)
    assert_type(model(inputs).logits, Array)


def tensors_in_tensors_out(ids: Tensor) -> None:
    model = BertForSequenceClassification(tf.BertConfig())
    assert_type(model(ids), SequenceClassifierOutput[Tensor])
    assert_type(model(input_ids=ids).logits.argmax(-1).tolist(), Any)


def auto_classes(ids: npt.NDArray[np.int64], tensor: Tensor) -> None:
    model = AutoModel.from_pretrained("bert-base-uncased")
    assert_type(model, AutoModel)
    assert_type(model(ids).last_hidden_state, Array)
    assert_type(model(tensor).last_hidden_state, Tensor)
    assert_type(AutoModelForSequenceClassification.from_pretrained("a")(ids).logits, Array)
    assert_type(AutoModel.from_pretrained("a", output_loading_info=True), tuple[AutoModel, dict[str, Any]])
    parent: tf.PreTrainedModel = model
    assert_type(parent.config, tf.PreTrainedConfig)


def generation(model: tf.GPT2LMHeadModel, ids: npt.NDArray[np.int64], tensor: Tensor, text: str) -> None:
    assert_type(model.generate(ids, max_new_tokens=3), Array)
    assert_type(model.generate(tensor, max_new_tokens=3), Tensor)
    assert_type(model.generate([[1, 2]]), Array)
    assert_type(model.generate(ids, return_dict_in_generate=True), Any)
    tokenizer = AutoTokenizer.from_pretrained("gpt2")
    assert_type(model.generate(**tokenizer(text, return_tensors="np"), max_new_tokens=3), Array)


def embed(model: AutoModel, inputs: dict[str, npt.NDArray[np.int64]]) -> dict[str, Any]:
    return model(**inputs).to_list()


def of_tensors(array: Array, tensor: Tensor) -> None:
    assert_type(Tensor.from_numpy(array), Tensor)
    assert_type(tensor.to_numpy(), Array)
    assert_type(tensor.max(), Tensor)
    assert_type(tensor.max(dim=0).values, Tensor)
    assert_type(tensor.size(), tuple[int, ...])
    assert_type(tensor.size(0), int)
    assert_type(tensor @ array, Tensor)
    assert_type(tensor[0, ..., None], Tensor)


def pipelines() -> None:
    classify = pipeline("text-classification")
    assert_type(classify, tf.TextClassificationPipeline)
    assert_type(pipeline("summarization", model="t5-small"), tf.SummarizationPipeline)
    assert_type(pipeline(model="t5-small"), tf.Pipeline)
