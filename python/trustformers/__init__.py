"""transformers without PyTorch: a drop-in replacement for the text side of Hugging Face transformers.

Importing the package loads next to nothing; every name is loaded when it is first asked for. The stub beside
this file says which names there are.
"""

import os
import sys

from ._lazy import attach
from ._modules import Modules

__version__ = "0.1.0"
__getattr__, __dir__ = attach(__name__)
sys.meta_path.append(Modules())

if os.environ.get("TRUSTFORMERS_TYPECHECK", "0") not in ("", "0"):
    from ._typecheck import install

    install()
if {"TRUSTFORMERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"} & os.environ.keys():
    from .utils.logging import from_environment

    from_environment()
