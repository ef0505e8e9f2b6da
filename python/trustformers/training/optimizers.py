"""Optimizers: torch's classes, whose steps run in the engine."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeAlias

from .. import _engine
from .._engine import Tensor
from .._grad import enable_grad

#: Parameters, or groups of them: dictionaries with ``params`` and settings of their own.
Parameters: TypeAlias = "Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]"


class Optimizer:
    """Changes parameters by their gradients. Equals torch's ``Optimizer``.

    ``param_groups`` are dictionaries with the parameters as ``params`` and the settings, which may be changed
    between steps.

    :param params: tensors with ``requires_grad``, as a model's are, or groups of them with settings of their
        own. Their gradients are recorded from now on.
    :raises ValueError: for settings that cannot be, no parameters at all, parameters that are no leaves, and
        one that is in two places.
    """

    #: What the engine calls it.
    _method: ClassVar[str]

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self._engine = _engine.Optimizer()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                "a Tensor"
            )
        given = list(params)
        if not given:
            raise ValueError("optimizer got an empty parameter list")
        groups: list[Any] = given if isinstance(given[0], dict) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: a dictionary with ``params`` and what of the settings is its own."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        tensors = param_group["params"]
        tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
        tensors = [one[1] if isinstance(one, tuple) else one for one in tensors]
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {type(tensor)}"
                )
            if tensor.requires_grad:
                # Of a model that was only opened: its gradients are recorded from now on.
                tensor.requires_grad_()
        group = {**self.defaults, **param_group, "params": tensors}
        self._engine.add_group(self._described(group), tensors)
        self.param_groups.append(group)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_engine"}
        return {**state, "_states": self._engine.states()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        states = state.pop("_states")
        self.__dict__.update(state)
        self._engine = _engine.Optimizer()
        for group in self.param_groups:
            self._engine.add_group(self._described(group), group["params"])
        self._engine.set_states(states)

    def _described(self, group: dict[str, Any]) -> str:
        """The settings of a group, as the engine takes them."""
        return json.dumps({"type": self._method, **{name: group[name] for name in self.defaults}})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient; what ``closure`` gives, called before, is given."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._engine.step([self._described(group) for group in self.param_groups])
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Take the gradients of all parameters away, or make them zero."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none or parameter.grad is None:
                    parameter.grad = None
                else:
                    parameter.grad = parameter.grad.detach().zero_()

    @property
    def state(self) -> dict[int, dict[str, Any]]:
        """What is remembered of each parameter, by its number among all: ``step`` and tensors."""
        flat = [state for group in self._engine.states() for state in group]
        return {index: {"step": step, **tensors} for index, (step, tensors) in enumerate(flat) if step}

    def state_dict(self) -> dict[str, Any]:
        """The settings of the groups, and what is remembered of each parameter, as torch lays it out."""
        groups, first = [], 0
        for group in self.param_groups:
            count = len(group["params"])
            settings = {name: value for name, value in group.items() if name != "params"}
            groups.append({**settings, "params": list(range(first, first + count))})
            first += count
        return {"state": self.state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave, of an optimizer of such parameters.

        :raises ValueError: when it has other groups.
        """
        groups, state = state_dict["param_groups"], state_dict["state"]
        lengths = [len(group["params"]) for group in groups]
        if lengths != [len(group["params"]) for group in self.param_groups]:
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of "
                "optimizer's group"
            )
        taken = []
        for group, saved in zip(self.param_groups, groups, strict=True):
            group.update({name: copy.deepcopy(value) for name, value in saved.items() if name != "params"})
            states = [dict(state.get(index, {"step": 0})) for index in saved["params"]]
            taken.append([(int(one.pop("step")), _tensors(one)) for one in states])
        self._engine.set_states(taken)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for index, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {index}")
            lines += [f"    {name}: {value}" for name, value in sorted(group.items()) if name != "params"]
        return "\n".join([*lines, ")"])


def _tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    """Copies of the tensors, so that two optimizers never change the same memory."""
    return {name: _engine.as_tensor(value).clone() for name, value in state.items()}


class AdamW(Optimizer):
    """Adam with weight decay beside it (Loshchilov & Hutter 2019): torch's ``AdamW``."""

    _method = "AdamW"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})


class Adam(Optimizer):
    """Adam with weight decay in the gradient (Kingma & Ba 2015): torch's ``Adam``."""

    _method = "Adam"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})


class AdamW8bit(AdamW):
    """AdamW whose running means take 8 bits an element (Dettmers et al. 2022): bitsandbytes' ``AdamW8bit``.

    Parameters of fewer than 4096 elements keep theirs in 32 bits.
    """

    _method = "AdamW8bit"


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if it is asked for: torch's ``SGD``."""

    _method = "SGD"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "dampening": dampening}
        super().__init__(params, {**settings, "weight_decay": weight_decay, "nesterov": nesterov})


class Lion(Optimizer):
    """Steps in the direction of a sign (Chen et al. 2023)."""

    _method = "Lion"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})


class Adagrad(Optimizer):
    """Steps that shrink with the sum of squared gradients (Duchi et al. 2011): torch's ``Adagrad``."""

    _method = "Adagrad"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        settings = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps}
        super().__init__(params, {**settings, "initial_accumulator_value": initial_accumulator_value})


class RMSprop(Optimizer):
    """Steps that shrink with the running mean of squared gradients (Hinton 2012): torch's ``RMSprop``."""

    _method = "RMSprop"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay})


class Adafactor(Optimizer):
    """Of a matrix only the means of rows and columns are remembered (Shazeer & Stern 2018).

    Equals transformers' ``Adafactor``; without ``lr`` each step chooses its learning rate.
    """

    _method = "Adafactor"

    def __init__(
        self,
        params: Parameters,
        lr: float | None = None,
        eps: tuple[float, float] = (1e-30, 1e-3),
        clip_threshold: float = 1.0,
        decay_rate: float = -0.8,
        beta1: float | None = None,
        weight_decay: float = 0.0,
        scale_parameter: bool = True,
        relative_step: bool = True,
        warmup_init: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "eps": eps,
                "clip_threshold": clip_threshold,
                "decay_rate": decay_rate,
                "beta1": beta1,
                "weight_decay": weight_decay,
                "scale_parameter": scale_parameter,
                "relative_step": relative_step,
                "warmup_init": warmup_init,
            },
        )
