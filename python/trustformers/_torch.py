"""PyTorch tensors as ours and back: the same memory, and gradients that flow through both.

Imported, like PyTorch itself, only when somebody asks for it.

A tensor that comes from PyTorch and asks for gradients is, in our graph, a *bridge*: a result without
sources. A backward pass of ours says what has arrived at the bridges, and PyTorch carries on from there. In
PyTorch's graph a tensor of ours is a function of all PyTorch tensors behind its bridges, whose backward is
such a pass: so PyTorch's engine knows where its gradients go, and ``torch.autograd.grad`` returns them. That
pass also adds to the ``grad`` of our leaves. It retains our graph, since PyTorch may come again by another
way; the graph is freed when nobody holds it any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from trustformers._engine import Tensor, _backward_to_bridges, _bridge, _bridges, is_grad_enabled

#: Where a bridge leads: PyTorch's tensor, and its version when it was crossed.
_Place = tuple[torch.Tensor, int]


def from_torch(tensor: torch.Tensor) -> Tensor:
    """A tensor over the memory of PyTorch's; gradients of what is made of it flow back to PyTorch's graph."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"from_torch takes a torch.Tensor, got {type(tensor).__name__}")
    if tensor.layout is not torch.strided:
        raise TypeError(f"a tensor cannot hold the layout {tensor.layout}: call to_dense() first")
    shared = Tensor.from_dlpack(tensor.detach().resolve_conj().resolve_neg())
    if tensor.requires_grad and torch.is_grad_enabled() and is_grad_enabled():
        return _bridge(shared, (tensor, tensor._version))
    return shared


def to_torch(tensor: Tensor) -> torch.Tensor:
    """PyTorch's tensor over the memory of ours; gradients of what is made of it flow back to our graph.

    PyTorch has no read-only tensors: memory that must not be written, such as a mapped file, is copied.
    """
    if any(stride < 0 for stride in tensor.strides):
        raise ValueError("PyTorch has no negative strides: call contiguous() first")
    if tensor._is_recorded and torch.is_grad_enabled() and is_grad_enabled():
        places: list[_Place] = _bridges(tensor)
        sources = [source for source, _ in places]
        crossed: torch.Tensor = _Crossing.apply(torch.empty(0, requires_grad=True), tensor, places, *sources)
        return crossed
    return _shared(tensor.detach())


def _shared(tensor: Tensor) -> torch.Tensor:
    if tensor.is_cuda and not torch.cuda.is_available():
        # PyTorch's build for the processor knows no other memory.
        tensor = tensor.cpu()
    shared: torch.Tensor = torch.from_dlpack(tensor if tensor.is_writable else tensor.__dlpack__(copy=True))
    return shared


class _Crossing(torch.autograd.Function):  # type: ignore[misc]
    """A tensor of ours in PyTorch's graph.

    Recorded there because ``anchor`` asks for a gradient, also where none of the ``sources`` behind our
    bridges does.
    """

    @staticmethod
    def forward(
        ctx: Any, anchor: torch.Tensor, tensor: Tensor, places: list[_Place], *sources: torch.Tensor
    ) -> torch.Tensor:
        ctx.tensor, ctx.places = tensor, places
        shared = _shared(tensor.detach())
        # Has PyTorch notice when the memory that our graph needs is changed in place.
        ctx.save_for_backward(shared)
        return shared

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        _ = ctx.saved_tensors
        if torch.is_grad_enabled():
            raise RuntimeError(
                "create_graph=True: gradients of gradients do not pass between PyTorch and trustformers; "
                "compute them on one side"
            )
        arrived = _backward_to_bridges(ctx.tensor, from_torch(grads[0].detach()))
        _expect_unchanged(arrived)
        found = {id(place): _shared(grad.contiguous()) for place, grad in arrived}
        return None, None, None, *(found.get(id(place)) for place in ctx.places)


def carry_on(arrived: list[tuple[_Place, Tensor]], retain_graph: bool) -> None:
    """Hands the gradients that have arrived at bridges to PyTorch, all at once."""
    _expect_unchanged(arrived)
    tensors = [tensor for (tensor, _), _ in arrived]
    grads = [_shared(grad.contiguous()) for _, grad in arrived]
    torch.autograd.backward(tensors, grads, retain_graph=retain_graph)


def _expect_unchanged(arrived: list[tuple[_Place, Tensor]]) -> None:
    for (tensor, version), _ in arrived:
        if tensor._version != version:
            raise RuntimeError(
                f"the torch.Tensor of shape {tuple(tensor.shape)} has been modified by an in-place operation "
                "after from_torch had made it one of ours: clone it before changing it"
            )


def expect_no_way_back(places: list[_Place]) -> None:
    """Refuses bridges behind which, in PyTorch's graph, there are tensors of ours.

    ``grad()`` stays in our graph: it would find no gradient where there is one.
    """
    functions = [tensor.grad_fn for tensor, _ in places]
    seen = set()
    while functions:
        function = functions.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        if isinstance(getattr(function, "tensor", None), Tensor):
            raise RuntimeError(
                "one of the inputs may be reached only through PyTorch, where grad() does not go: "
                "use backward(), which does"
            )
        functions.extend(source for source, _ in function.next_functions)


def torch_function(
    func: Callable[..., Any], types: Any, args: tuple[Any, ...] | None, kwargs: dict[str, Any] | None
) -> Any:
    """What ``Tensor.__torch_function__`` does: PyTorch computes, the result is a tensor of ours again."""
    args, kwargs = args or (), kwargs or {}
    result = func(*_map(Tensor, to_torch, args), **_map(Tensor, to_torch, kwargs))
    # An in-place function, or one with `out`, returns what it was given.
    if any(result is value for value in (*args, *kwargs.values())):
        return result
    return _map(torch.Tensor, from_torch, result)


def _map(kind: type, convert: Callable[[Any], Any], value: Any) -> Any:
    """``value`` with everything of ``kind`` in it converted."""
    if isinstance(value, kind):
        return convert(value)
    if isinstance(value, tuple | list):
        items = [_map(kind, convert, item) for item in value]
        named = hasattr(value, "_fields") or type(value).__module__ == "torch.return_types"
        return items if type(value) is list else tuple(items) if not named else type(value)(items)
    if isinstance(value, Mapping):
        return {key: _map(kind, convert, item) for key, item in value.items()}
    return value
