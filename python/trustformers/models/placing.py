"""Where the weights of a model go: ``device_map`` and ``max_memory``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .. import _engine
from .._device import Device

#: The maps that are computed: all GPUs share the layers, or each is filled before the next.
_COMPUTED = ("auto", "balanced", "balanced_low_0", "sequential")
_SIZES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
#: A layer of a stack: what comes before goes to one device, whatever is in it.
_LAYER = re.compile(r"(?:[^.]+\.)*?\d+(?=\.)")


def placed(
    engine: _engine.Model, device_map: Any, max_memory: Mapping[Any, Any] | None
) -> tuple[_engine.Model, dict[str, int | str]]:
    """An engine with its weights where ``device_map`` says, and where each of its modules is then.

    :raises ValueError: for a map that leaves weights out, and for weights that do not fit.
    :raises RuntimeError: for devices that are not there, or whose memory is full.
    """
    if isinstance(device_map, str) and device_map in _COMPUTED:
        places = _computed(engine, device_map, max_memory or {})
    elif max_memory:
        raise ValueError(f"max_memory= goes together with device_map= one of {', '.join(_COMPUTED)}")
    elif isinstance(device_map, Mapping):
        # The processor's weights are mapped from their file, so that what is on the disk stays there.
        places = {
            module: "cpu" if place == "disk" else _engine.resolve_device(place)
            for module, place in device_map.items()
        }
    else:
        places = {"": _engine.resolve_device(device_map)}
    named = {module: _shown(Device(place)) for module, place in places.items()}
    if list(places) == [""] and {*places.values()} == {*engine.devices()}:
        return engine, named
    return engine.placed(places), named


def _shown(device: Device) -> int | str:
    return str(device) if device.index is None else device.index


def _computed(engine: _engine.Model, how: str, max_memory: Mapping[Any, Any]) -> dict[str, str]:
    """Modules one after the other on the GPUs, and on the processor what is left."""
    modules = _modules(engine)
    total = sum(modules.values())
    # Who gives limits leaves out the GPUs that are not to be used.
    gpus = [gpu for gpu in range(_engine.cuda_device_count()) if not max_memory or gpu in max_memory]
    # A tenth is left for what is computed.
    room = [_limit(max_memory.get(gpu), int(0.9 * _engine.cuda_mem_get_info(gpu)[0])) for gpu in gpus]
    shares = list(room)
    if how != "sequential" and len(room) > 1:
        # The largest module is the least that a share may be off by.
        even = total // len(room) + max(modules.values(), default=0) // 2
        shares = [min(one, even) for one in room[:-1]] + room[-1:]
        if how == "balanced_low_0":
            shares[0] = min(shares[0], max(total - sum(room[1:]), 0))
    each = zip(gpus, shares, room, strict=True)
    left = [(f"cuda:{gpu}", share, size) for gpu, share, size in each if share > 0]
    rest = _limit(max_memory.get("cpu"), total)
    left.append(("cpu", rest, rest))
    places, used = {}, 0
    for module, size in modules.items():
        # A module that is more than a share has a device to itself.
        while left and used + size > (left[0][1] if used else left[0][2]):
            left, used = left[1:], 0
        if not left:
            raise ValueError(f"max_memory= is too small for the weights of {total:,} bytes: raise it")
        places[module], used = left[0][0], used + size
    return {"": next(iter(places.values()))} if len(set(places.values())) == 1 else places


def _modules(engine: _engine.Model) -> dict[str, int]:
    """What stays together, in the order of the model, and its bytes: a layer, or a module beside them."""
    modules: dict[str, int] = {}
    for name, _, size in engine.parameter_sizes():
        layer = _LAYER.match(name)
        module = layer.group() if layer else name.rpartition(".")[0] or name
        modules[module] = modules.get(module, 0) + size
    return modules


def _limit(given: Any, default: int) -> int:
    """Bytes, given as a number or as text such as "10GiB"."""
    if given is None:
        return default
    if isinstance(given, int):
        return given
    found = re.fullmatch(r"([0-9.]+)\s*([KMGT]I?B)", str(given).upper())
    if found is None or found.group(2) not in _SIZES:
        raise ValueError(f"max_memory= has sizes such as 10**9 or '10GiB', got {given!r}")
    return int(float(found.group(1)) * _SIZES[found.group(2)])
