"""A story is found by its id or slug, or by the beginning of either."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from makers import make_draft, make_image, make_publication, make_score, make_thread

from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.records import find_story
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.failures import UsageError


@pytest.fixture
def store(prepared_url: str) -> Iterator[Store]:
    engine = sa.create_engine(prepared_url)
    store = Store(engine)
    Catalogue(engine).seed()
    store.save_threads([make_thread("hn-4123", source="hackernews"), make_thread("hn-4199", source="hackernews")])
    (story_id,) = [story.story_id for story in store.assign(store.open_order(2, None, None, 4))][:1]
    for model in (make_draft(story_id), make_score(story_id), make_image(story_id)):
        store.save(model)
    with engine.begin() as connection:
        publication = make_publication(store, story_id)
        connection.execute(
            sa.text(
                "INSERT INTO publications (story_id, slug, category, score, record, published_at, updated_at)"
                " VALUES (:story, 'a-clock_runs-fast', :category, 9, '{}', now(), now())"
            ),
            {"story": "hn-4123", "category": publication.category.slug},
        )
    yield store
    store.locks.close()
    engine.dispose()


@pytest.mark.parametrize("reference", ["hn-4123", "hn-412", "a-clock_runs-fast", "a-clock", "a-clock_"])
def test_a_story_is_found_by_its_names_and_by_their_beginnings(store: Store, reference: str) -> None:
    assert find_story(store, reference) == "hn-4123"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("hn-41", "Several stories begin with 'hn-41'.* hn-4123, hn-4199"),
        ("hn-5", "no story"),
        ("", "no story"),
        ("%", "no story"),
        ("a-clock-", "no story"),
    ],
)
def test_what_fits_none_or_several_is_refused(store: Store, reference: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        find_story(store, reference)
