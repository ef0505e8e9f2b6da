from ..models.outputs import ModelOutput as ModelOutput
from ..tokenizers.json_schema import (
    DocstringParsingException as DocstringParsingException,
    TypeHintParsingException as TypeHintParsingException,
    get_json_schema as get_json_schema,
)
from ..tokenizers.strategies import (
    ExplicitEnum as ExplicitEnum,
    PaddingStrategy as PaddingStrategy,
    TensorType as TensorType,
)
from . import logging as logging
from .files import (
    CONFIG_NAME as CONFIG_NAME,
    GENERATION_CONFIG_NAME as GENERATION_CONFIG_NAME,
    SAFE_WEIGHTS_INDEX_NAME as SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME as SAFE_WEIGHTS_NAME,
    SPIECE_UNDERLINE as SPIECE_UNDERLINE,
    WEIGHTS_INDEX_NAME as WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME as WEIGHTS_NAME,
    cached_file as cached_file,
)
from .requirements import (
    check_min_version as check_min_version,
    is_accelerate_available as is_accelerate_available,
    is_bitsandbytes_available as is_bitsandbytes_available,
    is_datasets_available as is_datasets_available,
    is_faiss_available as is_faiss_available,
    is_flash_attn_2_available as is_flash_attn_2_available,
    is_jinja_available as is_jinja_available,
    is_matplotlib_available as is_matplotlib_available,
    is_nltk_available as is_nltk_available,
    is_optuna_available as is_optuna_available,
    is_pandas_available as is_pandas_available,
    is_peft_available as is_peft_available,
    is_protobuf_available as is_protobuf_available,
    is_psutil_available as is_psutil_available,
    is_rich_available as is_rich_available,
    is_sacremoses_available as is_sacremoses_available,
    is_safetensors_available as is_safetensors_available,
    is_scipy_available as is_scipy_available,
    is_sentencepiece_available as is_sentencepiece_available,
    is_sklearn_available as is_sklearn_available,
    is_tensorboard_available as is_tensorboard_available,
    is_tiktoken_available as is_tiktoken_available,
    is_tokenizers_available as is_tokenizers_available,
    is_torch_available as is_torch_available,
    is_torch_xla_available as is_torch_xla_available,
    is_vision_available as is_vision_available,
    is_wandb_available as is_wandb_available,
    require_version as require_version,
    send_example_telemetry as send_example_telemetry,
)
from .versions import show_versions as show_versions
