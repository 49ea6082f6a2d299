"""Open a thread that an operator names: an address or id at the source, or a saved file.

The format of threads belongs in ``sources/reddit_parser.py``.
"""

import json
import re
import zlib
from html import unescape
from pathlib import Path
from typing import Any

from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.failures import Unsuitable, UsageError
from threadjuice_dagster.sources.reddit_parser import parse_thread
from threadjuice_dagster.sources.registry import ThreadSources
from threadjuice_dagster.sources.thread_source import ThreadFormatError

MAX_FILE = 50 * 1024 * 1024
"""Most bytes of a saved thread, unpacked. Reddit's own answers are far smaller."""

SAVE_ADDRESS = "Save the thread's address with .json at its end, and pass that file."

_HAS_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_GZIP = b"\x1f\x8b"
_GZIP_HEADER = 31
_SHOWN_JSON = re.compile(r"<pre[^>]*>(.*)</pre>", re.DOTALL | re.IGNORECASE)


def open_thread(reference: str, sources: ThreadSources) -> Thread:
    """Return the thread that an operator named: a saved file, or an address or id at a source.

    Raises ``UsageError`` if it is no thread, ``Unsuitable`` if it may not become a story.
    """
    reference = reference.strip().strip("<>\"'")
    is_address = sources.recognises(reference) or _HAS_SCHEME.match(reference)
    is_file = _exists(Path(reference)) or not is_address
    thread = thread_from_file(Path(reference)) if is_file else sources.thread(reference)
    if thread.over_18:
        raise Unsuitable(f"Thread {thread.id} is marked as adult (over_18).", "Choose another thread.")
    return thread


def thread_from_file(path: Path) -> Thread:
    """Return a thread saved in Reddit's ``.json`` thread format, which may be gzipped. Raises ``UsageError``."""
    try:
        return parse_thread(_document(_bytes(path), path.name))
    except ThreadFormatError as error:
        raise UsageError(f"{path.name} is not a Reddit thread: {error}.", SAVE_ADDRESS) from None


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder.", "Pass one thread's file in it.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", "") or "its name is none"
        raise UsageError(f"{str(path)[:200]} cannot be read: {reason}.", "Pass a thread's .json file.") from None
    if data.startswith(_GZIP):
        try:
            data = zlib.decompressobj(_GZIP_HEADER).decompress(data, MAX_FILE + 1)
        except zlib.error:
            raise UsageError(f"{path.name} is a broken gzip file.", SAVE_ADDRESS) from None
    if len(data) > MAX_FILE:
        raise UsageError(f"{path.name} is larger than {MAX_FILE // 1024 // 1024} MB.", "Pass a single thread.")
    return data


def _document(data: bytes, name: str) -> Any:
    """Return a file's JSON, in any encoding of JSON, or inside a page as browsers save it."""
    if not data.strip(b"\0 \t\r\n"):
        raise UsageError(f"{name} is empty.", SAVE_ADDRESS)
    try:
        text = data.decode(json.detect_encoding(data)).lstrip("\ufeff \t\r\n")
        if text.startswith("<"):
            shown = _SHOWN_JSON.search(text)
            if not shown:
                raise UsageError(f"{name} is a web page, not JSON text.", SAVE_ADDRESS)
            text = unescape(shown[1])
        return json.loads(text)
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not JSON text: it is neither UTF-8 nor UTF-16.", SAVE_ADDRESS) from None
    except (ValueError, RecursionError) as error:
        place = f" (line {error.lineno}: {error.msg})" if isinstance(error, json.JSONDecodeError) else ""
        raise UsageError(f"{name} is not JSON text{place}.", SAVE_ADDRESS) from None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
