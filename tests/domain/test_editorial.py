"""The bundled editorial content: what the newsroom relies on before it has an outside service."""

import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
import yaml

import threadjuice_dagster
from threadjuice_dagster.domain.language.text import words
from threadjuice_dagster.domain.story.stories import Category, Persona
from threadjuice_dagster.domain.story.terms import terms_for
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.sources.reddit_parser import parse_thread

EDITORIAL = Path(threadjuice_dagster.__file__).parent / "editorial"
CATEGORIES = [Category(**entry) for entry in yaml.safe_load((EDITORIAL / "categories.yaml").read_text("utf-8"))]
PERSONAS = [Persona(**entry) for entry in yaml.safe_load((EDITORIAL / "personas.yaml").read_text("utf-8"))]
THREAD_FILES = sorted((EDITORIAL / "threads").glob("*.json"))

USERNAME = re.compile(r"(?<!\w)/?u/\w+|(?<!\w)@\w+", re.IGNORECASE)
COUNTS = re.compile(r"\d|\b(two|three|four|five|six|seven|eight|nine|ten|dozen|hundred|thousand)\b", re.IGNORECASE)

every_thread_file = pytest.mark.parametrize("path", THREAD_FILES, ids=lambda path: path.stem)
every_persona = pytest.mark.parametrize("persona", PERSONAS, ids=lambda persona: persona.slug)


def framings(persona: Persona) -> tuple[str, ...]:
    return persona.openings + persona.transitions + persona.closings


def document(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def thread(path: Path) -> Thread:
    return parse_thread(document(path), "sample")


def things(listing: Any) -> Iterator[dict[str, Any]]:
    """The data of every post or comment in a listing, replies included."""
    for child in listing["data"]["children"]:
        yield child["data"]
        if child["data"].get("replies"):
            yield from things(child["data"]["replies"])


def contrast_with_white(colour: str) -> float:
    """The WCAG 2 contrast ratio of white text on ``#rrggbb``."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def test_there_are_enough_sample_threads_over_enough_desks() -> None:
    places = {f"reddit:{thread(path).community.lower()}" for path in THREAD_FILES}
    desks = {category.slug for category in CATEGORIES if places & category.places}
    assert len(THREAD_FILES) >= 12
    assert len(desks) >= 6


@every_thread_file
def test_a_sample_thread_gives_a_writer_enough_to_work_with(path: Path) -> None:
    sample = thread(path)
    assert len(words(sample.body)) >= 150
    assert len(sample.comments) >= 12
    assert any(comment.depth > 0 for comment in sample.comments)
    assert any(comment.by_poster for comment in sample.comments)
    assert not sample.over_18


@every_thread_file
def test_a_sample_thread_belongs_to_a_desk_by_its_subreddit(path: Path) -> None:
    assert any(f"reddit:{thread(path).community.lower()}" in category.places for category in CATEGORIES)


@every_thread_file
def test_a_sample_thread_reads_like_an_answer_of_reddit(path: Path) -> None:
    posts, comments = document(path)
    (post,) = things(posts)
    replies = list(things(comments))
    assert path.stem == post["id"]
    assert post["permalink"] == f"/r/{post['subreddit']}/comments/{post['id']}/"
    assert post["num_comments"] == len(replies) == len(thread(path).comments)
    names = {post["name"], *(reply["name"] for reply in replies)}
    for thing in replies:
        assert thing["parent_id"] in names
        assert thing["link_id"] == post["name"]
        assert thing["created_utc"] > post["created_utc"]


@every_thread_file
def test_no_username_stands_in_a_sample_thread(path: Path) -> None:
    posts, comments = document(path)
    for thing in chain(things(posts), things(comments)):
        assert thing["author"] == "[redacted]"
        for field in ("title", "selftext", "body"):
            assert not USERNAME.search(thing.get(field, ""))


def test_no_two_sample_posts_or_comments_share_an_id() -> None:
    names = [thing["name"] for path in THREAD_FILES for listing in document(path) for thing in things(listing)]
    assert len(names) == len(set(names))


def test_categories_and_personas_have_slugs_of_their_own() -> None:
    slugs = [category.slug for category in CATEGORIES] + [persona.slug for persona in PERSONAS]
    assert len(slugs) == len(set(slugs))
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", slug) for slug in slugs)


@pytest.mark.parametrize("category", CATEGORIES, ids=lambda category: category.slug)
def test_a_category_can_be_recognised_and_read(category: Category) -> None:
    assert category.name
    assert category.description
    assert re.fullmatch(r"#[0-9a-f]{6}", category.colour)
    assert contrast_with_white(category.colour) >= 4.5
    assert 15 <= len(set(category.keywords)) == len(category.keywords) <= 25
    assert all(word == word.lower() for word in category.keywords + category.sources)


def test_no_place_or_keyword_leads_to_two_desks() -> None:
    places = [place for category in CATEGORIES for place in category.places]
    keywords = [word for category in CATEGORIES for word in category.keywords]
    assert len(places) == len(set(places))
    assert len(keywords) == len(set(keywords))


def test_every_category_has_a_persona_and_every_persona_known_categories() -> None:
    assert {slug for persona in PERSONAS for slug in persona.categories} == {category.slug for category in CATEGORIES}


@every_persona
def test_a_persona_brings_sentences_for_every_place(persona: Persona) -> None:
    assert len(persona.openings) >= 8
    assert len(persona.transitions) >= 10
    assert len(persona.closings) >= 8
    assert persona.name in persona.byline
    assert persona.voice


@every_persona
def test_framing_sentences_are_complete_and_fit_any_thread(persona: Persona) -> None:
    for sentence in framings(persona):
        fields = {field for _, field, _, _ in Formatter().parse(sentence) if field is not None}
        assert fields <= {"category", "forum", "in_forum", "post", "poster", "replies", "thread"}, sentence
        filled = terms_for("reddit", "cooking").filled(sentence, category="food")
        assert 12 <= len(filled.split()) <= 28, sentence
        assert filled[0].isupper(), sentence
        assert filled[-1] in ".?!", sentence
        assert not COUNTS.search(filled), sentence


def test_no_two_framing_sentences_are_alike() -> None:
    sentences = [sentence for persona in PERSONAS for sentence in framings(persona)]
    assert len(sentences) == len(set(sentences))
