"""The encoder and the decoder of an encoder-decoder, each called like a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import calls
from .modules import Module
from .outputs import BaseModelOutputWithPastAndCrossAttentions

if TYPE_CHECKING:
    from .modeling import PreTrainedModel


class Encoder(Module):
    """The encoder of an encoder-decoder."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model.base_model, "encoder")
        self._whole = model
        self.config = model.config

    def forward(self, input_ids: Any = None, attention_mask: Any = None, **kwargs: Any) -> Any:
        """Run the encoder alone over a batch: the same keywords as for the model's source."""
        return calls.encode(self._whole, {"input_ids": input_ids, "attention_mask": attention_mask, **kwargs})

    __call__ = forward

    def __repr__(self) -> str:
        return f"Encoder of {self._whole!r}"


class Decoder(Module):
    """The decoder of an encoder-decoder."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model.base_model, "decoder")
        self.config = model.config

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        encoder_hidden_states: Any = None,
        encoder_attention_mask: Any = None,
        inputs_embeds: Any = None,
        position_ids: Any = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the decoder over what it has written and an encoder's hidden states."""
        outputs: Any = self._model.forward(
            attention_mask=encoder_attention_mask,
            encoder_outputs=None if encoder_hidden_states is None else (encoder_hidden_states,),
            decoder_input_ids=input_ids,
            decoder_attention_mask=attention_mask,
            decoder_inputs_embeds=inputs_embeds,
            decoder_position_ids=position_ids,
            return_dict=True,
            **kwargs,
        )
        result: BaseModelOutputWithPastAndCrossAttentions[Any] = BaseModelOutputWithPastAndCrossAttentions(
            outputs.last_hidden_state,
            outputs.past_key_values,
            outputs.decoder_hidden_states,
            outputs.decoder_attentions,
            outputs.cross_attentions,
        )
        wants_dict = self.config.return_dict if return_dict is None else return_dict
        return result if wants_dict else result.to_tuple()

    __call__ = forward

    def __repr__(self) -> str:
        return f"Decoder of {self._model!r}"
