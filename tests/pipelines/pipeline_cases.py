"""The pipelines' fixtures: tiny checkpoints with real tokenizers, and what is asked of them.

A checkpoint is a configuration, a tokenizer of fixtures/pipelines and weights that are drawn from their
names, so that transformers and we can both open it. `reference/pipelines.py` records transformers' answers.
"""

import functools
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors_file
import trustformers
from drawn_weights import draw_all

FIXTURES = Path(__file__).parent.parent / "fixtures" / "pipelines"
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
LABELS = {"id2label": {"0": "negative", "1": "neutral", "2": "positive"}, "problem_type": None}
ENTAILMENT = {"id2label": {"0": "contradiction", "1": "neutral", "2": "entailment"}}
ENTITIES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
NAMES = {"id2label": {str(index): entity for index, entity in enumerate(ENTITIES)}}


@dataclass(frozen=True)
class Checkpoint:
    """A class of model, a tokenizer, and the configuration's fields."""

    name: str
    model: str
    tokenizer: str
    config: dict[str, Any] = field(hash=False)

    @functools.cached_property
    def folder(self) -> Path:
        """A folder with all of it, written once."""
        folder = Path(tempfile.mkdtemp(prefix="trustformers-")) / self.name
        shutil.copytree(FIXTURES / self.tokenizer, folder)
        tokenizer = trustformers.AutoTokenizer.from_pretrained(folder)
        fields = {"vocab_size": len(tokenizer), "architectures": [self.model], **self.config}
        if "id2label" in fields:
            fields["label2id"] = {label: int(index) for index, label in fields["id2label"].items()}
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            fields.setdefault(name, getattr(tokenizer, name))
        (folder / "config.json").write_text(json.dumps(fields))
        model_class = getattr(trustformers, self.model)
        model = model_class(trustformers.AutoConfig.from_pretrained(folder))
        shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
        safetensors_file.write(folder / "model.safetensors", draw_all(self.name, shapes))
        return folder


def bert(name: str, model: str, **config: Any) -> Checkpoint:
    fields = {"model_type": "bert", "max_position_embeddings": 128, **SMALL, **config}
    return Checkpoint(name, model, "wordpiece", fields)


def roberta(name: str, model: str, **config: Any) -> Checkpoint:
    fields = {
        "model_type": "roberta",
        "max_position_embeddings": 130,
        "type_vocab_size": 1,
        **SMALL,
        **config,
    }
    return Checkpoint(name, model, "roberta", fields)


def gpt2(name: str, model: str, **config: Any) -> Checkpoint:
    fields = {"model_type": "gpt2", "n_positions": 256, "n_embd": 32, "n_layer": 2, "n_head": 4, **config}
    return Checkpoint(name, model, "gpt2", fields)


def unigram_bert(name: str, model: str, **config: Any) -> Checkpoint:
    """A BERT whose tokenizer knows words by the spaces before them, as those of many languages do."""
    return replace(bert(name, model, **config), tokenizer="unigram")


