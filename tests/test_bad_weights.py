"""Weight files that do not fit their configuration, are cut, or lie.

Each raises what transformers raises and names the tensor or the file. Where transformers lets safetensors'
own SafetensorError out, ours is OSError, as for every other file that cannot be read.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import safetensors_file as st
from bad_models import GOOD, IDS, message
from fixture_cases import FIXTURES
from trustformers import AutoModel

SHARDED = FIXTURES / "bert" / "sharded"
WEIGHT = "encoder.layer.1.intermediate.dense.weight"  # (20, 12)
BIAS = "pooler.dense.bias"  # (12,)


# Tensors that are not what the configuration says.


def change_tensors(folder: Path, **changes: np.ndarray | None) -> None:
    arrays, _ = st.read(folder / "model.safetensors")
    changed = arrays | {name: array for name, array in changes.items() if array is not None}
    for name, array in changes.items():
        if array is None:
            del changed[name]
    st.write(folder / "model.safetensors", changed)


def test_a_missing_tensor_is_named(checkpoint: Path) -> None:
    change_tensors(checkpoint, **{WEIGHT: None})
    assert WEIGHT in message(RuntimeError, checkpoint)


def test_a_misshaped_tensor_is_named_with_both_shapes(checkpoint: Path) -> None:
    change_tensors(checkpoint, **{WEIGHT: np.zeros((21, 12), np.float32)})
    text = message(RuntimeError, checkpoint)
    assert WEIGHT in text
    assert "[21, 12]" in text
    assert "[20, 12]" in text


@pytest.mark.parametrize("shape", [(), (0,), (12, 20), (240,), (20, 12, 1), (1, 20, 12)])
def test_the_right_number_of_values_is_not_enough(checkpoint: Path, shape: tuple[int, ...]) -> None:
    change_tensors(checkpoint, **{WEIGHT: np.zeros(shape, np.float32)})
    assert WEIGHT in message(RuntimeError, checkpoint)


def test_all_that_is_wrong_is_said_at_once(checkpoint: Path) -> None:
    change_tensors(
        checkpoint,
        **{
            WEIGHT: np.zeros((21, 12), np.float32),
            BIAS: np.zeros(13, np.float32),
            "embeddings.LayerNorm.weight": None,
            "encoder.layer.0.attention.self.key.bias": None,
        },
    )
    text = message(RuntimeError, checkpoint)
    for name in (WEIGHT, BIAS, "embeddings.LayerNorm.weight", "encoder.layer.0.attention.self.key.bias"):
        assert name in text
    assert "encoder.layer.0.attention.self.key.weight" not in text, "what is right is not listed"


def test_a_tensor_that_nobody_asked_for_does_no_harm(checkpoint: Path) -> None:
    expected = AutoModel.from_pretrained(checkpoint)(IDS)[0]
    change_tensors(checkpoint, **{"frobnicator.weight": np.ones(3, np.float32)})
    np.testing.assert_array_equal(AutoModel.from_pretrained(checkpoint)(IDS)[0], expected)


# Headers that lie.


def with_entry(name: str, **changes: Any) -> Callable[[bytes], bytes]:
    """The file with some fields of one tensor's entry changed."""

    def change(data: bytes) -> bytes:
        header, body = st.split(data)
        header[name] |= changes
        return st.join(header, body)

    return change


def with_length(length: int) -> Callable[[bytes], bytes]:
    """The file with another length of the header in front."""
    return lambda data: length.to_bytes(8, "little") + data[8:]


def with_header(header: bytes) -> Callable[[bytes], bytes]:
    """The file with other bytes for a header."""
    return lambda data: st.join(header, st.split(data)[1])


