"""Write the files of tests/fixtures/gguf: tiny random models as llama.cpp has them.

    PYTHONPATH=tests python -m reference.gguf_files            # all of them
    PYTHONPATH=tests python -m reference.gguf_files llama      # those whose folder starts so

It needs `transformers` 5, `torch` and `gguf`. A fixture is a folder with `model.gguf` and
`cases.safetensors`: `input_ids` and `logits`, which transformers computes with the numbers that the blocks
stand for, so they are exact but for rounding, and `text/<number>`, the ids that transformers' tokenizer of
the file gives for TEXTS. Where transformers reads such models itself, its own loading must give the same.

What is done to the tensors on the way is what llama.cpp's convert_hf_to_gguf.py does, and their names are
those of its package `gguf`.
"""

import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers as hf
from gguf import GGMLQuantizationType as Kind

import safetensors_file
from drawn_weights import draw, evenly

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "gguf"
TEXTS = ("Hello world", "  two  spaces, and 1234 digits!", "déjà vu <|end|>你好", "hello <tool>and", "")
#: Tokens that byte-level BPE makes of two, and the pieces of a SentencePiece vocabulary.
MERGES = "h e,l l,he ll,hell o,Ġ w,o r,Ġw or,l d,Ġ Ġ,1 2,12 3,a n,Ġ an,Ġan d"
PIECES = "▁ e l o h H w r d t s a n c p , ! el lo ello Hello ▁w or ld orld ▁world ▁▁ an ▁Hello and ▁and sp"
#: Ways to split texts that transformers does not know: llama.cpp says what is right.
UNKNOWN_SPLITS = ("smollm", "bloom", "falcon")
BASIC = (Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1, Kind.Q8_0)
K = (Kind.Q2_K, Kind.Q3_K, Kind.Q4_K, Kind.Q5_K, Kind.Q6_K)
LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 40,
    "rms_norm_eps": 1e-3,
    "rope_theta": 500.0,
}
NO_RMS = {key: value for key, value in LLAMA.items() if key != "rms_norm_eps"}
FALCON = {"model_type": "falcon", "layer_norm_epsilon": 1e-3, "ffn_hidden_size": 64, **NO_RMS}
GEMMA = LLAMA | {"head_dim": 16, "num_attention_heads": 2, "num_key_value_heads": 1}


@dataclass(frozen=True)
class Row:
    folder: str
    config: dict[str, Any]
    arch: str = ""
    """llama.cpp's name, if it is not ours."""
    kinds: tuple[Kind, ...] = BASIC
    """How matrices are stored, in turn."""
    tokenizer: str = "gpt2"
    pre: str = "gpt-2"
    untied: bool = True
    metadata: dict[str, Any] = field(default_factory=dict)
    read_by_transformers: bool = True
    split: int = 0
    """How many tensors a file may hold, if there shall be several."""


