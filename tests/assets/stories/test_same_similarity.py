"""The asset and the bulk validation measure how alike two stories are in the same way."""

from random import Random

import pytest
from corpora.inventions import sound
from makers import MOMENT, make_image, make_publication

from threadjuice_dagster.assets.stories.quality_score import _score
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.domain.judging.gates import GATES, GateFinding
from threadjuice_dagster.domain.judging.rubric import draft_from_text
from threadjuice_dagster.domain.judging.verdicts import gate_findings
from threadjuice_dagster.domain.story.stories import Draft, StoryDraft
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing.costs import Meter
from threadjuice_dagster.operations.imports.validation import Validation
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.resources.writers import ExtractiveWriter


@pytest.fixture
def store(prepared_url: str) -> Store:
    return Postgres(url=prepared_url, pool_size=3).store


def stored(store: Store, draft: Draft, thread: Thread) -> str:
    store.save_threads([thread])
    (assignment,) = store.assign(store.open_order(1, None, None, 1), thread)
    by = {"writer": "openai", "model": "", "prompt_version": "", "written_at": MOMENT}
    store.save(StoryDraft(story_id=assignment.story_id, draft=draft, **by))
    return assignment.story_id


def test_asset_and_validation_measure_the_same_similarity(store: Store) -> None:
    (draft, thread, _), (_, other_thread, _), *_ = sound("dev")
    first = stored(store, draft, thread)
    store.save(make_image(first))
    store.record_verdicts(first, {gate: GateFinding(True, "fine") for gate in GATES})
    store.save(make_publication(store, first))
    chance = Random(3)
    text = " ".join(word[::-1] if chance.random() < 0.25 else word for word in draft.text.split(" "))
    copy = draft.model_copy(update={"sections": draft_from_text("x", text).sections})
    second = stored(store, copy, other_thread)
    score = _score(store.draft(second), store, ExtractiveWriter(), Meter())
    Validation(store).check([second])
    again = store.score(second)
    assert score.nearest_story == again.nearest_story == first
    assert score.similarity == again.similarity > 0.1
    assert gate_findings(score)["is_original"] == gate_findings(again)["is_original"]