def cut_in_the_header(data: bytes) -> bytes:
    return data[: int.from_bytes(data[:8], "little") // 2]


def with_a_second_entry_of_the_same_name(data: bytes) -> bytes:
    header, body = st.split(data)
    entry = header[BIAS] | {"data_offsets": [len(body), len(body) + 48]}
    text = json.dumps(header)[:-1] + f', "{BIAS}": {json.dumps(entry)}}}'
    return st.join(text.encode(), body + bytes(48))


@pytest.mark.parametrize(
    "broken",
    [
        lambda _: b"",
        lambda data: data[:7],
        lambda data: data[:8],
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data + b"more",
        cut_in_the_header,
        with_length(0),
        with_length(2**63),
        with_length(2**64 - 1),
        with_length(200_000_000),
        with_length(10_000),
        with_header(b"this is not JSON"),
        with_header(b'{"\xff\xfe": 1}'),
        with_header(b"[1]"),
        with_header(b"{" * 10_000),
        with_header(b"[" * 1_000_000),
        with_header(b'{"a": {"dtype": "F32"}}'),
        with_entry(BIAS, data_offsets=[0, 48]),
        with_entry(BIAS, data_offsets=[10**9, 10**9 + 48]),
        with_entry(BIAS, data_offsets=[2**64 - 48, 2**64 - 1]),
        with_entry(BIAS, data_offsets=[48, 0]),
        with_entry(BIAS, data_offsets=[-48, 0]),
        with_entry(BIAS, data_offsets=[0.0, 48.0]),
        with_entry(BIAS, data_offsets=[0]),
        with_entry(BIAS, data_offsets="0-48"),
        with_entry(BIAS, dtype="F64"),
        with_entry(BIAS, dtype="F16"),
        with_entry(BIAS, dtype="F31"),
        with_entry(BIAS, dtype=None),
        with_entry(BIAS, shape=[13]),
        with_entry(BIAS, shape=[2**40, 2**40]),
        with_entry(BIAS, shape=[2**32, 2**32]),
        with_entry(BIAS, shape=[-12]),
        with_entry(BIAS, shape=12),
        with_a_second_entry_of_the_same_name,
    ],
    ids=[
        "empty file",
        "no length",
        "nothing after the length",
        "last byte lost",
        "half lost",
        "four bytes too many",
        "cut in the header",
        "header of length zero",
        "length 2^63",
        "length 2^64-1",
        "length beyond the limit",
        "length beyond the file",
        "header not json",
        "header not utf-8",
        "header a list",
        "header deep in objects",
        "header deep in lists",
        "entry incomplete",
        "offsets overlap",
        "offsets beyond the file",
        "offsets at the end of the address space",
        "offsets reversed",
        "offsets negative",
        "offsets not integers",
        "one offset",
        "offsets a string",
        "dtype too wide for its bytes",
        "dtype too narrow for its bytes",
        "dtype unknown",
        "dtype null",
        "shape too large for its bytes",
        "shape overflows",
        "shape wraps to zero",
        "shape negative",
        "shape a number",
        "name twice",
    ],
)
def test_a_broken_weight_file(checkpoint: Path, broken: Callable[[bytes], bytes]) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(broken(path.read_bytes()))
    assert str(path) in message(OSError, checkpoint)


# Shards.


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHARDED, tmp_path / "sharded"))


def change_index(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


def test_a_missing_shard_is_named(sharded: Path) -> None:
    (sharded / "model-00002-of-00003.safetensors").unlink()
    assert "model-00002-of-00003.safetensors" in message(OSError, sharded)


def test_a_broken_shard_is_named(sharded: Path) -> None:
    path = sharded / "model-00002-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert str(path) in message(OSError, sharded)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 3}}'])
def test_a_broken_index(sharded: Path, text: str) -> None:
    (sharded / "model.safetensors.index.json").write_text(text)
    assert "model.safetensors.index.json" in message((OSError, ValueError), sharded)


def test_a_tensor_that_the_index_promises_and_no_shard_has(sharded: Path) -> None:
    path = sharded / "model-00003-of-00003.safetensors"
    arrays, _ = st.read(path)
    lost = next(iter(arrays))
    st.write(path, {name: array for name, array in arrays.items() if name != lost})
    assert lost in message((RuntimeError, OSError), sharded)


@pytest.mark.parametrize("elsewhere", ["../outside.safetensors", "/etc/hostname", "a/../../outside"])
def test_an_index_does_not_lead_out_of_its_folder(sharded: Path, elsewhere: str) -> None:
    st.write(sharded.parent / "outside.safetensors", {BIAS: np.zeros(12, np.float32)})
    change_index(sharded, lambda index: index["weight_map"].update({BIAS: elsewhere}))
    assert elsewhere in message((OSError, ValueError), sharded)


# Chance.


def survives(files: dict[str, bytes]) -> None:
    """The model opens and answers, or raises; a panic or a crash is neither."""
    with tempfile.TemporaryDirectory() as name:
        for file, data in files.items():
            (Path(name) / file).write_bytes(data)
        try:
            outputs = AutoModel.from_pretrained(name)(IDS)
        except Exception:
            return
        assert outputs.last_hidden_state.shape[:2] == (1, 4)


def files_of_a_good_model() -> dict[str, bytes]:
    return {name: (GOOD / name).read_bytes() for name in ("config.json", "model.safetensors")}


@settings(max_examples=300, deadline=None)
@given(some.data())
def test_bytes_changed_by_chance_crash_nothing(data: some.DataObject) -> None:
    files = files_of_a_good_model()
    header_end = 8 + int.from_bytes(files["model.safetensors"][:8], "little")
    end = len(files["model.safetensors"])
    for name, limit in (("model.safetensors", header_end), ("model.safetensors", end), ("config.json", 600)):
        changes = some.dictionaries(some.integers(0, limit - 1), some.integers(0, 255), max_size=3)
        changed = bytearray(files[name])
        for at, value in data.draw(changes, label=name).items():
            changed[at] = value
        files[name] = bytes(changed)
    survives(files)


@settings(max_examples=50, deadline=None)
@given(some.integers(0, len(files_of_a_good_model()["model.safetensors"])))
def test_a_download_cut_anywhere_crashes_nothing(length: int) -> None:
    files = files_of_a_good_model()
    survives(files | {"model.safetensors": files["model.safetensors"][:length]})
