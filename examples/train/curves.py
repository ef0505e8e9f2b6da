"""The losses of a training as a picture."""

from pathlib import Path
from typing import Any


def draw(history: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draw the training loss and that of evaluations; `history` is `trainer.state.log_history`."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        print("No picture: matplotlib is not installed.")
        return
    trained = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    evaluated = [(entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry]
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    axis.plot(*zip(*trained, strict=True), color="#9aa5b1", label="training")
    if evaluated:
        axis.plot(*zip(*evaluated, strict=True), "o-", color="#d1495b", label="held out")
    axis.set(title=title, xlabel="step", ylabel="loss", ylim=(0, None))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"The losses are drawn in {path}")
