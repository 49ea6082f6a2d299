"""Sound stories pass the gate at 8.0, damaged ones fail it or at least fall behind."""

import random
import re
from collections.abc import Callable

import pytest
from corpora.damage import ESSAYS, Damage, sentences_shuffled, spliced, stray_paragraph
from corpora.stories import HALVES, Story, stories
from corpora.trial import GATE, PROMISED, Trial, auc, stopped, try_rubric
from makers import make_comment, make_thread

from threadjuice_dagster.domain.judging.rubric import DIMENSIONS, Dimension, Rubric, draft_from_text, feedback, rate
from threadjuice_dagster.domain.language.text import paragraphs, sentences
from threadjuice_dagster.domain.story.stories import Draft, Section
from threadjuice_dagster.domain.story.threads import Thread

STORIES = {story.title: story.text for story in stories("dev")[-10:]}

GENERIC = (
    "It is important to communicate openly in any relationship. Many people find that situations like this can be "
    "difficult, and there are many different ways to respond. Everyone is different, and what works for one person may "
    "not work for another. Stay positive, listen carefully, and take the time to consider all perspectives. "
)
LOREM = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore "
    "magna aliqua."
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


@pytest.fixture(scope="module", params=HALVES)
def trial(request: pytest.FixtureRequest) -> Trial:
    return try_rubric(request.param)


def test_sound_stories_pass(trial: Trial) -> None:
    assert stopped(trial.sound) <= 0.05


def test_sound_stories_score_above_damaged_ones(trial: Trial) -> None:
    assert auc(trial.sound, trial.promised) >= 0.97
    assert stopped(trial.promised) >= 0.85


@pytest.mark.parametrize("kind", PROMISED)
def test_each_kind_of_damage_is_told_from_sound_stories(trial: Trial, kind: str) -> None:
    assert auc(trial.sound, trial.damaged[kind]) >= 0.9
    assert stopped(trial.damaged[kind]) > 0.4


def test_moved_paragraphs_are_mostly_noticed(trial: Trial) -> None:
    assert auc(trial.sound, trial.damaged["paragraphs_shuffled"]) >= 0.8


def test_a_paragraph_of_something_else_is_named() -> None:
    named = 0
    for story in stories("dev"):
        parts = paragraphs(story.text)
        essay = ESSAYS["dev"][len(story.text) % len(ESSAYS["dev"])]
        rubric = rate(draft_from_text(story.title, "\n\n".join([*parts[:3], essay, *parts[3:]])))
        named += essay[:40] in feedback(rubric)
    assert named / len(stories("dev")) > 0.85


@pytest.mark.parametrize(
    ("damage", "dimension"), [(sentences_shuffled, "order"), (stray_paragraph, "unity"), (spliced, "unity")]
)
def test_the_dimension_that_suffers_quotes_the_text(damage: Damage, dimension: str) -> None:
    told = stories("dev")
    for number, story in enumerate(told[:20]):
        text = damage(story, random.Random(number), told)
        found = next(one for one in rate(draft_from_text(story.title, text)).dimensions if one.name == dimension)
        for line in found.evidence:
            quotes = [quote.rstrip("…") for quote in re.findall(r"“([^“”]{20,}?)”", line)]
            assert all(quote in " ".join(text.split()) for quote in quotes)
        assert found.evidence or found.score >= GATE


def test_the_thread_tells_a_stray_paragraph_that_the_text_alone_does_not() -> None:
    told = [story for story in stories("dev") if story.thread]
    alone = with_thread = 0
    for number, story in enumerate(told):
        draft = draft_from_text(story.title, stray_paragraph(story, random.Random(number), told))
        alone += rate(draft).overall < GATE
        with_thread += rate(draft, story.thread).overall < GATE
    assert with_thread > alone
    assert with_thread / len(told) > 0.6


def test_every_dimension_is_defined() -> None:
    story: Story = stories("dev")[0]
    assert [one.name for one in rate(draft_from_text(story.title, story.text)).dimensions] == list(DIMENSIONS)


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


@pytest.mark.parametrize(
    "text", ["", "   ", "word", "!!!", "\n\n\n", "😂", "“", "a" * 50_000, "ha " * 20_000, "Word. " * 9_000]
)
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
