"""What has to go when a source is deleted: tombstones, and stories without the words of a deleted comment.

Finding deletions belongs in ``sources/``, removing rows in ``operations/takedowns/store.py``.
"""

import re
from typing import Literal

from threadjuice_dagster.domain.judging.verdicts import QualityScore
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.story.provenance import text_digest
from threadjuice_dagster.domain.story.publication import PublishedStory
from threadjuice_dagster.domain.story.stories import Draft, StoryDraft


class Tombstone(Model):
    """A source that is gone for good: a ``thread``, a ``comment`` of a ``thread``, or a ``story`` without either.

    ``name`` tells it from all others of its kind; ``key`` names its file in storage, which outlives every database.
    """

    kind: Literal["thread", "comment", "story"]
    id: str
    thread: str = ""
    reason: str = "deleted at its source"

    @property
    def name(self) -> str:
        """The id; that of a comment stands behind its thread's, since only Reddit's are unique among all threads."""
        return f"{self.thread}/{self.id}" if self.kind == "comment" and "-" in self.thread else self.id

    @property
    def key(self) -> str:
        """``tombstones/<kind>-<name>.json``, the name in characters that storage takes."""
        return tombstone_key(self.kind, self.name)


def tombstone_key(kind: str, name: str) -> str:
    """Return the key of a tombstone's file in storage."""
    return f"tombstones/{kind}-{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.json"


class Remains(Model):
    """What is left outside the database of stories that were taken down: traces in Dagster, files.

    ``whole`` says that the stories are gone, not just a quote of theirs.
    """

    stories: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    whole: bool = False


def can_be_cut(story: StoryDraft, score: QualityScore | None, comment_id: str) -> bool:
    """Whether a comment stands in a story as quotes only, so that the story can go on without it."""
    used = {passage.kind for passage in score.grounding.passages if passage.place == comment_id} if score else set()
    return "text" not in used and (score is not None or not story.draft.quotes)


def draft_without(story: StoryDraft, comment_id: str) -> StoryDraft:
    """The story without its quotes of a comment, and without the credit for it."""
    credit = story.credit and story.credit.without(comment_id)
    return story.model_copy(update={"draft": _without(story.draft, comment_id), "credit": credit})


def score_without(score: QualityScore, comment_id: str) -> QualityScore:
    """The score without anything that repeats a comment; what judge and moderation cited goes altogether."""
    grounding = score.grounding
    quotes = tuple(quote for quote in grounding.quotes if quote.comment_id.removeprefix("t1_") != comment_id)
    passages = tuple(passage for passage in grounding.passages if passage.place != comment_id)
    changes: dict[str, object] = {"grounding": grounding.model_copy(update={"quotes": quotes, "passages": passages})}
    if score.judge:
        bare = {name: one.model_copy(update={"evidence": ""}) for name, one in score.judge.dimensions.items()}
        changes["judge"] = score.judge.model_copy(update={"dimensions": bare})
    if score.moderation:
        changes["moderation"] = score.moderation.model_copy(update={"reasons": ()})
    return score.model_copy(update=changes)


def publication_without(story: PublishedStory, comment_id: str) -> PublishedStory:
    """The public record without a comment's quotes and credit, its provenance tied to the new text."""
    draft = _without(story.draft, comment_id)
    record = story.provenance
    if record:
        passages = tuple(passage for passage in record.source.passages if passage.place != comment_id)
        source = record.source.without(comment_id).model_copy(update={"passages": passages})
        gates = tuple(gate.model_copy(update={"message": ""}) for gate in record.gates)
        record = record.model_copy(update={"source": source, "gates": gates, "text_sha256": text_digest(draft)})
    credit = story.credit.without(comment_id)
    return story.model_copy(update={"draft": draft, "credit": credit, "provenance": record})


def _without(draft: Draft, comment_id: str) -> Draft:
    kept = tuple(quote for quote in draft.quotes if quote.comment_id.removeprefix("t1_") != comment_id)
    return draft.model_copy(update={"quotes": kept})
