"""Since when each secret has its present value. The values themselves are never stored."""

import hashlib
from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from threadjuice_dagster.database import tables as t


class Keys:
    """Secrets by the variable that holds them."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def since(self, secrets: Mapping[str, str]) -> dict[str, datetime]:
        """When each of these secrets was first seen with this value; one that is new is seen now."""
        if not secrets:
            return {}
        rows = [{"variable": name, "digest": _digest(name, value)} for name, value in secrets.items()]
        columns = t.keys_seen.c
        statement = insert(t.keys_seen).values(rows)
        changed = {"digest": statement.excluded.digest, "first_at": sa.func.now()}
        upsert = statement.on_conflict_do_update(
            index_elements=["variable"], set_=changed, where=columns.digest != statement.excluded.digest
        )
        with self._engine.begin() as connection:
            connection.execute(upsert)
            query = sa.select(columns.variable, columns.first_at).where(columns.variable.in_(secrets))
            return dict(connection.execute(query).tuples().all())


def _digest(variable: str, value: str) -> str:
    """Enough to tell that a value changed, and too little to tell a right guess at it from a wrong one."""
    return hashlib.blake2b(f"{variable}\0{value}".encode(errors="replace"), digest_size=3).hexdigest()
