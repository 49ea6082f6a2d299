"""The build state: which stories and files the last build made, so that the next one renders only what changed.

It is one SQLite file beside the versions, written in one transaction for each build. How it is used belongs in
``site/builder.py``.
"""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from threadjuice_dagster.domain.model import Model

STATE_FILE = "build.sqlite"
"""The name of the build state in the folder of the site."""

_SCHEMA = 2
_TABLES = """
PRAGMA user_version = 2;
CREATE TABLE stories (
    story_id TEXT PRIMARY KEY, stamp TEXT, published TEXT, updated TEXT, slug TEXT UNIQUE, month TEXT, category TEXT,
    persona TEXT, voice TEXT, tags TEXT, related TEXT, origins TEXT, card TEXT, line TEXT
);
CREATE INDEX stories_published ON stories (published, story_id);
CREATE INDEX stories_category ON stories (category, published, story_id);
CREATE INDEX stories_persona ON stories (persona, published, story_id);
CREATE INDEX stories_month ON stories (month, published, story_id);
CREATE TABLE pictures (path TEXT, story_id TEXT, PRIMARY KEY (path, story_id)) WITHOUT ROWID;
CREATE INDEX pictures_story ON pictures (story_id);
CREATE TABLE files (path TEXT PRIMARY KEY, sha1 TEXT, sha256 TEXT, size INTEGER) WITHOUT ROWID;
CREATE TABLE changes (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE lists (folder TEXT PRIMARY KEY, older INTEGER, words TEXT) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""
_SIZE = """
SELECT count(*), coalesce(sum(size), 0), coalesce(sum(size) FILTER (WHERE path LIKE 'story/%'), 0),
    count(*) FILTER (WHERE path LIKE 'img/%'), coalesce(sum(size) FILTER (WHERE path LIKE 'img/%'), 0)
FROM files
"""
_STORIES = "SELECT count(*), count(*) FILTER (WHERE published > ?) FROM stories"
_INCOMING = """
CREATE TEMP TABLE incoming (story_id TEXT PRIMARY KEY, category TEXT, published TEXT, stamp TEXT);
CREATE INDEX temp.incoming_category ON incoming (category, published, story_id);
"""

Key = tuple[str, str]
"""A story's place in every order: when it was published (ISO 8601, UTC, microseconds), and its id."""


PACKED = 3
"""How many times smaller pages are once compressed, at least. Pictures are compressed already."""

WINDOW_DAYS = 28
"""Days whose stories make today's pace."""


class SiteSize(Model):
    """What a built site consists of. ``recent`` counts its stories of the last ``WINDOW_DAYS``."""

    stories: int
    recent: int
    files: int
    bytes: int
    story_bytes: int
    pictures: int
    picture_bytes: int

    @property
    def weight(self) -> float:
        """Bytes that a deployment sends."""
        return self.picture_bytes + (self.bytes - self.picture_bytes) / PACKED

    @property
    def story_weight(self) -> float:
        """Bytes that one more story adds."""
        return max((self.picture_bytes + self.story_bytes / PACKED) / max(self.stories, 1), 1.0)


class BuiltFile(NamedTuple):
    """A file of the site: its path from the top, hexadecimal digests of its content, and its size in bytes."""

    path: str
    sha1: str
    sha256: str
    size: int


class BuiltStory(NamedTuple):
    """A story as the last build made it.

    ``voice`` is its persona's name and byline. ``card`` and ``line`` are the HTML that lists show. ``stamp`` differs
    whenever the stored story may have changed.
    """

    story_id: str
    stamp: str
    published: str
    updated: str
    slug: str
    month: str
    category: str
    persona: str
    voice: str
    tags: str
    related: str
    origins: str
    card: str
    line: str

    @property
    def key(self) -> Key:
        """Its place in every order."""
        return self.published, self.story_id

    @property
    def appearance(self) -> tuple[str, ...]:
        """The part of it that lists show."""
        return self.voice, self.card, self.line

    @property
    def position(self) -> tuple[str, ...]:
        """The fields that decide on which lists it stands, and where."""
        return self.published, self.category, self.persona


