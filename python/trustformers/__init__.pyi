from . import (
    asynchronous as asynchronous,
    backends as backends,
    cuda as cuda,
    generation as generation,
    models as models,
    peft as peft,
    pipelines as pipelines,
    tokenizers as tokenizers,
    training as training,
    utils as utils,
)
from ._device import Device as Device, device as device
from ._dtypes import (
    bool as bool,
    double as double,
    float as float,
    half as half,
    int as int,
    long as long,
    short as short,
)
from ._engine import (
    OutOfMemoryError as OutOfMemoryError,
    SafetensorError as SafetensorError,
    Tensor as Tensor,
    arange as arange,
    as_tensor as as_tensor,
    bfloat16 as bfloat16,
    bool_ as bool_,
    cat as cat,
    complex64 as complex64,
    complex128 as complex128,
    cpu_capabilities as cpu_capabilities,
    dtype as dtype,
    empty_cache as empty_cache,
    eye as eye,
    float16 as float16,
    float32 as float32,
    float64 as float64,
    full as full,
    get_num_threads as get_num_threads,
    grad as grad,
    int8 as int8,
    int16 as int16,
    int32 as int32,
    int64 as int64,
    is_grad_enabled as is_grad_enabled,
    linspace as linspace,
    load_file as load_file,
    manual_seed as manual_seed,
    matmul as matmul,
    max_memory_allocated as max_memory_allocated,
    memory_allocated as memory_allocated,
    memory_reserved as memory_reserved,
    ones as ones,
    ones_like as ones_like,
    profile as profile,
    rand as rand,
    randint as randint,
    randn as randn,
    randperm as randperm,
    reset_peak_memory_stats as reset_peak_memory_stats,
    save_file as save_file,
    set_grad_enabled as set_grad_enabled,
    set_num_threads as set_num_threads,
    stack as stack,
    tensor as tensor,
    uint8 as uint8,
    uint16 as uint16,
    uint32 as uint32,
    uint64 as uint64,
    where as where,
    zeros as zeros,
    zeros_like as zeros_like,
)
from ._grad import enable_grad as enable_grad, no_grad as no_grad
from ._seed import set_seed as set_seed
from .asynchronous.engine import AsyncEngine as AsyncEngine
from .generation import *
from .models import *
from .pipelines import *
from .tokenizers import *
from .training import *
from .utils import *

__version__: str
