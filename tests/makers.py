"""Small makers of valid models, so that a test shows only what it is about."""

from datetime import UTC, datetime
from typing import Any

from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.domain.judging.grounding import Grounding
from threadjuice_dagster.domain.judging.rubric import Dimension, Rubric
from threadjuice_dagster.domain.judging.verdicts import QualityScore
from threadjuice_dagster.domain.pictures.images import Licence, StoryImage, Variant
from threadjuice_dagster.domain.story.publication import PublishedStory
from threadjuice_dagster.domain.story.stories import Draft, Quote, Section, StoryDraft
from threadjuice_dagster.domain.story.threads import Comment, Thread

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_comment(
    comment_id: str = "c1", body: str = "I would have called the council first.", **changes: Any
) -> Comment:
    return Comment(**{"id": comment_id, "body": body, "score": 5, "created_at": MOMENT, **changes})


ADVICE = "I would have called the council first, because the map of our street is older than any fence on it."
POST = """The fence moved by a metre while we were away for the summer. Our neighbour says that it always stood there,
and that the plum tree must have walked. My father measured the garden when he bought the house, and his drawing hangs
in the hall. I put the drawing beside the fence, and the neighbour said that paper shrinks over the years. The post at
the corner has fresh concrete around its foot, which nobody on our street can explain. We have asked the council for
the old survey, and until it comes we mow around the missing metre."""


def make_thread(thread_id: str = "abc123", **changes: Any) -> Thread:
    """A thread that suits a story."""
    values = {
        "id": thread_id,
        "source": "file",
        "subreddit": "neighborsfromhell",
        "title": f"My neighbour moved the fence {thread_id}",
        "body": POST,
        "permalink": f"https://www.reddit.com/r/x/comments/{thread_id}/",
        "score": 100,
        "num_comments": 2,
        "created_at": MOMENT,
        "comments": (make_comment("c1", ADVICE), make_comment("c2", "Measure it twice before you say a word.")),
    }
    return Thread(**{**values, **changes})


def make_draft(story_id: str, title: str = "A fence moves by a metre", **changes: Any) -> StoryDraft:
    draft = Draft(
        title=title,
        dek="While a family was away, their garden got smaller.",
        sections=(Section(kind="opening", text="The fence moved by a metre while nobody was at home."),),
        quotes=(Quote(text="Measure it twice before you say a word.", comment_id="c2"),),
    )
    values = {
        "story_id": story_id,
        "draft": draft,
        "writer": "extractive",
        "model": "extractive",
        "prompt_version": "1",
        "written_at": MOMENT,
    }
    return StoryDraft(**{**values, **changes})


def make_score(story_id: str, overall: float = 9.0) -> QualityScore:
    rubric = Rubric(version="1", overall=overall, dimensions=(Dimension(name="hook", score=overall, weight=1.0),))
    return QualityScore(
        story_id=story_id,
        rubric=rubric,
        grounding=Grounding(quotes=(), problems=(), unsupported=()),
        overall=overall,
        scored_at=MOMENT,
    )


def make_image(story_id: str) -> StoryImage:
    variant = Variant(width=480, height=270, format="jpeg", key="img/a/480.jpg", url="file:///img/a/480.jpg", bytes=9)
    return StoryImage(
        story_id=story_id,
        provider="title_card",
        licence=Licence(code="own"),
        credit="Drawn by ThreadJuice",
        alt_text="A title card",
        sha256="a" * 64,
        width=480,
        height=270,
        placeholder="",
        variants=(variant,),
    )


def make_publication(store: Store, story_id: str) -> PublishedStory:
    assignment = store.assignment(story_id)
    story = make_draft(story_id)
    return PublishedStory(
        story_id=story_id,
        slug=store.free_slug("a-fence", story_id),
        draft=story.draft,
        category=next(c for c in Catalogue(store.engine).categories() if c.slug == assignment.category),
        persona=next(p for p in Catalogue(store.engine).personas() if p.slug == assignment.persona),
        image=make_image(story_id),
        source_url="https://www.reddit.com/r/x/comments/abc123/",
        subreddit="x",
        writer=story.writer,
        model=story.model,
        score=9.0,
        published_at=store.first_published(story_id) or MOMENT,
        updated_at=MOMENT,
    )
