"""A credit leaves with its text: from draft, public record, provenance, site and what operators see."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from makers import make_draft, make_image, make_score
from newsstand import page
from sourced import thread_from
from stored import everything

from threadjuice_dagster.assets.publication.published_story import public_record
from threadjuice_dagster.assets.stories.story_draft import credit_for
from threadjuice_dagster.cli.printed import story_text
from threadjuice_dagster.database.publications import Publications
from threadjuice_dagster.database.records import story_record
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.domain.judging.gates import GATES, GateFinding
from threadjuice_dagster.domain.judging.grounding import Grounding, Passage
from threadjuice_dagster.domain.story.stories import Draft, Quote
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.operations.takedowns.rules import Tombstone
from threadjuice_dagster.operations.takedowns.service import TakedownService
from threadjuice_dagster.operations.takedowns.store import Takedowns
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.resources.storage import FolderStorage
from threadjuice_dagster.site.builder import build_site

QUESTION = thread_from("stackexchange")
QUOTED = "Stop arguing about the clipboard and start counting it."
NAMES = ("Rota Keeper", "Orla Penhaligon", "T. Vasquez-Lind")


@pytest.fixture
def service(prepared_url: str, tmp_path: Path) -> TakedownService:
    return TakedownService(
        database=Postgres(url=prepared_url, pool_size=3, migrates_itself=True),
        storage=FolderStorage(root=str(tmp_path / "vault")),
        cdn=FolderStorage(root=str(tmp_path / "cdn")),
    )


@pytest.fixture
def store(service: TakedownService) -> Store:
    return service.database.store


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def draft_of(story_id: str, thread: Thread, **changes: Any) -> Any:
    base = make_draft(story_id)
    draft = Draft.model_validate(
        {**base.draft.model_dump(), "quotes": [Quote(text=QUOTED, comment_id="98767").model_dump()]}
    )
    credit = credit_for(thread, draft)
    return base.model_copy(update={"draft": draft, "credit": credit, **changes})


def published(store: Store, thread: Thread = QUESTION) -> str:
    """A published story of a question, which quotes the accepted answer and credits the others."""
    store.save_threads([thread])
    story_id = store.assign(store.open_order(1, None, None, 1), thread)[0].story_id
    comment = thread.comments[0]
    passage = Passage(place=comment.id, kind="quote", start=0, end=len(QUOTED), digest="d")
    score = make_score(story_id).model_copy(update={"grounding": Grounding(passages=(passage,))})
    story = draft_of(story_id, thread)
    for model in (story, score, make_image(story_id)):
        store.save(model)
    store.record_verdicts(story_id, {gate: GateFinding(True, "fine") for gate in GATES})
    store.save(public_record(store, story, score, make_image(story_id), "run"))
    return story_id


def test_a_public_record_credits_the_question_all_answers_and_the_quoted_comments(store: Store) -> None:
    story = store.publication(published(store))
    assert [text.place for text in story.credit.texts] == ["post", "98767", "98768", "98769"]
    assert story.provenance is not None
    stored = story.provenance.source
    assert (stored.thread, stored.permalink, stored.licence) == (QUESTION.id, QUESTION.permalink, "cc-by-sa-4.0")
    assert stored.texts == story.credit.texts
    assert "licensed CC BY-SA 4.0" in stored.model_dump(mode="json")["notice"]


def test_an_operator_sees_whom_a_story_credits(store: Store) -> None:
    record = story_record(store, published(store), str)
    assert record.credit is not None
    assert record.source_url == QUESTION.permalink
    assert all(name in story_text(record) for name in (*NAMES, "CC BY-SA 4.0"))


def test_a_sample_shows_no_address_to_operators(store: Store) -> None:
    record = story_record(store, published(store, thread_from("sample")), str)
    assert record.source_url == ""
    assert "reddit" not in story_text(record).lower()
    assert "a sample thread written for ThreadJuice" in story_text(record)


def test_a_story_that_waited_until_its_thread_expired_keeps_its_credit(store: Store) -> None:
    story_id = published(store)
    with store.engine.begin() as connection:
        record = QUESTION.without_text().model_dump_json()
        connection.execute(sa.text("UPDATE threads SET record = cast(:r AS jsonb), expired_at = now()"), {"r": record})
    story = store.find_draft(story_id)
    assert story is not None
    again = public_record(store, story, make_score(story_id), make_image(story_id), "run")
    assert all(name in again.credit.notice for name in NAMES)


def test_credited_answers_are_asked_about_like_quoted_ones(store: Store) -> None:
    published(store)
    assert set(Takedowns(store.engine).sources({})[QUESTION.id].comments) == {
        comment.id for comment in QUESTION.comments
    }


def test_a_deleted_answer_takes_its_credit_from_every_place(
    service: TakedownService, store: Store, instance: dg.DagsterInstance, prepared_url: str, tmp_path: Path
) -> None:
    story_id = published(store)
    service.record_deletions([Tombstone(kind="comment", id="98768", thread=QUESTION.id)], instance)
    left = everything(prepared_url)
    assert "Vasquez" not in left
    assert "Orla Penhaligon" in left
    storage = tmp_path / "pictures"
    (storage / "img/a").mkdir(parents=True)
    (storage / "img/a/480.jpg").write_bytes(b"picture")
    build_site(Publications(store.engine), tmp_path / "site", "", storage)
    slug = store.publication(story_id).slug
    for name in ("index.html", "provenance.json"):
        shown = page(tmp_path / "site", f"story/{slug}/{name}")
        assert "Vasquez" not in shown
        assert "Orla Penhaligon" in shown
        assert "CC BY-SA 4.0" in shown


def test_a_deleted_quoted_answer_takes_quote_and_credit(
    service: TakedownService, store: Store, instance: dg.DagsterInstance, prepared_url: str
) -> None:
    story_id = published(store)
    service.take_down(["t1_98767"], "asked to", instance)
    assert "Penhaligon" not in everything(prepared_url)
    assert QUOTED not in everything(prepared_url)
    assert store.publication(story_id).draft.quotes == ()


def test_a_story_that_is_taken_down_leaves_no_credit_anywhere(
    service: TakedownService, store: Store, instance: dg.DagsterInstance, prepared_url: str
) -> None:
    published(store)
    service.record_deletions([Tombstone(kind="thread", id=QUESTION.id)], instance)
    left = everything(prepared_url)
    assert not [name for name in (*NAMES, "Benedikta Rowe") if name in left]
