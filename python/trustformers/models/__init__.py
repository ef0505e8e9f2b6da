"""Configurations and models.

The classes of the architectures are made when they are first asked for; see ``named``.
"""

from .._lazy import attach

__getattr__, __dir__ = attach(__name__)
