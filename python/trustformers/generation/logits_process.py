"""What changes the scores of the next token before one is chosen.

The classes are transformers', run by the engine; subclasses of :class:`LogitsProcessor` run in Python.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import _engine
from ..models.arrays import from_tensor, kind_of, to_array, to_tensor
from .configuration import _plain

_NOTHING = -float("inf")
Tokens = int | Sequence[int]


class LogitsProcessor:
    """Changes the scores of the next token; subclasses are called at every step."""

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Give the scores (rows, vocabulary) that take the place of those behind the texts (rows, length)."""
        raise NotImplementedError(
            f"{type(self)} is an abstract class. Only classes inheriting this class can be called."
        )


class LogitsProcessorList(list[LogitsProcessor]):
    """Processors one after another."""

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """Run all of them, in order."""
        for processor in self:
            scores = processor(input_ids, scores, **kwargs)
        return scores


class EngineProcessor(LogitsProcessor):
    """A processor of the engine, by the name of its class."""

    def __init__(self, **arguments: Any) -> None:
        """Take its arguments.

        :raises ValueError: for arguments that cannot be.
        """
        self.__dict__.update(arguments)
        self._arguments = arguments
        values = {key: _plain(value) for key, value in arguments.items() if value != _NOTHING}
        # The name of the engine's own class, of which this may be a subclass.
        cls = next(cls for cls in type(self).__mro__ if EngineProcessor in cls.__bases__)
        self._processor = _engine.Processor(json.dumps({"type": cls.__name__, **values}))

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Give the scores (rows, vocabulary) that take the place of those behind the texts (rows, length)."""
        ids, values = to_tensor("input_ids", input_ids), to_tensor("scores", scores)
        return from_tensor(self._processor(ids, values), kind_of(scores))

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._arguments.items())
        return f"{type(self).__name__}({given})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self._arguments)


def _restored(cls: type[EngineProcessor], arguments: dict[str, Any]) -> EngineProcessor:
    """Make a processor again, as pickle asks for."""
    one = cls.__new__(cls)
    EngineProcessor.__init__(one, **arguments)
    return one


class MinLengthLogitsProcessor(EngineProcessor):
    """No end before a length, prompt included."""

    def __init__(self, min_length: int, eos_token_id: Tokens, device: str = "cpu") -> None:
        super().__init__(min_length=min_length, eos_token_id=eos_token_id)


class MinNewTokensLengthLogitsProcessor(EngineProcessor):
    """No end before so many new tokens."""

    def __init__(
        self, prompt_length_to_skip: int, min_new_tokens: int, eos_token_id: Tokens, device: str = "cpu"
    ) -> None:
        super().__init__(
            prompt_length_to_skip=prompt_length_to_skip,
            min_new_tokens=min_new_tokens,
            eos_token_id=eos_token_id,
        )


class TemperatureLogitsWarper(EngineProcessor):
    """Divides scores: below 1 the likely becomes likelier."""

    def __init__(self, temperature: float) -> None:
        super().__init__(temperature=temperature)


class RepetitionPenaltyLogitsProcessor(EngineProcessor):
    """Makes less likely what is there already (Keskar et al. 2019)."""

    def __init__(self, penalty: float, prompt_ignore_length: int | None = None) -> None:
        super().__init__(penalty=penalty, prompt_ignore_length=prompt_ignore_length)


class EncoderRepetitionPenaltyLogitsProcessor(EngineProcessor):
    """Makes likelier what a source says."""

    def __init__(self, penalty: float, encoder_input_ids: Any) -> None:
        super().__init__(penalty=penalty, encoder_input_ids=_rows(encoder_input_ids))


class FrequencyPenaltyLogitsProcessor(EngineProcessor):
    """OpenAI's penalties for what has been generated: by its number, and once."""

    def __init__(
        self, frequency_penalty: float = 0.0, presence_penalty: float = 0.0, prompt_length: int = 0
    ) -> None:
        super().__init__(
            frequency_penalty=frequency_penalty,
            presence_penalty=presence_penalty,
            prompt_length=prompt_length,
        )


class DryLogitsProcessor(EngineProcessor):
    """Makes less likely what would go on with a repetition, the less the longer that is (Weidman 2024)."""

    def __init__(
        self,
        multiplier: float,
        base: float = 1.75,
        allowed_length: int = 2,
        sequence_breakers: Sequence[int] = (),
    ) -> None:
        super().__init__(
            multiplier=multiplier,
            base=base,
            allowed_length=allowed_length,
            sequence_breakers=list(sequence_breakers),
        )


