"""The function `pipeline`: which task, which model, which class."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from pipeline_cases import CHECKPOINTS, TEXTS

import trustformers
from trustformers import (
    PIPELINE_REGISTRY,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Pipeline,
    TextClassificationPipeline,
    pipeline,
)
from trustformers.pipelines.registry import SUPPORTED_TASKS, auto_classes, default_model, pipeline_class


def folder(name: str) -> str:
    return str(CHECKPOINTS[name].folder)


@pytest.mark.parametrize("task", SUPPORTED_TASKS)
def test_every_task_has_a_class_a_model_and_a_way_to_open_it(task: str) -> None:
    _, entry, _ = PIPELINE_REGISTRY.check_task(task)
    assert issubclass(pipeline_class(entry), Pipeline)
    assert all(auto.from_pretrained for auto in auto_classes(entry))
    languages = ("en", "fr") if task == "translation" else None
    name, revision = default_model(entry, languages)
    assert "/" in name
    assert revision


def test_aliases_and_languages() -> None:
    assert PIPELINE_REGISTRY.check_task("ner")[0] == "token-classification"
    assert PIPELINE_REGISTRY.check_task("sentiment-analysis")[0] == "text-classification"
    task, _, languages = PIPELINE_REGISTRY.check_task("translation_en_to_de")
    assert (task, languages) == ("translation", ("en", "de"))
    with pytest.raises(KeyError, match="translation_XX_to_YY"):
        PIPELINE_REGISTRY.check_task("translation_english_german")


def test_an_unknown_task_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        KeyError, match=r"Unknown task text-clasification.*Did you mean 'text-classification'"
    ):
        pipeline("text-clasification")
    with pytest.raises(KeyError, match="available tasks are"):
        pipeline("painting")


def test_translation_has_default_models_for_some_languages() -> None:
    entry = SUPPORTED_TASKS["translation"]
    assert default_model(entry, ("en", "ro"))[0] == "google-t5/t5-base"
    with pytest.raises(ValueError, match="does not provide any default models"):
        default_model(entry, ("fi", "sv"))
    with pytest.raises(ValueError, match="translation_xx_to_yy"):
        default_model(entry, None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("labels", "TextClassificationPipeline"),
        ("features", "FeatureExtractionPipeline"),
        ("masks", "FillMaskPipeline"),
    ],
)
def test_the_task_follows_from_the_head(name: str, expected: str) -> None:
    assert type(pipeline(model=folder(name))).__name__ == expected
    opened = pipeline(model=folder(name)).model
    assert type(pipeline(model=opened)).__name__ == expected


def test_the_task_follows_from_the_card(tmp_path: Path) -> None:
    for file in Path(folder("entailment")).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "README.md").write_text(
        "---\nlicense: mit\npipeline_tag: zero-shot-classification\n---\n# A model\n"
    )
    pipe = pipeline(model=str(tmp_path))
    assert type(pipe).__name__ == "ZeroShotClassificationPipeline"
    assert pipe.task == "zero-shot-classification"
    assert pipeline(model=tmp_path).task == pipe.task  # a Path will do


def test_a_head_without_a_task_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="cannot be inferred"):
        pipeline(model=object())


def test_what_is_missing_is_said() -> None:
    with pytest.raises(RuntimeError, match="without either a task or a model"):
        pipeline()
    with pytest.raises(RuntimeError, match="tokenizer specified but not the model"):
        pipeline("text-classification", tokenizer="somewhere")
    with pytest.raises(OSError, match="no-such-folder"):
        pipeline("text-classification", model="./no-such-folder")


def test_a_head_that_does_not_fit_is_refused() -> None:
    model = trustformers.AutoModelForMaskedLM.from_pretrained(folder("masks"))
    with pytest.raises(ValueError, match="'BertForMaskedLM' is not supported for text-classification"):
        pipeline("text-classification", model=model, tokenizer=folder("masks"))


def test_models_and_tokenizers_that_are_open() -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder("labels"))
    tokenizer = AutoTokenizer.from_pretrained(folder("labels"))
    expected = pipeline("text-classification", model=folder("labels"))(TEXTS)
    assert pipeline("text-classification", model=model, tokenizer=tokenizer)(TEXTS) == expected
    assert pipeline("text-classification", model=model)(TEXTS) == expected
    with_keywords = (folder("labels"), {"model_max_length": 4})
    short = pipeline("text-classification", model=model, tokenizer=with_keywords)
    assert short.tokenizer.model_max_length == 4
    bare = AutoModelForSequenceClassification.from_config(model.config)
    bare.config._name_or_path = ""
    with pytest.raises(ValueError, match="Impossible to guess which tokenizer"):
        pipeline("text-classification", model=bare)


def test_configurations() -> None:
    config = trustformers.AutoConfig.from_pretrained(folder("labels"), id2label={0: "a", 1: "b", 2: "c"})
    answer = pipeline("text-classification", model=folder("labels"), config=config)(TEXTS[0])
    assert answer[0]["label"] in "abc"
    named = pipeline("text-classification", model=folder("labels"), config=folder("multi-label"))
    assert named.model.config.problem_type == "multi_label_classification"


def test_dtypes_have_two_names_and_two_places() -> None:
    half = pipeline("text-classification", model=folder("labels"), dtype="bfloat16")
    assert half.dtype == "bfloat16"
    inner = pipeline("text-classification", model=folder("labels"), model_kwargs={"dtype": "float16"})
    assert inner.torch_dtype == "float16"
    with pytest.warns(DeprecationWarning, match="torch_dtype"):
        old = pipeline("text-classification", model=folder("labels"), torch_dtype="bfloat16")
    assert old.dtype == "bfloat16"
    with pytest.raises(ValueError, match="cannot use both"):
        pipeline(
            "text-classification", model=folder("labels"), dtype="float16", model_kwargs={"dtype": "float32"}
        )
    with pytest.raises(ValueError, match="cannot use both"):
        pipeline(
            "text-classification",
            model=folder("labels"),
            device_map="cpu",
            model_kwargs={"device_map": "cpu"},
        )


def test_devices() -> None:
    for device in (None, -1, 0, "cpu"):
        assert str(pipeline("text-classification", model=folder("labels"), device=device).device) == "cpu"
    with pytest.raises(RuntimeError, match="CUDA"):
        pipeline("text-classification", model=folder("labels"), device="cuda:99")


def test_frameworks() -> None:
    assert pipeline("text-classification", model=folder("labels"), framework="pt")
    with pytest.raises(ValueError, match="framework='tf'"):
        pipeline("text-classification", model=folder("labels"), framework="tf")


def test_it_saves_what_it_opens(tmp_path: Path) -> None:
    pipe = pipeline("text-classification", model=folder("labels"))
    pipe.save_pretrained(tmp_path / "saved")
    assert pipeline(model=str(tmp_path / "saved"))(TEXTS) == pipe(TEXTS)
    (tmp_path / "file").write_text("")
    pipe.save_pretrained(tmp_path / "file")  # logged, as in transformers
    assert (tmp_path / "file").read_text() == ""


def test_it_shows_what_it_is_and_pickles() -> None:
    pipe = pipeline("text-classification", model=folder("labels"))
    assert repr(pipe).startswith("TextClassificationPipeline: {'model': 'BertForSequenceClassification'")
    assert pickle.loads(pickle.dumps(pipe))(TEXTS) == pipe(TEXTS)
    assert pipe.predict(TEXTS) == pipe.transform(TEXTS) == pipe(TEXTS)
    assert pipe.ensure_tensor_on_device(a=1) == {"a": 1}


class Vowels(Pipeline):
    """A task of a user's own, as the documentation of transformers shows how to write one."""

    def _sanitize_parameters(self, **kwargs: Any) -> Any:
        preprocess = {"second_text": kwargs["second_text"]} if "second_text" in kwargs else {}
        return preprocess, {}, {}

    def preprocess(self, text: str, second_text: str | None = None) -> Any:
        return self.tokenizer(text, text_pair=second_text, return_tensors=self.framework)

    def _forward(self, model_inputs: Any) -> Any:
        return self.model(**model_inputs)

    def postprocess(self, model_outputs: Any) -> Any:
        logits = model_outputs.logits[0].numpy()
        probabilities = model_outputs.logits[0].softmax(-1)
        best = int(probabilities.argmax(-1).item())
        return {"label": self.model.config.id2label[best], "logits": logits.tolist()}


