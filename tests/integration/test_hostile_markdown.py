"""What the Dagster UI takes for Markdown holds no link, picture or HTML of a thread, a model or a reader."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import threadjuice
from makers import make_draft, make_image, make_score
from markdown_it import MarkdownIt
from servers.openai_server import OpenAIServer
from test_newsroom import KEY, save

from threadjuice_dagster.assets.plots import listed
from threadjuice_dagster.assets.preview import (
    decision_list,
    described,
    escape,
    image_markdown,
    review_list,
    score_table,
    story_markdown,
    story_summary,
)
from threadjuice_dagster.domain.story.records import Decision, Reason, StoryRecord
from threadjuice_dagster.domain.story.stories import Section
from threadjuice_dagster.instance import open_instance
from threadjuice_dagster.settings import load_settings

PACKAGE = Path(__file__).parents[2] / "threadjuice_dagster"
HOSTILE = (
    "![pixel](http://evil.example/pixel.png)",
    "[click](javascript:alert(1))",
    "[a](http://evil.example/a) and [b][ref] and ![c][ref]",
    "[ref]: http://evil.example/ref",
    "[ref]\n : http://evil.example/ref",
    "<img src=http://evil.example/img.png>",
    "<script>alert(1)</script><!-- x --><?php ?>",
    "<http://evil.example/angle> <mail@evil.example>",
    "https://evil.example/bare www.evil.example mail@evil.example",
    "``` \nfence",
    "a\\![b](http://evil.example/c) \\\\![d](http://evil.example/e)",
    "`a` ![x](http://evil.example/x) `b`",
    "| a | ![x](http://evil.example/x) |",
    "# head\n\n* ![x](http://evil.example/x)\n\n    code",
    "&#33;&#91;x&#93;(http://evil.example/y) &lt;img src=x&gt;",
)
EVERYTHING = "\n\n".join(HOSTILE)
PARSER = MarkdownIt("commonmark").enable("table")
LINKED = re.compile(r"https?://|www\.|@\w", re.IGNORECASE)
EVENTS = """{ runsOrError { ... on Runs { results { eventConnection(limit: 1000) { events {
    ... on MessageEvent { message }
    ... on AssetCheckEvaluationEvent { evaluation { checkName description metadataEntries { ...entry } } }
    ... on MaterializationEvent { metadataEntries { ...entry } }
} } } } } }
fragment entry on MetadataEntry { label ... on MarkdownMetadataEntry { mdStr } ... on UrlMetadataEntry { url } }"""


def tokens(markdown: str) -> Iterator[Any]:
    for token in PARSER.parse(markdown):
        yield token
        yield from token.children or ()


def takes_effect(markdown: str) -> list[str]:
    """Every picture, link and piece of HTML that a parser finds."""
    kinds = ("image", "link_open", "html_inline", "html_block", "fence", "code_block")
    return [f"{token.type}: {token.attrs or token.content}" for token in tokens(markdown) if token.type in kinds]


@pytest.mark.parametrize("text", [*HOSTILE, EVERYTHING])
def test_escaped_text_shows_as_that_text_and_links_nowhere(text: str) -> None:
    shown = escape(text)
    for place in (shown, f"* {shown}", f"> {shown}", f"**{shown}**", f"| a |\n|---|\n| {shown} |"):
        assert takes_effect(place) == []
        assert not LINKED.search(place)
    seen = "".join(token.content for token in tokens(shown) if token.type == "text")
    assert seen.replace("\u2060", "") == " ".join(text.split())


def test_an_ordinary_description_is_left_as_it_is() -> None:
    message = "3 of 4 files fail: https://news.example/a (404); a < b, [1] and ![x]."
    assert described(message) == message


@pytest.mark.parametrize("text", [*HOSTILE, EVERYTHING])
def test_a_description_reads_the_same_and_fetches_nothing(text: str) -> None:
    assert described(text).replace("\u2060", "") == text
    found = [one for one in takes_effect(described(text)) if not one.startswith(("fence", "code_block"))]
    assert found == []
    assert (
        described("3 of 4 files fail: https://news.example/a (404).")
        == "3 of 4 files fail: https://news.example/a (404)."
    )


def test_stories_scores_pictures_and_decisions_are_escaped_wherever_they_are_listed() -> None:
    draft = make_draft("s1").draft.model_copy(
        update={"title": HOSTILE[0], "dek": HOSTILE[2], "sections": (Section(kind="opening", text=EVERYTHING),)}
    )
    story = make_draft("s1").model_copy(update={"draft": draft})
    score = make_score("s1")
    dimension = score.rubric.dimensions[0].model_copy(update={"evidence": HOSTILE})
    score = score.model_copy(update={"rubric": score.rubric.model_copy(update={"dimensions": (dimension,)})})
    image = make_image("s1").model_copy(update={"alt_text": EVERYTHING, "credit": EVERYTHING})
    picture = image_markdown(image, lambda _: "http://127.0.0.1:3001/a)![x](http://evil.example/x")
    reasons = [Reason(check="is_original", message=text) for text in HOSTILE]
    waiting = StoryRecord(
        id="s1", status="held", title=EVERYTHING, category="x", persona="y", sections=draft.sections, reasons=reasons
    )
    decision = Decision(action="approve", actor=HOSTILE[0], reason=EVERYTHING, at=score.scored_at, story_id="s1")
    texts = [story_summary(story), story_markdown(story), score_table(score), str(listed(HOSTILE, "none").value)]
    texts += [review_list([waiting]), decision_list([decision])]
    assert [takes_effect(text) for text in texts] == [[]] * len(texts)
    assert [one.split(":")[0] for one in takes_effect(picture)] == ["image"]
    assert "/a%29%21%5Bx%5D%28http" in picture


def test_every_check_s_description_is_made_harmless() -> None:
    for path in PACKAGE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("AssetCheckResult"):
                given = [ast.unparse(word.value) for word in call.keywords if word.arg == "description"]
                assert all(text.startswith("described(") for text in given), (path.name, given)


@pytest.fixture
def model() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


def test_a_hostile_thread_and_an_obedient_model_leave_nothing_behind_in_graphql(
    newsroom_environment: dict[str, str], model: OpenAIServer, tmp_path: Path
) -> None:
    comments = [
        (f"c{number}", f"I waited a year for that kettle to boil. {text}") for number, text in enumerate(HOSTILE)
    ]
    thread = save(tmp_path / "thread.json", comments, f"My kettle {HOSTILE[0]}", f"It never boils. {EVERYTHING}")
    model.always("write", "injected")
    given = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": model.url, "CONTENT_GENERATION_RATE_LIMIT": "1000"}
    _, document, _ = threadjuice("content", "generate", "--thread", thread, **given)
    story = document["stories"][0]["id"]
    threadjuice("content", "approve", story, "--reason", EVERYTHING, **given)
    shown = list(metadata())
    assert len(shown) > 10
    effects = [(label, one) for label, text in shown for one in takes_effect(text)]
    ours = [(label, one) for label, one in effects if label == "picture" and "http://127.0.0.1" in one]
    assert [one for one in effects if one not in ours] == []
    assert not [text for _, text in shown if "](http://evil" in text or "](javascript" in text]


def metadata() -> Iterator[tuple[str, str]]:
    """Label and text of everything that the UI takes for Markdown, as its server answers it."""
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import EmptyWorkspaceTarget
    from dagster_graphql.schema import create_schema

    with (
        open_instance(load_settings()) as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as workspace,
        workspace.create_request_context() as context,
    ):
        answer = create_schema().execute(EVENTS, context_value=context)
    assert not answer.errors
    for run in answer.data["runsOrError"]["results"]:
        for event in run["eventConnection"]["events"]:
            evaluation = event.get("evaluation") or {}
            if evaluation:
                yield evaluation["checkName"], evaluation["description"] or ""
            for entry in [*event.get("metadataEntries", []), *evaluation.get("metadataEntries", [])]:
                if "mdStr" in entry:
                    yield entry["label"], entry["mdStr"]
                assert entry.get("url", "http").startswith("http")
