from .auto import (
    AutoModel as AutoModel,
    AutoModelForCausalLM as AutoModelForCausalLM,
    AutoModelForMaskedLM as AutoModelForMaskedLM,
    AutoModelForMultipleChoice as AutoModelForMultipleChoice,
    AutoModelForNextSentencePrediction as AutoModelForNextSentencePrediction,
    AutoModelForPreTraining as AutoModelForPreTraining,
    AutoModelForQuestionAnswering as AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM as AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification as AutoModelForSequenceClassification,
    AutoModelForTextEncoding as AutoModelForTextEncoding,
    AutoModelForTokenClassification as AutoModelForTokenClassification,
)
from .auto_config import AutoConfig as AutoConfig
from .cache import (
    Cache as Cache,
    DynamicCache as DynamicCache,
    EncoderDecoderCache as EncoderDecoderCache,
    QuantizedCache as QuantizedCache,
    StaticCache as StaticCache,
)
from .configuration import PreTrainedConfig as PreTrainedConfig, PretrainedConfig as PretrainedConfig
from .modeling import PreTrainedModel as PreTrainedModel
from .named import *
from .outputs import (
    AlbertForPreTrainingOutput as AlbertForPreTrainingOutput,
    BaseModelOutput as BaseModelOutput,
    BaseModelOutputWithPast as BaseModelOutputWithPast,
    BaseModelOutputWithPastAndCrossAttentions as BaseModelOutputWithPastAndCrossAttentions,
    BaseModelOutputWithPooling as BaseModelOutputWithPooling,
    BaseModelOutputWithPoolingAndCrossAttentions as BaseModelOutputWithPoolingAndCrossAttentions,
    BertForPreTrainingOutput as BertForPreTrainingOutput,
    CausalLMOutput as CausalLMOutput,
    CausalLMOutputWithCrossAttentions as CausalLMOutputWithCrossAttentions,
    CausalLMOutputWithPast as CausalLMOutputWithPast,
    ElectraForPreTrainingOutput as ElectraForPreTrainingOutput,
    MaskedLMOutput as MaskedLMOutput,
    ModelOutput as ModelOutput,
    MoeCausalLMOutputWithPast as MoeCausalLMOutputWithPast,
    MoeModelOutputWithPast as MoeModelOutputWithPast,
    MultipleChoiceModelOutput as MultipleChoiceModelOutput,
    NextSentencePredictorOutput as NextSentencePredictorOutput,
    QuestionAnsweringModelOutput as QuestionAnsweringModelOutput,
    Seq2SeqLMOutput as Seq2SeqLMOutput,
    Seq2SeqModelOutput as Seq2SeqModelOutput,
    Seq2SeqQuestionAnsweringModelOutput as Seq2SeqQuestionAnsweringModelOutput,
    Seq2SeqSequenceClassifierOutput as Seq2SeqSequenceClassifierOutput,
    SequenceClassifierOutput as SequenceClassifierOutput,
    SequenceClassifierOutputWithPast as SequenceClassifierOutputWithPast,
    TokenClassifierOutput as TokenClassifierOutput,
)
