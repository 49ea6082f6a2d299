"""Decodes story files to UTF-8 text with line feeds, in memory that does not grow with the file.

Cutting the text into records belongs in ``operations/imports/formats.py``.
"""

import codecs
from collections.abc import Iterable, Iterator

BOM = codecs.BOM_UTF8

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNMARKED = ((b"0001", "utf-32-be"), (b"1000", "utf-32-le"), (b"0101", "utf-16-be"), (b"1010", "utf-16-le"))
"""The pattern of zero bytes that one or two ASCII letters leave in four bytes of each encoding."""

_NAMED = {"utf-16": "UTF-16", "utf-32": "UTF-32"}


class DamagedText(ValueError):
    """The bytes cannot be decoded from some place on; the message says so in one line."""


def encoding_of(head: bytes) -> str:
    """Return the encoding of a file by its byte order mark or its zero bytes, else UTF-8."""
    marked = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), "")
    pattern = b"".join(b"1" if byte else b"0" for byte in head[:4])
    return marked or next((encoding for zeros, encoding in _UNMARKED if pattern == zeros), "utf-8")


def as_utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the text in UTF-8 without a byte order mark and with line feeds only. Raises ``DamagedText``."""
    stream = iter(chunks)
    head = b""
    while len(head) < len(codecs.BOM_UTF32_LE) and (chunk := next(stream, b"")):
        head += chunk
    encoding = encoding_of(head)
    plain = _with_head(head.removeprefix(BOM), stream)
    yield from _line_feeds(plain if encoding == "utf-8" else _decoded(plain, encoding))


def text_of(data: bytes) -> str:
    """Decode a whole file. Raises ``DamagedText``."""
    try:
        return b"".join(as_utf8([data])).decode()
    except UnicodeDecodeError:
        raise DamagedText("It is not UTF-8 text.") from None


def _with_head(head: bytes, stream: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from stream


def _decoded(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for chunk in chunks:
            yield decoder.decode(chunk).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError:
        raise DamagedText(f"It is not {_NAMED[encoding[:6]]} text from here on.") from None


def _line_feeds(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Turn all line ends into line feeds. A carriage return at the end of a chunk waits for the next chunk."""
    held = b""
    for chunk in chunks:
        if held or b"\r" in chunk:
            chunk = held + chunk
            held = b"\r" if chunk.endswith(b"\r") else b""
            chunk = chunk[: len(chunk) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if chunk:
            yield chunk
    if held:
        yield b"\n"
