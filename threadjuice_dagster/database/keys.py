"""Records since when each secret has its present value. The values themselves are never stored."""

import hashlib
from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from threadjuice_dagster.database import tables as t


class Keys:
    """Reads and writes the ages of secrets, by the variable that holds each."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def since(self, secrets: Mapping[str, str]) -> dict[str, datetime]:
        """Return when each of these secrets was first seen with its value; a new value counts from now on."""
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
    """Return a digest of 24 bits: enough to notice a change, too short to confirm a guess of the value."""
    return hashlib.blake2b(f"{variable}\0{value}".encode(errors="replace"), digest_size=3).hexdigest()
