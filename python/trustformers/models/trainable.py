"""Which parameters of a model are trained."""

from collections.abc import Iterable

from .. import _engine


def make_trainable(parameters: Iterable[_engine.Tensor]) -> None:
    """Let gradients flow to all parameters but frozen ones, if nobody has said to which."""
    parameters = list(parameters)
    if not any(parameter.requires_grad for parameter in parameters):
        for parameter in parameters:
            if parameter.is_floating_point() and not parameter._is_frozen:
                parameter.requires_grad_()
