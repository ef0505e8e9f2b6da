"""Command lines fill dataclasses as transformers' HfArgumentParser does."""

import json
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union

import pytest

import trustformers as tf


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Settings:
    name: str = field(metadata={"help": "what it is called"})
    fast: bool = False
    tidy: bool = True
    count: int | None = None
    words: list[str] = field(default_factory=lambda: ["a"])
    level: Literal["low", 3] = "low"
    colour: Colour = Colour.RED
    maybe: bool | None = None
    share: float = field(default=0.1, metadata={"aliases": ["--sh", "-s"]})


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", {}),
        ("--fast", {"fast": True}),
        ("--fast no --tidy false", {"fast": False, "tidy": False}),
        ("--no_tidy", {"tidy": False}),
        ("--no-tidy --count 3", {"tidy": False, "count": 3}),
        ("--words b c --level 3", {"words": ["b", "c"], "level": 3}),
        ("--colour blue --maybe 1", {"colour": "blue", "maybe": True}),
        ("-s 0.5", {"share": 0.5}),
        ("--sh 2", {"share": 2.0}),
    ],
)
def test_options_are_fields(words: str, expected: dict[str, Any]) -> None:
    (made,) = tf.HfArgumentParser(Settings).parse_args_into_dataclasses(["--name", "x", *words.split()])
    assert vars(made) == {**vars(Settings("x")), **expected}


def test_what_no_option_takes_is_refused_or_given() -> None:
    parser = tf.HfArgumentParser(Settings)
    with pytest.raises(ValueError, match=r"not used by the HfArgumentParser: \['--other', '1'\]"):
        parser.parse_args_into_dataclasses(["--name", "x", "--other", "1"])
    made, rest = parser.parse_args_into_dataclasses(["--name", "x", "more"], return_remaining_strings=True)
    assert (made.name, rest) == ("x", ["more"])
    parser.add_argument("--own", type=int)
    _, others = parser.parse_args_into_dataclasses(["--name", "x", "--own", "2"])
    assert others.own == 2
    with pytest.raises(SystemExit):
        parser.parse_args_into_dataclasses([])


def test_dictionaries_and_files(tmp_path: Path) -> None:
    parser = tf.HfArgumentParser([Settings])
    with pytest.raises(ValueError, match=r"\['other'\]"):
        parser.parse_dict({"name": "x", "other": 1})
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"name": "x", "count": 2, "other": 1}))
    assert parser.parse_json_file(path, allow_extra_keys=True)[0].count == 2
    words = tmp_path / "settings.args"
    words.write_text("--name y --count 5")
    (made,) = parser.parse_args_into_dataclasses(["--count", "6"], args_filename=str(words))
    assert (made.name, made.count) == ("y", 6)
    (made,) = parser.parse_args_into_dataclasses(["--file", str(words)], args_file_flag="--file")
    assert made.count == 5


def test_types_that_no_option_can_have() -> None:
    @dataclass
    class Odd:
        value: Union[int, float] = 1  # noqa: UP007

    with pytest.raises(ValueError, match="field 'value'"):
        tf.HfArgumentParser(Odd)


def test_training_arguments_and_their_older_spellings() -> None:
    words = "--name x --output_dir o --learning_rate 1e-3 --eval-strategy epoch --label_names a b --do_train"
    words += " --lr_scheduler_kwargs {} --ddp_find_unused_parameters false --dataloader_pin_memory False"
    parser = tf.HfArgumentParser((Settings, tf.TrainingArguments))
    settings, args = parser.parse_args_into_dataclasses(words.split())
    assert (settings.name, args.output_dir, args.learning_rate) == ("x", "o", 1e-3)
    assert (args.eval_strategy, args.label_names, args.do_train) == ("epoch", ["a", "b"], True)
    assert (args.ddp_find_unused_parameters, args.dataloader_pin_memory) == (False, False)
    with pytest.warns(DeprecationWarning, match="is deprecated"):
        _, args = parser.parse_args_into_dataclasses(
            [
                "--name",
                "x",
                "--overwrite_output_dir",
                "--evaluation_strategy",
                "epoch",
                "--warmup_ratio",
                "0.1",
            ]
        )
    assert (args.eval_strategy, args.warmup_steps) == ("epoch", 0.1)
