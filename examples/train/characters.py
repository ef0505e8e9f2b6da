"""Write about Python character by character: a small GPT, trained from nothing on the language's reference.

    python examples/train/characters.py

The text is what `help()` has of the reference (`pydoc_data.topics`, some 700,000 characters); its last tenth
is held out.
"""

import argparse
import json
import math
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import curves
import numpy as np

import trustformers as tf

LENGTH = 128
PROMPTS = ["The ", "class ", "An object is "]


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Train, say how well it does on what it has not seen, and let it write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--max-steps", type=int, default=1200)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--characters", type=int, default=None, help="how much of the text is used")
    parser.add_argument(
        "--output", type=Path, default=Path("characters"), help="the folder that is written to"
    )
    options = parser.parse_args(argv)

    tf.set_seed(0)
    text = "\n".join(topics[name] for name in sorted(topics))[: options.characters]
    options.output.mkdir(parents=True, exist_ok=True)
    tokenizer = by_character(text, options.output)
    ids = np.asarray(tokenizer(text)["input_ids"])
    train, held_out = np.split(ids, [len(ids) * 9 // 10])
    print(
        f"{len(train):,} characters to train on, {len(held_out):,} held out; {len(tokenizer)} different ones"
    )
    config = tf.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=LENGTH,
        n_embd=options.width,
        n_layer=options.layers,
        n_head=4,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = tf.GPT2LMHeadModel(config, seed=0)
    args = tf.TrainingArguments(
        str(options.output),
        max_steps=options.max_steps,
        per_device_train_batch_size=16,
        per_device_eval_batch_size=16,
        learning_rate=3e-3,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        weight_decay=0.1,
        adam_beta2=0.99,
        logging_steps=20,
        eval_strategy="steps",
        eval_steps=0.1,
        save_strategy="no",
    )
    # Windows overlap by half, so that no character is always at an edge.
    trainer = tf.Trainer(
        model,
        args,
        data_collator=tf.default_data_collator,
        train_dataset=windows(train, LENGTH // 2),
        eval_dataset=windows(held_out, LENGTH),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model()
    metrics = trainer.evaluate()
    bits = metrics["eval_loss"] / math.log(2)
    print(
        f"{bits:.2f} bits a character on what it has not seen (drawn evenly: {math.log2(len(tokenizer)):.2f})"
    )
    curves.draw(trainer.state.log_history, options.output / "loss.png", "A GPT of characters")

    write = tf.pipeline("text-generation", model=str(options.output), tokenizer=str(options.output))
    for prompt in PROMPTS:
        written = write(
            prompt, max_new_tokens=LENGTH - len(prompt), do_sample=True, temperature=0.7, top_k=20
        )
        print("-" * 80, written[0]["generated_text"], sep="\n")
    return metrics


def by_character(text: str, folder: Path) -> Any:
    """A tokenizer that has a number for each character of a text."""
    vocabulary = {character: number for number, character in enumerate(["�", *sorted(set(text))])}
    file = {
        "version": "1.0",
        "added_tokens": [],
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "�"},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": r"[\s\S]"},
            "behavior": "Isolated",
            "invert": False,
        },
        "decoder": {"type": "Fuse"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(file), encoding="utf-8")
    path = str(folder / "tokenizer.json")
    return tf.PreTrainedTokenizerFast(tokenizer_file=path, clean_up_tokenization_spaces=False)


def windows(ids: np.ndarray, step: int) -> list[dict[str, np.ndarray]]:
    """Pieces of a text; every character but the first of a piece is to be predicted."""
    starts = range(0, len(ids) - LENGTH + 1, step)
    return [
        {"input_ids": ids[start : start + LENGTH], "labels": ids[start : start + LENGTH]} for start in starts
    ]


if __name__ == "__main__":
    main()
