"""What scripts ask before they begin: which packages are installed, and in which versions."""

from __future__ import annotations

import operator
import platform
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

#: The version of transformers whose names, keywords and defaults these are.
_TRANSFORMERS = "5.24.0"
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}


def _asks_for(module: str) -> Callable[[], bool]:
    """A function that says whether a module can be imported, which it does not import."""

    def available() -> bool:
        try:
            return find_spec(module) is not None
        except (ImportError, ValueError):  # a parent is missing, or the module hides where it is from
            return False

    available.__doc__ = f"Whether the package ``{module}`` is installed."
    return available


is_accelerate_available = _asks_for("accelerate")
is_bitsandbytes_available = _asks_for("bitsandbytes")
is_datasets_available = _asks_for("datasets")
is_faiss_available = _asks_for("faiss")
is_flash_attn_2_available = _asks_for("flash_attn")
is_jinja_available = _asks_for("jinja2")
is_matplotlib_available = _asks_for("matplotlib")
is_nltk_available = _asks_for("nltk")
is_optuna_available = _asks_for("optuna")
is_pandas_available = _asks_for("pandas")
is_peft_available = _asks_for("peft")
is_protobuf_available = _asks_for("google.protobuf")
is_psutil_available = _asks_for("psutil")
is_rich_available = _asks_for("rich")
is_sacremoses_available = _asks_for("sacremoses")
is_safetensors_available = _asks_for("safetensors")
is_scipy_available = _asks_for("scipy")
is_sentencepiece_available = _asks_for("sentencepiece")
is_sklearn_available = _asks_for("sklearn")
is_tensorboard_available = _asks_for("tensorboard")
is_tiktoken_available = _asks_for("tiktoken")
is_tokenizers_available = _asks_for("tokenizers")
is_torch_available = _asks_for("torch")
is_torch_xla_available = _asks_for("torch_xla")
is_vision_available = _asks_for("PIL")
is_wandb_available = _asks_for("wandb")


def check_min_version(min_version: str) -> None:
    """Check that a script is not for a transformers newer than the one whose interface this is.

    :raises ImportError: if it is.
    """
    if _numbers(min_version) > _numbers(_TRANSFORMERS):
        raise ImportError(
            f"This example requires a minimum version of {min_version}, but this package has the interface "
            f"of transformers {_TRANSFORMERS}"
        )


def require_version(requirement: str, hint: str | None = None) -> None:
    """Check that a package is installed, in one of the versions that pip's notation allows: "numpy>=1.24,<3".

    :param hint: what is said besides if it is not.
    :raises PackageNotFoundError: if it is not installed.
    :raises ImportError: if it has another version.
    :raises ValueError: for what is no requirement.
    """
    more = "" if hint is None else f"\n{hint}"
    parts = re.fullmatch(r"\s*([\w.-]+)\s*([!=<>].*)?", requirement)
    versions = parts[2].split(",") if parts and parts[2] else []
    wanted = [re.fullmatch(r"\s*(==|!=|<=|>=|<|>)\s*(\d\S*)\s*", one) for one in versions]
    if parts is None or None in wanted:
        raise ValueError(
            "requirement needs to be in the pip package format, e.g., package_a==1.23, or package_b>=1.23, "
            f"but got {requirement}"
        )
    package = parts[1]
    try:
        found = platform.python_version() if package == "python" else version(package)
    except PackageNotFoundError:
        raise PackageNotFoundError(
            f"The '{requirement}' distribution was not found and is required by this application. {more}"
        ) from None
    for one in wanted:
        if one is not None and not _COMPARED[one[1]](_numbers(found), _numbers(one[2])):
            raise ImportError(
                f"{requirement} is required for a normal functioning of this module, but found "
                f"{package}=={found}.{more}"
            )


def send_example_telemetry(example_name: str, *example_args: Any, framework: str = "pytorch") -> None:
    """Nothing: scripts of transformers 4 call it to be counted, and this package counts nobody."""


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version: 5.24.0.dev0 is (5, 24), as 5.24 is."""
    numbers = re.match(r"v?(\d+(?:\.\d+)*)", version)
    if numbers is None:
        raise ValueError(f"{version!r} is not a version")
    found = [int(number) for number in numbers[1].split(".")]
    while found and found[-1] == 0:
        found.pop()
    return tuple(found)
