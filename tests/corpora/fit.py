"""Fits the tables of ``domain/judging/weights.py`` on the dev half and prints that module's text.

Run it as ``PYTHONPATH=tests python -m corpora.fit > weights.py`` when the corpus or a signal has changed. Order: the
linear discriminant between sound stories and shuffled ones, ridge 10. Strays: a logistic model over paragraphs. Where
nothing is wrong begins where hardly a sound story lies, by ten-fold cross-validation over stories.
"""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

import numpy as np

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
from threadjuice_dagster.domain.judging.weights import FOLLOWS
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
    known = np.c_[(rows - middle) / spread, np.ones(len(rows))]
    matters = np.where(stray, 1.0, SOUND_WEIGHT)
    ridge = STRAY_RIDGE * np.eye(known.shape[1])
    ridge[-1, -1] = 1e-6
    weights = np.zeros(known.shape[1])
    for _ in range(30):
        odds = 1 / (1 + np.exp(-np.clip(known @ weights, -30, 30)))
        slope = known.T @ (matters * (odds - stray)) + ridge @ weights
        weights -= np.linalg.solve((known * (matters * odds * (1 - odds))[:, None]).T @ known + ridge, slope)
    scaled = weights[:-1] / spread
    return scaled, float(weights[-1] - middle @ scaled)


def fit_order(told: Sequence[Story]) -> Fit:
    sound = [order.signals(prose.read(one.text)) for one in told]
    draws = [[_shuffled(one, told, number, draw) for draw in range(DRAWS)] for number, one in enumerate(told)]
    names = sorted({name for row in sound for name in row})
    good, bad = table(sound, names), np.array([table(rows, names) for rows in draws])
    held = np.zeros(len(told))
    for fold in range(FOLDS):
        out = np.arange(len(told)) % FOLDS == fold
        weights, shift = discriminant(good[~out], bad[~out].reshape(-1, len(names)))
        held[out] = good[out] @ weights + shift
    weights, shift = discriminant(good, bad.reshape(-1, len(names)))
    breaks = np.array([name.startswith(("opens ", "ends ")) for name in names])
    by_paragraph = float(good.mean(0)[breaks] @ weights[breaks])
    return Fit(names, weights, shift - float(held.mean() - ORDER_LINE * held.std()), by_paragraph)


def _shuffled(story: Story, told: Sequence[Story], number: int, draw: int) -> Signals:
    text = SHUFFLES[draw % len(SHUFFLES)](story, Random(number * 1000 + draw), told)
    return order.signals(prose.read(text))


