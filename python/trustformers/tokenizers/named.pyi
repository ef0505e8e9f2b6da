# Written by `make stubs` from the engine's table.
from .bert import WordPieceTokenizer
from .kinds import NamedTokenizer
from .languages import LanguageTokenizer
from .marian import PairTokenizer

BY_MODEL_TYPE: dict[str, str]

__all__ = [
    "AlbertTokenizer",
    "AlbertTokenizerFast",
    "BartTokenizer",
    "BartTokenizerFast",
    "BertTokenizer",
    "BertTokenizerFast",
    "BlenderbotTokenizer",
    "BlenderbotTokenizerFast",
    "BloomTokenizer",
    "BloomTokenizerFast",
    "CamembertTokenizer",
    "CamembertTokenizerFast",
    "CodeGenTokenizer",
    "CodeGenTokenizerFast",
    "CodeLlamaTokenizer",
    "CodeLlamaTokenizerFast",
    "CohereTokenizer",
    "CohereTokenizerFast",
    "ConvBertTokenizer",
    "ConvBertTokenizerFast",
    "DPRContextEncoderTokenizer",
    "DPRContextEncoderTokenizerFast",
    "DPRQuestionEncoderTokenizer",
    "DPRQuestionEncoderTokenizerFast",
    "DPRReaderTokenizer",
    "DPRReaderTokenizerFast",
    "DebertaTokenizer",
    "DebertaTokenizerFast",
    "DebertaV2Tokenizer",
    "DebertaV2TokenizerFast",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "ElectraTokenizer",
    "ElectraTokenizerFast",
    "FunnelTokenizer",
    "FunnelTokenizerFast",
    "GPT2Tokenizer",
    "GPT2TokenizerFast",
    "GPTNeoXTokenizer",
    "GPTNeoXTokenizerFast",
    "GemmaTokenizer",
    "GemmaTokenizerFast",
    "LEDTokenizer",
    "LEDTokenizerFast",
    "LayoutLMTokenizer",
    "LayoutLMTokenizerFast",
    "LayoutXLMTokenizer",
    "LayoutXLMTokenizerFast",
    "LlamaTokenizer",
    "LlamaTokenizerFast",
    "LongformerTokenizer",
    "LongformerTokenizerFast",
    "LxmertTokenizer",
    "LxmertTokenizerFast",
    "M2M100Tokenizer",
    "M2M100TokenizerFast",
    "MBart50Tokenizer",
    "MBart50TokenizerFast",
    "MBartTokenizer",
    "MBartTokenizerFast",
    "MPNetTokenizer",
    "MPNetTokenizerFast",
    "MarianTokenizer",
    "MarianTokenizerFast",
    "MobileBertTokenizer",
    "MobileBertTokenizerFast",
    "MvpTokenizer",
    "MvpTokenizerFast",
    "NllbTokenizer",
    "NllbTokenizerFast",
    "OpenAIGPTTokenizer",
    "OpenAIGPTTokenizerFast",
    "PegasusTokenizer",
    "PegasusTokenizerFast",
    "Phi3Tokenizer",
    "Phi3TokenizerFast",
    "Qwen2Tokenizer",
    "Qwen2TokenizerFast",
    "Qwen3Tokenizer",
    "Qwen3TokenizerFast",
    "RealmTokenizer",
    "RealmTokenizerFast",
    "RetriBertTokenizer",
    "RetriBertTokenizerFast",
    "RobertaTokenizer",
    "RobertaTokenizerFast",
    "SqueezeBertTokenizer",
    "SqueezeBertTokenizerFast",
    "T5Tokenizer",
    "T5TokenizerFast",
    "XGLMTokenizer",
    "XGLMTokenizerFast",
    "XLMRobertaTokenizer",
    "XLMRobertaTokenizerFast",
    "XLNetTokenizer",
    "XLNetTokenizerFast",
]

