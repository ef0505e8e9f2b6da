"""Models with adapters, from the files of an adapter, which say of which model it is."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from ..models import auto
from ..tokenizers.auto import AutoTokenizer
from .config import LoraConfig
from .model import PeftModel


class _AutoPeftModel:
    """Opens the model that an adapter was made for, with the adapter."""

    _auto: ClassVar[Any]

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        adapter_name: str = "default",
        is_trainable: bool = False,
        config: LoraConfig | None = None,
        **kwargs: Any,
    ) -> PeftModel:
        """Open the model that an adapter's configuration names, and put the adapter on it.

        The vocabulary grows with a tokenizer that was saved beside the adapter. Keywords are those of the
        model's ``from_pretrained``.

        :raises OSError: when there is no such adapter or no such model.
        :raises ValueError: when the adapter does not say of which model it is.
        """
        source: dict[str, Any] = {"revision": kwargs.pop("revision", None)}
        source |= {
            name: kwargs[name] for name in ("cache_dir", "local_files_only", "token") if name in kwargs
        }
        saved = LoraConfig.from_pretrained(pretrained_model_name_or_path, **source)
        if saved.base_model_name_or_path is None:
            raise ValueError(
                f"The adapter {os.fspath(pretrained_model_name_or_path)} does not say of which model it is: "
                "open that one, and use PeftModel.from_pretrained"
            )
        model = cls._auto.from_pretrained(saved.base_model_name_or_path, revision=saved.revision, **kwargs)
        if os.path.exists(os.path.join(pretrained_model_name_or_path, "tokenizer_config.json")):
            count = len(AutoTokenizer.from_pretrained(pretrained_model_name_or_path))
            if count > model.get_input_embeddings().num_embeddings:
                model.resize_token_embeddings(count)
        return PeftModel.from_pretrained(
            model, pretrained_model_name_or_path, adapter_name, is_trainable, config, **source
        )


class AutoPeftModelForCausalLM(_AutoPeftModel):
    """Opens a model that predicts the next token, with its adapter."""

    _auto = auto.AutoModelForCausalLM


class AutoPeftModelForSeq2SeqLM(_AutoPeftModel):
    """Opens an encoder-decoder that predicts the decoder's next token, with its adapter."""

    _auto = auto.AutoModelForSeq2SeqLM


class AutoPeftModelForSequenceClassification(_AutoPeftModel):
    """Opens a model that classifies texts, with its adapter."""

    _auto = auto.AutoModelForSequenceClassification


class AutoPeftModelForTokenClassification(_AutoPeftModel):
    """Opens a model that classifies tokens, with its adapter."""

    _auto = auto.AutoModelForTokenClassification


class AutoPeftModelForQuestionAnswering(_AutoPeftModel):
    """Opens a model that finds where an answer starts and ends, with its adapter."""

    _auto = auto.AutoModelForQuestionAnswering


class AutoPeftModelForFeatureExtraction(_AutoPeftModel):
    """Opens a model without a head, with its adapter."""

    _auto = auto.AutoModel
