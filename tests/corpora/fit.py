"""Fits ``editorial/reading_weights.yaml`` on the dev half of the stories and writes it.

Run it as ``PYTHONPATH=tests python -m corpora.fit`` when the corpus or a signal has changed. Order: the
linear discriminant between sound stories and shuffled ones, ridge 10. Strays: a logistic model over paragraphs. Where
nothing is wrong begins where hardly a sound story lies, by ten-fold cross-validation over stories.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import yaml

from corpora.damage import (
    essay_paragraph,
    marketing,
    paragraphs_shuffled,
    sentences_regrouped,
    sentences_shuffled,
    stray_paragraph,
)  # fmt: skip
from corpora.stories import Story, stories
from threadjuice_dagster.domain.judging import order, unity
from threadjuice_dagster.domain.language import prose
from threadjuice_dagster.domain.language.text import paragraphs, words

FOLDS, DRAWS = 10, 30
SHUFFLES = (sentences_shuffled, sentences_regrouped, paragraphs_shuffled)
STRANGERS = (stray_paragraph, stray_paragraph, stray_paragraph, essay_paragraph, marketing)
ORDER_RIDGE, STRAY_RIDGE, SOUND_WEIGHT = 10.0, 60.0, 0.25
ORDER_LINE, STRAY_LINE = 2.2, 2.0
"""The line lies so many standard deviations from the mean of sound stories, both by cross-validation."""

Signals = dict[str, float]


class Fit(NamedTuple):
    names: list[str]
    weights: np.ndarray
    shift: float
    by_paragraph: float = 0.0

    @property
    def by_name(self) -> dict[str, float]:
        return dict(zip(self.names, map(float, self.weights), strict=True))


def table(rows: Sequence[Signals], names: Sequence[str]) -> np.ndarray:
    return np.array([[row.get(name, 0.0) for name in names] for row in rows])


def discriminant(sound: np.ndarray, shuffled: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and shift: a random order scores 0 on average, with a standard deviation of 1."""
    middle, spread = shuffled.mean(0), shuffled.std(0) + 0.05
    good, bad = (sound - middle) / spread, (shuffled - middle) / spread
    within = (np.cov(good.T) + np.cov(bad.T)) / 2
    weights = np.linalg.solve(within + ORDER_RIDGE * np.eye(len(spread)), good.mean(0) - bad.mean(0))
    weights = weights / (bad @ weights).std() / spread
    return weights, float(-middle @ weights)


def logistic(rows: np.ndarray, stray: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and shift of the logarithm of the odds that a paragraph is a stray."""
    middle, spread = rows.mean(0), rows.std(0) + 0.02
    scaled = np.c_[(rows - middle) / spread, np.ones(len(rows))]
    matters = np.where(stray, 1.0, SOUND_WEIGHT)
    ridge = STRAY_RIDGE * np.eye(scaled.shape[1])
    ridge[-1, -1] = 1e-6
    weights = np.zeros(scaled.shape[1])
    for _ in range(30):
        odds = 1 / (1 + np.exp(-np.clip(scaled @ weights, -30, 30)))
        slope = scaled.T @ (matters * (odds - stray)) + ridge @ weights
        weights -= np.linalg.solve((scaled * (matters * odds * (1 - odds))[:, None]).T @ scaled + ridge, slope)
    scaled = weights[:-1] / spread
    return scaled, float(weights[-1] - middle @ scaled)


def fit_order(corpus: Sequence[Story]) -> Fit:
    sound = [order.signals(prose.read(story.text)) for story in corpus]
    draws = [[_shuffled(story, corpus, number, draw) for draw in range(DRAWS)] for number, story in enumerate(corpus)]
    names = sorted({name for row in sound for name in row})
    good, bad = table(sound, names), np.array([table(rows, names) for rows in draws])
    held = np.zeros(len(corpus))
    for fold in range(FOLDS):
        out = np.arange(len(corpus)) % FOLDS == fold
        weights, shift = discriminant(good[~out], bad[~out].reshape(-1, len(names)))
        held[out] = good[out] @ weights + shift
    weights, shift = discriminant(good, bad.reshape(-1, len(names)))
    breaks = np.array([name.startswith(("opens ", "ends ")) for name in names])
    by_paragraph = float(good.mean(0)[breaks] @ weights[breaks])
    return Fit(names, weights, shift - float(held.mean() - ORDER_LINE * held.std()), by_paragraph)


def _shuffled(story: Story, corpus: Sequence[Story], number: int, draw: int) -> Signals:
    text = SHUFFLES[draw % len(SHUFFLES)](story, Random(number * 1000 + draw), corpus)
    return order.signals(prose.read(text))


def _threads(story: Story) -> list[frozenset[str]]:
    """What a story may be held against: nothing, its thread, and the thread as it is when much of it is lacking."""
    if story.thread is None:
        return [frozenset()]
    texts = story.thread.texts
    cuts = ["", "\n".join(texts), "\n".join(texts[:2]), "\n".join([texts[0], texts[1][: len(texts[1]) // 2]])]
    return [frozenset(prose.subjects(words(cut))) for cut in cuts]


def fit_strays(corpus: Sequence[Story]) -> Fit:
    rows: list[Signals] = []
    marks: list[tuple[int, int, bool]] = []
    for number, story in enumerate(corpus):
        for thread_subjects in _threads(story):
            for draw in range(-1, DRAWS):
                damage = STRANGERS[draw % len(STRANGERS)]
                text = damage(story, Random(number * 777 + draw), corpus) if draw >= 0 else story.text
                reading, own = prose.read(text), {*paragraphs(story.text)}
                for i, signals in unity.stray_signals(unity.take_apart(reading), thread_subjects):
                    rows.append(signals)
                    marks.append((number, draw, reading.paragraphs[i] not in own))
    names = list(rows[0])
    held, stray = table(rows, names), np.array([mark[2] for mark in marks])
    home = np.array([mark[0] for mark in marks])
    weights, shift = logistic(held, stray)
    undamaged = np.array([mark[1] < 0 for mark in marks])
    worst = np.full(len(corpus), -99.0)
    for fold in range(FOLDS):
        out = home % FOLDS == fold
        part, part_shift = logistic(held[~out], stray[~out])
        chosen = out & undamaged
        np.maximum.at(worst, home[chosen], held[chosen] @ part + part_shift)
    return Fit(names, weights, shift - float(worst.mean() + STRAY_LINE * worst.std()))


def main() -> None:
    corpus = stories("dev")
    write(fit_order(corpus), fit_strays(corpus))


def write(order_fit: Fit, stray_fit: Fit) -> None:
    """Put the weights into ``editorial/reading_weights.yaml``, under the comments that stand at its top."""
    path = Path(str(files("threadjuice_dagster"))) / "editorial" / "reading_weights.yaml"
    head = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    sections = {
        "order": {"shift": order_fit.shift, "breaks": order_fit.by_paragraph, "weights": order_fit.by_name},
        "strays": {"shift": stray_fit.shift, "weights": stray_fit.by_name},
    }
    rounded = json.loads(json.dumps(sections), parse_float=lambda digits: round(float(digits), 2))
    path.write_text("\n".join((*head, yaml.safe_dump(rounded, sort_keys=False, width=118))), encoding="utf-8")


if __name__ == "__main__":
    main()
