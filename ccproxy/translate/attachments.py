"""Files and images in data URIs, as in OpenAI's formats, read into the neutral form."""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from ccproxy.translate.checks import bad, quoted
from ccproxy.translate.neutral import Document, Image

_BARE_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_BLANKS = b" \t\n\r\f\v"
_HEAD_LIMIT = 1000
"""Characters of a data URI before its comma: a media type and its parameters."""
_MAX_BARE = 100_000
"""Percent signs in a data URI that are not part of an escape."""
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


def data_uri(url: str, path: str = "url") -> Data | None:
    """The parts of a data URI (RFC 2397), or None for another URL. Raises `BadRequest` if too many of its percent signs encode nothing."""
    if url[:5].lower() != "data:":
        return None
    comma = url.find(",", 5, _HEAD_LIMIT)
    if comma < 0:
        return None
    media_type, *parameters = (word.strip().lower() for word in url[5:comma].split(";"))
    content = url[comma + 1 :]
    if "base64" not in parameters:
        content = base64.b64encode(_unquoted(content.encode("utf-8", "surrogatepass"), path)).decode()
    return Data("image/jpeg" if media_type == "image/jpg" else media_type or "text/plain", content)


def _unquoted(data: bytes, path: str) -> bytes:
    """Decode percent-encoding; a `%` without two digits remains.

    The codec for Python's own escapes does this in C. A loop in Python takes ten seconds for 20 MB of `%41`.
    """
    escaped = _BARE_PERCENT.sub(rb"\\x25", data.replace(b"\\", b"\\x5c"), count=_MAX_BARE).replace(b"%", b"\\x")
    try:
        return escaped.decode("unicode_escape").encode("latin-1")
    except UnicodeDecodeError as error:
        raise bad(path, f"at most {_MAX_BARE} percent signs of a data URI may encode nothing") from error


def image(url: str, path: str) -> Image:
    """An image from a data URI or a web address."""
    data = data_uri(url, path)
    if data is None:
        return Image(path, url=url)
    return Image(path, media_type=data.media_type, data=data.base64)


def file(encoded: str, name: str, path: str) -> Document | Image:
    """A file from a data URI, or from base64 with a name that shows its type. Raises `BadRequest` for anything but PDF, images and text."""
    data = data_uri(encoded, path)
    media_type, content = (data.media_type, data.base64) if data is not None else (_guess(encoded, name), encoded)
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
        f"a file of type {quoted(media_type) if media_type else 'unknown'} cannot be sent to this upstream: send a PDF, an image or text",
        "unsupported_content",
    )


def _guess(content: str, name: str) -> str:
    if content.startswith(_PDF_START) or name.lower().endswith(".pdf"):
        return "application/pdf"
    return ""


def _text(content: str, path: str) -> str:
    try:
        plain = content.encode("ascii").translate(None, _BLANKS).rstrip(b"=")
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True).decode("utf-8-sig")
    except (binascii.Error, ValueError) as error:
        raise bad(path, "the file is not UTF-8 text in base64", "unsupported_content") from error
