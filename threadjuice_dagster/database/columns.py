"""The columns that tables of the newsroom have in common, and how their constraints are named."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

metadata = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_name)s_idx",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def timestamp(name: str) -> "sa.Column[object]":
    """Return a column that holds when its row was made."""
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def required(kind: Any, *names: str) -> "list[sa.Column[Any]]":
    """Return columns of one type that are never null."""
    return [sa.Column(name, kind, nullable=False) for name in names]


def story_key() -> "sa.Column[str]":
    """Return the primary key of a table with one row a story."""
    return sa.Column("story_id", sa.ForeignKey("assignments.story_id", ondelete="CASCADE"), primary_key=True)


def catalogue_table(name: str) -> sa.Table:
    """Return a table of the editorial catalogue."""
    columns = (sa.Column("slug", sa.Text, primary_key=True), *required(sa.Text, "name"))
    position, record = sa.Column("position", sa.Integer, nullable=False), sa.Column("record", JSONB, nullable=False)
    return sa.Table(name, metadata, *columns, position, record)
