"""ONNX Runtime, beside all peers: graphs as torch exported them and as its own optimizer fused them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from peer_workloads import encoding
from subjects import onnx_runtime
from subjects.onnx_runtime import Subject

LABEL = onnx_runtime.LABEL
PACKAGES = onnx_runtime.PACKAGES
import_it = onnx_runtime.import_it

#: Heads and hidden size, which the optimizer wants to know.
MODELS = {"bert": (12, 768), "minilm": (12, 384)}


def graph(settings: dict, name: str) -> Path:
    """`name`: the model's, then what was done to it."""
    return Path(settings["models"]) / "onnx" / f"{name}.onnx"


def prepare(settings: dict) -> None:
    graph(settings, "").parent.mkdir(exist_ok=True)
    sources = {"bert": f"{settings['models']}/bert", "minilm": settings["minilm"]}
    for name, sizes in MODELS.items():
        exported, fused = graph(settings, name), graph(settings, f"{name}.fused")
        if not exported.exists():
            onnx_runtime.export(sources[name], str(exported))
        if not fused.exists():
            fuse(exported, fused, *sizes)
    for name in ("bert", "bert.fused"):
        quantized = graph(settings, f"{name}.int8")
        if not quantized.exists():
            quantize(graph(settings, name), quantized)


def fuse(source: Path, target: Path, heads: int, hidden: int) -> None:
    from onnxruntime.transformers.optimizer import optimize_model

    optimized = optimize_model(str(source), model_type="bert", num_heads=heads, hidden_size=hidden)
    optimized.save_model_to_file(str(target))


def quantize(source: Path, target: Path) -> None:
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # It cannot tell what its own fused nodes give.
    options = {"DefaultTensorType": TensorProto.FLOAT}
    quantize_dynamic(str(source), str(target), weight_type=QuantType.QInt8, extra_options=options)


def calls(settings: dict) -> dict[str, Callable[[], Any]]:
    def ways(*names: str) -> list[Callable[[], Subject]]:
        return [lambda name=name: opened(name) for name in names]

    def opened(name: str) -> Subject:
        subject = Subject(
            {"model": settings["minilm"], "onnx": str(graph(settings, name)), "threads": settings["threads"]}
        )
        subject.open_tokenizer()
        return subject

    encoders = {
        "BERT-base f32": ways("bert", "bert.fused"),
        "BERT-base int8": ways("bert.int8", "bert.fused.int8"),
        "MiniLM f32": ways("minilm", "minilm.fused"),
    }
    return encoding(encoders, settings["texts"])
