"""What the last build knew: its stories in brief, and every file of the site with its digests.

One SQLite file beside the versions, written in one transaction a build, so that a build reads and renders only what
changed and holds nothing of the rest. What is made of it belongs in ``site/builder.py``.
"""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from threadjuice_dagster.domain.model import Model

FILE = "build.sqlite"
"""Its name in the folder of the site."""

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
"""When a story was published (ISO 8601, UTC, microseconds) and its id: what stories are ordered by."""


PACKED = 3
"""Pages are sent packed, to a third or less; pictures are packed already."""

WINDOW_DAYS = 28
"""The days whose stories make today's pace."""


class SiteSize(Model):
    """What a built site consists of. ``recent`` are its stories of the last ``WINDOW_DAYS``."""

    stories: int
    recent: int
    files: int
    bytes: int
    story_bytes: int
    pictures: int
    picture_bytes: int

    @property
    def weight(self) -> float:
        """Bytes of a deployment as it is sent."""
        return self.picture_bytes + (self.bytes - self.picture_bytes) / PACKED

    @property
    def story_weight(self) -> float:
        """What one more story adds to it."""
        return max((self.picture_bytes + self.story_bytes / PACKED) / max(self.stories, 1), 1.0)


class BuiltFile(NamedTuple):
    """A file of the site: its path from the top, digests of its content in hexadecimal, its bytes."""

    path: str
    sha1: str
    sha256: str
    size: int


class Brief(NamedTuple):
    """A story as lists show it. ``voice`` is its persona's name and byline; ``card`` and ``line`` are HTML."""

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
    def look(self) -> tuple[str, ...]:
        """What lists show of it."""
        return self.voice, self.card, self.line

    @property
    def place(self) -> tuple[str, ...]:
        """What decides on which lists it is, and where."""
        return self.published, self.category, self.persona


