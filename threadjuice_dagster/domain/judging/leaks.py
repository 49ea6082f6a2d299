"""Whether a story repeats the newsroom's own instructions to its writer or judge. Nothing else belongs here."""

from datetime import UTC, datetime
from functools import cache

from threadjuice_dagster.domain.language.text import folded_words, paragraphs, runs
from threadjuice_dagster.domain.story.stories import Category, Draft, Persona
from threadjuice_dagster.domain.story.terms import SOURCES
from threadjuice_dagster.domain.story.threads import Comment, Thread
from threadjuice_dagster.domain.writing.prompts import judge_messages, revise_messages

MIN_LEAK = 8
"""Words in a row that no story shares with the rules by chance."""


def leaked(text: str, thread: Thread | None) -> str:
    """The first words of a text that are the newsroom's rules and do not stand in its thread, or nothing."""
    ours = [run for run in _runs(text) if run in _rules()]
    in_thread = {run for source in (thread.texts if ours and thread else ()) for run in _runs(source)}
    return " ".join(next((run for run in ours if run not in in_thread), ()))


def _runs(text: str) -> list[tuple[str, ...]]:
    return [run for paragraph in paragraphs(text) for run in runs(folded_words(paragraph), MIN_LEAK)]


@cache
def _rules() -> frozenset[tuple[str, ...]]:
    """Every run of the rules, read off the messages about an empty thread."""
    desk = Category(slug="", name="", description="", colour="")
    persona = Persona(slug="", name="", byline="", voice="")
    draft = Draft.model_validate({"title": "-", "sections": [{"kind": "narrative", "text": ""}]})
    moment = datetime(2000, 1, 1, tzinfo=UTC)
    answer = Comment(id="0", body="", kind="answer", created_at=moment)
    empty = Thread(
        id="0",
        source="submission",
        community="",
        title="",
        body="",
        permalink="",
        link="-",
        created_at=moment,
        comments=(answer,),
    )
    threads = [empty.model_copy(update={"source": source}) for source in SOURCES]
    asked = [revise_messages(thread, desk, persona, draft, ()) for thread in threads]
    rules = [asked[0][-1], *(messages[0] for messages in asked)]
    rules += [judge_messages(draft, thread)[0] for thread in threads]
    return frozenset(run for message in rules for run in _runs(message["content"]))
