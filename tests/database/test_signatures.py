"""Signatures of another version: not compared, told of by the environment's check, and computed anew on demand."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from command import threadjuice
from makers import make_draft, make_publication

from threadjuice_dagster.cli.session import open_session
from threadjuice_dagster.database import signatures
from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.signatures import other_versions, resign_stories
from threadjuice_dagster.database.store import Store, open_store
from threadjuice_dagster.domain.judging.originality import SIGNATURE_VERSION, bands, signature
from threadjuice_dagster.settings import load_settings


@pytest.fixture
def store(prepared_url: str) -> Iterator[Store]:
    store = open_store(prepared_url, 2)
    yield store
    store.locks.close()
    store.engine.dispose()


def publish(store: Store, story_id: str) -> None:
    store.assign_manual(story_id, "neighbours", Catalogue(store.engine).personas()[0].slug)
    store.save(make_draft(story_id))
    story = make_publication(store, story_id)
    row = story.model_dump(include={"story_id", "slug", "score", "published_at", "updated_at"})
    with store.engine.begin() as connection:
        record = story.model_dump(mode="json")
        connection.execute(t.publications.insert().values(**row, category=story.category.slug, record=record))


def sign_otherwise(store: Store, **values: Any) -> None:
    """Leave the stored signatures as another version of the algorithm would have made them."""
    changed = {"signature": b"\1" * 1024, "bands": [1, 2], "signature_version": SIGNATURE_VERSION + 1, **values}
    with store.engine.begin() as connection:
        connection.execute(t.stories.update().values(changed))


def stored(store: Store) -> list[Any]:
    columns = t.stories.c
    query = sa.select(columns.story_id, columns.signature, columns.bands, columns.signature_version)
    with store.engine.connect() as connection:
        return list(connection.execute(query.order_by(columns.story_id)))


def test_stories_of_another_version_are_not_compared(store: Store) -> None:
    publish(store, "s-1")
    own = list(bands(signature(make_draft("s-1").draft.shown)))
    assert [story_id for story_id, _ in store.stories_alike(own, excluding="s-2")] == ["s-1"]
    with store.engine.begin() as connection:
        connection.execute(t.stories.update().values(signature_version=SIGNATURE_VERSION + 1))
    assert store.stories_alike(own, excluding="s-2") == []


def test_signatures_are_computed_anew_in_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        publish(store, f"s-{number}")
    before, told = stored(store), list[str]()
    sign_otherwise(store)
    with store.engine.connect() as connection:
        assert other_versions(connection) == [SIGNATURE_VERSION + 1]
    monkeypatch.setattr(signatures, "BATCH", 2)
    assert resign_stories(store.engine, told.append) == 5
    assert stored(store) == before
    assert len(told) == 3
    assert resign_stories(store.engine) == 0
    with store.engine.connect() as connection:
        assert other_versions(connection) == []


def test_a_story_that_repeats_another_stays_out_of_the_index(store: Store) -> None:
    publish(store, "s-1")
    sign_otherwise(store, bands=[])
    assert resign_stories(store.engine) == 1
    assert stored(store)[0].bands == []


def test_the_check_says_so_and_the_command_computes_them(newsroom_environment: dict[str, str]) -> None:
    with open_session(load_settings(newsroom_environment), lambda _: None, prepare=True) as newsroom:
        publish(newsroom.store, "s-1")
        sign_otherwise(newsroom.store)
    _, document, _ = threadjuice("deploy", "check")
    row = next(row for row in document["rows"] if row["name"] == "database")
    assert (row["state"], row["next_step"]) == ("warning", "Run: threadjuice database resign")
    code, document, _ = threadjuice("database", "resign")
    assert (code, document) == (0, {"signatures": {"recomputed": 1}})
