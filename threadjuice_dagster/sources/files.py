"""Open a thread that an operator names: an address or id at a source, or a saved file in the format of any source.

Here a file is unpacked and decoded; what it says is for the sources themselves (``ThreadSource.parse``).
"""

import json
import re
import zlib
from html import unescape
from pathlib import Path
from typing import Any

from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.failures import Unsuitable, UsageError
from threadjuice_dagster.sources.reddit_feed import is_feed
from threadjuice_dagster.sources.registry import ThreadSources
from threadjuice_dagster.sources.submissions import is_submission
from threadjuice_dagster.sources.thread_source import ThreadFormatError

MAX_FILE = 50 * 1024 * 1024
"""Most bytes of a saved thread, unpacked. Reddit's own answers are far smaller."""

OTHER_FILES = (
    "Pass a Reddit thread's feed (https://www.reddit.com/comments/ID/.rss, saved) or its .json, "
    "an answer of another source's API, or a submission."
)

CORRECT_IT = "Correct that line: a submission is # and its title, the post, then comments that each begin with ##."

_HAS_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_GZIP = b"\x1f\x8b"
_GZIP_HEADER = 31
_SHOWN_FEED = re.compile(r"<feed\b.*</feed>", re.DOTALL)
_STARTS_OF_JSON = ("{", "[", '"')
_SHOWN_JSON = re.compile(r"<pre[^>]*>(.*)</pre>", re.DOTALL | re.IGNORECASE)


def open_thread(reference: str, sources: ThreadSources) -> Thread:
    """Return the thread that an operator named: a saved file, or an address or id at a source.

    Raises ``UsageError`` if it is no thread, ``Unsuitable`` if it may not become a story.
    """
    reference = _bare(reference)
    if _is_file(reference, sources):
        return thread_from_file(Path(reference), sources)
    return _suitable(sources.thread(reference))


def lasting_reference(reference: str, thread: Thread, sources: ThreadSources) -> str:
    """Return what names a thread in a run: its own address instead of the one passed, which may tell who shared it.

    A file and an id stay as they were passed.
    """
    is_address = "/" in reference and not _is_file(_bare(reference), sources)
    return thread.permalink if is_address and sources.recognises(thread.permalink) else reference


def thread_from_file(path: Path, sources: ThreadSources) -> Thread:
    """Return the thread in a file, which may be gzipped: a saved answer of any source, a feed, or a submission.

    Raises ``UsageError`` for a file that is no thread, ``Unsuitable`` for one that may not become a story.
    """
    document = _document(_bytes(path), path.name)
    try:
        thread = sources.parse(document)
    except ThreadFormatError as error:
        is_written = isinstance(document, str) and is_submission(document)
        next_step = CORRECT_IT if is_written else OTHER_FILES
        raise UsageError(f"{path.name} cannot be read as a thread: {error}.", next_step) from None
    if thread is None:
        raise UsageError(f"{path.name} is no thread of a known source.", OTHER_FILES)
    return _suitable(thread)


def _bare(reference: str) -> str:
    return reference.strip().strip("<>\"'")


def _is_file(reference: str, sources: ThreadSources) -> bool:
    is_address = sources.recognises(reference) or _HAS_SCHEME.match(reference)
    return _exists(Path(reference)) or not is_address


def _suitable(thread: Thread) -> Thread:
    if thread.over_18:
        raise Unsuitable(f"Thread {thread.id} is marked as adult (over_18).", "Choose another thread.")
    return thread


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder.", "Pass one thread's file in it.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", "") or "its name is none"
        raise UsageError(f"{str(path)[:200]} cannot be read: {reason}.", OTHER_FILES) from None
    if data.startswith(_GZIP):
        try:
            data = zlib.decompressobj(_GZIP_HEADER).decompress(data, MAX_FILE + 1)
        except zlib.error:
            raise UsageError(f"{path.name} is a broken gzip file.", "Save it again, and pass that file.") from None
    if len(data) > MAX_FILE:
        raise UsageError(f"{path.name} is larger than {MAX_FILE // 1024 // 1024} MB.", "Pass a single thread.")
    return data


def _document(data: bytes, name: str) -> Any:
    """Return a file's JSON, also inside a page as browsers save it; or its text, if it is a feed or no JSON."""
    try:
        text = data.decode(json.detect_encoding(data)).strip("\ufeff\0 \t\r\n")
    except UnicodeDecodeError:
        raise UsageError(f"{name} is no text: it is neither UTF-8 nor UTF-16.", OTHER_FILES) from None
    if not text:
        raise UsageError(f"{name} is empty.", OTHER_FILES)
    if text.startswith("<") and not is_feed(text):
        text = _shown(text)
        if not text:
            raise UsageError(f"{name} is a web page, and not the thread's data.", OTHER_FILES)
    return _json(text, name) if text.startswith(_STARTS_OF_JSON) else text


def _shown(page: str) -> str:
    """Return the feed or the JSON that a browser shows inside a page, empty where there is none."""
    if (feed := _SHOWN_FEED.search(page)) and is_feed(feed[0]):
        return feed[0]
    shown = _SHOWN_JSON.search(page)
    return unescape(shown[1]).lstrip() if shown else ""


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f" (line {error.lineno}: {error.msg})" if isinstance(error, json.JSONDecodeError) else ""
        raise UsageError(f"{name} is not JSON text{place}.", "Save it again, and pass that file.") from None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
