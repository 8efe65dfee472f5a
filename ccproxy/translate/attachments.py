"""Files and images as OpenAI's formats carry them, in data URIs, read into the neutral form."""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from ccproxy.translate.checks import bad
from ccproxy.translate.neutral import Document, Image

_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_PDF_START = "JVBERi"  # base64 of "%PDF-"
_TEXT_TYPES = (
    "application/json",
    "application/xml",
    "application/yaml",
    "application/x-yaml",
    "application/javascript",
    "application/toml",
)
_TEXT_ENDINGS = (
    ".txt",
    ".md",
    ".csv",
    ".json",
    ".xml",
    ".yaml",
    ".yml",
    ".html",
    ".py",
    ".js",
    ".ts",
    ".toml",
    ".log",
    ".rst",
    ".tex",
)


class Data(NamedTuple):
    """A data URI, its content in base64."""

    media_type: str
    base64: str


def data_uri(url: str) -> Data | None:
    """The parts of a data URI (RFC 2397), or None when it is none."""
    if url[:5].lower() != "data:":
        return None
    head, comma, content = url[5:].partition(",")
    if not comma:
        return None
    media_type, *parameters = (word.strip().lower() for word in head.split(";"))
    if "base64" not in parameters:
        raw = _PERCENT.sub(lambda match: bytes([int(match[1], 16)]), content.encode("utf-8", "surrogatepass"))
        content = base64.b64encode(raw).decode()
    return Data("image/jpeg" if media_type == "image/jpg" else media_type or "text/plain", content)


def image(url: str, path: str) -> Image:
    """An image from a data URI or a web address."""
    data = data_uri(url)
    if data is None:
        return Image(path, url=url)
    return Image(path, media_type=data.media_type, data=data.base64)


def file(given: str, name: str, path: str) -> Document | Image:
    """A file's content: a data URI, or bare base64 with a telling name. Raises `BadRequest` for what is neither PDF, image nor text."""
    data = data_uri(given)
    media_type, content = (data.media_type, data.base64) if data is not None else (_guess(given, name), given)
    if media_type.startswith("image/"):
        return Image(path, media_type=media_type, data=content)
    if media_type == "application/pdf" or content.startswith(_PDF_START):
        return Document(path, media_type="application/pdf", data=content, title=name)
    if (
        media_type.startswith("text/")
        or media_type in _TEXT_TYPES
        or media_type.endswith(("+json", "+xml"))
        or name.lower().endswith(_TEXT_ENDINGS)
    ):
        return Document(path, media_type="text/plain", text=_text(content, path), title=name)
    raise bad(
        path,
        f"a file of type {media_type or 'unknown'} cannot be told to this upstream: send a PDF, an image or text",
        "unsupported_content",
    )


def _guess(content: str, name: str) -> str:
    if content.startswith(_PDF_START) or name.lower().endswith(".pdf"):
        return "application/pdf"
    return ""


def _text(content: str, path: str) -> str:
    plain = "".join(content.split()).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode("utf-8-sig")
    except (binascii.Error, ValueError) as error:
        raise bad(path, "the file is not UTF-8 text in base64", "unsupported_content") from error
