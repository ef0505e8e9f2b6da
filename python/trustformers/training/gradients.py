"""What is done to gradients between the backward pass and the step: torch's functions of the same names."""

from __future__ import annotations

from collections.abc import Iterable

from .. import _engine
from .._engine import Tensor


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    """Make the gradients of all ``parameters`` together at most ``max_norm`` long, in place.

    Gives their length before. Equals torch's ``torch.nn.utils.clip_grad_norm_``.

    :raises ValueError: for norms that cannot be.
    :raises RuntimeError: with ``error_if_nonfinite``, for gradients that are not finite.
    """
    return _engine.clip_grad_norm_(_listed(parameters), max_norm, norm_type, error_if_nonfinite)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Bring every element of the gradients into ±``clip_value``, in place.

    Equals torch's ``torch.nn.utils.clip_grad_value_``.

    :raises ValueError: for a negative value.
    """
    _engine.clip_grad_value_(_listed(parameters), clip_value)


def get_total_norm(parameters: Tensor | Iterable[Tensor], norm_type: float = 2.0) -> float:
    """Say how long the gradients of all ``parameters`` together are."""
    return _engine.get_total_norm(_listed(parameters), norm_type)


def _listed(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)
