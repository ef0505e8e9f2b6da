from .base import (
    ChunkPipeline as ChunkPipeline,
    KeyDataset as KeyDataset,
    KeyPairDataset as KeyPairDataset,
    Pipeline as Pipeline,
    PipelineException as PipelineException,
)
from .factory import pipeline as pipeline
from .feature_extraction import FeatureExtractionPipeline as FeatureExtractionPipeline
from .fill_mask import FillMaskPipeline as FillMaskPipeline
from .question_answering import (
    QuestionAnsweringPipeline as QuestionAnsweringPipeline,
    SquadExample as SquadExample,
)
from .registry import (
    PIPELINE_REGISTRY as PIPELINE_REGISTRY,
    PipelineRegistry as PipelineRegistry,
    check_task as check_task,
    get_supported_tasks as get_supported_tasks,
)
from .sentence_similarity import SentenceSimilarityPipeline as SentenceSimilarityPipeline
from .text2text_generation import (
    SummarizationPipeline as SummarizationPipeline,
    Text2TextGenerationPipeline as Text2TextGenerationPipeline,
    TranslationPipeline as TranslationPipeline,
)
from .text_classification import TextClassificationPipeline as TextClassificationPipeline
from .text_generation import TextGenerationPipeline as TextGenerationPipeline
from .token_classification import (
    AggregationStrategy as AggregationStrategy,
    NerPipeline as NerPipeline,
    TokenClassificationPipeline as TokenClassificationPipeline,
)
from .zero_shot_classification import ZeroShotClassificationPipeline as ZeroShotClassificationPipeline
