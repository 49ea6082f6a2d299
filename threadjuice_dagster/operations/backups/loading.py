"""Filling an empty database from a dump: our own migrations make the tables, and the dump gives rows but no SQL.

``pg_restore`` decodes the dump without a connection to any database. From the script that it writes, only rows of our
tables and positions of our sequences are used. So no SQL that a forger puts into a dump is ever executed, and objects
of others in the database cannot make a restore fail.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, NamedTuple

import sqlalchemy as sa

from threadjuice_dagster.database.server import unreachable
from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.resources.encryption import BLOCK

ANOTHER = "Choose another backup: threadjuice database backups"

_LONGEST = 1 << 16
"""How many bytes of a line outside of the rows are read; the lines we use are shorter."""

_NAME = r'(?:[a-z_][a-z0-9_$]*|"(?:[^"]|"")+")'
_COPY = re.compile(rf"COPY ({_NAME}\.{_NAME}) \(({_NAME}(?:, {_NAME})*)\) FROM stdin;")
_SETVAL = re.compile(rf"SELECT pg_catalog\.setval\('({_NAME}\.{_NAME})', (-?\d{{1,19}}), (true|false)\);")
_END = b"\n\\.\n"

_CONSTRAINTS = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) AS dropping,
    format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) AS adding
FROM pg_constraint WHERE connamespace = current_schema()::regnamespace AND contype IN ('p', 'u', 'x', 'f')
ORDER BY contype = 'f' DESC, conname
"""
_INDEXES = """
SELECT format('DROP INDEX %s', indexrelid::regclass) AS dropping, pg_get_indexdef(indexrelid) AS adding
FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE c.relnamespace = current_schema()::regnamespace
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
ORDER BY c.relname
"""
_TABLES = """
SELECT format('%I.%I', current_schema(), relname) FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' ORDER BY 1
"""


class Change(NamedTuple):
    """A statement that drops a key or index before rows are loaded, and the one that makes it again."""

    dropping: str
    adding: str


def load_rows(engine: sa.Engine, decoded: IO[bytes], check: Callable[[], None]) -> None:
    """Fill the tables of a freshly migrated database with the rows in ``pg_restore``'s script, in one transaction.

    ``check`` is called at the end of the script; if it raises, nothing is kept. Keys, indexes and foreign keys are made
    after the rows, as ``pg_restore`` does, which is faster. Raises ``PermanentFailure`` for rows that do not fit.
    """
    with _classified_failures(), engine.begin() as connection:
        tables = {_unquoted(name): name for name in _run(connection, _TABLES).scalars()}
        changes = [
            Change(row.dropping, row.adding) for query in (_CONSTRAINTS, _INDEXES) for row in _run(connection, query)
        ]
        for name in tables.values():
            _run(connection, f"ALTER TABLE {name} DISABLE TRIGGER USER")
        for change in changes:
            _run(connection, change.dropping)
        _run(connection, f"TRUNCATE {', '.join(tables.values())}")
        _copy_rows(RestoreScript(decoded), connection, tables)
        check()
        for change in reversed(changes):
            _run(connection, change.adding)
        for name in tables.values():
            _run(connection, f"ALTER TABLE {name} ENABLE TRIGGER USER")


class RestoreScript:
    """The output of ``pg_restore``, read as lines and, after a COPY, as blocks of rows; some blocks are in memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._ahead = stream, b""

    def lines(self) -> Iterator[str]:
        """Yield the lines that are no rows, and only the beginning of a very long one."""
        while True:
            beginning = b""
            while (end := self._ahead.find(b"\n")) < 0:
                beginning = (beginning + self._ahead)[:_LONGEST]
                self._ahead = self._stream.read1(BLOCK)  # type: ignore[attr-defined]
                if not self._ahead:
                    return
            line, self._ahead = beginning + self._ahead[:end], self._ahead[end + 1 :]
            yield line[:_LONGEST].decode(errors="replace")

    def rows(self) -> Iterator[bytes]:
        """Yield the rows after a COPY. Raises ``PermanentFailure`` if the line that ends them is missing."""
        held, start = b"\n" + self._ahead, 1  # the rows of an empty table are just the line that ends them
        while (end := held.find(_END)) < 0:
            if len(held) > len(_END):
                yield held[start : 1 - len(_END)]
                held, start = held[1 - len(_END) :], 0
            block = self._stream.read1(BLOCK)  # type: ignore[attr-defined]
            if not block:
                raise PermanentFailure("The dump ends within the rows of a table.", ANOTHER)
            held += block
        self._ahead = held[end + len(_END) :]
        yield held[start : end + 1]


class BoundedPipe:
    """A pipe that takes at most a number of bytes, and drops them once its reader has ended."""

    def __init__(self, target: IO[bytes], most: int) -> None:
        self._target, self._left = target, most

    def write(self, data: bytes, /) -> int:
        """Write to the target. Raises ``PermanentFailure`` for a dump that is longer than its manifest says."""
        self._left -= len(data)
        if self._left < 0:
            raise PermanentFailure("The dump was altered: it unpacks to more than its manifest says.", ANOTHER)
        with suppress(BrokenPipeError):  # the exit code of the reader says why it ended
            self._target.write(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: ``close`` writes out what is buffered."""

    def close(self) -> None:
        """Close the pipe, so that its reader sees the end."""
        with suppress(BrokenPipeError):
            self._target.close()


def _run(connection: sa.Connection, statement: str) -> sa.CursorResult[Any]:
    return connection.exec_driver_sql(statement.replace("%", "%%"))


def _copy_rows(script: RestoreScript, connection: sa.Connection, tables: dict[tuple[str, ...], str]) -> None:
    """Copy the rows of ``tables`` and set their sequences; skip all other lines and rows."""
    for line in script.lines():
        if copy := _COPY.fullmatch(line):
            table, columns = tables.get(_unquoted(copy[1])), ", ".join(map(_quoted, _unquoted(copy[2])))
            _copy(script, connection, f"COPY {table} ({columns}) FROM STDIN (FREEZE)" if table else "")
        elif position := _SETVAL.fullmatch(line):
            schema, name = _unquoted(position[1])
            values = {"schema": schema, "name": name, "at": int(position[2]), "used": position[3] == "true"}
            connection.execute(_SET_POSITION, values)


_SET_POSITION = sa.text(
    "SELECT setval(c.oid::regclass, :at, :used) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'S' AND n.nspname = :schema AND c.relname = :name AND n.nspname = current_schema()"
)


def _copy(script: RestoreScript, connection: sa.Connection, statement: str) -> None:
    """Pass the rows that follow to our COPY statement; without one, as for tables of others, skip them."""
    if not statement:
        for _ in script.rows():
            pass
        return
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for block in script.rows():
            copy.write(block)


def _unquoted(names: str) -> tuple[str, ...]:
    """Split names at dots or commas, and remove quotes."""
    parts = re.findall(_NAME, names)
    return tuple(name[1:-1].replace('""', '"') if name[0] == '"' else name for name in parts)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def _classified_failures() -> Iterator[None]:
    """Raise ``PermanentFailure`` for rows that do not fit, and the usual failure for a server that fails."""
    import psycopg

    refused = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError, psycopg.NotSupportedError)
    try:
        yield
    except (psycopg.Error, sa.exc.DBAPIError) as error:
        cause = getattr(error, "orig", error)
        if not isinstance(cause, refused):
            raise unreachable(error) from error
        reason = str(cause).strip().splitlines()[0][:200]
        raise PermanentFailure(f"The dump does not fit the newsroom's tables: {reason}.", ANOTHER) from error
