"""What in a checkpoint did not fit and was accepted, said as transformers says it."""

from __future__ import annotations

import re
from typing import Any

_NOTES = {
    "UNEXPECTED": "can be ignored when loading from different task/architecture; not ok if you expect "
    "identical arch.",
    "MISSING": "those params were newly initialized because missing from the checkpoint. Consider training "
    "on your downstream task.",
    "MISMATCH": "ckpt weights were loaded, but they did not match the original empty weight shapes.",
}
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


def loading_report(model: str, name_or_path: object, info: dict[str, list[Any]]) -> str | None:
    """The table of what did not fit when ``model`` was opened, or ``None`` if all did."""
    rows = [(key, "UNEXPECTED", "") for key in _merged(info["unexpected_keys"])]
    rows += [(key, "MISSING", "") for key in _merged(info["missing_keys"])]
    for key, found, wanted in info["mismatched_keys"]:
        detail = f"Reinit due to size mismatch - ckpt: {tuple(found)} vs model:{tuple(wanted)}"
        rows.append((key, "MISMATCH", detail))
    if not rows:
        return None
    wide = max(len("Key"), *(len(key) for key, _, _ in rows))
    header = ("Key", "Status", "Details" if info["mismatched_keys"] else "")
    lines = [f"{key:{wide}} | {status:10} | {detail}".rstrip() for key, status, detail in (header, *rows)]
    lines.insert(1, "-" * wide + "-+-" + "-" * 10 + "-+-" + "-" * len(header[2]))
    statuses = {status for _, status, _ in rows}
    notes = [f"- {status}:\t{note}" for status, note in _NOTES.items() if status in statuses]
    return "\n".join([f"{model} LOAD REPORT from: {name_or_path}", *lines, "", "Notes:", *notes])


def _merged(keys: list[str]) -> list[str]:
    """One line for the same parameter of every layer: ``layer.{0, 1, 2}.weight``."""
    groups: dict[str, list[list[str]]] = {}
    for key in keys:
        groups.setdefault(_NUMBER.sub("*", key), []).append(_NUMBER.findall(key))
    merged = []
    for pattern, found in groups.items():
        for numbers in zip(*found, strict=True):
            pattern = pattern.replace("*", _listed(sorted({int(number) for number in numbers})), 1)
        merged.append(pattern)
    return merged


def _listed(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return str(numbers[0])
    many = len(numbers) > 10
    return "{" + (f"{numbers[0]}...{numbers[-1]}" if many else ", ".join(map(str, numbers))) + "}"
