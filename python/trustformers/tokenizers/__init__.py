"""Tokenizers: text in, ids out, and back.

The classes of each kind are made when they are first asked for; see ``named``.
"""

from .._lazy import attach

__getattr__, __dir__ = attach(__name__)
