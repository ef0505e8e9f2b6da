"""Data of every kind, in order, and what is refused of it."""

import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tasks

import trustformers as tf
from trustformers import training
from trustformers.training.data import Batches, by_length, shuffled


def first_of(rows: list[Any]) -> list[Any]:
    return rows


def taken(batches: Batches, first: int = 0) -> list[Any]:
    return list(batches.beginning_with(first))


class Table:
    """What Trainer asks of a table of the `datasets` library."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = columns
        self.column_names = list(columns)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.columns[key]
        return {name: values[key] for name, values in self.columns.items()}

    def remove_columns(self, names: list[str]) -> "Table":
        return Table({name: values for name, values in self.columns.items() if name not in names})


class Items:
    """torch's `Dataset`: a length and numbers."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        if not isinstance(index, int):
            raise TypeError(f"numbers, not {type(index)}")
        return self.rows[index]


class Stream:
    """torch's `IterableDataset`: no length."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows
        self.epochs: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __iter__(self) -> Any:
        return iter(self.rows)


def test_every_epoch_has_an_order_of_its_own() -> None:
    batches = Batches(list(range(10)), 3, first_of, order=shuffled(10, seed=7))  # type: ignore[arg-type]
    first = taken(batches)
    assert [len(batch) for batch in first] == [3, 3, 3, 1]
    assert sorted(itertools.chain(*first)) == list(range(10))
    batches.set_epoch(1)
    second = taken(batches)
    assert second != first
    assert taken(batches, 2) == second[2:]
    batches.set_epoch(0)
    assert taken(batches) == first
    assert taken(Batches(list(range(10)), 3, first_of, order=shuffled(10, seed=8))) != first  # type: ignore[arg-type]
    dropped = Batches(list(range(10)), 3, first_of, drop_last=True)  # type: ignore[arg-type]
    assert (len(dropped), taken(dropped)) == (3, [[0, 1, 2], [3, 4, 5], [6, 7, 8]])


def test_similar_lengths_come_together() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 200).tolist()
    order = by_length(lengths, batch_size=4, seed=0)(0)
    assert sorted(order) == list(range(200))
    assert lengths[order[0]] == max(lengths)
    sizes = np.array(lengths)[order].reshape(-1, 4)
    plain = np.array(lengths).reshape(-1, 4)
    assert np.ptp(sizes, axis=1).mean() < np.ptp(plain, axis=1).mean() / 4
    assert by_length(lengths, 4, 0)(1) != order
    assert sorted(by_length([5, 1, 3], batch_size=8, seed=0)(0)) == [0, 1, 2]


@pytest.mark.parametrize("kind", ["list", "items", "table", "stream"])
def test_datasets_of_every_kind_train_the_same(tmp_path: Path, kind: str) -> None:
    rows = tasks.examples()
    made: Any = {
        "list": rows,
        "items": Items(rows),
        "table": Table({name: [row[name] for row in rows] for name in rows[0]} | {"text": ["a"] * 22}),
        "stream": Stream(rows),
    }[kind]
    settings = {"max_steps": 10, "train_sampling_strategy": "sequential"}
    trainer = tasks.trainer(tmp_path, parts={"train_dataset": made}, **settings)
    trainer.train()
    plain = tasks.trainer(tmp_path, **settings)
    plain.train()
    assert tasks.losses(trainer) == tasks.losses(plain)
    if kind == "stream":
        assert made.epochs == [0, 1]
    else:
        assert trainer.predict(made).predictions.shape == (22, 2)


def test_a_stream_that_goes_on_where_it_was(tmp_path: Path) -> None:
    settings = {"max_steps": 5, "save_strategy": "steps", "save_steps": 2}
    parts = {"train_dataset": Stream(tasks.examples())}
    through = tasks.trainer(tmp_path, parts=parts, **settings)
    through.train()
    resumed = tasks.trainer(tmp_path, tasks.model(seed=4), parts=parts, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert tasks.losses(resumed) == tasks.losses(through)
    assert resumed.evaluate(Stream(tasks.examples(6)))["eval_loss"] > 0


def test_a_stream_that_ends_early_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = tasks.trainer(tmp_path, parts={"train_dataset": iter(tasks.examples())}, max_steps=20)
    assert trainer.train().global_step == 6
    assert "not to be a single sample" in caplog.text


def test_lengths_are_grouped_by_column_or_tokens(tmp_path: Path) -> None:
    rows = [{"input_ids": [1] * length, "labels": 0} for length in (2, 9, 4, 7, 3, 8)]
    tokenizer = tf.AutoTokenizer.from_pretrained(
        Path(__file__).parent.parent / "fixtures" / "pipelines" / "wordpiece"
    )
    model = tasks.model(vocab_size=len(tokenizer))
    parts = {"train_dataset": rows, "processing_class": tokenizer}
    settings = {"train_sampling_strategy": "group_by_length", "per_device_train_batch_size": 2}
    trainer = tasks.trainer(tmp_path, model, parts=parts, **settings)
    widths = [batch["input_ids"].shape[1] for batch in trainer.get_train_dataloader()]
    assert widths[0] == 9
    trainer.train()
    table = Table({"input_ids": [[1], [1]], "labels": [0, 1], "length": [3, 5]})
    grouped = tasks.trainer(tmp_path, parts={"train_dataset": table}, **settings)
    assert len(grouped.get_train_dataloader()) == 1
    with pytest.raises(ValueError, match="length_column_name"):
        tasks.trainer(tmp_path, parts={"train_dataset": [{"x": 1}]}, **settings).train()


def test_batches_are_made_beforehand_by_one_thread() -> None:
    threads: set[str] = set()
    made: list[int] = []

    def collate(rows: list[Any]) -> Any:
        threads.add(threading.current_thread().name)
        made.append(rows[0])
        if rows[0] == 30:
            raise ValueError("a bad example")
        return rows

    batches = Batches(list(range(40)), 1, collate, ahead=3)
    iterator = batches.beginning_with(0)
    assert next(iterator) == [0]
    iterator.close()  # type: ignore[attr-defined]
    assert max(made) <= 4
    with pytest.raises(ValueError, match="a bad example"):
        taken(batches, 25)
    assert taken(batches, 35) == [[35], [36], [37], [38], [39]]
    assert threads == {"batches_0"}
    assert not [one for one in threading.enumerate() if one.name.startswith("batches")]


def test_other_columns_are_left_out(tmp_path: Path) -> None:
    rows = [{**row, "text": "a text", "score": 0.5} for row in tasks.examples()]
    trainer = tasks.trainer(tmp_path, parts={"train_dataset": rows})
    assert next(iter(trainer.get_train_dataloader())).keys() == {"input_ids", "labels"}
    kept = tasks.trainer(tmp_path, parts={"train_dataset": rows}, remove_unused_columns=False)
    with pytest.raises(TypeError, match="score"):
        kept.train()
    labelled = [{"text": "a text", "label": 1}] * 4
    for dataset in ([{"text": "a text"}] * 4, labelled, Table({"text": ["a text"] * 4})):
        texts = tasks.trainer(tmp_path, parts={"train_dataset": dataset})
        with pytest.raises(
            ValueError, match=r"No columns.*training.*BertForSequenceClassification.*\[text(, label)?\]"
        ):
            texts.train()


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="training dataset is empty"):
        tasks.trainer(tmp_path, parts={"train_dataset": []}).train()
    with pytest.raises(ValueError, match="requires a train_dataset"):
        tasks.trainer(tmp_path, parts={"train_dataset": None}).train()
    few = {"dataloader_drop_last": True, "per_device_train_batch_size": 32}
    with pytest.raises(ValueError, match=r"22 examples, too few.*dataloader_drop_last"):
        tasks.trainer(tmp_path, **few).train()
    trainer = tasks.trainer(tmp_path)
    with pytest.raises(ValueError, match="requires an eval_dataset"):
        trainer.evaluate()
    with pytest.raises(ValueError, match="evaluation dataset is empty"):
        trainer.evaluate([])
    with pytest.raises(ValueError, match="max_steps"):
        tasks.trainer(tmp_path, parts={"train_dataset": Stream([])})


def test_labels_that_cannot_be(tmp_path: Path) -> None:
    rows = tasks.examples()
    rows[3]["labels"] = 7
    trainer = tasks.trainer(tmp_path, parts={"train_dataset": rows}, train_sampling_strategy="sequential")
    before = tasks.weights(trainer.model)
    with pytest.raises(IndexError, match="7"):
        trainer.train()
    assert all(np.array_equal(value, before[name]) for name, value in tasks.weights(trainer.model).items())
    for bad in (40, -5):
        for kind in (tf.BertForTokenClassification, tf.BertForMaskedLM):
            tokens = [
                {"input_ids": [1, 2, 3], "labels": [1, bad if index == 5 else 1, -100]} for index in range(9)
            ]
            parts = {"train_dataset": tokens}
            trainer = tasks.trainer(
                tmp_path, tasks.model(kind=kind), parts=parts, train_sampling_strategy="sequential"
            )
            with pytest.raises(IndexError, match=rf"{bad} is out of range.*step 2, batch 1 of epoch 0"):
                trainer.train()
    floats = [{"input_ids": row["input_ids"], "labels": 0.5} for row in rows]
    with pytest.raises(ValueError, match="labels must have the shape"):
        tasks.trainer(tmp_path, parts={"train_dataset": floats}).train()
    without = [{"input_ids": row["input_ids"]} for row in rows]
    with pytest.raises(ValueError, match=r"did not return a loss.*input_ids.*labels"):
        tasks.trainer(tmp_path, parts={"train_dataset": without}).train()


def test_a_loss_that_is_no_number_says_where(tmp_path: Path) -> None:
    class Dividing(tf.Trainer):
        def compute_loss(self, model: Any, inputs: Any, **keywords: Any) -> Any:
            loss = super().compute_loss(model, inputs, **keywords)
            return loss * (float("nan") if self.state.global_step == 7 else 1.0)

    settings = {"save_strategy": "steps", "save_steps": 2}
    trainer = tasks.trainer(tmp_path, kind=Dividing, **settings)
    with pytest.raises(FloatingPointError, match=r"nan at step 8, batch 1 of epoch 1"):
        trainer.train()
    # The parameters are whole, and the checkpoint before is there.
    assert all(np.isfinite(value).all() for value in tasks.weights(trainer.model).values())
    assert training.get_last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-6")

    class Steep(tf.Trainer):
        def compute_loss(self, model: Any, inputs: Any, **keywords: Any) -> Any:
            loss = super().compute_loss(model, inputs, **keywords)
            # The sum is finite, and its slope is not.
            return loss + (loss - loss.detach()) * 1e30 * 1e30

    steep = tasks.trainer(tmp_path / "steep", kind=Steep)
    with pytest.raises(FloatingPointError, match=r"not finite at step 1"):
        steep.train()
    assert all(np.isfinite(value).all() for value in tasks.weights(steep.model).values())


def test_parts_that_contradict_each_other(tmp_path: Path) -> None:
    model, optimizer = tasks.model(), training.SGD([tf.ones(2).requires_grad_()])
    args = tf.TrainingArguments(str(tmp_path), disable_tqdm=True)
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({}, RuntimeError, "either a `model` or `model_init`"),
        ({"model": model, "model_init": tasks.model}, ValueError, "not both"),
        ({"model_init": lambda: None}, RuntimeError, "None"),
        ({"model_init": tasks.model, "optimizers": (optimizer, None)}, RuntimeError, "model_init"),
        (
            {"model": model, "optimizers": (optimizer, None), "optimizer_cls_and_kwargs": (training.SGD, {})},
            RuntimeError,
            "optimizer_cls_and_kwargs",
        ),
        ({"model": model, "data_collator": 3}, TypeError, "callable"),
        (
            {"model": model, "args": tf.TrainingArguments(str(tmp_path), eval_strategy="epoch")},
            ValueError,
            "eval_dataset",
        ),
        (
            {"model": model, "args": tf.TrainingArguments(str(tmp_path), save_strategy="best")},
            ValueError,
            "metric_for_best_model",
        ),
        (
            {
                "model": model,
                "args": tf.TrainingArguments(str(tmp_path), batch_eval_metrics=True),
                "compute_metrics": lambda prediction: {},
            },
            ValueError,
            "compute_result",
        ),
    ]
    for parts, error, message in cases:
        with pytest.raises(error, match=message):
            tf.Trainer(**{"args": args, **parts})
    with pytest.warns(DeprecationWarning, match="processing_class"):
        assert tf.Trainer(model, args, tokenizer="mine").processing_class == "mine"
    with pytest.raises(ValueError, match="hyperparameter"):
        tf.Trainer(model, args).train(trial=object())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="optim_args"):
        tasks.trainer(tmp_path, optim="sgd", optim_args="momentum").train()
    quantized = tf.BertForSequenceClassification(tf.BertConfig(**{**tasks.CONFIG, "hidden_size": 32}))
    quantized.save_pretrained(tmp_path / "model")
    few_bits = tf.BertForSequenceClassification.from_pretrained(tmp_path / "model", quantization="int8")
    with pytest.raises(ValueError, match="few bits"):
        tf.Trainer(few_bits, args)
