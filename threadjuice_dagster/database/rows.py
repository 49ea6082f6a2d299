"""Statements that several stores share."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from threadjuice_dagster.database.tables import tombstones


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
