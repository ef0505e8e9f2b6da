"""Record what peft's adapters do in transformers' Trainer, and how peft saves them.

    PYTHONPATH=tests:tests/training python -m reference.adapters

It writes tests/fixtures/training/adapters.
"""

import json
import tempfile
from typing import Any

import adapter_cases
import peft
import torch
import transformers as hf

from reference.training import built


def trained(case: adapter_cases.Adapted) -> dict[str, Any]:
    """The loss of every step, what is counted, and the logits of the trained model; its adapter is saved."""
    model = peft.get_peft_model(built(case), peft.LoraConfig(**case.lora))
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in case.drawn({n: tuple(p.shape) for n, p in parameters.items()}).items():
            parameters[name].copy_(torch.tensor(value))
    with tempfile.TemporaryDirectory() as folder:
        args = hf.TrainingArguments(folder, report_to="none", **case.arguments)
        trainer = hf.Trainer(model, args, train_dataset=case.examples())
        trainer.train()
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    case.folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(case.folder)
    (case.folder / "README.md").unlink()
    with torch.no_grad():
        logits = model.eval()(input_ids=torch.tensor(case.ids)).logits
    return {
        "loss": [entry["loss"] for entry in steps],
        "grad_norm": [entry["grad_norm"] for entry in steps],
        "names": [name for name, _ in model.named_parameters()],
        "count": model.get_nb_trainable_parameters(),
        "logits": logits.tolist(),
    }


def main() -> None:
    record = {case.name: trained(case) for case in adapter_cases.CASES}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
    (adapter_cases.FIXTURES / "adapters.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
