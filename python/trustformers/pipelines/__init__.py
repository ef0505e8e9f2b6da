"""From text to an answer in one line: ``pipeline("text-classification", model=...)("...")``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import ChunkPipeline, KeyDataset, KeyPairDataset, Pipeline, PipelineException
    from .factory import pipeline
    from .feature_extraction import FeatureExtractionPipeline
    from .fill_mask import FillMaskPipeline
    from .question_answering import QuestionAnsweringPipeline, SquadExample
    from .registry import PIPELINE_REGISTRY, PipelineRegistry
    from .sentence_similarity import SentenceSimilarityPipeline
    from .text2text_generation import (
        SummarizationPipeline,
        Text2TextGenerationPipeline,
        TranslationPipeline,
    )
    from .text_classification import TextClassificationPipeline
    from .text_generation import TextGenerationPipeline
    from .token_classification import AggregationStrategy, NerPipeline, TokenClassificationPipeline
    from .zero_shot_classification import ZeroShotClassificationPipeline

#: Where each name lives; a pipeline is loaded when it is first asked for.
_HOMES = {
    "base": ["ChunkPipeline", "KeyDataset", "KeyPairDataset", "Pipeline", "PipelineException"],
    "factory": ["pipeline"],
    "feature_extraction": ["FeatureExtractionPipeline"],
    "fill_mask": ["FillMaskPipeline"],
    "question_answering": ["QuestionAnsweringPipeline", "SquadExample"],
    "registry": ["PIPELINE_REGISTRY", "PipelineRegistry"],
    "sentence_similarity": ["SentenceSimilarityPipeline"],
    "text2text_generation": [
        "SummarizationPipeline",
        "Text2TextGenerationPipeline",
        "TranslationPipeline",
    ],
    "text_classification": ["TextClassificationPipeline"],
    "text_generation": ["TextGenerationPipeline"],
    "token_classification": ["AggregationStrategy", "NerPipeline", "TokenClassificationPipeline"],
    "zero_shot_classification": ["ZeroShotClassificationPipeline"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "PIPELINE_REGISTRY",
    "AggregationStrategy",
    "ChunkPipeline",
    "FeatureExtractionPipeline",
    "FillMaskPipeline",
    "KeyDataset",
    "KeyPairDataset",
    "NerPipeline",
    "Pipeline",
    "PipelineException",
    "PipelineRegistry",
    "QuestionAnsweringPipeline",
    "SentenceSimilarityPipeline",
    "SquadExample",
    "SummarizationPipeline",
    "Text2TextGenerationPipeline",
    "TextClassificationPipeline",
    "TextGenerationPipeline",
    "TokenClassificationPipeline",
    "TranslationPipeline",
    "ZeroShotClassificationPipeline",
    "pipeline",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'trustformers.pipelines' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value
