"""The package as a whole: what it exports, and how little an import costs."""

import ast
import pickle
import subprocess
import sys
from importlib.metadata import metadata, requires
from pathlib import Path

import pytest

import trustformers
import write_stubs

PACKAGES = (
    trustformers,
    trustformers.generation,
    trustformers.models,
    trustformers.pipelines,
    trustformers.tokenizers,
    trustformers.training,
    trustformers.utils,
)


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def test_every_public_name_is_there() -> None:
    for package in PACKAGES:
        for name in dir(package):
            assert hasattr(package, name), name
        assert set(package.__all__) <= set(dir(package))
    assert {name for name in dir(trustformers) if not name.startswith("__")} - set(trustformers.__all__) == {
        "bool",
        "float",
        "int",
        "logging",
        "profile",
    }
    assert trustformers.float is trustformers.float32
    assert trustformers.AdamW is trustformers.training.AdamW


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="AutoModle"):
        _ = trustformers.AutoModle  # type: ignore[attr-defined]


def test_the_stubs_of_named_classes_are_what_the_engine_says() -> None:
    for path, stub in write_stubs.STUBS.items():
        assert path.read_text() == stub(), "run `make stubs`"


def test_every_class_of_the_engine_is_there_and_pickles() -> None:
    for name in trustformers.models.named.__all__:
        cls = getattr(trustformers, name)
        assert cls is getattr(trustformers.models, name)
        assert (cls.__name__, cls.__module__) == (name, "trustformers.models")
        assert pickle.loads(pickle.dumps(cls)) is cls
        assert cls.__doc__


def test_a_star_import_takes_all_but_what_would_hide_pythons_names() -> None:
    names: dict[str, object] = {}
    exec("from trustformers import *", names)
    assert set(trustformers.__all__) <= set(names)
    assert names["BertModel"] is trustformers.BertModel
    assert "int" not in names


def test_importing_loads_nothing_but_the_package() -> None:
    code = """
import sys, numpy
before = set(sys.modules)
import trustformers
print(sorted(set(sys.modules) - before))
"""
    own = {"trustformers", "trustformers._lazy", "trustformers._modules"}
    assert set(ast.literal_eval(run(code))) <= {*own, "__future__"}


def test_no_peer_is_ever_imported(minilm_path: Path) -> None:
    code = f"""
import sys
from trustformers import AutoModel, AutoTokenizer
inputs = AutoTokenizer.from_pretrained({str(minilm_path)!r})("Hello", return_tensors="np")
AutoModel.from_pretrained({str(minilm_path)!r})(**inputs)
peers = "torch", "transformers", "tokenizers", "safetensors", "huggingface_hub"
print([name for name in peers if name in sys.modules])
"""
    assert run(code).strip() == "[]"


def test_numpy_is_the_only_requirement() -> None:
    needed = [line for line in requires("trustformers") or [] if "extra ==" not in line]
    assert [line.split(">")[0] for line in needed] == ["numpy"]
    assert set(metadata("trustformers").get_all("Provides-Extra") or []) >= {
        "demo",
        "test",
        "dev",
        "cuda",
        "rocm",
        "all",
    }


def test_the_versions_agree() -> None:
    assert trustformers.__version__ == metadata("trustformers")["Version"]


def test_the_example_of_an_architecture_is_the_file_itself() -> None:
    root = Path(__file__).parent.parent
    example = (root / "crates/models/src/architectures/llama.rs").read_text()
    assert f"```rust\n{example}```" in (root / "ARCHITECTURE.md").read_text()
