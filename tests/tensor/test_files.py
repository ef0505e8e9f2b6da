"""Safetensors files: saved as a whole, loaded without a copy."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

import trustformers._engine as tf

DTYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64"),
]


def header(path: Path) -> dict:
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {dtype: tf.tensor([[0, 1], [2, 3]], dtype=dtype).T for dtype in DTYPES}
    tensors |= {"array": np.arange(3.0)[::-1], "nothing": tf.zeros(0, 2), "number": tf.tensor(1.5)}
    tf.save_file(tensors, path, metadata={"format": "pt"})
    assert header(path)["__metadata__"] == {"format": "pt"}
    loaded = tf.load_file(path)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert loaded[name].tolist() == tensor.tolist()
        loaded[name].zero_()
    again = tf.load_file(path)
    assert all(again[name].tolist() == tensor.tolist() for name, tensor in tensors.items()), (
        "the file is as it was"
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tf.save_file({"x": tf.ones(1000)}, path)
    old = tf.load_file(path)
    tf.save_file({"x": old["x"] * 2}, path)
    assert old["x"].sum().item() == 1000
    assert tf.load_file(path)["x"].sum().item() == 2000


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    tf.save_file({}, tmp_path / "x.safetensors")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "x.safetensors")}
    assert len(modes) == 1


def test_a_name_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tf.save_file({"x": tf.ones(1)}, "x.safetensors")
    assert tf.load_file("x.safetensors")["x"].item() == 1


def test_what_cannot_be_saved_or_loaded(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        tf.save_file({}, tmp_path / "gone" / "x")
    with pytest.raises(OSError, match="gone"):
        tf.load_file(tmp_path / "gone")
    with pytest.raises(OSError, match="complex128"):
        tf.save_file({"x": np.zeros(1, complex)}, tmp_path / "x")
    with pytest.raises(TypeError, match="strings"):
        tf.save_file({1: tf.ones(1)}, tmp_path / "x")
    (tmp_path / "broken").write_bytes(b"\xff" * 20)
    with pytest.raises(tf.SafetensorError):
        tf.load_file(tmp_path / "broken")
    assert sorted(os.listdir(tmp_path)) == ["broken"]