def test_a_task_of_ones_own() -> None:
    PIPELINE_REGISTRY.register_pipeline(
        "vowels",
        pipeline_class=Vowels,
        pt_model=AutoModelForSequenceClassification,
        default={"pt": (folder("labels"), "main")},
        type="text",
    )
    try:
        pipe = pipeline("vowels")
        assert isinstance(pipe, Vowels)
        assert set(pipe(TEXTS[0])) == {"label", "logits"}
        alone = [pipe(text, second_text="Yes.") for text in TEXTS]
        together = pipe(TEXTS, second_text="Yes.", batch_size=3)
        assert [one["label"] for one in together] == [one["label"] for one in alone]
        assert "vowels" in PIPELINE_REGISTRY.get_supported_tasks()
        assert PIPELINE_REGISTRY.to_dict()["vowels"]["impl"] is Vowels
        again = pipeline("text-classification", model=folder("labels"), pipeline_class=Vowels)
        assert isinstance(again, Vowels)
    finally:
        del SUPPORTED_TASKS["vowels"]


def test_the_steps_must_be_written() -> None:
    class Nothing(Pipeline):
        def _sanitize_parameters(self, **kwargs: Any) -> Any:
            return {}, {}, {}

    pipe = Nothing(model=AutoModelForSequenceClassification.from_pretrained(folder("labels")))
    for step in (pipe.preprocess, pipe._forward, pipe.postprocess):
        with pytest.raises(NotImplementedError):
            step("text")
    with pytest.raises(NotImplementedError):
        Pipeline(model=pipe.model)


def test_an_unsupported_model_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    pipe = pipeline("text-classification", model=folder("labels"))
    pipe.check_model_type({"bert": "BertForSequenceClassification", "gpt2": ("A", "B")})
    assert not caplog.records
    pipe.check_model_type(["SomeOtherModel"])
    assert "is not supported for text-classification" in caplog.text


def test_a_default_model_is_said_to_be_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {**SUPPORTED_TASKS["text-classification"], "default": {"model": (folder("labels"), "main")}}
    monkeypatch.setitem(SUPPORTED_TASKS, "text-classification", entry)
    pipe = pipeline("sentiment-analysis")
    assert isinstance(pipe, TextClassificationPipeline)
    assert "No model was supplied" in caplog.text
    assert json.dumps(pipe(TEXTS))