ROWS = [
    Row("llama", {"model_type": "llama"} | LLAMA, pre="smollm"),
    Row("llama-tied", {"model_type": "llama"} | LLAMA, tokenizer="llama", untied=False),
    Row(
        "llama-halves",
        {"model_type": "llama"} | LLAMA,
        kinds=(Kind.F16, Kind.BF16, Kind.F32),
        pre="llama-bpe",
    ),
    Row("llama-split", {"model_type": "llama"} | LLAMA, split=8, read_by_transformers=False),
    # With its queries in blocks and its keys in numbers.
    Row("llama-mixed", {"model_type": "llama"} | LLAMA, kinds=(Kind.Q8_0, Kind.F16)),
    Row(
        "llama-k",
        {"model_type": "llama"}
        | LLAMA
        | {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1, "head_dim": 8},
        kinds=K,
    ),
    Row(
        "llama-scaled",
        {"model_type": "llama"}
        | LLAMA
        | {
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        },
        read_by_transformers=False,
    ),
    Row(
        "mixtral",
        {"model_type": "mixtral", "num_local_experts": 3, "num_experts_per_tok": 2} | LLAMA,
        arch="llama",
        read_by_transformers=False,
    ),
    Row("smollm3", {"model_type": "smollm3"} | LLAMA, pre="llama-bpe", read_by_transformers=False),
    Row("qwen2", {"model_type": "qwen2"} | LLAMA, pre="qwen2"),
    Row("qwen3", {"model_type": "qwen3", "head_dim": 16} | LLAMA, pre="qwen2", read_by_transformers=False),
    Row("olmo2", {"model_type": "olmo2"} | LLAMA, pre="dbrx", read_by_transformers=False),
    Row(
        "gemma", {"model_type": "gemma"} | GEMMA, tokenizer="llama", untied=False, read_by_transformers=False
    ),
    Row(
        "gemma2",
        {"model_type": "gemma2", "sliding_window": 4, "query_pre_attn_scalar": 16} | GEMMA,
        tokenizer="llama",
        untied=False,
        metadata={"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
        read_by_transformers=False,
    ),
    Row(
        "gemma3",
        {"model_type": "gemma3_text", "sliding_window": 4, "query_pre_attn_scalar": 16}
        | {key: value for key, value in GEMMA.items() if key != "rope_theta"},
        arch="gemma3",
        tokenizer="llama",
        untied=False,
        read_by_transformers=False,
    ),
    Row(
        "phi3",
        {"model_type": "phi3", "sliding_window": 3} | LLAMA,
        tokenizer="llama",
        read_by_transformers=False,
    ),
    Row(
        "stablelm",
        {"model_type": "stablelm", "use_qkv_bias": True, "layer_norm_eps": 1e-3, "partial_rotary_factor": 0.5}
        | NO_RMS,
        read_by_transformers=False,
    ),
    Row(
        "phi2",
        {"model_type": "phi", "layer_norm_eps": 1e-3, "partial_rotary_factor": 0.5} | NO_RMS,
        pre="phi-2",
        read_by_transformers=False,
    ),
    Row(
        "gptneox",
        {
            "model_type": "gpt_neox",
            "layer_norm_eps": 1e-3,
            "rotary_pct": 0.5,
            "rotary_emb_base": 500.0,
            "use_parallel_residual": False,
        }
        | {key: value for key, value in NO_RMS.items() if key not in ("rope_theta", "num_key_value_heads")},
        read_by_transformers=False,
    ),
    Row(
        "bloom",
        {"model_type": "bloom", "hidden_size": 32, "n_layer": 2, "n_head": 4, "layer_norm_epsilon": 1e-3},
        pre="bloom",
    ),
    # One key for all heads, and a norm for both halves of a layer.
    Row(
        "falcon",
        FALCON | {"num_kv_heads": 1},
        pre="falcon",
        untied=False,
        # It reads another norm's epsilon.
        read_by_transformers=False,
    ),
    # A key for each group of heads, and a norm for each half.
    Row(
        "falcon-new",
        FALCON | {"num_kv_heads": 2, "new_decoder_architecture": True},
        pre="falcon",
        untied=False,
        read_by_transformers=False,
    ),
    Row(
        "gpt2",
        {
            "model_type": "gpt2",
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 40,
            "layer_norm_epsilon": 1e-3,
        },
        untied=False,
        # It takes the context for another field.
        read_by_transformers=False,
    ),
]


def bytes_to_unicode() -> list[str]:
    """GPT-2's spelling of the bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in kept else next(others)) for byte in range(256)]


def add_tokenizer(writer: gguf.GGUFWriter, row: Row) -> int:
    """A vocabulary with special tokens, bytes and a few longer tokens; returns its size."""
    control, normal, user, byte, unknown = (
        gguf.TokenType.CONTROL,
        gguf.TokenType.NORMAL,
        gguf.TokenType.USER_DEFINED,
        gguf.TokenType.BYTE,
        gguf.TokenType.UNKNOWN,
    )
    if row.tokenizer == "gpt2":
        merges = MERGES.split(",")
        made = [merge.replace(" ", "") for merge in merges]
        tokens = ["<|start|>", "<|end|>", "<|pad|>", *bytes_to_unicode(), *made, "<tool>"]
        kinds = [control] * 3 + [normal] * (256 + len(made)) + [user]
        writer.add_tokenizer_pre(row.pre)
        writer.add_token_merges(merges)
        scores = None
        bos, eos, pad, unk = 0, 1, 2, None
    else:
        made = PIECES.split(" ")
        if row.folder.startswith("gemma"):
            made = [token.replace("▁", " ") if token.strip("▁") == "" else token for token in made]
        tokens = ["<unk>", "<s>", "</s>", "<|end|>", *(f"<0x{index:02X}>" for index in range(256)), *made]
        kinds = [unknown, control, control, user] + [byte] * 256 + [normal] * len(made)
        scores = [0.0] * 260 + [float(-index) for index in range(len(made))]
        bos, eos, pad, unk = 1, 2, None, 0
        writer.add_token_scores(scores)
        writer.add_add_space_prefix(not row.folder.startswith("gemma"))
    writer.add_tokenizer_model(row.tokenizer)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(bos)
    writer.add_eos_token_id(eos)
    if pad is not None:
        writer.add_pad_token_id(pad)
    if unk is not None:
        writer.add_unk_token_id(unk)
    writer.add_add_bos_token(row.tokenizer == "llama")
    writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    return len(tokens)


def add_config(writer: gguf.GGUFWriter, row: Row, config: Any) -> None:
    arch = row.arch or row.folder.split("-")[0]
    writer.add_context_length(getattr(config, "max_position_embeddings", 40))
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    width = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    writer.add_feed_forward_length(width)
    if hasattr(config, "rms_norm_eps"):
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    else:
        eps = "layer_norm_eps" if hasattr(config, "layer_norm_eps") else "layer_norm_epsilon"
        writer.add_layer_norm_eps(getattr(config, eps))
    if arch in ("gpt2", "bloom"):
        return
    if arch == "gptneox":
        writer.add_parallel_residual(config.use_parallel_residual)
    else:
        writer.add_head_count_kv(keys_of(config))
    parameters = config.rope_parameters
    theta = parameters.get("rope_theta") or parameters["full_attention"]["rope_theta"]
    writer.add_rope_freq_base(theta)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_rope_dimension_count(int(head_dim * parameters.get("partial_rotary_factor", 1.0)))
    if arch in ("llama", "smollm3", "qwen2", "qwen3", "olmo2", "phi3") or arch.startswith("gemma"):
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if getattr(config, "sliding_window", None) is not None and arch in ("gemma2", "gemma3", "phi3"):
        writer.add_sliding_window(config.sliding_window)
    if hasattr(config, "num_local_experts"):
        writer.add_expert_count(config.num_local_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    for key, value in row.metadata.items():
        writer.add_float32(f"{arch}.{key}", value)


def keys_of(config: Any) -> int:
    """The number of heads that keys have."""
    names = ("num_kv_heads", "num_key_value_heads", "num_attention_heads")
    return next(getattr(config, name) for name in names if getattr(config, name, None))


def turned(name: str, array: np.ndarray, arch: str, config: Any, back: bool) -> np.ndarray:
    """What convert_hf_to_gguf.py does to a tensor of transformers, or the way back."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": getattr(config, "num_key_value_heads", None)}
    for part, count in heads.items():
        if arch in ("llama", "smollm3") and f".{part}." in name:
            half = array.shape[0] // count // 2
            parts = (count, half, 2) if back else (count, 2, half)
            return array.reshape(*parts, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
    if "query_key_value" in name:
        # Of each key with its queries and its value, or of all queries, all keys, all values.
        keys, rest = keys_of(config), array.shape[1:]
        group = config.num_attention_heads // keys
        if back:
            parts = np.split(array.reshape(keys * (group + 2), -1, *rest), [keys * group, keys * (group + 1)])
            parts = [part.reshape(keys, -1, *part.shape[1:]) for part in parts]
            return np.concatenate(parts, axis=1).reshape(array.shape)
        parts = np.split(array.reshape(keys, group + 2, -1, *rest), [group, group + 1], axis=1)
        return np.concatenate([part.reshape(-1, *rest) for part in parts])
    if arch.startswith("gemma") and name.endswith("norm.weight"):
        return array - 1 if back else array + 1
    if arch == "gpt2" and name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
        return array.T
    return array


def stored(seed: str, array: np.ndarray, kind: Kind) -> tuple[np.ndarray, Kind]:
    """A matrix as blocks, or as float32 where it cannot be."""
    block, _ = gguf.GGML_QUANT_SIZES[kind]
    if array.ndim < 2 or array.shape[-1] % block:
        kind = Kind.Q8_0 if array.ndim > 1 and array.shape[-1] % 32 == 0 and kind in K else Kind.F32
    if kind in K:
        return random_blocks(seed, array.shape, kind), kind
    return gguf.quants.quantize(np.ascontiguousarray(array, np.float32), kind), kind


def random_blocks(seed: str, shape: tuple[int, ...], kind: Kind) -> np.ndarray:
    """Blocks of the formats that the package only reads: any bytes, with scales of about the right size."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    count = shape[0] * shape[1] // block
    blocks = (evenly(seed, kind.name, count * size, parts=1) * 256).astype(np.uint8).reshape(count, size)
    # Where the half-precision scales of a block are.
    places = {Kind.Q2_K: (80, 82), Kind.Q3_K: (108,), Kind.Q4_K: (0, 2), Kind.Q5_K: (0, 2), Kind.Q6_K: (208,)}
    size_of = {Kind.Q2_K: 2e-3, Kind.Q3_K: 1e-3, Kind.Q4_K: 1e-4, Kind.Q5_K: 5e-5, Kind.Q6_K: 3e-5}
    for place in places[kind]:
        scales = size_of[kind] * (1 + evenly(seed, f"scale {place}", count, parts=1))
        blocks[:, place : place + 2] = scales.astype(np.float16).view(np.uint8).reshape(count, 2)
    return blocks.reshape(shape[0], -1)


def pieces(name: str, array: np.ndarray, names: gguf.TensorNameMap) -> dict[str, np.ndarray]:
    """A tensor of transformers as those of llama.cpp."""
    if name.endswith(".experts.gate_up_proj"):
        layer = f"blk.{name.split('.')[2]}"
        gate, up = np.split(array, 2, axis=1)
        return {f"{layer}.ffn_gate_exps.weight": gate, f"{layer}.ffn_up_exps.weight": up}
    if name.endswith(".experts.down_proj"):
        return {f"blk.{name.split('.')[2]}.ffn_down_exps.weight": array}
    base, suffix = name.rsplit(".", 1)
    known = names.get_name(base) or names.get_name(base.removeprefix("transformer."))
    if known is None:
        raise SystemExit(f"{name} has no name in GGUF")
    return {f"{known}.{suffix}": array}


def write(row: Row) -> None:
    folder = FIXTURES / row.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    arch = row.arch or row.folder.split("-")[0]
    writer = gguf.GGUFWriter(folder / "model.gguf", arch, split_max_tensors=row.split)
    writer.add_name(f"tiny {row.folder}")
    tokens = add_tokenizer(writer, row)
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    values = {"vocab_size": tokens, "tie_word_embeddings": not row.untied, **special, **row.config}
    config = hf.AutoConfig.for_model(**values)
    add_config(writer, row, config)
    model = hf.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    names = gguf.get_tensor_name_map(
        next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == arch), config.num_hidden_layers
    )
    state = {}
    kinds = iter(row.kinds * 100)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and not row.untied:
            continue
        seed = f"gguf/{row.folder}"
        array = turned(name, draw(seed, name, tensor.shape), arch, config, back=False)
        parts = []
        for own, piece in pieces(name, array, names).items():
            # What chooses experts is never rounded.
            kind = next(kinds) if piece.ndim > 1 and "ffn_gate_inp" not in own else Kind.F32
            blocks, kind = stored(f"{seed}/{name}", piece, kind)
            writer.add_tensor(own, blocks, raw_dtype=kind)
            parts.append(gguf.quants.dequantize(blocks, kind).reshape(piece.shape))
        numbers = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        numbers = turned(name, numbers, arch, config, back=True)
        state[name] = torch.from_numpy(np.array(numbers, np.float32, copy=True))
    if row.folder == "llama-scaled":
        frequencies, _ = hf.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
        unscaled = 1.0 / config.rope_parameters["rope_theta"] ** (torch.arange(0, 8, 2) / 8)
        writer.add_tensor("rope_freqs.weight", (unscaled / frequencies).numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    missing = model.load_state_dict(state, strict=False)
    if set(missing.missing_keys) - {"lm_head.weight"} or missing.unexpected_keys:
        raise SystemExit(f"{row.folder}: {missing}")
    model.tie_weights()
    ids = np.random.default_rng(7).integers(3, tokens, (2, 9))
    with torch.inference_mode():
        logits = model(torch.from_numpy(ids)).logits
    if row.read_by_transformers:
        theirs = hf.AutoModelForCausalLM.from_pretrained(
            folder, gguf_file="model.gguf", attn_implementation="eager"
        )
        with torch.inference_mode():
            error = (theirs.eval()(torch.from_numpy(ids)).logits - logits).abs().max().item()
        print(f"  transformers' own loading differs by {error:.1e}")
        if error > 1e-4:
            raise SystemExit(f"{row.folder}: transformers' own loading differs")
    arrays = {"input_ids": ids, "logits": logits.numpy()}
    path = min(folder.glob("*.gguf"))
    tokenize = llama_cpp_of(path) if row.pre in UNKNOWN_SPLITS else tokenizer_of(path, arch)
    for number, text in enumerate(TEXTS):
        arrays[f"text/{number}"] = np.array(tokenize(text), np.int64)
    safetensors_file.write(folder / "cases.safetensors", arrays)


def tokenizer_of(path: Path, arch: str) -> Callable[[str], list[int]]:
    """transformers' tokenizer of a file, also where it does not read the model."""
    from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer

    _, parts, settings = get_gguf_tokenizer(str(path))
    backend, _ = convert_gguf_tokenizer(arch, parts)
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=backend, **settings)
    return lambda text: tokenizer(text)["input_ids"]


def llama_cpp_of(path: Path) -> Callable[[str], list[int]]:
    """llama.cpp's tokenizer of a file."""
    from llama_cpp import Llama

    model = Llama(model_path=str(path), vocab_only=True, verbose=False)
    return lambda text: model.tokenize(text.encode(), add_bos=False, special=True)


def main(prefix: str = "") -> None:
    warnings.simplefilter("ignore")
    hf.logging.set_verbosity_error()
    torch.set_num_threads(1)
    for row in ROWS:
        if row.folder.startswith(prefix):
            print(row.folder)
            write(row)


if __name__ == "__main__":
    main(*sys.argv[1:])
