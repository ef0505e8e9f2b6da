"""What scripts take from `trustformers.utils`: what is installed, and what files are called."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import trustformers
from trustformers import utils
from trustformers.pipelines import check_task, get_supported_tasks


def test_what_is_installed() -> None:
    import numpy as np

    asked = [name for name in dir(utils) if name.startswith("is_")]
    assert {"is_torch_available", "is_datasets_available", "is_peft_available"} <= set(asked)
    assert all(isinstance(getattr(utils, name)(), bool) for name in asked)
    assert trustformers.is_torch_available is utils.is_torch_available
    utils.require_version("python>=3.10")
    utils.require_version("numpy")
    utils.require_version("numpy>=1.20, !=0.1,<1000")
    utils.require_version(f"numpy=={np.__version__}")
    with pytest.raises(ImportError, match=r"numpy>=1000.* but found numpy==[\s\S]*\nget it"):
        utils.require_version("numpy>=1000", "get it")
    with pytest.raises(PackageNotFoundError, match=r"was not found[\s\S]*get it"):
        utils.require_version("no-such-thing>=1", "get it")
    for wrong in ("numpy=>1", "numpy>=", ">=1", "numpy~=1"):
        with pytest.raises(ValueError, match="pip package format"):
            utils.require_version(wrong)


def test_scripts_for_transformers_begin() -> None:
    for version in ("4.9.0", "4.57.0.dev0", "5.24.0"):
        utils.check_min_version(version)
    with pytest.raises(ImportError, match="minimum version of 99"):
        utils.check_min_version("99.0.0.dev0")
    utils.send_example_telemetry("run_glue", object())


def test_files(minilm_path: Path) -> None:
    assert utils.cached_file(minilm_path, utils.CONFIG_NAME) == str(minilm_path / "config.json")
    assert utils.cached_file(minilm_path, utils.SAFE_WEIGHTS_NAME, revision="main")
    assert utils.cached_file(minilm_path, "x.txt", _raise_exceptions_for_missing_entries=False) is None
    with pytest.raises(OSError, match=r"x\.txt"):
        utils.cached_file(minilm_path, "x.txt")
    with pytest.raises(TypeError, match="repo_typ"):
        utils.cached_file(minilm_path, "x.txt", repo_typ="model")


def test_schemas_of_functions() -> None:
    def add(a: int) -> int:
        """Add.

        Args:
            a: A number.
        """
        return a

    schema = utils.get_json_schema(add)["function"]
    assert schema["parameters"]["properties"] == {"a": {"type": "integer", "description": "A number."}}
    with pytest.raises(utils.DocstringParsingException):
        utils.get_json_schema(lambda: 1)


def test_tasks_by_their_names() -> None:
    assert check_task("sentiment-analysis")[0] == "text-classification"
    assert "ner" in get_supported_tasks()
    with pytest.raises(KeyError, match="Unknown task"):
        check_task("no-such-task")