class BuildState:
    """The file at ``path``, made anew where there is none or it is of another form. Changes count once ``save``d.

    Raises ``sqlite3.DatabaseError`` for a file that is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        (form,) = self._one("PRAGMA user_version")
        if form not in (0, _SCHEMA):
            self._db.close()
            path.unlink()
            self._db, form = sqlite3.connect(path, isolation_level=None), 0
        # What left the site leaves this file as well, and who reads it is kept waiting by no build.
        pragmas = "PRAGMA secure_delete = ON; PRAGMA journal_mode = WAL;"
        self._db.executescript(f"{pragmas} {'' if form else _TABLES} {_INCOMING}")
        self._db.execute("BEGIN IMMEDIATE")
        self._sum = int(self.fact("sum") or "0", 16)

    def close(self) -> None:
        """Forget whatever was not saved."""
        self._db.close()

    def save(self) -> None:
        """Keep what was changed so far."""
        self.note("sum", f"{self._sum:x}")
        self._db.execute("COMMIT")
        self._db.execute("BEGIN IMMEDIATE")

    def fact(self, name: str) -> str:
        """One of the few things kept by name; empty if it is not."""
        found = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(found[0]) if found else ""

    def note(self, name: str, value: str) -> None:
        """Keep something by name."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def clear(self) -> None:
        """Know nothing, as before the first build."""
        for table in ("stories", "pictures", "files", "changes", "lists", "facts"):
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 -- a fixed set of names
        self._sum = 0

    # Stories

    def receive(self, listing: Iterable[tuple[str, str, str, str]]) -> None:
        """Take in what is public now: id, category, time of publication and stamp of each story."""
        self._db.executemany("INSERT OR REPLACE INTO incoming VALUES (?, ?, ?, ?)", listing)

    def desks(self) -> list[str]:
        """The newest public story of each category."""
        return self._newest("incoming", "category")

    def newest(self, scope: str) -> list[str]:
        """The newest story of each value of a column."""
        return self._newest("stories", scope)

    def gone(self) -> list[Brief]:
        """Stories of the last build that are not public any more."""
        query = "SELECT * FROM stories WHERE story_id NOT IN (SELECT story_id FROM incoming)"
        return [Brief(*row) for row in self._db.execute(query)]

    def changed(self) -> Iterator[tuple[str, str]]:
        """Id and stamp of stories that are new or not as they were, oldest first."""
        query = """SELECT i.story_id, i.stamp FROM incoming i LEFT JOIN stories s USING (story_id)
            WHERE s.stamp IS NULL OR s.stamp <> i.stamp ORDER BY i.published, i.story_id"""
        # Read on while stories are written, these rows would be a matter of luck.
        self._db.execute(f"CREATE TEMP TABLE todo AS {query}")
        yield from self._db.execute("SELECT story_id, stamp FROM todo ORDER BY rowid")
        self._db.execute("DROP TABLE todo")

    def unstamp(self) -> None:
        """Take every story for changed."""
        self._db.execute("UPDATE stories SET stamp = ''")

    def story(self, story_id: str) -> Brief | None:
        """A story as the last build or this one knows it."""
        row = self._db.execute("SELECT * FROM stories WHERE story_id = ?", (story_id,)).fetchone()
        return Brief(*row) if row else None

    def holder(self, slug: str) -> str:
        """The story that has a slug; empty if none does."""
        row = self._db.execute("SELECT story_id FROM stories WHERE slug = ?", (slug,)).fetchone()
        return str(row[0]) if row else ""

    def keep(self, story: Brief, pictures: Iterable[str]) -> list[str]:
        """Know a story, and the paths of its pictures; returns those it had that no story has now."""
        before = self._pictures(story.story_id)
        self._db.execute("INSERT OR REPLACE INTO stories VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", story)
        self._db.executemany("INSERT INTO pictures VALUES (?, ?)", [(one, story.story_id) for one in set(pictures)])
        return self._orphans(before)

    def relate(self, story_id: str, related: str) -> None:
        """Note which stories are shown under one."""
        self._db.execute("UPDATE stories SET related = ? WHERE story_id = ?", (related, story_id))

    def forget(self, story_id: str) -> list[str]:
        """Know a story no more; returns the paths of pictures that no other story has."""
        self._db.execute("DELETE FROM stories WHERE story_id = ?", (story_id,))
        return self._orphans(self._pictures(story_id))

    def older(self, category: str, key: Key, count: int) -> list[Brief]:
        """The stories of a category that came before, nearest first."""
        return self._beside(category, key, count, "<", "DESC")

    def newer(self, category: str, key: Key, count: int) -> list[Brief]:
        """The stories of a category that came after, nearest first."""
        return self._beside(category, key, count, ">", "ASC")

    def count(self, scope: str = "", value: str = "") -> int:
        """How many stories there are in all, or with a ``value`` in the column ``scope``."""
        return int(self._one(f"SELECT count(*) FROM stories {_where(scope)}", _given(scope, value))[0])  # noqa: S608

    def rank(self, key: Key, scope: str = "", value: str = "") -> int:
        """How many of them are older than ``key``."""
        condition = f"{_where(scope) or 'WHERE true'} AND (published, story_id) < (?, ?)"
        return int(self._one(f"SELECT count(*) FROM stories {condition}", (*_given(scope, value), *key))[0])  # noqa: S608

    def stretch(self, first: int, count: int, scope: str = "", value: str = "") -> list[Brief]:
        """So many of them from the one of rank ``first``, oldest first."""
        order = "ORDER BY published, story_id LIMIT ? OFFSET ?"
        query = f"SELECT * FROM stories {_where(scope)} {order}"  # noqa: S608
        return [Brief(*row) for row in self._db.execute(query, (*_given(scope, value), count, first))]

    def addresses(self, first: int, count: int) -> list[tuple[str, str]]:
        """Slug and time of change of so many stories from the one of rank ``first``, oldest first."""
        query = "SELECT slug, updated FROM stories ORDER BY published, story_id LIMIT ? OFFSET ?"
        return self._db.execute(query, (count, first)).fetchall()

    def groups(self, scope: str) -> list[tuple[str, int]]:
        """The values of a column in order, with how many stories have each."""
        return self._db.execute(f"SELECT {scope}, count(*) FROM stories GROUP BY 1 ORDER BY 1").fetchall()  # noqa: S608

    def newest_change(self) -> str:
        """When any story last changed; empty without stories."""
        return str(self._one("SELECT max(updated) FROM stories")[0] or "")

    def origins(self) -> list[str]:
        """Outside origins that pictures come from."""
        rows = self._db.execute("SELECT DISTINCT origins FROM stories WHERE origins <> ''")
        return sorted({origin for (text,) in rows for origin in text.split()})

    def list_of(self, folder: str) -> tuple[int, str]:
        """How many pages of older stories a list had, and its words; none for a list that was not there."""
        row = self._db.execute("SELECT older, words FROM lists WHERE folder = ?", (folder,)).fetchone()
        return row or (0, "")

    def keep_list(self, folder: str, older: int, words: str) -> None:
        """Note how many pages of older stories a list has, and its words."""
        self._db.execute("INSERT OR REPLACE INTO lists VALUES (?, ?, ?)", (folder, older, words))

    def forget_list(self, folder: str) -> None:
        """Note that a list is gone."""
        self._db.execute("DELETE FROM lists WHERE folder = ?", (folder,))

    # Files

    def file(self, path: str) -> BuiltFile | None:
        """A file of the site."""
        row = self._db.execute("SELECT * FROM files WHERE path = ?", (path,)).fetchone()
        return BuiltFile(*row) if row else None

    def files(self) -> Iterator[BuiltFile]:
        """Every file of the site but its marker, by path: the manifest."""
        return (BuiltFile(*row) for row in self._db.execute("SELECT * FROM files ORDER BY path"))

    def paths(self, pattern: str) -> list[str]:
        """Paths of files that match a pattern."""
        return [path for (path,) in self._db.execute("SELECT path FROM files WHERE path GLOB ?", (pattern,))]

    def keep_file(self, path: str, file: BuiltFile | None, before: BuiltFile | None) -> None:
        """Note a file that was written, or with None removed, and was known as ``before``."""
        self._sum = (self._sum - _number(before) + _number(file)) % 2**256
        if file:
            self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", file)
        else:
            self._db.execute("DELETE FROM files WHERE path = ?", (path,))
        self._db.execute("INSERT OR IGNORE INTO changes VALUES (?)", (path,))

    @property
    def digest(self) -> str:
        """Names the content of all files together, whatever the order they were written in."""
        return hashlib.sha256(f"{self._sum:x}".encode()).hexdigest()[:16]

    def numbers(self) -> tuple[int, int]:
        """How many pages and pictures the site has."""
        query = "SELECT total(path GLOB '*.html'), total(path GLOB 'img/*') FROM files"
        pages, pictures = self._one(query)
        return int(pages), int(pictures)

    def changes(self, pattern: str = "*") -> Iterator[str]:
        """Paths that match a pattern and were written or removed since ``forget_changes``."""
        rows = self._db.execute("SELECT path FROM changes WHERE path GLOB ? ORDER BY path", (pattern,))
        return (path for (path,) in rows)

    def forget_changes(self) -> None:
        """Start anew to note what is written or removed."""
        self._db.execute("DELETE FROM changes")

    def _newest(self, table: str, scope: str) -> list[str]:
        values = self._db.execute(f"SELECT DISTINCT {scope} FROM {table} ORDER BY 1").fetchall()  # noqa: S608
        order = "ORDER BY published DESC, story_id DESC LIMIT 1"
        query = f"SELECT story_id FROM {table} WHERE {scope} = ? {order}"  # noqa: S608
        return [str(self._one(query, value)[0]) for value in values]

    def _pictures(self, story_id: str) -> list[str]:
        """The paths of a story's pictures, which are then known no more."""
        rows = self._db.execute("DELETE FROM pictures WHERE story_id = ? RETURNING path", (story_id,)).fetchall()
        return sorted(path for (path,) in rows)

    def _orphans(self, paths: Iterable[str]) -> list[str]:
        shown = "SELECT EXISTS (SELECT 1 FROM pictures WHERE path = ?)"
        return [path for path in paths if not self._one(shown, (path,))[0]]

    def _beside(self, category: str, key: Key, count: int, side: str, order: str) -> list[Brief]:
        query = f"""SELECT * FROM stories WHERE category = ? AND (published, story_id) {side} (?, ?)
            ORDER BY published {order}, story_id {order} LIMIT ?"""  # noqa: S608
        return [Brief(*row) for row in self._db.execute(query, (category, *key, count))]

    def _one(self, query: str, values: Sequence[object] = ()) -> tuple:
        found: tuple = self._db.execute(query, values).fetchone()
        return found


def noted_files(target: Path, version: str) -> Iterator[BuiltFile]:
    """The manifest of the version in the folder ``version``; nothing if it is not what was built last."""
    path = target / FILE
    if path.is_file():
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as notes:
            if notes.execute("SELECT 1 FROM facts WHERE name = 'folder' AND value = ?", (version,)).fetchone():
                yield from (BuiltFile(*row) for row in notes.execute("SELECT * FROM files ORDER BY path"))


def noted_size(target: Path, since: datetime) -> SiteSize | None:
    """What the last build consists of, with its stories published ``since`` then; None where nothing was built."""
    path = target / FILE
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