class BuildState:
    """The SQLite file at ``path``. It is made anew if it is missing or has another schema. ``save`` keeps the changes.

    Raises ``sqlite3.DatabaseError`` for a damaged file.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        (form,) = self._one("PRAGMA user_version")
        if form not in (0, _SCHEMA):
            self._db.close()
            path.unlink()
            self._db, form = sqlite3.connect(path, isolation_level=None), 0
        # secure_delete: a withdrawn story must not stay readable in free pages. WAL: a reader never waits for a build.
        pragmas = "PRAGMA secure_delete = ON; PRAGMA journal_mode = WAL;"
        self._db.executescript(f"{pragmas} {'' if form else _TABLES} {_INCOMING}")
        # One transaction for the whole build: a killed build leaves the state of the last one.
        self._db.execute("BEGIN IMMEDIATE")
        self._sum = int(self.get("sum") or "0", 16)

    def close(self) -> None:
        """Close the file without saving."""
        self._db.close()

    def save(self) -> None:
        """Save all changes so far."""
        self.set("sum", f"{self._sum:x}")
        self._db.execute("COMMIT")
        self._db.execute("BEGIN IMMEDIATE")

    def get(self, name: str) -> str:
        """Return the value stored under a name, or an empty text."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def set(self, name: str, value: str) -> None:
        """Store a value under a name."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def clear(self) -> None:
        """Delete everything, as before the first build."""
        for table in ("stories", "pictures", "files", "changes", "lists", "facts"):
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 -- a fixed set of names
        self._sum = 0

    def set_public_stories(self, listing: Iterable[tuple[str, str, str, str]]) -> None:
        """Load the list of public stories: id, category, time of publication and stamp of each."""
        self._db.executemany("INSERT OR REPLACE INTO incoming VALUES (?, ?, ?, ?)", listing)

    def newest_public_by_category(self) -> list[str]:
        """Return the id of the newest public story of each category."""
        return self._newest("incoming", "category")

    def newest_by(self, scope: str) -> list[str]:
        """Return the id of the newest built story for each value of a column."""
        return self._newest("stories", scope)

    def withdrawn(self) -> list[BuiltStory]:
        """Return the stories of the last build that are no longer public."""
        query = "SELECT * FROM stories WHERE story_id NOT IN (SELECT story_id FROM incoming)"
        return [BuiltStory(*row) for row in self._db.execute(query)]

    def changed_stories(self) -> Iterator[tuple[str, str]]:
        """Yield id and stamp of each story that is new or changed, oldest first."""
        query = """SELECT i.story_id, i.stamp FROM incoming i LEFT JOIN stories s USING (story_id)
            WHERE s.stamp IS NULL OR s.stamp <> i.stamp ORDER BY i.published, i.story_id"""
        # A copy: the caller writes to ``stories`` while it reads, and SQLite does not say which rows it would then see.
        self._db.execute(f"CREATE TEMP TABLE todo AS {query}")
        yield from self._db.execute("SELECT story_id, stamp FROM todo ORDER BY rowid")
        self._db.execute("DROP TABLE todo")

    def mark_all_changed(self) -> None:
        """Mark every story as changed."""
        self._db.execute("UPDATE stories SET stamp = ''")

    def story(self, story_id: str) -> BuiltStory | None:
        """Return a story as this build or the last one made it, or None."""
        row = self._db.execute("SELECT * FROM stories WHERE story_id = ?", (story_id,)).fetchone()
        return BuiltStory(*row) if row else None

    def slug_owner(self, slug: str) -> str:
        """Return the id of the story that has a slug, or an empty text."""
        row = self._db.execute("SELECT story_id FROM stories WHERE slug = ?", (slug,)).fetchone()
        return str(row[0]) if row else ""

    def save_story(self, story: BuiltStory, pictures: Iterable[str]) -> list[str]:
        """Store a story and its picture paths. Return the paths of its former pictures that no story uses now."""
        before = self._pictures(story.story_id)
        self._db.execute("INSERT OR REPLACE INTO stories VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", story)
        self._db.executemany("INSERT INTO pictures VALUES (?, ?)", [(path, story.story_id) for path in set(pictures)])
        return self._orphans(before)

    def set_related(self, story_id: str, related: str) -> None:
        """Store which stories are shown below a story."""
        self._db.execute("UPDATE stories SET related = ? WHERE story_id = ?", (related, story_id))

    def delete_story(self, story_id: str) -> list[str]:
        """Delete a story. Return the paths of its pictures that no other story uses."""
        self._db.execute("DELETE FROM stories WHERE story_id = ?", (story_id,))
        return self._orphans(self._pictures(story_id))

    def older(self, category: str, key: Key, count: int) -> list[BuiltStory]:
        """Return the stories of a category that are older than ``key``, nearest first."""
        return self._beside(category, key, count, "<", "DESC")

    def newer(self, category: str, key: Key, count: int) -> list[BuiltStory]:
        """Return the stories of a category that are newer than ``key``, nearest first."""
        return self._beside(category, key, count, ">", "ASC")

    def count(self, scope: str = "", value: str = "") -> int:
        """Return how many stories there are in all, or with ``value`` in the column ``scope``."""
        return int(self._one(f"SELECT count(*) FROM stories {_where(scope)}", _given(scope, value))[0])  # noqa: S608

    def rank(self, key: Key, scope: str = "", value: str = "") -> int:
        """Return how many of these stories are older than ``key``."""
        condition = f"{_where(scope) or 'WHERE true'} AND (published, story_id) < (?, ?)"
        return int(self._one(f"SELECT count(*) FROM stories {condition}", (*_given(scope, value), *key))[0])  # noqa: S608

    def stories_from(self, first: int, count: int, scope: str = "", value: str = "") -> list[BuiltStory]:
        """Return ``count`` of these stories from rank ``first`` on, oldest first."""
        order = "ORDER BY published, story_id LIMIT ? OFFSET ?"
        query = f"SELECT * FROM stories {_where(scope)} {order}"  # noqa: S608
        return [BuiltStory(*row) for row in self._db.execute(query, (*_given(scope, value), count, first))]

    def addresses(self, first: int, count: int) -> list[tuple[str, str]]:
        """Return slug and time of change of ``count`` stories from rank ``first`` on, oldest first."""
        query = "SELECT slug, updated FROM stories ORDER BY published, story_id LIMIT ? OFFSET ?"
        return self._db.execute(query, (count, first)).fetchall()

    def counts_by(self, scope: str) -> list[tuple[str, int]]:
        """Return the values of a column in order, and how many stories have each."""
        return self._db.execute(f"SELECT {scope}, count(*) FROM stories GROUP BY 1 ORDER BY 1").fetchall()  # noqa: S608

    def newest_change(self) -> str:
        """Return when any story last changed, or an empty text without stories."""
        return str(self._one("SELECT max(updated) FROM stories")[0] or "")

    def origins(self) -> list[str]:
        """Return the outside origins that pictures come from."""
        rows = self._db.execute("SELECT DISTINCT origins FROM stories WHERE origins <> ''")
        return sorted({origin for (text,) in rows for origin in text.split()})

    def list_state(self, folder: str) -> tuple[int, str]:
        """Return how many pages of older stories a list had, and its title and summary."""
        row = self._db.execute("SELECT older, words FROM lists WHERE folder = ?", (folder,)).fetchone()
        return row or (0, "")

    def save_list(self, folder: str, older: int, words: str) -> None:
        """Store how many pages of older stories a list has, and its title and summary."""
        self._db.execute("INSERT OR REPLACE INTO lists VALUES (?, ?, ?)", (folder, older, words))

    def delete_list(self, folder: str) -> None:
        """Delete a list."""
        self._db.execute("DELETE FROM lists WHERE folder = ?", (folder,))

    def file(self, path: str) -> BuiltFile | None:
        """Return the file at a path, or None."""
        row = self._db.execute("SELECT * FROM files WHERE path = ?", (path,)).fetchone()
        return BuiltFile(*row) if row else None

    def files(self) -> Iterator[BuiltFile]:
        """Return every file of the site except its marker, by path."""
        return (BuiltFile(*row) for row in self._db.execute("SELECT * FROM files ORDER BY path"))

    def paths(self, pattern: str) -> list[str]:
        """Return the paths that match a pattern."""
        return [path for (path,) in self._db.execute("SELECT path FROM files WHERE path GLOB ?", (pattern,))]

    def record_file(self, path: str, file: BuiltFile | None, before: BuiltFile | None) -> None:
        """Record that a file was written, or with None removed. ``before`` is the file that was at the path."""
        # A sum of digests: it is updated in constant time, and does not depend on the order of writes.
        self._sum = (self._sum - _number(before) + _number(file)) % 2**256
        if file:
            self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", file)
        else:
            self._db.execute("DELETE FROM files WHERE path = ?", (path,))
        self._db.execute("INSERT OR IGNORE INTO changes VALUES (?)", (path,))

    @property
    def digest(self) -> str:
        """A digest of all files together. It does not depend on the order in which they were written."""
        return hashlib.sha256(f"{self._sum:x}".encode()).hexdigest()[:16]

    def count_pages_and_pictures(self) -> tuple[int, int]:
        """Return how many pages and how many picture files the site has."""
        query = "SELECT total(path GLOB '*.html'), total(path GLOB 'img/*') FROM files"
        pages, pictures = self._one(query)
        return int(pages), int(pictures)

    def changed_paths(self, pattern: str = "*") -> Iterator[str]:
        """Return the paths that match a pattern and were written or removed since ``clear_changes``."""
        rows = self._db.execute("SELECT path FROM changes WHERE path GLOB ? ORDER BY path", (pattern,))
        return (path for (path,) in rows)

    def clear_changes(self) -> None:
        """Forget which paths were written or removed."""
        self._db.execute("DELETE FROM changes")

    def _newest(self, table: str, scope: str) -> list[str]:
        values = self._db.execute(f"SELECT DISTINCT {scope} FROM {table} ORDER BY 1").fetchall()  # noqa: S608
        order = "ORDER BY published DESC, story_id DESC LIMIT 1"
        query = f"SELECT story_id FROM {table} WHERE {scope} = ? {order}"  # noqa: S608
        return [str(self._one(query, value)[0]) for value in values]

    def _pictures(self, story_id: str) -> list[str]:
        """Delete the picture paths of a story, and return them."""
        rows = self._db.execute("DELETE FROM pictures WHERE story_id = ? RETURNING path", (story_id,)).fetchall()
        return sorted(path for (path,) in rows)

    def _orphans(self, paths: Iterable[str]) -> list[str]:
        shown = "SELECT EXISTS (SELECT 1 FROM pictures WHERE path = ?)"
        return [path for path in paths if not self._one(shown, (path,))[0]]

    def _beside(self, category: str, key: Key, count: int, side: str, order: str) -> list[BuiltStory]:
        query = f"""SELECT * FROM stories WHERE category = ? AND (published, story_id) {side} (?, ?)
            ORDER BY published {order}, story_id {order} LIMIT ?"""  # noqa: S608
        return [BuiltStory(*row) for row in self._db.execute(query, (category, *key, count))]

    def _one(self, query: str, values: Sequence[object] = ()) -> tuple:
        row: tuple = self._db.execute(query, values).fetchone()
        return row


def read_files(target: Path, version: str) -> Iterator[BuiltFile]:
    """Yield the files of the version in the folder ``version``, or none if another version was built last."""
    path = target / STATE_FILE
    if path.is_file():
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as notes:
            if notes.execute("SELECT 1 FROM facts WHERE name = 'folder' AND value = ?", (version,)).fetchone():
                yield from (BuiltFile(*row) for row in notes.execute("SELECT * FROM files ORDER BY path"))


def read_size(target: Path, since: datetime) -> SiteSize | None:
    """Return the size of the last build, or None where nothing was built. ``since`` bounds the recent stories."""
    path = target / STATE_FILE
    if not path.is_file():
        return None
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as notes:
        files, size, story, pictures, heavy = notes.execute(_SIZE).fetchone()
        stories, recent = notes.execute(_STORIES, [since.isoformat(timespec="microseconds")]).fetchone()
    return SiteSize(
        stories=stories,
        recent=recent,
        files=files,
        bytes=size,
        story_bytes=story,
        pictures=pictures,
        picture_bytes=heavy,
    )


def _number(file: BuiltFile | None) -> int:
    return int.from_bytes(hashlib.sha256(f"{file.path}\0{file.sha256}".encode()).digest()) if file else 0


def _where(scope: str) -> str:
    return f"WHERE {scope} = ?" if scope else ""


def _given(scope: str, value: str) -> tuple[str, ...]:
    return (value,) if scope else ()
