"""The figures as JSON, as a Markdown table and as a picture."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figures import Figure


def write(
    figures: list[Figure],
    about: dict[str, Any],
    labels: dict[str, str],
    folder: Path,
    name: str = "minilm",
    title: str = "all-MiniLM-L6-v2",
    picture: Callable[[list[Figure], dict[str, str], str, Path], None] | None = None,
) -> str:
    """Write the three files of that name, the picture by `draw` if by nobody else; gives back the table."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "figure": figure.name,
            "unit": figure.unit,
            "tokens": figure.tokens,
            "medians": figure.medians,
            "ratio_to_best_peer": ratio(figure),
            "limit": figure.limit,
            "share_of_limit": figure.share,
            "goals": figure.reached,
            "samples": figure.samples,
        }
        for figure in figures
    ]
    (folder / f"{name}.json").write_text(json.dumps(about | {"figures": rows}, indent=1) + "\n")
    text = heading(about, title) + "\n" + table(figures, labels)
    (folder / f"{name}.md").write_text(text)
    if picture is None:
        draw(figures, labels, f"{title}, less is better ({place(about)})", folder / f"{name}.png")
    else:
        picture(figures, labels, f"{title} ({place(about)})", folder / f"{name}.png")
    return text


def ratio(figure: Figure) -> float | None:
    peer, medians = figure.best_peer, figure.medians
    return None if peer is None or "ours" not in medians else medians[peer] / medians["ours"]


def heading(about: dict[str, Any], title: str) -> str:
    machine, versions = about["machine"], about["versions"]
    return (
        f"{title} on {machine['cpu']}, {about['threads']} threads of {machine['cores']} cores, "
        f"{machine['system']}.\n"
        f"Medians of {about['rounds']} rounds taken in turn; less is better. "
        + ", ".join(f"{package} {version}" for package, version in versions.items())
        + f".\nTaken on {about['date']}, others' load {machine['load']:g} when it began.\n"
        + "".join(f"{line}\n" for line in about.get("derived", ()))
    )


def table(figures: list[Figure], labels: dict[str, str]) -> str:
    columns = [*labels.values(), "best peer / ours"]
    is_limited = any(figure.limit for figure in figures)
    if is_limited:
        columns.append("share of the limit")
    lines = [
        "| | " + " | ".join(columns) + " | goal |",
        "| --- |" + " ---: |" * len(columns) + " --- |",
    ]
    for figure in figures:
        cells = [cell(figure, subject) for subject in labels]
        against = ratio(figure)
        cells.append("" if against is None else f"{against:.3g}")
        if is_limited:
            cells.append("" if figure.limit is None else f"{figure.share:.0%} of {figure.limit[1]}")
        goals = [f"{text} {'✓' if reached else '✗'}" for text, reached in figure.reached.items()]
        lines.append(f"| {figure.name} | " + " | ".join(cells) + f" | {', '.join(goals)} |")
    return "\n".join(lines) + "\n"


def cell(figure: Figure, subject: str) -> str:
    if subject not in figure.samples:
        return ""
    value = figure.medians[subject]
    text = number(value)
    if figure.tokens is not None:
        return f"{text} {figure.unit} ({figure.tokens / value * 1e3:,.0f} tokens/s)"
    return f"{text} {figure.unit}"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def place(about: dict[str, Any]) -> str:
    return f"{about['machine']['cpu']}, {about['threads']} threads"


def draw(figures: list[Figure], labels: dict[str, str], title: str, path: Path) -> None:
    """One small chart a figure; needs matplotlib, and does without."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        print("No picture: matplotlib is not installed.")
        return
    columns = 3
    rows = -(-len(figures) // columns)
    sheet, axes = plt.subplots(rows, columns, figsize=(4.4 * columns, 0.5 + 1.9 * rows), layout="constrained")
    for axis in axes.flat[len(figures) :]:
        axis.axis("off")
    for figure, axis in zip(figures, axes.flat, strict=False):
        subjects = [subject for subject in labels if subject in figure.samples][::-1]
        values = [figure.medians[subject] for subject in subjects]
        colours = ["#d1495b" if subject == "ours" else "#9aa5b1" for subject in subjects]
        bars = axis.barh([labels[subject] for subject in subjects], values, color=colours)
        if figure.limit is not None:
            axis.axvline(figure.limit[0], color="black", linewidth=0.8, linestyle="--")
        axis.bar_label(bars, [number(value) for value in values], padding=3)
        axis.set_title(f"{figure.name} ({figure.unit})", fontsize=10, loc="left")
        axis.set_xlim(0, max(values, default=1) * 1.2)
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.tick_params(bottom=False, labelbottom=False, left=False)
    if any(figure.limit for figure in figures):
        title += ", dashed: what the machine takes at its best"
    sheet.suptitle(title, fontsize=11)
    sheet.savefig(path, dpi=110)
    plt.close(sheet)
