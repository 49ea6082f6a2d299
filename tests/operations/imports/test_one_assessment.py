"""The asset, the bulk validation and ``content check`` give the same answer on the same story."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from threadjuice_dagster.assets.stories.quality_score import _score
from threadjuice_dagster.cli.texts import check_line
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.store import Store, open_store
from threadjuice_dagster.domain.judging.gates import GateFinding
from threadjuice_dagster.domain.judging.verdicts import gate_findings
from threadjuice_dagster.domain.story.stories import EXTRACTIVE, Draft, Quote, StoryDraft
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing.assignments import Assignment
from threadjuice_dagster.domain.writing.costs import Meter
from threadjuice_dagster.domain.writing.extractive import compose
from threadjuice_dagster.operations.imports.validation import Validation
from threadjuice_dagster.resources.writers import ExtractiveWriter
from threadjuice_dagster.sources.samples import Samples

COUNT = 50
MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def damaged(draft: Draft, kind: int) -> Draft:
    """Return the draft as it is, or with one of four faults."""
    body = list(draft.sections)
    first = body[0]
    if kind == 1:
        quote = Quote(text="Nobody ever regretted reading the small print.", comment_id=draft.quotes[0].comment_id)
        return draft.model_copy(update={"quotes": (*draft.quotes, quote)})
    if kind == 2:
        invented = "Wilhelmina Vogt of Rotterdam paid $4,711 to Grimsby Brothers in 1987, and 63 guests saw it."
        body[0] = first.model_copy(update={"text": f"{invented} {first.text}"})
    if kind == 3:
        body[0] = first.model_copy(update={"text": f"{first.text} Kill yourself, you worthless idiot."})
    if kind == 4:
        body = [first, *[first.model_copy(update={"text": first.text})] * 4]
    return draft.model_copy(update={"sections": tuple(body)})


@pytest.fixture
def store(prepared_url: str) -> Store:
    return open_store(prepared_url, 2)


@pytest.fixture
def stories(store: Store) -> list[tuple[Assignment, Thread, StoryDraft]]:
    """Fifty stored stories over the sample threads, written as machines and as the extractive writer writes."""
    samples = Samples().listing("", 100)
    threads = {
        f"tj{number}": samples[number % len(samples)].model_copy(update={"id": f"tj{number}", "created_at": MOMENT})
        for number in range(COUNT)
    }
    store.save_threads(list(threads.values()))
    catalogue, written = Catalogue(store.engine), []
    for assignment in store.assign(store.open_order(COUNT, None, None, COUNT)):
        thread = threads[str(assignment.thread_id)]
        category, persona = catalogue.category(assignment.category), catalogue.persona(assignment.persona)
        number = int(thread.id[2:])
        draft = damaged(compose(thread, category, persona), number % 5)
        writer = EXTRACTIVE if number % 2 else "openai"
        story = StoryDraft(
            story_id=assignment.story_id,
            draft=draft,
            writer=writer,
            model=writer,
            prompt_version="1",
            written_at=MOMENT,
        )
        store.save(story)
        written.append((assignment, thread, story))
    return written


def told(findings: dict[str, GateFinding] | Any) -> dict[str, tuple[str, str]]:
    return {gate: (finding.outcome, finding.message) for gate, finding in findings.items()}


def test_asset_validation_and_command_agree_on_fifty_stories(
    store: Store, stories: list[tuple[Assignment, Thread, StoryDraft]]
) -> None:
    assert len(stories) == COUNT
    by_asset, by_command = {}, {}
    for assignment, thread, story in stories:
        by_asset[story.story_id] = told(gate_findings(_score(story, store, ExtractiveWriter(), Meter())))
        line = {
            "id": story.story_id,
            "draft": story.draft.model_dump(mode="json"),
            "thread": thread.model_dump(mode="json"),
            "category": assignment.category,
            "persona": assignment.persona,
            "writer": story.writer,
        }
        gates = check_line(json.dumps(line))["gates"]
        by_command[story.story_id] = {gate: answer["outcome"] for gate, answer in gates.items()}
    Validation(store).check([story.story_id for _, _, story in stories])
    with store.engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT story_id, gate, passed, held, message FROM gate_verdicts")).all()
    by_validation: dict[str, dict[str, tuple[str, str]]] = {}
    for row in rows:
        if row.gate in by_asset[row.story_id]:
            finding = GateFinding(row.passed, row.message, row.held)
            by_validation.setdefault(row.story_id, {})[row.gate] = (finding.outcome, finding.message)
    assert by_validation == by_asset
    assert by_command == {
        story_id: {gate: outcome for gate, (outcome, _) in findings.items()} for story_id, findings in by_asset.items()
    }
    outcomes = [outcome for findings in by_asset.values() for outcome, _ in findings.values()]
    assert min(outcomes.count("pass"), outcomes.count("reject")) >= 10
