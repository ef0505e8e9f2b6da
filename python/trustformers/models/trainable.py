"""Which parameters of a model are trained."""

from collections.abc import Iterable

from .. import _engine


def make_trainable(parameters: Iterable[_engine.Tensor]) -> None:
    """Record gradients of all parameters but frozen ones; if none is a model's, of all that may have them."""
    parameters = [one for one in parameters if one.is_floating_point()]
    trained = [one for one in parameters if one.requires_grad]
    for parameter in trained or [one for one in parameters if not one._is_frozen]:
        parameter.requires_grad_()
