"""The public stories as the site reads them: which there are and whether a row changed, then the records of some.

Neither reads more at a time than a batch, so a site of any size is built in the same memory.
"""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.domain.story.publication import Listed, PublishedStory

BATCH = 1000
"""Rows fetched at a time."""


class Publications:
    """A ``PublicationSource`` of what is published in one database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def listing(self) -> Iterator[Listed]:
        """Every public story, in no order; its stamp is new whenever its row was written.

        PostgreSQL notes in ``xmin`` which transaction wrote a row, so not even a change that leaves the time of the
        last one alone, such as a comment cut out, goes unseen.
        """
        columns = t.publications.c
        written: sa.ColumnClause[str] = sa.literal_column("publications.xmin::text")
        query = sa.select(columns.story_id, columns.category, columns.published_at, columns.updated_at, written)
        with self._engine.connect().execution_options(yield_per=BATCH) as connection:
            for story_id, category, published, updated, transaction in connection.execute(
                query.where(columns.withdrawn_at.is_(None))
            ):
                yield Listed(story_id, category, published, f"{updated.isoformat()} {transaction}")

    def stories(self, ids: Sequence[str]) -> Iterator[PublishedStory]:
        """The records of those of these stories that are public."""
        columns = t.publications.c
        query = sa.select(columns.record).where(columns.story_id.in_(ids), columns.withdrawn_at.is_(None))
        with self._engine.connect() as connection:
            for record in connection.scalars(query):
                yield PublishedStory.model_validate(record)
