"""Tells which files of the inbox are threads, not stories, and stores their threads for stories to be made of.

How a file is read as a thread belongs in ``sources/files.py``.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from threadjuice_dagster.domain.language.text import cut
from threadjuice_dagster.failures import Unsuitable
from threadjuice_dagster.sources.files import thread_from_file
from threadjuice_dagster.sources.registry import ThreadSources

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store

THREADS = "threads/"
"""Folder of the inbox whose files are all threads."""

_ENDINGS = (".md", ".markdown", ".rss", ".atom")
_PACKED = ".gz"


def is_thread_file(key: str) -> bool:
    """Return whether a file of the inbox is a thread: by its folder, or as Markdown or a feed, which no story is."""
    return key.startswith(THREADS) or key.lower().removesuffix(_PACKED).endswith(_ENDINGS)


def store_thread(store: "Store", path: Path, *, dry_run: bool = False) -> str:
    """Store the thread of a file, for a story to be made of, and say in a line what was done.

    Raises ``UsageError`` for a file that is no thread, ``Unsuitable`` for one that may not become a story.
    """
    thread = thread_from_file(path, ThreadSources())
    named = f"{thread.key} ({cut(thread.title, 80)})"
    if not thread.comments:
        raise Unsuitable(f"Thread {named} has no comment to quote.", "Choose another thread.")
    if dry_run:
        return f"{named}: it would be stored"
    return f"{named}: {'stored' if store.save_threads([thread]) else 'unchanged'}"
