"""trustformers."""

import numpy as np

LABEL = "trustformers"
PACKAGES = ("trustformers", "numpy")


def import_it() -> None:
    from trustformers import AutoModel  # noqa: F401


class Subject:
    def __init__(self, settings: dict) -> None:
        self.folder, self.auto = settings["model"], settings.get("auto", "AutoModel")
        self.keywords = settings.get("keywords", {})
        self.model = self.open()

    def open(self) -> object:
        import trustformers

        return getattr(trustformers, self.auto).from_pretrained(self.folder, **self.keywords)

    def open_tokenizer(self) -> None:
        from trustformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)

    def forward(self, ids: np.ndarray) -> np.ndarray:
        return self.model(input_ids=ids)[0]

    def embed(self, texts: list[str]) -> np.ndarray:
        inputs = self.tokenizer(texts, padding=True, truncation=True, return_tensors="np")
        hidden = self.model(**inputs).last_hidden_state
        mask = inputs["attention_mask"]
        # The hidden positions are zeros, so their sum is the sum of the others.
        mean = hidden.sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)
