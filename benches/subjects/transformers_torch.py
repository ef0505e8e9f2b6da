"""transformers on PyTorch: inference mode, fused attention, the threads asked for."""

import numpy as np

LABEL = "transformers + torch"
PACKAGES = ("transformers", "torch")


def import_it() -> None:
    from transformers import AutoModel  # noqa: F401


class Subject:
    def __init__(self, settings: dict) -> None:
        import torch

        torch.set_num_threads(settings["threads"])
        self.torch = torch
        self.folder, self.auto = settings["model"], settings.get("auto", "AutoModel")
        self.keywords = settings.get("keywords", {})
        self.model = self.open()

    def open(self) -> object:
        import transformers

        auto = getattr(transformers, self.auto)
        return auto.from_pretrained(self.folder, attn_implementation="sdpa", **self.keywords).eval()

    def open_tokenizer(self) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)

    def forward(self, ids: np.ndarray) -> np.ndarray:
        with self.torch.inference_mode():
            return self.model(input_ids=self.torch.from_numpy(ids))[0].float().numpy()

    def embed(self, texts: list[str]) -> np.ndarray:
        inputs = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with self.torch.inference_mode():
            hidden = self.model(**inputs).last_hidden_state
            mask = inputs["attention_mask"].unsqueeze(-1)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            return self.torch.nn.functional.normalize(mean, dim=1).numpy()
