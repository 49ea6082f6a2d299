"""The public stories as the site reads them, and their pictures compared with picture storage.

Everything is read in batches, so that a site of any size is built in the same memory.
"""

from collections.abc import Iterable, Iterator, Sequence

import sqlalchemy as sa

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.domain.pictures.images import StoryImage
from threadjuice_dagster.domain.story.publication import Listed, PublishedStory

BATCH = 1000
"""Rows fetched at a time."""

_STAGE = "CREATE TEMP TABLE stored_files (key text PRIMARY KEY) ON COMMIT DROP"
_LACKING = """
SELECT v.story_id, count(*) FROM image_variants v JOIN publications p USING (story_id)
WHERE p.withdrawn_at IS NULL AND v.key <> '' AND NOT EXISTS (SELECT FROM stored_files s WHERE s.key = v.key)
GROUP BY v.story_id ORDER BY max(p.published_at) DESC, v.story_id
"""
_PICTURES = """
SELECT i.record FROM images i JOIN publications p USING (story_id)
WHERE p.withdrawn_at IS NULL ORDER BY p.published_at DESC, p.story_id
"""


class Publications:
    """A ``PublicationSource`` of what is published in one database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def listing(self) -> Iterator[Listed]:
        """Yield every public story, in no order, with a stamp that changes whenever its row is written.

        PostgreSQL keeps the number of the transaction that wrote a row in ``xmin``. So a change is noticed even if it
        leaves ``updated_at`` alone, such as a comment that was cut out.
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
        """Yield the records of these stories, of those that are public."""
        columns = t.publications.c
        query = sa.select(columns.record).where(columns.story_id.in_(ids), columns.withdrawn_at.is_(None))
        with self._engine.connect() as connection:
            for record in connection.scalars(query):
                yield PublishedStory.model_validate(record)


def pictures_of_public_stories(engine: sa.Engine) -> Iterator[StoryImage]:
    """Yield the picture of each public story, newest first."""
    with engine.connect().execution_options(yield_per=BATCH) as connection:
        for row in connection.execute(sa.text(_PICTURES)):
            yield StoryImage.model_validate(row.record)


def stories_lacking_files(engine: sa.Engine, stored: Iterable[str]) -> dict[str, int]:
    """Return how many picture files each public story lacks, newest first; ``stored`` are the keys that storage has."""
    with engine.begin() as connection:
        connection.exec_driver_sql(_STAGE)
        driver = connection.connection.driver_connection
        assert driver is not None
        with driver.cursor() as cursor, cursor.copy("COPY stored_files (key) FROM STDIN") as copy:
            for key in stored:
                copy.write_row((key,))
        connection.exec_driver_sql("ANALYZE stored_files")
        return dict(connection.execute(sa.text(_LACKING)).tuples().all())
