"""Finds originality signatures that another version of the algorithm made, and computes them anew.

Signatures of another version are never compared, so that a story finds only those neighbours that were signed alike.
What a signature is belongs in ``domain/judging/originality.py``.
"""

from collections.abc import Callable

import sqlalchemy as sa

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.domain.judging.originality import SIGNATURE_VERSION, bands, signature
from threadjuice_dagster.domain.story.stories import StoryDraft

BATCH = 500
"""Stories of one transaction: about two seconds, for which nobody else can store them."""

RESIGN = "Run: threadjuice database resign"

_signed = t.stories.c.signature != sa.literal(b"")
_outdated = _signed & (t.stories.c.signature_version != SIGNATURE_VERSION)


def other_versions(connection: sa.Connection) -> list[int]:
    """Return the versions of stored signatures, lowest and highest, that are not the present one."""
    column = t.stories.c.signature_version
    ends = connection.execute(sa.select(sa.func.min(column), sa.func.max(column)).where(_signed)).one()
    return sorted({version for version in ends if version not in (None, SIGNATURE_VERSION)})


def resign_stories(engine: sa.Engine, progress: Callable[[str], None] = lambda _: None) -> int:
    """Compute all signatures of other versions anew, in batches that are committed one by one; return their number.

    A story that repeats another keeps its empty bands: it is found through the one that it repeats.
    """
    columns, count = t.stories.c, 0
    query = sa.select(columns.story_id, columns.record, sa.func.cardinality(columns.bands).label("bands"))
    query = query.where(_outdated).order_by(columns.story_id).limit(BATCH).with_for_update()
    while True:
        with engine.begin() as connection:
            rows = connection.execute(query).all()
            for row in rows:
                signed = signature(StoryDraft.model_validate(row.record).draft.shown)
                values = {"signature": signed, "signature_version": SIGNATURE_VERSION}
                values["bands"] = list(bands(signed)) if row.bands else []
                connection.execute(t.stories.update().where(columns.story_id == row.story_id).values(values))
        if not rows:
            return count
        count += len(rows)
        progress(f"{count:,} signatures recomputed")
