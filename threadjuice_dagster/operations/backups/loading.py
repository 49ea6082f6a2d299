"""Filling an empty database from a dump: the tables come from our own migrations, of the dump come rows and no SQL.

``pg_restore`` decodes the dump, connected to nothing. Of the script that it writes, the rows of our own tables and the
positions of our own sequences are taken; whatever else stands there is passed over, so that nothing a forger has put
into a dump is ever executed, and nothing that others keep in the database decides over a backup.
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
"""Bytes of a line between the rows that are looked at; ours are shorter."""

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
    """A statement that takes something out of the way of the rows, and the one that puts it back."""

    dropping: str
    adding: str


def load_rows(engine: sa.Engine, decoded: IO[bytes], check: Callable[[], None]) -> None:
    """Fill the tables of a freshly migrated database with the rows in ``pg_restore``'s script, in one transaction.

    ``check`` is called when the script has ended and raises what speaks against the dump; then nothing is kept. Keys,
    indexes and foreign keys are made after the rows, as ``pg_restore`` does. Raises ``PermanentFailure`` for rows that
    do not fit the tables.
    """
    with _fitting(), engine.begin() as connection:
        tables = {_unquoted(name): name for name in _run(connection, _TABLES).scalars()}
        changes = [
            Change(row.dropping, row.adding) for query in (_CONSTRAINTS, _INDEXES) for row in _run(connection, query)
        ]
        for name in tables.values():
            _run(connection, f"ALTER TABLE {name} DISABLE TRIGGER USER")
        for change in changes:
            _run(connection, change.dropping)
        _run(connection, f"TRUNCATE {', '.join(tables.values())}")
        _take(Script(decoded), connection, tables)
        check()
        for change in reversed(changes):
            _run(connection, change.adding)
        for name in tables.values():
            _run(connection, f"ALTER TABLE {name} ENABLE TRIGGER USER")


class Script:
    """What ``pg_restore`` writes, read as lines and, after a COPY, as blocks of rows; never more than some blocks."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._ahead = stream, b""

    def lines(self) -> Iterator[str]:
        """The lines that are no rows; of a very long one only its beginning."""
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
        """The rows that follow a COPY, up to the line that ends them. Raises ``PermanentFailure`` if none does."""
        held, start = b"\n" + self._ahead, 1  # a table without rows begins with their end
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


class Bounded:
    """Passes on what is written, up to so many bytes, for as long as somebody reads it."""

    def __init__(self, target: IO[bytes], most: int) -> None:
        self._target, self._left = target, most

    def write(self, data: bytes, /) -> int:
        """Write to the target. Raises ``PermanentFailure`` for a dump that is longer than its manifest says."""
        self._left -= len(data)
        if self._left < 0:
            raise PermanentFailure("The dump was altered: it unpacks to more than its manifest says.", ANOTHER)
        with suppress(BrokenPipeError):  # what it ended for is told by it
            self._target.write(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back that ``close`` does not pass on."""

    def close(self) -> None:
        """The end, for the reader too."""
        with suppress(BrokenPipeError):
            self._target.close()


def _run(connection: sa.Connection, statement: str) -> sa.CursorResult[Any]:
    return connection.exec_driver_sql(statement.replace("%", "%%"))


def _take(script: Script, connection: sa.Connection, tables: dict[tuple[str, ...], str]) -> None:
    """Copy the rows of ``tables`` and set their sequences; all other lines and rows are passed over."""
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


def _copy(script: Script, connection: sa.Connection, statement: str) -> None:
    """Give the rows that follow to a COPY of ours; those of a table that is not ours are only read over."""
    if not statement:
        for _ in script.rows():
            pass
        return
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for block in script.rows():
            copy.write(block)


def _unquoted(names: str) -> tuple[str, ...]:
    """The names of a list parted by dots or commas, without the quotes around some of them."""
    found = re.findall(_NAME, names)
    return tuple(name[1:-1].replace('""', '"') if name[0] == '"' else name for name in found)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def _fitting() -> Iterator[None]:
    """Tell rows that do not fit from a server that fails."""
    import psycopg

    refused = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError, psycopg.NotSupportedError)
    try:
        yield
    except (psycopg.Error, sa.exc.DBAPIError) as error:
        cause = getattr(error, "orig", error)
        if not isinstance(cause, refused):
            raise unreachable(error) from error
        told = str(cause).strip().splitlines()[0][:200]
        raise PermanentFailure(f"The dump does not fit the newsroom's tables: {told}.", ANOTHER) from error