def _threads(story: Story) -> list[frozenset[str]]:
    """What a story may be held against: nothing, its thread, and the thread as it is when much of it is lacking."""
    if story.thread is None:
        return [frozenset()]
    texts = story.thread.texts
    cuts = ["", "\n".join(texts), "\n".join(texts[:2]), "\n".join([texts[0], texts[1][: len(texts[1]) // 2]])]
    return [frozenset(prose.subjects(words(cut))) for cut in cuts]


def fit_strays(told: Sequence[Story]) -> Fit:
    rows: list[Signals] = []
    marks: list[tuple[int, int, bool]] = []
    for number, story in enumerate(told):
        for known in _threads(story):
            for draw in range(-1, DRAWS):
                damage = STRANGERS[draw % len(STRANGERS)]
                text = damage(story, Random(number * 777 + draw), told) if draw >= 0 else story.text
                reading, own = prose.read(text), {*paragraphs(story.text)}
                for i, signals in unity.stray_signals(unity.take_apart(reading), known):
                    rows.append(signals)
                    marks.append((number, draw, reading.paragraphs[i] not in own))
    names = list(rows[0])
    held, stray = table(rows, names), np.array([mark[2] for mark in marks])
    home = np.array([mark[0] for mark in marks])
    weights, shift = logistic(held, stray)
    undamaged = np.array([mark[1] < 0 for mark in marks])
    worst = np.full(len(told), -99.0)
    for fold in range(FOLDS):
        out = home % FOLDS == fold
        part, part_shift = logistic(held[~out], stray[~out])
        chosen = out & undamaged
        np.maximum.at(worst, home[chosen], held[chosen] @ part + part_shift)
    return Fit(names, weights, shift - float(worst.mean() + STRAY_LINE * worst.std()))


def main() -> None:
    told = stories("dev")
    print(HEAD)
    _print_order(fit_order(told))
    _print_strays(fit_strays(told))
    print(TAIL)


HEAD = '''"""The fitted tables of ``domain/judging/order.py`` and ``domain/judging/unity.py``: hundredths, nothing else.

They were fitted on the dev half of the corpus in ``tests/corpora`` by ``tests/corpora/fit.py``, each story against
thirty random damages of itself; the unseen half had no part in it. A positive weight of order speaks for the order
the text has; a positive weight of strays speaks for a paragraph of another text.
"""

from collections.abc import Iterator
'''
TAIL = '''

def _rows(table: str) -> Iterator[tuple[str, list[float]]]:
    """Each line's name and its figures."""
    for line in table.strip().splitlines():
        name, _, figures = line.partition("|")
        yield name.strip(), [int(figure) / 100 for figure in figures.split()]


ROLES = ("late", "first", "last", "opens", "ends")
"""What a sentence's place can be: late in the text, first or last of all, opening or ending a paragraph."""

PLACES = {role: {cue: row[i] for cue, row in _rows(_PLACES)} for i, role in enumerate(ROLES)}
"""By role, what it speaks for the order that a cue stands there."""

_SENTENCES = {tuple(name.split(" > ")): row[0] for name, row in _rows(_FOLLOWS)}
FOLLOWS: dict[tuple[str, str], float] = {(first, second): weight for (first, second), weight in _SENTENCES.items()}
"""What it speaks for the order that a sentence with the first cue is followed by one with the second."""

ORDER = {
    **{f"{role} {cue}": weight for role, weights in PLACES.items() for cue, weight in weights.items()},
    **{f"{first} > {second}": weight for (first, second), weight in FOLLOWS.items()},
    **{name: row[0] for name, row in _rows(_CHAINS)},
}
"""The weight of every signal of ``order.signals``."""

STRAY = {
    **{f"{how} {cue}": row[i] for cue, row in _rows(_VOICES) for i, how in enumerate(("differs", "shares"))},
    **{name: row[0] for name, row in _rows(_STRAYS)},
}
"""The weight of every signal of ``unity.stray_signals``."""
'''


def _print_table(name: str, rows: dict[str, list[float]], comment: str) -> None:
    print(f'{name} = """')
    width = max(map(len, rows))
    for row, figures in rows.items():
        print(f"{row:{width}} |" + "".join(f"{round(100 * figure):5}" for figure in figures))
    print(f'"""\n"""{comment}"""\n')


def _print_order(fit: Fit) -> None:
    weight = dict(zip(fit.names, fit.weights, strict=True))
    roles = ("late", "first", "last", "opens", "ends")
    cues = sorted({name.split(" ", 1)[1] for name in fit.names if name.split(" ")[0] in roles and ">" not in name})
    follows = {f"{a} > {b}": [weight.pop(f"{a} > {b}", 0.0)] for a, b in FOLLOWS}
    places = {cue: [weight.pop(f"{role} {cue}", 0.0) for role in roles] for cue in cues}
    _print_table("_PLACES", places, "Columns: late, first, last, opens, ends.")
    _print_table("_FOLLOWS", follows, "Cue of one sentence > cue of the next.")
    _print_table("_CHAINS", {name: [value] for name, value in weight.items()}, "Repetition, introductions, names.")
    print(f"ORDER_SHIFT, BREAKS = {fit.shift:.2f}, {fit.by_paragraph:.2f}")
    print('"""What makes 0 the line, and what the signals at paragraph breaks bring a sound text on average."""\n')


def _print_strays(fit: Fit) -> None:
    weight = dict(zip(fit.names, fit.weights, strict=True))
    voices = {cue: [weight.pop(f"{how} {cue}") for how in ("differs", "shares")] for cue in unity.VOICE}
    _print_table("_VOICES", voices, "Columns: how far the share differs from the others', both shares together.")
    _print_table("_STRAYS", {name: [value] for name, value in weight.items()}, "Subjects, names, topics, thread.")
    print(f"STRAY_SHIFT = {fit.shift:.2f}")
    print('"""What makes 0 the line."""', end="\n\n")


if __name__ == "__main__":
    main()
