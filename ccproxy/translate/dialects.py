"""Each format's parser of requests, and its decoder and encoder of answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ccproxy.translate.answer import AnswerContext, Decoder, Encoder
from ccproxy.translate.anthropic import decode as anthropic_decode, encode as anthropic_encode, parse as anthropic_parse
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Losses
from ccproxy.translate.neutral import Request
from ccproxy.translate.openai_chat import decode as chat_decode, encode as chat_encode, parse as chat_parse
from ccproxy.translate.openai_responses import (
    decode as responses_decode,
    encode as responses_encode,
    parse as responses_parse,
)

Json = dict[str, Any]


class Dialect(NamedTuple):
    """The functions of one format."""

    parse: Callable[[Json, Losses], Request]
    decoder: Callable[[], Decoder]
    encoder: Callable[[AnswerContext], Encoder]


DIALECTS = {
    Format.ANTHROPIC: Dialect(anthropic_parse.parse, anthropic_decode.Decoder, anthropic_encode.Encoder),
    Format.OPENAI_CHAT: Dialect(chat_parse.parse, chat_decode.Decoder, chat_encode.Encoder),
    Format.OPENAI_RESPONSES: Dialect(responses_parse.parse, responses_decode.Decoder, responses_encode.Encoder),
}
