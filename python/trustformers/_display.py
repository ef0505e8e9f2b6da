"""What notebooks show in place of a ``repr``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._engine import Tensor

#: Of a longer axis, how many of the first and of the last elements are shown.
_EDGE = 4
_CELL = "text-align: right; font-family: monospace; padding: 0.15em 0.6em"
_LABEL = "font-size: 0.7em; font-weight: bold; margin-left: 0.4em; opacity: 0.7"
#: Colours that text can be read on, dark or light; labels take turns.
_COLOURS = ("#1f77b433", "#ff7f0e33", "#2ca02c33", "#d6272833", "#9467bd33", "#8c564b33", "#17becf33")


def tensor_html(tensor: Tensor) -> str:
    """Shape and dtype, and the values as a table if they are a row or a matrix."""
    about = f"Tensor {tensor.shape}, {tensor.dtype.name}, {tensor.device}"
    if tensor.requires_grad:
        about += ", requires_grad"
    head = f'<div style="font-size: 0.85em; opacity: 0.7">{escape(about)}</div>'
    if tensor.ndim not in (1, 2) or tensor.numel() == 0:
        return f"{head}<pre>{escape(repr(tensor))}</pre>"
    matrix = tensor.detach() if tensor.ndim == 2 else tensor.detach().unsqueeze(0)
    rows, columns = (_shown(length) for length in matrix.shape)
    lines = "".join(
        "<tr>"
        + "".join(f'<td style="{_CELL}">{_cell(matrix, row, column)}</td>' for column in columns)
        + "</tr>"
        for row in rows
    )
    return f"{head}<table>{lines}</table>"


def _shown(length: int) -> list[int | None]:
    """The places of an axis that are shown, ``None`` for those in between."""
    if length <= 2 * _EDGE + 1:
        return list(range(length))
    return [*range(_EDGE), None, *range(length - _EDGE, length)]


def _cell(matrix: Tensor, row: int | None, column: int | None) -> str:
    if row is None or column is None:
        return "&#8942;" if column is not None else "&#8945;" if row is None else "&#8230;"
    value = matrix[row, column].item()
    return escape(f"{value:.4g}" if isinstance(value, float) else str(value))


def entities_html(text: str, entities: Sequence[Mapping[str, Any]]) -> str:
    """A text with its entities marked: each with its label, and its score where one points at it."""
    labels = [str(entity.get("entity_group", entity.get("entity"))) for entity in entities]
    colours = {label: _COLOURS[i % len(_COLOURS)] for i, label in enumerate(dict.fromkeys(labels))}
    parts, end = [], 0
    for label, entity in sorted(zip(labels, entities, strict=True), key=lambda pair: int(pair[1]["start"])):
        start = max(int(entity["start"]), end)
        parts.append(escape(text[end:start]))
        end = max(int(entity["end"]), start)
        parts.append(
            f'<mark style="background: {colours[label]}; color: inherit; border-radius: 0.3em; '
            f'padding: 0.1em 0.3em" title="{float(entity["score"]):.4f}">{escape(text[start:end])}'
            f'<span style="{_LABEL}">{escape(label)}</span></mark>'
        )
    return f'<div style="line-height: 2; white-space: pre-wrap">{"".join(parts)}{escape(text[end:])}</div>'
