"""Sound stories pass the gate at 8.0, damaged ones fail it or at least fall behind."""

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from makers import make_comment, make_thread

from threadjuice_dagster.domain.quality import Dimension, Rubric, draft_from_text, feedback, rate
from threadjuice_dagster.domain.stories import Draft, Section
from threadjuice_dagster.domain.text import paragraphs, sentences
from threadjuice_dagster.domain.threads import Thread

BLOCKS = Path(__file__).with_name("sound_stories.txt").read_text(encoding="utf-8").split("=== ")[1:]
STORIES = {title: text.strip() for title, text in (block.split("\n", 1) for block in BLOCKS)}
GATE = 8.0

GENERIC = (
    "It is important to communicate openly in any relationship. Many people find that situations like this can be "
    "difficult, and there are many different ways to respond. Everyone is different, and what works for one person may "
    "not work for another. Stay positive, listen carefully, and take the time to consider all perspectives. "
)
LOREM = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore "
    "magna aliqua."
)
STRANGER = (
    "Photosynthesis converts sunlight, water and carbon dioxide into glucose and oxygen. Chlorophyll molecules in the "
    "thylakoid membranes absorb red and blue light, exciting electrons that pass through a chain of carriers. The "
    "resulting proton gradient drives the synthesis of adenosine triphosphate, which powers the Calvin cycle."
)


def score(text: str, title: str = "A headline about it") -> float:
    return rate(draft_from_text(title, text)).overall


def cut_off(text: str, rng: random.Random) -> str:
    found = text.split(" ")
    return " ".join(found[: int(len(found) * rng.uniform(0.7, 0.95))]).rstrip('.!?"” ') + " the"


def repeated_paragraph(text: str, rng: random.Random) -> str:
    parts = paragraphs(text)
    return "\n\n".join([*parts[:-1], max(parts, key=len), parts[-1]])


def repeated_sentence(text: str, rng: random.Random) -> str:
    chosen = rng.choice([sentence for sentence in sentences(text) if len(sentence.split()) > 8])
    return "\n\n".join(f"{part} {chosen}" if index < 3 else part for index, part in enumerate(paragraphs(text)))


def gibberish(text: str, rng: random.Random) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return re.sub(
        r"\b[a-z]{4,}\b",
        lambda match: match[0] if rng.random() > 0.2 else "".join(rng.choice(letters) for _ in match[0]),
        text,
    )


def shouted(text: str, rng: random.Random) -> str:
    return " ".join(f"{word.upper()}!!!" if rng.random() < 0.3 else word for word in text.split(" "))


def emoji(text: str, rng: random.Random) -> str:
    return " ".join(f"{word} 😂🔥" if rng.random() < 0.07 else word for word in text.split(" "))


def filler(text: str, rng: random.Random) -> str:
    return "\n\n".join([*paragraphs(text)[:3], LOREM, "More content goes here.", *paragraphs(text)[5:]])


def boilerplate(text: str, rng: random.Random) -> str:
    return "\n\n".join([paragraphs(text)[0], GENERIC, GENERIC, paragraphs(text)[-1]])


def shuffled(text: str, rng: random.Random) -> str:
    told = sentences(text)
    rng.shuffle(told)
    return "\n\n".join(" ".join(told[i : i + 3]) for i in range(0, len(told), 3))


DAMAGES: list[Callable[[str, random.Random], str]] = [
    cut_off, repeated_paragraph, repeated_sentence, gibberish, shouted, emoji, filler, boilerplate,
]  # fmt: skip


@pytest.mark.parametrize("title", STORIES)
def test_a_sound_story_passes_the_gate(title: str) -> None:
    rubric = rate(draft_from_text(title, STORIES[title]))
    assert rubric.overall >= GATE + 0.8, rubric


@pytest.mark.parametrize("first", range(0, 10, 3))
def test_a_sound_story_passes_whatever_its_typography(first: int) -> None:
    text = list(STORIES.values())[first]
    assert score(text.replace("'", "’")) >= GATE + 0.8
    assert score(re.sub(r'"([^"]*)"', r"“\1”", text)) >= GATE + 0.8
    assert score(re.sub(r'"([^"]*)"', r"‘\1’", text)) >= GATE + 0.8
    assert score(text.replace("\n\n", "\n")) >= GATE + 0.8
    assert score(text.replace("\n\n", " ")) >= GATE + 0.8
    assert score("\n\n".join(sentences(text))) >= GATE + 0.8


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("title", STORIES)
def test_a_damaged_story_fails_the_gate_and_says_why(title: str, damage: Callable[[str, random.Random], str]) -> None:
    rubric = rate(draft_from_text(title, damage(STORIES[title], random.Random(len(title)))))
    assert rubric.overall < GATE, rubric
    assert feedback(rubric)