def t5(name: str, **config: Any) -> Checkpoint:
    fields = {"model_type": "t5", "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    fields |= {"decoder_start_token_id": 0, **config}
    return Checkpoint(name, "T5ForConditionalGeneration", "unigram", fields)


def bart(name: str, **config: Any) -> Checkpoint:
    fields = {"model_type": "bart", "d_model": 32, "max_position_embeddings": 128, "forced_eos_token_id": 2}
    for half in ("encoder", "decoder"):
        fields |= {f"{half}_layers": 2, f"{half}_attention_heads": 4, f"{half}_ffn_dim": 48}
    fields |= {"decoder_start_token_id": 2, **config}
    return Checkpoint(name, "BartForConditionalGeneration", "roberta", fields)


#: What T5's configuration says about tasks, without lengths.
TASKS = {
    "summarization": {"prefix": "Summarize: ", "num_beams": 3, "length_penalty": 2.0, "min_length": 4},
    "translation_en_to_de": {"prefix": "Translate it to German. ", "num_beams": 2, "no_repeat_ngram_size": 2},
}


CHECKPOINTS = {
    one.name: one
    for one in (
        bert("labels", "BertForSequenceClassification", **LABELS),
        bert("stars", "BertForSequenceClassification", problem_type="regression", id2label={"0": "stars"}),
        bert("one-label", "BertForSequenceClassification", id2label={"0": "relevant"}),
        bert(
            "multi-label",
            "BertForSequenceClassification",
            **{**LABELS, "problem_type": "multi_label_classification"},
        ),
        gpt2("decoder-labels", "GPT2ForSequenceClassification", **LABELS),
        bert("features", "BertModel"),
        gpt2("decoder-features", "GPT2Model"),
        bert("masks", "BertForMaskedLM"),
        roberta("byte-masks", "RobertaForMaskedLM"),
        bert("entailment", "BertForSequenceClassification", **ENTAILMENT),
        gpt2("decoder-entailment", "GPT2ForSequenceClassification", **ENTAILMENT),
        gpt2("writer", "GPT2LMHeadModel"),
        gpt2("prefixed-writer", "GPT2LMHeadModel", prefix="Once upon a time "),
        t5("t5", task_specific_params=TASKS),
        bart("bart", max_length=12, num_beams=2, no_repeat_ngram_size=3),
        bert("entities", "BertForTokenClassification", **NAMES),
        roberta("byte-entities", "RobertaForTokenClassification", **NAMES),
        unigram_bert("unigram-entities", "BertForTokenClassification", **NAMES),
        gpt2("decoder-entities", "GPT2ForTokenClassification", **NAMES),
        bert("answers", "BertForQuestionAnswering"),
        roberta("byte-answers", "RobertaForQuestionAnswering"),
        unigram_bert("unigram-answers", "BertForQuestionAnswering"),
    )
}

TEXTS = [
    "The committee met in New York on Friday.",
    "A short one.",
    "Maria and Hans Müller live in Berlin, near the river; they like it there.",
    "",
    "It is raining again, and nobody has an umbrella! What shall we do? Wait until it stops, I suppose.",
]
PAIR = {"text": "The river is long.", "text_pair": "It is a very long river."}


@dataclass(frozen=True)
class Case:
    """A pipeline of a checkpoint, made with some keywords, called with an input and others."""

    task: str
    checkpoint: str
    inputs: Any
    call: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        keywords = {**self.made, **self.call}
        said = ",".join(f"{key}={value}" for key, value in keywords.items())
        inputs = zlib.crc32(json.dumps(self.inputs).encode()) & 0xFFFF
        return f"{self.task}/{self.checkpoint}/{type(self.inputs).__name__}-{inputs:04x}/{said}"


def text_classification() -> Iterator[Case]:
    for checkpoint in ("labels", "stars", "one-label", "multi-label", "decoder-labels"):
        # Without special tokens an empty text has nothing to classify.
        texts = [text for text in TEXTS if text] if checkpoint == "decoder-labels" else TEXTS
        yield Case("text-classification", checkpoint, texts)
        yield Case("text-classification", checkpoint, texts[0])
        yield Case("text-classification", checkpoint, texts, {"top_k": None})
    for keywords in ({"top_k": 2}, {"top_k": 1}, {"function_to_apply": "none", "top_k": None}):
        yield Case("text-classification", "labels", TEXTS[0], keywords)
        yield Case("text-classification", "labels", TEXTS, {}, keywords)
    yield Case("sentiment-analysis", "labels", TEXTS, {"function_to_apply": "sigmoid"})
    yield Case("text-classification", "labels", PAIR)
    yield Case("text-classification", "labels", [PAIR, PAIR], {"top_k": 2})
    yield Case("text-classification", "labels", [[["one text", "another"]]])
    yield Case("text-classification", "labels", TEXTS, {"truncation": True, "max_length": 6})
    yield Case("text-classification", "labels", TEXTS, {"batch_size": 3, "top_k": None})


def feature_extraction() -> Iterator[Case]:
    yield Case("feature-extraction", "features", TEXTS)
    yield Case("feature-extraction", "features", TEXTS[0])
    yield Case(
        "feature-extraction", "features", TEXTS[2], {"truncation": True, "tokenize_kwargs": {"max_length": 5}}
    )
    yield Case("feature-extraction", "decoder-features", TEXTS[:3])
    yield Case("feature-extraction", "labels", TEXTS[:3])


def fill_mask() -> Iterator[Case]:
    for checkpoint, mask in (("masks", "[MASK]"), ("byte-masks", "<mask>")):
        texts = [f"The {mask} met in New York.", f"{mask} live in Berlin", f"A {mask} and a {mask}."]
        for text in (*texts, texts, [texts[0]]):
            yield Case("fill-mask", checkpoint, text)
            yield Case("fill-mask", checkpoint, text, {"top_k": 2})
        yield Case("fill-mask", checkpoint, texts, {"targets": ["river", "Paris", "a", "quickly"]})
        yield Case("fill-mask", checkpoint, texts[0], {"targets": "king", "top_k": 3}, {"top_k": 1})
        truncated = {"tokenizer_kwargs": {"truncation": True, "max_length": 8}}
        yield Case("fill-mask", checkpoint, texts, truncated)


def zero_shot_classification() -> Iterator[Case]:
    task = "zero-shot-classification"
    texts = [text for text in TEXTS if text]
    for checkpoint in ("entailment", "decoder-entailment", "labels"):
        yield Case(task, checkpoint, texts, {"candidate_labels": ["politics", "the weather", "rivers"]})
        yield Case(task, checkpoint, texts[0], {"candidate_labels": "politics, sports ,"})
        yield Case(task, checkpoint, texts[0], {"candidate_labels": "music"})
        yield Case(task, checkpoint, texts, {"candidate_labels": ["one", "two"], "multi_label": True})
    template = {"hypothesis_template": "It is about {}, is it?", "candidate_labels": ["rivers", "kings"]}
    yield Case(task, "entailment", texts, {}, template)
    yield Case(task, "entailment", " ".join(texts * 9), template)


QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
CHATS = [
    QUESTION,
    [{"role": "system", "content": "Be short."}, *QUESTION],
    [*QUESTION, {"role": "assistant", "content": "The capital of"}],
]


def text_generation() -> Iterator[Case]:
    task, short = "text-generation", {"max_new_tokens": 8, "do_sample": False}
    for texts in (TEXTS, TEXTS[0], TEXTS[3], CHATS, CHATS[1], CHATS[2]):
        yield Case(task, "writer", texts, short)
        yield Case(task, "writer", texts, {"return_full_text": False, "skip_special_tokens": False, **short})
        yield Case(task, "writer", texts, {"return_tensors": True}, short)
    for keywords in (
        {"prefix": "The quick brown fox "},
        {"prefix": "The quick brown fox ", "max_length": 70},
        {"max_length": 80},
        {"truncation": True, "max_length": 12, "max_new_tokens": 8},
        {"handle_long_generation": "hole", "max_new_tokens": 110},
        {"stop_sequence": "e"},
        {"stop_sequence": ["er", " "], "return_full_text": False},
        {"num_beams": 3, "num_return_sequences": 2},
        {"num_beams": 3, "num_return_sequences": 3, "return_tensors": True},
        {"add_special_tokens": True, "padding": "max_length", "tokenizer_encode_kwargs": {"max_length": 60}},
        {"tokenizer_encode_kwargs": {"truncation": True, "max_length": 5}},
        {"clean_up_tokenization_spaces": True},
        {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "min_new_tokens": 4},
    ):
        texts = [text for text in TEXTS if text]
        call = {**({"do_sample": False} if "max_length" in keywords else short), **keywords}
        yield Case(task, "writer", texts, call)
        yield Case(task, "writer", texts[0], call)
    yield Case(task, "writer", CHATS[2], {**short, "continue_final_message": False})
    yield Case(task, "writer", CHATS[0], {**short, "continue_final_message": True})
    yield Case(task, "prefixed-writer", TEXTS, short)
    scores = {
        "return_dict_in_generate": True,
        "output_scores": True,
        "num_beams": 2,
        "num_return_sequences": 2,
    }
    yield Case(task, "writer", TEXTS[1], {**short, **scores, "max_new_tokens": 2})


def text2text_generation() -> Iterator[Case]:
    short = {"max_new_tokens": 8}
    for checkpoint in ("t5", "bart"):
        for task in ("text2text-generation", "summarization", "translation", "translation_en_to_de"):
            yield Case(task, checkpoint, TEXTS, short)
            yield Case(task, checkpoint, TEXTS[0], short)
            yield Case(task, checkpoint, TEXTS, {"return_tensors": True, **short})
            yield Case(task, checkpoint, TEXTS, {"num_beams": 1}, short)
            yield Case(task, checkpoint, TEXTS, {}, {"num_beams": 1 if checkpoint == "t5" else 3, **short})
            yield Case(task, checkpoint, TEXTS, {"num_return_sequences": 2, **short})
            yield Case(task, checkpoint, TEXTS[2], {"clean_up_tokenization_spaces": True, **short})
    for task in ("summarization", "translation"):
        yield Case(task, "bart", TEXTS, {"truncation": True})
        yield Case(task, "bart", TEXTS[0], {"max_length": 6, "min_length": 5})
        yield Case(task, "bart", TEXTS[0], {"stop_sequence": "t", "max_length": 20})


#: Texts with what is no plain word: accents of both kinds, emoji, other scripts, special tokens.
UNUSUAL = [
    "Zoë Müller, naïve re\u0301sume\u0301 in München.",
    "\U0001f600 in \u6771\u4eac, Москва and New\u00a0York\u200b!  \n\tO'Neil's U.S.A. 3.14",
    "Maria [MASK] lives </s> in [SEP] Berlin",
]
LONG = " ".join([*TEXTS, *UNUSUAL] * 2)
STRATEGIES = ("none", "simple", "first", "average", "max")


def token_classification() -> Iterator[Case]:
    task = "token-classification"
    for checkpoint in ("entities", "byte-entities", "unigram-entities", "decoder-entities"):
        # Without special tokens an empty text has nothing to label.
        texts = [text for text in (*TEXTS[2:4], *UNUSUAL) if text or checkpoint != "decoder-entities"]
        yield Case(task, checkpoint, texts)
        for strategy in STRATEGIES:
            yield Case(task, checkpoint, texts, {"aggregation_strategy": strategy, "ignore_labels": []})
        for strategy in STRATEGIES[1:]:
            yield Case(task, checkpoint, [LONG, TEXTS[1]], {"stride": 20, "aggregation_strategy": strategy})
        yield Case(task, checkpoint, [text.split() for text in texts], {"is_split_into_words": True})
        joined = {"is_split_into_words": True, "delimiter": "_", "aggregation_strategy": "first"}
        yield Case(task, checkpoint, [TEXTS[2].split()], joined)
        yield Case(task, checkpoint, [LONG.split()], {**joined, "stride": 11})
    yield Case(
        "ner", "entities", TEXTS[2], {"ignore_labels": ["PER", "B-LOC"]}, {"aggregation_strategy": "max"}
    )
    yield Case("ner", "entities", TEXTS[2], {}, {"stride": 3, "aggregation_strategy": "average"})
    spread = [(3 * index, 3 * index + 2) for index in range(40)]
    yield Case("ner", "entities", TEXTS[2], {"offset_mapping": spread, "aggregation_strategy": "simple"})


QUESTIONS = ["Where do they live?", "Who has an umbrella?", "What is \u6771\u4eac?"]


def question_answering() -> Iterator[Case]:
    task = "question-answering"
    short = [text for text in TEXTS if text]
    for checkpoint in ("answers", "byte-answers", "unigram-answers"):
        several = [{"question": q, "context": c} for q in QUESTIONS[:2] for c in (*short, *UNUSUAL)]
        one, long = (
            {"question": QUESTIONS[0], "context": short[2]},
            {"question": QUESTIONS[2], "context": LONG},
        )
        yield Case(task, checkpoint, several)
        yield Case(task, checkpoint, one)
        yield Case(task, checkpoint, [one])
        for keywords in (
            {"top_k": 4},
            {"align_to_words": False},
            {"align_to_words": False, "top_k": 3},
            {"max_answer_len": 2, "top_k": 2},
            {"handle_impossible_answer": True, "top_k": 3},
        ):
            yield Case(task, checkpoint, several[:5], keywords)
            yield Case(task, checkpoint, [one, long], keywords)
        for keywords in (
            {"max_seq_len": 60},
            {"max_seq_len": 60, "doc_stride": 20, "top_k": 3},
            {"doc_stride": 7, "handle_impossible_answer": True},
            {"padding": "max_length"},
        ):
            yield Case(task, checkpoint, [one, long], keywords)
            yield Case(task, checkpoint, long, {}, keywords)


#: The cases by the release of transformers that is asked: the newest, or the last that had the task.
CASES = {
    "5": [
        *text_classification(),
        *feature_extraction(),
        *fill_mask(),
        *zero_shot_classification(),
        *text_generation(),
        *token_classification(),
    ],
    "4": [*text2text_generation(), *question_answering()],
}
