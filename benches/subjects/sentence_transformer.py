"""sentence-transformers' own encode."""

import numpy as np

LABEL = "sentence-transformers"
PACKAGES = ("sentence-transformers",)


def import_it() -> None:
    from sentence_transformers import SentenceTransformer  # noqa: F401


class Subject:
    def __init__(self, settings: dict) -> None:
        import torch

        torch.set_num_threads(settings["threads"])
        self.folder = settings["model"]
        self.model = self.open()

    def open(self) -> object:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(self.folder, device="cpu")

    def open_tokenizer(self) -> None:
        """It came with the model."""

    def embed(self, texts: list[str]) -> np.ndarray:
        return self.model.encode(
            texts, batch_size=len(texts), normalize_embeddings=True, show_progress_bar=False
        )
