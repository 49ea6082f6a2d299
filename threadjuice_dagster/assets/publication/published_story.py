"""Publication: the public record of a story that passed every gate."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import dagster as dg

from threadjuice_dagster.assets.decorators import story_asset
from threadjuice_dagster.assets.preview import escape, story_summary
from threadjuice_dagster.assets.steps import now
from threadjuice_dagster.domain.judging.gates import GATES
from threadjuice_dagster.domain.judging.grounding import Passage
from threadjuice_dagster.domain.judging.verdicts import QualityScore
from threadjuice_dagster.domain.language.text import slugify
from threadjuice_dagster.domain.pictures.images import StoryImage
from threadjuice_dagster.domain.story.credit import SourceCredit, credit_of
from threadjuice_dagster.domain.story.provenance import StorySource, provenance_of
from threadjuice_dagster.domain.story.publication import PublishedStory
from threadjuice_dagster.domain.story.stories import IMPORTED, StoryDraft
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.failures import Unsuitable
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.site.publisher import Publisher

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store


@story_asset(
    kinds={"postgres"},
    code_version="2",
)
def published_story(
    context: dg.AssetExecutionContext,
    story_draft: StoryDraft,
    quality_score: QualityScore,
    story_image: StoryImage,
    database: Database,
    publisher: Publisher,
) -> dg.MaterializeResult[PublishedStory]:
    """The public record; a story is refused unless every gate was evaluated and passed, or a person overruled it."""
    story_id = context.partition_key
    _refuse_unless_passed(database.store, story_id)
    story = public_record(database.store, story_draft, quality_score, story_image, context.run_id)
    return dg.MaterializeResult(
        value=story,
        metadata={
            "story": dg.MetadataValue.md(story_summary(story_draft)),
            "page": dg.MetadataValue.url(publisher.preview_page(story.slug)),
            "source": story.credit.permalink or (story.credit.terms.name if story.credit.terms else "no thread"),
            "credit": dg.MetadataValue.md(escape(story.credit.notice) or "none is owed"),
            "licence": story.credit.licence_name or "none is demanded",
            "score": story.score,
            "provenance": dg.MetadataValue.json(_record(story)),
            "overruled": dg.MetadataValue.md(_overrides(database.store, story_id) or "nothing"),
        },
    )


def _refuse_unless_passed(store: "Store", story_id: str) -> None:
    verdicts = {verdict.gate: verdict for verdict in store.verdicts(story_id)}
    refused = [
        f"{gate}: {verdicts[gate].message if gate in verdicts else 'not evaluated'}"
        for gate in GATES
        if gate not in verdicts or not verdicts[gate].lets_through
    ]
    if refused:
        raise Unsuitable(
            f"Not published; {len(refused)} of {len(GATES)} gates did not pass. {' '.join(refused)}",
            "Overrule it with: threadjuice content publish STORY --override --reason TEXT",
        )


def public_record(
    store: "Store", story: StoryDraft, score: QualityScore, image: StoryImage, run_id: str
) -> PublishedStory:
    """Make the public record of a story from its stored parts. The gates decide whether it may be shown."""
    from threadjuice_dagster.database.catalogue import Catalogue
    from threadjuice_dagster.database.ledger import Ledger

    assignment, moment, first = store.assignment(story.story_id), now(), store.first_published(story.story_id)
    thread = store.thread(assignment.thread_id, text=False) if assignment.thread_id else None
    credit = _credit(story, thread, score.grounding.passages) if thread else SourceCredit()
    source = StorySource(**dict(credit), thread=thread.id if thread else "", passages=score.grounding.passages)
    verdicts, spent = store.verdicts(story.story_id), Ledger(store.engine).spent(story.story_id)
    return PublishedStory(
        story_id=story.story_id,
        slug=store.free_slug(_slug(story), story.story_id),
        draft=story.draft,
        category=Catalogue(store.engine).category(assignment.category),
        persona=Catalogue(store.engine).persona(assignment.persona),
        image=image,
        credit=credit,
        writer=story.writer,
        model=story.model,
        score=score.overall,
        published_at=story.dated or first or moment,
        updated_at=moment if first or not story.dated else story.dated,
        run_id=run_id,
        provenance=provenance_of(story, score, image, source, verdicts, spent, run_id, moment),
    )


def _credit(story: StoryDraft, thread: Thread, passages: Iterable[Passage]) -> SourceCredit:
    """Return the credit of a story: for what it quotes or repeats, and for all that its licence demands."""
    used = {quote.comment_id for quote in story.draft.quotes} | {passage.place for passage in passages}
    return (story.credit or credit_of(thread)).narrowed(used)


def _slug(story: StoryDraft) -> str:
    """Return the slug of a story. An imported one keeps the slug it had."""
    kept = story.story_id.removeprefix(f"{IMPORTED}-")
    return kept if story.writer == IMPORTED and kept != story.story_id else slugify(story.draft.title)


def _record(story: PublishedStory) -> dict[str, Any]:
    return story.provenance.model_dump(mode="json") if story.provenance else {}


def _overrides(store: "Store", story_id: str) -> str:
    return "\n".join(
        f"* `{verdict.gate}` {escape(f'by {verdict.overridden_by}: {verdict.override_reason} ({verdict.message})')}"
        for verdict in store.verdicts(story_id)
        if verdict.overridden_by
    )
