"""The public stories as the site reads them, out of a real PostgreSQL."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from newsstand import files, made_story, page, plain_picture

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.publications import Publications
from threadjuice_dagster.database.schema import require_schema
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.domain.story.publication import PublishedStory
from threadjuice_dagster.site.builder import SiteBuild, build_site


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    store = Store(sa.create_engine(database_url))
    require_schema(store, migrate_if_missing=True)
    Catalogue(store.engine).seed()
    yield store.engine
    store.engine.dispose()


@pytest.fixture
def stories(engine: sa.Engine) -> list[PublishedStory]:
    made = [made_story(number, plain_picture(None)) for number in range(40)]
    with engine.begin() as connection:
        for story in made:
            service = {"story_id": story.story_id, "category": story.category.slug}
            row = story.model_dump(include={"slug", "score", "published_at", "updated_at"})
            record = {"record": story.model_dump(mode="json")}
            assigned = {**service, "persona": story.persona.slug, "status": "published"}
            connection.execute(sa.insert(t.assignments).values(**assigned))
            connection.execute(sa.insert(t.publications).values(**service, **row, **record))
    return made


def change(engine: sa.Engine, story: PublishedStory, values: str) -> None:
    statement = sa.text(f"UPDATE publications SET {values} WHERE story_id = :story_id")
    with engine.begin() as connection:
        connection.execute(statement, {"story_id": story.story_id})


def test_the_listing_names_every_public_story(engine: sa.Engine, stories: list[PublishedStory]) -> None:
    listed = {one.story_id: one for one in Publications(engine).listing()}
    assert listed.keys() == {story.story_id for story in stories}
    assert listed[stories[3].story_id].category == stories[3].category.slug
    assert listed[stories[3].story_id].published_at == stories[3].published_at


def test_a_withdrawn_story_is_neither_listed_nor_read(engine: sa.Engine, stories: list[PublishedStory]) -> None:
    change(engine, stories[0], "withdrawn_at = now()")
    shelf = Publications(engine)
    assert stories[0].story_id not in {one.story_id for one in shelf.listing()}
    assert list(shelf.stories([stories[0].story_id, stories[1].story_id, "nobody"])) == [stories[1]]


def test_a_stamp_tells_of_every_change_and_of_nothing_else(engine: sa.Engine, stories: list[PublishedStory]) -> None:
    shelf = Publications(engine)
    before = {one.story_id: one.stamp for one in shelf.listing()}
    assert before == {one.story_id: one.stamp for one in shelf.listing()}
    change(engine, stories[5], "record = jsonb_set(record, '{draft,dek}', '\"Cut out.\"')")
    after = {one.story_id: one.stamp for one in shelf.listing()}
    assert {story_id for story_id in after if after[story_id] != before[story_id]} == {stories[5].story_id}


def test_a_row_that_was_written_and_is_the_same_is_looked_at_once(
    engine: sa.Engine, stories: list[PublishedStory], tmp_path: Path
) -> None:
    shelf = Publications(engine)
    build_site(shelf, tmp_path, "", None)
    change(engine, stories[5], "score = score")
    built = build_site(shelf, tmp_path, "", None)
    assert (built.changed, built.written) == (False, 0)
    with contextlib.closing(sqlite3.connect(tmp_path / "build.sqlite")) as memory:
        known = dict(memory.execute("SELECT story_id, stamp FROM stories"))
    assert known == {one.story_id: one.stamp for one in shelf.listing()}


def test_a_site_follows_its_database(engine: sa.Engine, stories: list[PublishedStory], tmp_path: Path) -> None:
    def build(name: str) -> SiteBuild:
        return build_site(Publications(engine), tmp_path / name, "https://stories.example", None)

    build("site")
    change(engine, stories[5], "record = jsonb_set(record, '{draft,dek}', '\"Cut out.\"')")
    change(engine, stories[9], "withdrawn_at = now()")
    changed = build("site")
    assert "Cut out." in page(tmp_path / "site", f"story/{stories[5].slug}/index.html")
    assert changed.stories == 39
    assert files(changed.folder) == files(build("anew").folder)
    assert not build("site").changed