class LogitBiasLogitsProcessor(EngineProcessor):
    """Adds something to the scores of tokens: OpenAI's ``logit_bias``."""

    def __init__(self, logit_bias: Mapping[int, float]) -> None:
        super().__init__(logit_bias=[[int(token), bias] for token, bias in logit_bias.items()])


class TopPLogitsWarper(EngineProcessor):
    """Keeps the likeliest tokens that have a probability together (Holtzman et al. 2019)."""

    def __init__(self, top_p: float, filter_value: float = _NOTHING, min_tokens_to_keep: int = 1) -> None:
        super().__init__(top_p=top_p, filter_value=filter_value, min_tokens_to_keep=min_tokens_to_keep)


class TopKLogitsWarper(EngineProcessor):
    """Keeps so many likeliest tokens."""

    def __init__(self, top_k: int, filter_value: float = _NOTHING, min_tokens_to_keep: int = 1) -> None:
        super().__init__(top_k=top_k, filter_value=filter_value, min_tokens_to_keep=min_tokens_to_keep)


class TopHLogitsWarper(EngineProcessor):
    """Keeps the likeliest tokens that have a share of the entropy together."""

    def __init__(self, top_h: float, filter_value: float = _NOTHING) -> None:
        super().__init__(top_h=top_h, filter_value=filter_value)


class MinPLogitsWarper(EngineProcessor):
    """Keeps tokens that are at least so likely, relative to the likeliest."""

    def __init__(self, min_p: float, filter_value: float = _NOTHING, min_tokens_to_keep: int = 1) -> None:
        super().__init__(min_p=min_p, filter_value=filter_value, min_tokens_to_keep=min_tokens_to_keep)


class TypicalLogitsWarper(EngineProcessor):
    """Keeps tokens that are as likely as is to be expected (Meister et al. 2022)."""

    def __init__(
        self, mass: float = 0.9, filter_value: float = _NOTHING, min_tokens_to_keep: int = 1
    ) -> None:
        super().__init__(mass=mass, filter_value=filter_value, min_tokens_to_keep=min_tokens_to_keep)


class EpsilonLogitsWarper(EngineProcessor):
    """Keeps tokens that are at least so likely (Hewitt et al. 2022)."""

    def __init__(self, epsilon: float, filter_value: float = _NOTHING, min_tokens_to_keep: int = 1) -> None:
        super().__init__(epsilon=epsilon, filter_value=filter_value, min_tokens_to_keep=min_tokens_to_keep)


class EtaLogitsWarper(EngineProcessor):
    """The same, relative to the entropy."""

    def __init__(
        self,
        epsilon: float,
        filter_value: float = _NOTHING,
        min_tokens_to_keep: int = 1,
        device: str = "cpu",
    ) -> None:
        super().__init__(epsilon=epsilon, filter_value=filter_value, min_tokens_to_keep=min_tokens_to_keep)


class NoRepeatNGramLogitsProcessor(EngineProcessor):
    """No run of so many tokens comes twice."""

    def __init__(self, ngram_size: int) -> None:
        super().__init__(ngram_size=ngram_size)


class EncoderNoRepeatNGramLogitsProcessor(EngineProcessor):
    """No run of so many tokens of a source comes."""

    def __init__(self, encoder_ngram_size: int, encoder_input_ids: Any) -> None:
        super().__init__(encoder_ngram_size=encoder_ngram_size, encoder_input_ids=_rows(encoder_input_ids))


class SequenceBiasLogitsProcessor(EngineProcessor):
    """Adds something to what would end a run of tokens."""

    def __init__(self, sequence_bias: Mapping[tuple[int, ...], float] | Sequence[Any]) -> None:
        pairs = sequence_bias.items() if isinstance(sequence_bias, Mapping) else sequence_bias
        super().__init__(sequence_bias=[[list(run), bias] for run, bias in pairs])


class NoBadWordsLogitsProcessor(EngineProcessor):
    """Some runs of tokens do not come."""

    def __init__(self, bad_words_ids: Sequence[Sequence[int]], eos_token_id: Tokens | None = None) -> None:
        ends = [eos_token_id] if isinstance(eos_token_id, int) else eos_token_id
        super().__init__(
            bad_words_ids=[list(run) for run in bad_words_ids],
            eos_token_id=None if ends is None else list(ends),
        )


