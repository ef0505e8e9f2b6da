"""Record what transformers' pipelines answer.

    PYTHONPATH=tests:tests/pipelines python -m reference.pipelines

It writes tests/fixtures/pipelines: tokenizers, if they are not there, and `answers-5.json` or
`answers-4.json`, as transformers is: 5 for the tasks that it has, 4.57 for those that 5 has removed.
"""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from pipeline_cases import CASES, CHECKPOINTS, FIXTURES
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

#: What the tokenizers are trained on.
LINES = [
    "The committee met in New York on Friday. Nobody has an umbrella, and it is raining again!",
    "Maria and Hans Müller live in Berlin, near the river; they like it there, I suppose.",
    "What is the capital of France? The capital of France is Paris. Who wrote this? Translate it to German.",
    "This example is about politics, sports, science or music. Summarize: once upon a time there was a king.",
    "A short one. Two short ones. The quick brown fox jumps over the lazy dog near the river bank.",
    "Question answering over long documents needs several windows, each with some of the words of the last.",
]


def wordpiece() -> tuple[Tokenizer, dict[str, Any]]:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(LINES, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    config = dict(zip(names, special, strict=True))
    return tokenizer, {**config, "tokenizer_class": "BertTokenizer", "do_lower_case": False}


def byte_level(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def roberta() -> tuple[Tokenizer, dict[str, Any]]:
    tokenizer = byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    config = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    return tokenizer, {**config, "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}


def gpt2() -> tuple[Tokenizer, dict[str, Any]]:
    template = (
        "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant] {% endif %}"
    )
    config = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "<|endoftext|>")
    return byte_level(["<|endoftext|>"]), {**config, "chat_template": template}


def unigram() -> tuple[Tokenizer, dict[str, Any]]:
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=250, special_tokens=special, unk_token="<unk>")
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])
    return tokenizer, {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def write_tokenizers() -> None:
    for name, make in {"wordpiece": wordpiece, "roberta": roberta, "gpt2": gpt2, "unigram": unigram}.items():
        folder = FIXTURES / name
        if folder.exists():
            continue
        folder.mkdir(parents=True)
        tokenizer, config = make()
        tokenizer.save(str(folder / "tokenizer.json"))
        # transformers 4 would add token types, which 5 does not.
        inputs = {} if "tokenizer_class" in config else {"model_input_names": ["input_ids", "attention_mask"]}
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 128, **inputs, **config}
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def plain(answer: Any) -> Any:
    """An answer as JSON has it."""
    if isinstance(answer, dict):
        return {key: plain(value) for key, value in answer.items()}
    if isinstance(answer, (list, tuple)):
        return [plain(value) for value in answer]
    if isinstance(answer, torch.Tensor):
        return answer.tolist()
    return answer.item() if isinstance(answer, np.generic) else answer


def main() -> None:
    write_tokenizers()
    release = hf.__version__.split(".")[0]
    lines = []
    for case in CASES[release]:
        folder = str(CHECKPOINTS[case.checkpoint].folder)
        pipe = hf.pipeline(case.task, model=folder, device="cpu", **copy.deepcopy(case.made))
        answer = plain(pipe(copy.deepcopy(case.inputs), **copy.deepcopy(case.call)))
        lines.append(f"{json.dumps(case.name)}: {json.dumps(answer, ensure_ascii=False)}")
    path = Path(FIXTURES / f"answers-{release}.json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{path.name}: {len(lines)} answers of transformers {hf.__version__}")


if __name__ == "__main__":
    main()
