"""Incremental decoders for `content-encoding`. Pure; the codecs are imported when first needed.

The upstream is the one that the configuration names: its output is not guarded against decompression bombs.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

Decode = Callable[[bytes], bytes]
"""Takes the next encoded bytes, gives what can be decoded so far; raises on data that are not of this encoding."""


class UnknownEncoding(ValueError):
    """No decoder for this `content-encoding`."""


def incremental_decoder(content_encoding: str) -> Decode | None:
    """The decoder for the value of a header `content-encoding`; `None` when there is nothing to decode.

    Raises UnknownEncoding.
    """
    names = [name.strip().lower() for name in content_encoding.split(",")]
    decoders = [_decoder(name) for name in reversed(names) if name and name != "identity"]
    if not decoders:
        return None
    if len(decoders) == 1:
        return decoders[0]

    def chained(data: bytes) -> bytes:
        for decode in decoders:
            data = decode(data)
        return data

    return chained


def _decoder(name: str) -> Decode:
    if name in {"gzip", "x-gzip"}:
        return _Gzip().decode
    if name == "deflate":
        return _Deflate().decode
    if name == "br":
        import brotli

        process: Decode = brotli.Decompressor().process
        return process
    if name == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress
    raise UnknownEncoding(name)


class _Gzip:
    """Members may follow each other (RFC 1952, 2.2); padding after the last is ignored."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)

    def decode(self, data: bytes) -> bytes:
        out = b""
        while data:
            if self._member.eof:
                if not data.startswith(b"\x1f"):
                    return out
                self._member = zlib.decompressobj(wbits=31)
            out += self._member.decompress(data)
            data = self._member.unused_data
        return out


class _Deflate:
    """With the zlib header that RFC 9110 asks for, or raw as some servers send it."""

    def __init__(self) -> None:
        self._head = b""
        self._stream: zlib._Decompress | None = None

    def decode(self, data: bytes) -> bytes:
        if self._stream is None:
            data = self._head + data
            if len(data) < 2:
                self._head = data
                return b""
            zlib_header = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._stream = zlib.decompressobj(wbits=zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS)
        return self._stream.decompress(data)