def test_shuffled_stories_mostly_fall_behind_their_originals() -> None:
    behind = total = 0
    for text in STORIES.values():
        for seed in range(10):
            behind += score(shuffled(text, random.Random(seed))) < score(text)
            total += 1
    assert behind / total > 0.75


def test_an_unrelated_paragraph_costs_points() -> None:
    for text in STORIES.values():
        parts = paragraphs(text)
        assert score("\n\n".join([*parts[:3], STRANGER, *parts[3:]])) < score(text)


@pytest.mark.parametrize(("count", "passes"), [(30, False), (100, False), (300, True)])
def test_a_story_of_a_few_words_fails(count: int, passes: bool) -> None:
    text = " ".join(STORIES["Patch day"].split()[:count]) + "."
    assert (score(text) >= GATE) is passes


def test_the_worst_dimension_pulls_the_whole_under_the_gate() -> None:
    rubric = rate(draft_from_text("T", "\n\n".join([*STORIES["Patch day"].split("\n\n"), LOREM, LOREM])))
    worst = min(rubric.dimensions, key=lambda one: one.score)
    mean = sum(one.score for one in rubric.dimensions) / len(rubric.dimensions)
    assert worst.name == "specificity"
    assert mean > 7.0
    assert rubric.overall < mean - 1


def thread(body: str, *comments: str) -> Thread:
    made = tuple(make_comment(f"c{index}", text) for index, text in enumerate(comments))
    return make_thread(title="What happened here", body=body, comments=made)


def test_a_story_of_another_thread_fails() -> None:
    texts = list(STORIES.values())
    draft = draft_from_text("Headline", texts[0])
    assert rate(draft, thread(texts[0], "Nice."), excerpting=True).overall >= GATE
    assert rate(draft, thread(texts[4] + texts[7], "Nice.")).overall < GATE


def test_a_copied_source_fails_unless_excerpting_is_the_declared_method() -> None:
    text = STORIES["Patch day"]
    draft, source = draft_from_text("Patch day", text), thread(text)
    assert rate(draft, source).overall < GATE
    assert rate(draft, source, excerpting=True).overall >= GATE
    excerpt = Draft.model_validate({"title": "Patch day", "sections": [{"kind": "excerpt", "text": text}]})
    originality = next(one for one in rate(excerpt, source).dimensions if one.name == "originality")
    assert originality.score > 9


@pytest.mark.parametrize(("nearest", "passes"), [(0.0, True), (0.1, True), (0.6, False), (1.0, False)])
def test_a_story_near_a_published_one_fails(nearest: float, passes: bool) -> None:
    draft = draft_from_text("Patch day", STORIES["Patch day"])
    assert (rate(draft, nearest=nearest).overall >= GATE) is passes


def test_feedback_names_the_worst_finding_first_and_nothing_for_a_sound_story() -> None:
    assert feedback(rate(draft_from_text("Patch day", STORIES["Patch day"]))) == ""
    bad = Dimension(name="length", score=2.0, weight=1.0, evidence=("Too short.",))
    fair = Dimension(name="hook", score=7.0, weight=1.0, evidence=("Dull.",))
    lines = feedback(Rubric(version="x", overall=4.0, dimensions=(fair, bad))).splitlines()
    assert lines == ["- length (2.0 of 10): Too short.", "- hook (7.0 of 10): Dull."]


@pytest.mark.parametrize("text", ["", "   ", "word", "!!!", "\n\n\n", "😂", "“", "a" * 50_000, "ha " * 20_000])
def test_any_text_can_be_scored_and_nonsense_fails(text: str) -> None:
    assert 0.0 <= score(text, title="") < GATE


def test_plain_text_becomes_a_draft_whose_text_is_the_same() -> None:
    text = "\n\n".join(f"Paragraph {i} is here." for i in range(60))
    draft = draft_from_text("Title", text)
    assert draft.text == text
    assert draft.sections[0] == Section(kind="opening", heading="", text="Paragraph 0 is here.")
    assert [section.text for section in draft_from_text("T", "One.\nTwo.").sections] == ["One.", "Two."]


def test_the_same_draft_always_gets_the_same_score() -> None:
    draft = draft_from_text("Patch day", STORIES["Patch day"])
    assert rate(draft) == rate(draft)


def test_scoring_is_fast_enough_for_bulk_imports() -> None:
    drafts = [draft_from_text("T", text + "\n\n" + text[::-1][:1800][::-1]) for text in STORIES.values()]
    start = time.process_time()
    for draft in drafts * 5:
        rate(draft)
    assert len(drafts) * 5 / (time.process_time() - start) > 150