class BertTokenizer(WordPieceTokenizer): ...
class ConvBertTokenizer(WordPieceTokenizer): ...
class DPRContextEncoderTokenizer(WordPieceTokenizer): ...
class DPRQuestionEncoderTokenizer(WordPieceTokenizer): ...
class DPRReaderTokenizer(WordPieceTokenizer): ...
class ElectraTokenizer(WordPieceTokenizer): ...
class LayoutLMTokenizer(WordPieceTokenizer): ...
class LxmertTokenizer(WordPieceTokenizer): ...
class MobileBertTokenizer(WordPieceTokenizer): ...
class RealmTokenizer(WordPieceTokenizer): ...
class RetriBertTokenizer(WordPieceTokenizer): ...
class SqueezeBertTokenizer(WordPieceTokenizer): ...
class DistilBertTokenizer(WordPieceTokenizer): ...
class FunnelTokenizer(WordPieceTokenizer): ...
class MPNetTokenizer(WordPieceTokenizer): ...
class GPT2Tokenizer(NamedTokenizer): ...
class CodeGenTokenizer(NamedTokenizer): ...
class RobertaTokenizer(NamedTokenizer): ...
class BartTokenizer(NamedTokenizer): ...
class LEDTokenizer(NamedTokenizer): ...
class LongformerTokenizer(NamedTokenizer): ...
class MvpTokenizer(NamedTokenizer): ...
class BlenderbotTokenizer(NamedTokenizer): ...
class DebertaTokenizer(NamedTokenizer): ...
class Qwen2Tokenizer(NamedTokenizer): ...
class Qwen3Tokenizer(NamedTokenizer): ...
class GPTNeoXTokenizer(NamedTokenizer): ...
class BloomTokenizer(NamedTokenizer): ...
class CohereTokenizer(NamedTokenizer): ...
class OpenAIGPTTokenizer(NamedTokenizer): ...
class LlamaTokenizer(NamedTokenizer): ...
class CodeLlamaTokenizer(NamedTokenizer): ...
class Phi3Tokenizer(NamedTokenizer): ...
class AlbertTokenizer(NamedTokenizer): ...
class XLMRobertaTokenizer(NamedTokenizer): ...
class LayoutXLMTokenizer(NamedTokenizer): ...
class T5Tokenizer(NamedTokenizer): ...
class PegasusTokenizer(NamedTokenizer): ...
class CamembertTokenizer(NamedTokenizer): ...
class DebertaV2Tokenizer(NamedTokenizer): ...
class MBartTokenizer(LanguageTokenizer): ...
class MBart50Tokenizer(LanguageTokenizer): ...
class NllbTokenizer(LanguageTokenizer): ...
class XGLMTokenizer(NamedTokenizer): ...
class XLNetTokenizer(NamedTokenizer): ...
class GemmaTokenizer(NamedTokenizer): ...
class MarianTokenizer(PairTokenizer): ...
class M2M100Tokenizer(LanguageTokenizer): ...

BertTokenizerFast = BertTokenizer
ConvBertTokenizerFast = ConvBertTokenizer
DPRContextEncoderTokenizerFast = DPRContextEncoderTokenizer
DPRQuestionEncoderTokenizerFast = DPRQuestionEncoderTokenizer
DPRReaderTokenizerFast = DPRReaderTokenizer
ElectraTokenizerFast = ElectraTokenizer
LayoutLMTokenizerFast = LayoutLMTokenizer
LxmertTokenizerFast = LxmertTokenizer
MobileBertTokenizerFast = MobileBertTokenizer
RealmTokenizerFast = RealmTokenizer
RetriBertTokenizerFast = RetriBertTokenizer
SqueezeBertTokenizerFast = SqueezeBertTokenizer
DistilBertTokenizerFast = DistilBertTokenizer
FunnelTokenizerFast = FunnelTokenizer
MPNetTokenizerFast = MPNetTokenizer
GPT2TokenizerFast = GPT2Tokenizer
CodeGenTokenizerFast = CodeGenTokenizer
RobertaTokenizerFast = RobertaTokenizer
BartTokenizerFast = BartTokenizer
LEDTokenizerFast = LEDTokenizer
LongformerTokenizerFast = LongformerTokenizer
MvpTokenizerFast = MvpTokenizer
BlenderbotTokenizerFast = BlenderbotTokenizer
DebertaTokenizerFast = DebertaTokenizer
Qwen2TokenizerFast = Qwen2Tokenizer
Qwen3TokenizerFast = Qwen3Tokenizer
GPTNeoXTokenizerFast = GPTNeoXTokenizer
BloomTokenizerFast = BloomTokenizer
CohereTokenizerFast = CohereTokenizer
OpenAIGPTTokenizerFast = OpenAIGPTTokenizer
LlamaTokenizerFast = LlamaTokenizer
CodeLlamaTokenizerFast = CodeLlamaTokenizer
Phi3TokenizerFast = Phi3Tokenizer
AlbertTokenizerFast = AlbertTokenizer
XLMRobertaTokenizerFast = XLMRobertaTokenizer
LayoutXLMTokenizerFast = LayoutXLMTokenizer
T5TokenizerFast = T5Tokenizer
PegasusTokenizerFast = PegasusTokenizer
CamembertTokenizerFast = CamembertTokenizer
DebertaV2TokenizerFast = DebertaV2Tokenizer
MBartTokenizerFast = MBartTokenizer
MBart50TokenizerFast = MBart50Tokenizer
NllbTokenizerFast = NllbTokenizer
XGLMTokenizerFast = XGLMTokenizer
XLNetTokenizerFast = XLNetTokenizer
GemmaTokenizerFast = GemmaTokenizer
MarianTokenizerFast = MarianTokenizer
M2M100TokenizerFast = M2M100Tokenizer
