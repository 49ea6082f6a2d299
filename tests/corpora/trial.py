"""Tries the rubric on one half of the corpus: every story as it is, and after every kind of damage."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from corpora.damage import DAMAGES, HARDEST, another_story
from corpora.stories import Story, stories
from threadjuice_dagster.domain.judging.rubric import draft_from_text, rate

GATE = 8.0
PROMISED = tuple(damage.__name__ for damage in DAMAGES)


class Trial(NamedTuple):
    """Scores of sound stories and, by kind, of damaged ones."""

    sound: list[float]
    damaged: dict[str, list[float]]

    @property
    def promised(self) -> list[float]:
        return [score for kind in PROMISED for score in self.damaged[kind]]


def try_rubric(half: str, draws: int = 1) -> Trial:
    """Every second damaged story that has a thread is held against it, and every sound one with and without."""
    corpus = stories(half)
    sound = [
        score(story, story.text, with_thread) for story in corpus for with_thread in {False, story.thread is not None}
    ]
    damaged: dict[str, list[float]] = {}
    for kind, damage in enumerate((*DAMAGES, *HARDEST)):
        if damage is another_story:
            chosen = [(i, story, True) for i, story in enumerate(corpus) if story.thread]
        else:
            chosen = [(i, story, bool((i + kind) % 2)) for i, story in enumerate(corpus)]
        damaged[damage.__name__] = [
            score(story, damage(story, Random(1000 * draw + i), corpus), with_thread)
            for draw in range(draws)
            for i, story, with_thread in chosen
        ]
    return Trial(sound, damaged)


def score(story: Story, text: str, with_thread: bool = False) -> float:
    return rate(draft_from_text(story.title, text), story.thread if with_thread else None).overall


def auc(sound: Sequence[float], damaged: Sequence[float]) -> float:
    """The chance that a sound story scores above a damaged one; a tie counts half."""
    wins = sum((good > bad) + (good == bad) / 2 for good in sound for bad in damaged)
    return wins / (len(sound) * len(damaged))


def stopped(damaged: Sequence[float]) -> float:
    """The share that the gate stops."""
    return sum(damaged_score < GATE for damaged_score in damaged) / len(damaged)
