"""ONNX Runtime on a graph that torch exported and ONNX Runtime optimised before anything is measured."""

import warnings
from pathlib import Path

import numpy as np

LABEL = "ONNX Runtime"
PACKAGES = ("onnxruntime", "tokenizers")


def import_it() -> None:
    import onnxruntime  # noqa: F401


def prepare(settings: dict) -> None:
    """Write the graph."""
    exported = str(Path(settings["onnx"]).with_suffix(".exported.onnx"))
    export(settings["model"], exported)
    session(exported, settings["threads"], optimized_model_filepath=settings["onnx"])


def export(model: str, path: str) -> None:
    """By torch. Of its two exporters and two attentions this pair gave the fastest graph."""
    import torch
    from transformers import AutoModel

    warnings.simplefilter("ignore")

    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = AutoModel.from_pretrained(model, attn_implementation="eager").eval()

        def forward(self, input_ids, attention_mask):
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    names = ["input_ids", "attention_mask"]
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    torch.onnx.export(
        Hidden(),
        (mask * 1012, mask),
        path,
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in (*names, "last_hidden_state")},
        opset_version=17,
        dynamo=False,
    )


def session(path: str, threads: int, **more: object) -> object:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    for name, value in more.items():
        setattr(options, name, value)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Subject:
    def __init__(self, settings: dict) -> None:
        self.settings = settings
        self.model = self.open()

    def open(self) -> object:
        return session(self.settings["onnx"], self.settings["threads"])

    def open_tokenizer(self) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(Path(self.settings["model"]) / "tokenizer.json"))
        self.tokenizer.enable_truncation(512)
        self.tokenizer.enable_padding()

    def forward(self, ids: np.ndarray) -> np.ndarray:
        return self.model.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]

    def embed(self, texts: list[str]) -> np.ndarray:
        encodings = self.tokenizer.encode_batch(texts)
        ids = np.array([encoding.ids for encoding in encodings])
        mask = np.array([encoding.attention_mask for encoding in encodings])
        hidden = self.model.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        mean = (hidden * mask[..., None].astype(np.float32)).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)
