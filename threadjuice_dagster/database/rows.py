"""Statements that several stores share."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from threadjuice_dagster.database.tables import thread_places, threads, tombstones


def upsert(table: sa.Table, row: dict[str, Any], keep: Iterable[str] = (), where: Any = None) -> Any:
    """Return INSERT … ON CONFLICT (primary key) DO UPDATE of every given column but those to ``keep``."""
    statement = insert(table).values(row)
    keys = [column.name for column in table.primary_key]
    changes = {name: statement.excluded[name] for name in row if name not in keys and name not in set(keep)}
    return statement.on_conflict_do_update(index_elements=keys, set_=changes, where=where)


def is_taken_down(connection: sa.Connection, ids: Mapping[str, Collection[str]]) -> bool:
    """Return whether one of these sources was taken down; ``ids`` are listed by kind (thread, comment, story)."""
    columns = tombstones.c
    named = [(columns.kind == kind) & columns.id.in_(list(names)) for kind, names in ids.items()]
    return bool(connection.scalar(sa.select(sa.exists().where(sa.or_(*named)))))


def is_usable(source: str = "") -> "sa.ColumnElement[bool]":
    """Return whether a thread is unused, has its text and is of ``source``, which is a spec or the name of a source.

    Where none is named, the samples count until the newest look at all places went to others.
    """
    columns, places = threads.c, thread_places.c
    usable = ~columns.used & columns.expired_at.is_(None)
    if source:
        return usable & ((columns.spec == source) | columns.spec.startswith(f"{source}:", autoescape=True))
    samples_are_read = sa.exists().where(places.spec == "samples") | ~sa.exists(sa.select(places.spec))
    return usable & ((columns.source != "sample") | samples_are_read)
