"""Rows by their key: how one is written whether it is there or not."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert


def upsert(table: sa.Table, row: dict[str, Any], keep: Iterable[str] = (), where: Any = None) -> Any:
    """INSERT … ON CONFLICT by primary key DO UPDATE of every given column."""
    statement = insert(table).values(row)
    keys = [column.name for column in table.primary_key]
    changes = {name: statement.excluded[name] for name in row if name not in keys and name not in set(keep)}
    return statement.on_conflict_do_update(index_elements=keys, set_=changes, where=where)
