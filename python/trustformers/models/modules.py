"""The parts of a model by their names, as torch's modules are asked for them: which parameters they hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar, overload

from .._engine import Tensor

if TYPE_CHECKING:
    from .modeling import PreTrainedModel

ModulesT = TypeVar("ModulesT", bound="Modules")


class Modules:
    """What can be asked of a model and of its parts alike. What has no parameters, as dropout, is no part."""

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Every parameter with its name."""
        raise NotImplementedError

    def get_submodule(self, target: str) -> Any:
        """The part of a name such as ``"encoder.layer.0"``; itself for an empty one.

        :raises AttributeError: when there is no such part.
        """
        raise NotImplementedError

    def parameters(self, recurse: bool = True) -> Iterator[Tensor]:
        """Every parameter."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def get_parameter(self, target: str) -> Tensor:
        """The parameter of a name.

        :raises AttributeError: when there is no such parameter.
        """
        for name, parameter in self.named_parameters(remove_duplicate=False):
            if name == target:
                return parameter
        raise AttributeError(f"{type(self).__name__} has no parameter `{target}`")

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        """Itself, under an empty name, and every part that holds parameters, in the order of these."""
        for path in self._paths():
            yield path, self.get_submodule(path)

    def modules(self) -> Iterator[Any]:
        """Itself and every part that holds parameters."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """The parts that are in no other part."""
        return ((path, self.get_submodule(path)) for path in self._paths() if path and "." not in path)

    def children(self) -> Iterator[Any]:
        """The parts that are in no other part."""
        return (module for _, module in self.named_children())

    def requires_grad_(self: ModulesT, requires_grad: bool = True) -> ModulesT:
        """Have all parameters trained, or none of them."""
        for parameter in self.parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Take the gradients of all parameters away, or make them zero."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def _paths(self) -> list[str]:
        """The names of all parts, each once, and an empty one first."""
        paths = {"": None}
        for name, _ in self.named_parameters(remove_duplicate=False):
            parts = name.split(".")[:-1]
            paths |= dict.fromkeys(".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        return list(paths)


class Module(Modules):
    """A part of a model: its parameters are those of the model, and its parts are attributes.

    Numbered ones are indexed: ``model.bert.encoder.layer[0].attention``. The model runs as a whole, so a part
    is not called.
    """

    def __init__(self, model: PreTrainedModel, path: str) -> None:
        self._model, self._path = model, path

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Every parameter with its name in this part; of those that share a tensor the first."""
        engine, own = self._model._engine, f"{self._path}."
        buffers, seen = {*engine.buffers()}, set()
        for name in engine.parameter_names(tied=True):
            rest = name.removeprefix(own)
            if rest == name or name in buffers or not (recurse or "." not in rest):
                continue
            parameter = engine.parameter(name)
            place = parameter.data_ptr()
            if not remove_duplicate or place not in seen:
                yield f"{prefix}.{rest}" if prefix else rest, parameter
            seen.add(place)

    def state_dict(self) -> dict[str, Tensor]:
        """Name to tensor, without gradients."""
        return {name: value.detach() for name, value in self.named_parameters(remove_duplicate=False)}

    def get_submodule(self, target: str) -> Any:
        """The part of a name such as ``"attention.output"``; itself for an empty one.

        :raises AttributeError: when there is no such part.
        """
        return self._model.get_submodule(f"{self._path}.{target}") if target else self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if (found := part_or_parameter(self._model, f"{self._path}.{name}")) is not None:
            return found
        raise AttributeError(f"{self._path} of {type(self._model).__name__} has no attribute '{name}'")

    def _numbered(self) -> list[Any]:
        children = list(self.named_children())
        if not children or not all(name.isdecimal() for name, _ in children):
            raise TypeError(f"{self._path} of {type(self._model).__name__} is no list of parts")
        return [module for _, module in children]

    def __len__(self) -> int:
        return len(self._numbered())

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(self._numbered())

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        return self._numbered()[index]

    def __repr__(self) -> str:
        names = ", ".join(name for name, _ in self.named_parameters(remove_duplicate=False))
        return f"{type(self).__name__}({self._path}: {names})"


def part_or_parameter(model: PreTrainedModel, path: str) -> Any:
    """The part or the parameter of a model under a name; ``None`` if there is neither."""
    names = model._engine.parameter_names(tied=True)
    if path in names:
        return model._engine.parameter(path)
    return model._part(path) if any(name.startswith(f"{path}.") for name in names) else None
