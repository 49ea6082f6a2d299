"""Pictures of public stories held against what picture storage has.

Choosing pictures belongs in ``resources/pictures.py``; what a story's run stores, in ``database/store.py``.
"""

from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from threadjuice_dagster.domain.pictures.images import StoryImage

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
_AT_ONCE = 500


def pictures_of_public_stories(engine: sa.Engine) -> Iterator[StoryImage]:
    """The picture of each public story, newest first, some in memory at a time."""
    with engine.connect().execution_options(yield_per=_AT_ONCE) as connection:
        for row in connection.execute(sa.text(_PICTURES)):
            yield StoryImage.model_validate(row.record)


def stories_lacking_files(engine: sa.Engine, stored: Iterable[str]) -> dict[str, int]:
    """Public stories of whose variants some are not among the ``stored`` keys, newest first, and how many of each."""
    with engine.begin() as connection:
        connection.exec_driver_sql(_STAGE)
        driver = connection.connection.driver_connection
        assert driver is not None
        with driver.cursor() as cursor, cursor.copy("COPY stored_files (key) FROM STDIN") as copy:
            for key in stored:
                copy.write_row((key,))
        connection.exec_driver_sql("ANALYZE stored_files")
        return dict(connection.execute(sa.text(_LACKING)).tuples().all())