class ForcedBOSTokenLogitsProcessor(EngineProcessor):
    """The first token behind the one that a decoder begins with."""

    def __init__(self, bos_token_id: int) -> None:
        super().__init__(bos_token_id=bos_token_id)


class ForcedEOSTokenLogitsProcessor(EngineProcessor):
    """The last token where the greatest length is reached."""

    def __init__(self, max_length: int, eos_token_id: Tokens, device: str = "cpu") -> None:
        super().__init__(max_length=max_length, eos_token_id=eos_token_id)


class InfNanRemoveLogitsProcessor(EngineProcessor):
    """Replaces NaN and infinities."""

    def __init__(self) -> None:
        super().__init__()


class ExponentialDecayLengthPenalty(EngineProcessor):
    """Makes the end likelier with every token from a length on."""

    def __init__(
        self,
        exponential_decay_length_penalty: tuple[int, float],
        eos_token_id: Tokens,
        input_ids_seq_length: int,
    ) -> None:
        super().__init__(
            exponential_decay_length_penalty=list(exponential_decay_length_penalty),
            eos_token_id=eos_token_id,
            input_ids_seq_length=input_ids_seq_length,
        )


class LogitNormalization(EngineProcessor):
    """Makes logarithms of probabilities of scores."""

    def __init__(self) -> None:
        super().__init__()


class SuppressTokensAtBeginLogitsProcessor(EngineProcessor):
    """Some tokens do not come first."""

    def __init__(self, begin_suppress_tokens: Sequence[int], begin_index: int, device: str = "cpu") -> None:
        super().__init__(begin_suppress_tokens=list(begin_suppress_tokens), begin_index=begin_index)


class SuppressTokensLogitsProcessor(EngineProcessor):
    """Some tokens do not come."""

    def __init__(self, suppress_tokens: Sequence[int], device: str = "cpu") -> None:
        super().__init__(suppress_tokens=list(suppress_tokens))


class WatermarkLogitsProcessor(EngineProcessor):
    """Marks a text as generated (Kirchenbauer et al. 2023)."""

    def __init__(
        self,
        vocab_size: int,
        device: str = "cpu",
        greenlist_ratio: float = 0.25,
        bias: float = 2.0,
        hashing_key: int = 15485863,
        seeding_scheme: str = "lefthash",
        context_width: int = 1,
    ) -> None:
        super().__init__(
            vocab_size=vocab_size,
            greenlist_ratio=greenlist_ratio,
            bias=bias,
            hashing_key=hashing_key,
            seeding_scheme=seeding_scheme,
            context_width=context_width,
        )


class PrefixConstrainedLogitsProcessor(LogitsProcessor):
    """Only tokens that a function allows behind a text come."""

    def __init__(
        self, prefix_allowed_tokens_fn: Callable[[int, Any], Sequence[int]], num_beams: int = 1
    ) -> None:
        self._allowed = prefix_allowed_tokens_fn
        self._num_beams = num_beams

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Give the scores with everything at -inf that is not allowed.

        :raises ValueError: when nothing is.
        """
        values = to_array(scores)
        mask = np.full_like(values, -np.inf)
        for row in range(len(mask)):
            batch = row // self._num_beams
            allowed = list(self._allowed(batch, input_ids[row]))
            if not allowed:
                raise ValueError(
                    f"`prefix_allowed_tokens_fn` returned an empty list for batch ID {batch}. This means "
                    "that the constraint is unsatisfiable. Please check your implementation of "
                    "`prefix_allowed_tokens_fn`"
                )
            mask[row, allowed] = 0
        changed = values + mask
        # Where other processors have left nothing of what is allowed, all of that is.
        lost = np.isneginf(changed.max(axis=-1)).reshape(-1, self._num_beams).all(axis=-1)
        changed[np.repeat(lost, self._num_beams)] = mask[np.repeat(lost, self._num_beams)]
        return from_tensor(to_tensor("scores", changed), kind_of(scores))


def _rows(table: Any) -> list[list[int]]:
    return np.atleast_2d(np.asarray(table)).tolist()  # type: ignore[no-any-return]
