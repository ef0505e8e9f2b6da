"""Record what torch's optimizers, transformers' schedules and transformers' Trainer do.

    PYTHONPATH=tests:tests/training python -m reference.training

It writes tests/fixtures/training.
"""

import json
import tempfile
from typing import Any

import curve_cases
import optimizer_cases as cases
import torch
import transformers as hf
from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers.optimization import Adafactor, GreedyLR, get_scheduler


def optimizer(name: str, keywords: dict[str, Any]) -> dict[str, Any]:
    """The loss of every step, and the parameters after the last."""
    weight, bias = (torch.tensor(value, requires_grad=True) for value in cases.start())
    make = Adafactor if name == "Adafactor" else getattr(torch.optim, name)
    steps = make([weight, bias], **keywords)
    losses = []
    for step in range(cases.STEPS):
        steps.zero_grad()
        loss = ((torch.tensor(cases.inputs(step)) @ weight + bias).tanh() ** 2).sum()
        loss.backward()
        steps.step()
        losses.append(loss.item())
    return {"losses": losses, "weight": weight.tolist(), "bias": bias.tolist()}


def schedule(name: str, keywords: dict[str, Any]) -> list[float]:
    """The learning rate of every step, and of some after the end."""
    steps = torch.optim.AdamW([torch.zeros(2, requires_grad=True)], lr=0.01)
    scheduler = get_scheduler(name, steps, 10, 100, keywords)
    rates = []
    for _ in range(cases.STEPS + 10):
        rates.append(scheduler.get_last_lr()[0])
        steps.step()
        scheduler.step()
    return rates


def following(make: Any, keywords: dict[str, Any], metrics: list[float]) -> list[float]:
    """The learning rate after every metric."""
    steps = torch.optim.AdamW([torch.zeros(2, requires_grad=True)], lr=0.01)
    scheduler = make(steps, **keywords)
    rates = []
    for metric in metrics:
        scheduler.step(metric)
        rates.append(steps.param_groups[0]["lr"])
    return rates


def trained(case: curve_cases.Curve, callbacks: list[Any] | None = None) -> hf.Trainer:
    fields = dict(case.config)
    config = hf.AutoConfig.for_model(fields.pop("model_type"), **fields)
    model = getattr(hf, case.model)(config)
    parameters = dict(model.named_parameters())
    drawn = case.weights({name: tuple(value.shape) for name, value in parameters.items()})
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(torch.tensor(drawn[name]))
    with tempfile.TemporaryDirectory() as folder:
        args = hf.TrainingArguments(folder, report_to="none", **case.arguments)
        data = {"train_dataset": case.examples(), "eval_dataset": case.examples()[:6]}
        trainer = hf.Trainer(model, args, callbacks=callbacks, **data)
        trainer.train()
    return trainer


def curve(case: curve_cases.Curve) -> dict[str, list[float]]:
    """The loss, the length of the gradients and the learning rate of every step."""
    trainer = trained(case)
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    return {name: [entry[name] for entry in steps] for name in ("loss", "grad_norm", "learning_rate")}


def events(case: curve_cases.Curve) -> list[Any]:
    """The events of a training."""
    recorder = curve_cases.recorder(hf.TrainerCallback)
    trained(case, [recorder])
    return recorder.events


def write(name: str, record: dict[str, Any]) -> None:
    """One line for each case."""
    cases.FIXTURES.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
    (cases.FIXTURES / name).write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    write(
        "optimizers.json",
        {
            **{f"optimizer/{name}": optimizer(*case) for name, case in cases.OPTIMIZERS.items()},
            **{f"schedule/{name}": schedule(*case) for name, case in cases.SCHEDULES.items()},
            **{
                f"plateau/{name}": following(ReduceLROnPlateau, keywords, cases.METRICS)
                for name, keywords in cases.PLATEAUS.items()
            },
            **{
                f"greedy/{name}": following(GreedyLR, keywords, 2 * cases.METRICS)
                for name, keywords in cases.GREEDY.items()
            },
        },
    )
    write("curves.json", {case.name: curve(case) for case in curve_cases.CURVES})
    write("events.json", {case.name: events(case) for case in (curve_cases.EVENTS, curve_cases.EPOCHS)})


if __name__ == "__main__":
    main()
