"""What trainings are asked to do, the same way for both libraries. There is no dropout in any of them."""

import logging
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline_workloads import sentences

BERT = "BERT-base, a step of 8x128"
GPT2 = "GPT-2 small, a step of 4x256"
LORA = "BERT-base LoRA, a step of 8x128"
MINILM = "MiniLM, 64 texts to a checkpoint"
TINY = "a tiny model"
STEPS = (BERT, GPT2, LORA)

_NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


class Trainings:
    """The trainings of a library, of which one is in memory at a time."""

    def __init__(self, library: Any, settings: dict, steps: Any, peft: Any) -> None:
        """`steps` has `tensor` of an array and `optimizer` of parameters; `peft` may be missing."""
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        self.library, self.settings, self.steps, self.peft = library, settings, steps, peft
        self.current: tuple[str, Callable[[], object]] | None = None

    def calls(self) -> dict[str, Callable[[], object]]:
        names = [name for name in (BERT, GPT2, LORA, MINILM) if name != LORA or self.peft is not None]
        return {name: (lambda name=name: self.run(name)) for name in names}

    def run(self, name: str) -> object:
        if self.current is None or self.current[0] != name:
            self.current = None
            self.current = name, self.made(name)
        return self.current[1]()

    def made(self, name: str) -> Callable[[], object]:
        library, drawn = self.library, np.random.default_rng(0)
        if name == MINILM:
            return self.fine_tuning()
        if name == GPT2:
            config = library.GPT2Config(embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)
            ids = drawn.integers(0, config.vocab_size, (4, 256))
            return self.step(library.GPT2LMHeadModel(config), {"input_ids": ids, "labels": ids})
        if name == TINY:
            sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
            config = library.BertConfig(**sizes, intermediate_size=32, **_NO_DROPOUT)
            shape = (4, 8)
        else:
            config, shape = library.BertConfig(**_NO_DROPOUT), (8, 128)
        model = library.BertForSequenceClassification(config)
        if name == LORA:
            model = self.peft.get_peft_model(model, self.peft.LoraConfig(task_type="SEQ_CLS"))
        ids = drawn.integers(0, config.vocab_size, shape)
        return self.step(model, {"input_ids": ids, "labels": drawn.integers(0, 2, shape[0])}, name == LORA)

    def step(
        self, model: Any, arrays: dict[str, np.ndarray], is_partly: bool = False
    ) -> Callable[[], object]:
        """A whole step: forward, backward, AdamW."""
        model.train()
        batch = {name: self.steps.tensor(array) for name, array in arrays.items()}
        parameters = [p for p in model.parameters() if p.requires_grad or not is_partly]
        for parameter in parameters:
            parameter.requires_grad_()
        optimizer = self.steps.optimizer(parameters)

        def run() -> float:
            loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss.item()

        return run

    def fine_tuning(self) -> Callable[[], object]:
        """Texts to a checkpoint, by the Trainer: tokenizing, opening, one epoch, saving."""
        library, minilm = self.library, self.settings["minilm"]
        texts = sentences(64, 3)

        def run() -> float:
            tokenizer = library.AutoTokenizer.from_pretrained(minilm)
            rows = tokenizer(texts, truncation=True, max_length=128)["input_ids"]
            data = [{"input_ids": row, "labels": number % 2} for number, row in enumerate(rows)]
            model = library.BertForSequenceClassification.from_pretrained(minilm, **_NO_DROPOUT)
            with tempfile.TemporaryDirectory() as folder:
                args = library.TrainingArguments(
                    folder,
                    num_train_epochs=1,
                    per_device_train_batch_size=16,
                    save_strategy="epoch",
                    report_to="none",
                    disable_tqdm=True,
                    logging_strategy="no",
                    use_cpu=True,
                )
                trainer = library.Trainer(model, args, train_dataset=data, processing_class=tokenizer)
                return trainer.train().training_loss

        return run
