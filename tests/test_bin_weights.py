"""`pytorch_model.bin`: read without running its pickle, and refused by name where that would run code."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import safetensors_file as st
import torch_file
from bad_models import GOOD, IDS, message
from fixture_cases import FIXTURES
from trustformers import AutoModel

BIAS = "pooler.dense.bias"  # (12,)


def arrays() -> dict[str, np.ndarray]:
    return st.read(GOOD / "model.safetensors")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint that has nothing but a .bin file."""
    shutil.copy(GOOD / "config.json", tmp_path)
    torch_file.write(tmp_path / "pytorch_model.bin", arrays())
    return tmp_path


def answer(model: Path, **keywords: Any) -> np.ndarray:
    return AutoModel.from_pretrained(model, **keywords)(IDS).last_hidden_state


def write_shards(folder: Path) -> Path:
    """The weights in two files and an index, which is returned."""
    named = sorted(arrays().items())
    shards = {f"pytorch_model-0000{i + 1}-of-00002.bin": dict(named[i::2]) for i in range(2)}
    for name, shard in shards.items():
        torch_file.write(folder / name, shard)
    index = folder / "pytorch_model.bin.index.json"
    weight_map = {tensor: name for name, shard in shards.items() for tensor in shard}
    index.write_text(json.dumps({"metadata": {"total_size": -1}, "weight_map": weight_map}))
    (folder / "pytorch_model.bin").unlink()
    return index


def test_a_bin_file_is_the_same_model(folder: Path) -> None:
    np.testing.assert_array_equal(answer(folder), answer(GOOD))


def test_shards_are_the_same_model(folder: Path) -> None:
    index = write_shards(folder)
    np.testing.assert_array_equal(answer(folder), answer(GOOD))
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    text = message(OSError, folder)
    assert "pytorch_model-00002-of-00002.bin" in text
    assert str(index) in text


def test_safetensors_come_first_unless_they_are_not_wanted(folder: Path) -> None:
    assert "use_safetensors=True" in message(OSError, folder, use_safetensors=True)
    changed = {name: array * (name != BIAS) for name, array in arrays().items()}
    st.write(folder / "model.safetensors", changed)
    pooled = {
        wish: AutoModel.from_pretrained(folder, use_safetensors=wish)(IDS).pooler_output
        for wish in (None, True, False)
    }
    np.testing.assert_array_equal(pooled[None], pooled[True])
    np.testing.assert_array_equal(pooled[False], AutoModel.from_pretrained(GOOD)(IDS).pooler_output)
    assert np.abs(pooled[True] - pooled[False]).max() > 1e-3
    (folder / "pytorch_model.bin").unlink()
    assert "use_safetensors=False" in message(OSError, folder, use_safetensors=False)


def test_views_are_honoured(folder: Path) -> None:
    tensors, storages = {}, {}
    for key, (name, array) in enumerate(arrays().items()):
        # Every matrix is a transposed view that begins behind seven numbers that are not its own.
        storages[str(key)] = np.concatenate([np.zeros(7, array.dtype), array.T.ravel()]).tobytes()
        strides = (1, array.shape[0]) if array.ndim == 2 else None
        tensors[name] = torch_file.tensor(str(key), array, 7, strides)
    torch_file.write_archive(folder / "pytorch_model.bin", torch_file.state_dict(tensors), storages)
    np.testing.assert_allclose(answer(folder), answer(GOOD), atol=1e-6)


COMMAND = torch_file.text("touch ran")


@pytest.mark.parametrize(
    ("program", "name"),
    [
        (b"cposix\nsystem\n(" + COMMAND + b"tR", "posix.system"),
        (b"cos\nsystem\n" + COMMAND + b"\x85R", "os.system"),
        (b"(" + COMMAND + b"ios\nsystem\n", "os.system"),
        (
            torch_file.text("builtins") + torch_file.text("eval") + b"\x93" + COMMAND + b"\x85R",
            "builtins.eval",
        ),
        (b"cbuiltins\ngetattr\n", "builtins.getattr"),
        (b"ctorch\nload\n" + COMMAND + b"\x85R", "torch.load"),
        (b"ctorch.storage\n_load_from_bytes\nC\x00\x85R", "torch.storage._load_from_bytes"),
        (b"cnumpy.core.multiarray\nscalar\n", "numpy.core.multiarray.scalar"),
        (b"ctorch._utils\n_rebuild_parameter\n" + COMMAND + b"\x85R", "Parameter"),
    ],
    ids=["posix", "os", "inst", "stack global", "getattr", "load", "bytes", "numpy", "odd arguments"],
)
def test_code_is_named_and_not_run(
    folder: Path, program: bytes, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    pickle = torch_file.state_dict({BIAS: program})
    torch_file.write_archive(folder / "pytorch_model.bin", pickle, {})
    text = message(OSError, folder)
    assert name in text
    assert "pytorch_model.bin" in text
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (1, (12,), (1,)),
        (0, (13,), (1,)),
        (0, (12,), (2,)),
        (2**31 - 1, (12,), (2**31 - 1,)),
        (11, (12,), (-1,)),
        (-1, (12,), (1,)),
        (0, (12,), (1, 1)),
    ],
    ids=["offset", "shape", "stride", "large", "backwards", "before", "ranks"],
)
def test_no_tensor_leaves_its_storage(
    folder: Path, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    tensor = torch_file.tensor("0", np.zeros(shape, np.float32), offset, strides)
    storages = {"0": bytes(48), "1": bytes(48)}
    torch_file.write_archive(folder / "pytorch_model.bin", torch_file.state_dict({BIAS: tensor}), storages)
    assert "pytorch_model.bin" in message(OSError, folder)


def test_a_missing_storage_is_named(folder: Path) -> None:
    pickle = torch_file.state_dict({BIAS: torch_file.tensor("7", np.zeros(12, np.float32))})
    torch_file.write_archive(folder / "pytorch_model.bin", pickle, {})
    text = message(OSError, folder)
    assert BIAS in text
    assert "storage 7" in text


def test_a_compressed_archive_is_refused(folder: Path) -> None:
    pickle = torch_file.state_dict({})
    torch_file.write_archive(folder / "pytorch_model.bin", pickle, {"0": bytes(100)}, compressed=True)
    assert "compressed" in message(OSError, folder)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_may_come_once(folder: Path) -> None:
    with zipfile.ZipFile(folder / "pytorch_model.bin", "a") as archive:
        archive.writestr("archive/data/0", bytes(4))
    assert "archive/data/0" in message(OSError, folder)


@pytest.mark.parametrize("name", ["evil.bin", "training.bin"])
def test_files_of_torch_that_are_no_weights(folder: Path, name: str) -> None:
    shutil.copy(FIXTURES / "torch" / name, folder / "pytorch_model.bin")
    expected = {"evil.bin": "posix.system", "training.bin": "state_dict"}
    assert expected[name] in message(OSError, folder)


def test_a_git_lfs_pointer_says_what_to_do(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "git lfs pull" in message(OSError, folder)
