"""Files of the inbox that could not be taken nor moved away: remembered, so that they are not tried for ever.

What a file is remembered by changes with the file, so that one that was put right is tried again.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.rows import upsert


def passed_over(engine: sa.Engine, marks: Sequence[str]) -> set[str]:
    """Those of these marks that are remembered."""
    digest = t.import_files.c.digest
    with engine.connect() as connection:
        return set(connection.scalars(sa.select(digest).where(digest.in_(marks)))) if marks else set()


def pass_over(engine: sa.Engine, mark: str, name: str, problem: str) -> None:
    """Remember a file and what is wrong with it."""
    row = {"digest": mark, "name": name, "records": 0, "counts": {"problem": problem}, "rejects_bytes": 0}
    with engine.begin() as connection:
        connection.execute(upsert(t.import_files, {**row, "finished_at": sa.func.now()}))
