"""Fit the weights of ``domain/judging/tone.py`` to the first labelled half, starting from the graded words at hand.

Logistic regression with ridge, so that a word moves from its grade only as far as the texts make it. Prints the new
``editorial/moderation_tone.yaml`` and, on stderr, the average precision in five-fold cross-validation.
Run as ``python -m benchmarks.fit_tone GRADES.yaml``.
"""

import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import yaml

from benchmarks.moderation import CORPORA, average_precision, corpus
from threadjuice_dagster.domain.judging.moderation import load_moderator
from threadjuice_dagster.domain.judging.tone import Tone, spread, stems
from threadjuice_dagster.sources.reddit_parser import parse_thread

RIDGE, STEPS, FARTHEST, FOLDS, GRAIN = 1e-3, 250, 1.0, 5, 0.5
Example = tuple[set[str], int]


def fit(examples: Sequence[Example], prior: Tone) -> Tone:
    """Weights for every stem of the examples and the prior, in steps of ``GRAIN``."""
    places = {
        stem: place for place, stem in enumerate(sorted(set().union(*(text_stems for text_stems, _ in examples))))
    }
    table = np.zeros((len(examples), len(places) + 1))
    for row, (text_stems, _) in zip(table, examples, strict=True):
        row[[places[stem] for stem in text_stems]] = 1 / spread(len(text_stems))
    table[:, -1] = 1
    start = np.array([prior.weights.get(stem, 0.0) for stem in places] + [0.0])
    labels, moved, speed = np.array([label for _, label in examples]), np.zeros(len(start)), np.zeros(len(start))
    for _ in range(STEPS):
        odds = 1 / (1 + np.exp(-(table @ (start + moved))))
        slope = table.T @ (odds - labels) / len(labels) + RIDGE * np.append(moved[:-1], 0)
        speed = 0.9 * speed - slope
        moved[:-1] = np.clip((moved + speed)[:-1], -FARTHEST, FARTHEST)
        moved[-1] += speed[-1]
    weights = {**prior.weights, **dict(zip(places, (start + moved)[:-1].tolist(), strict=True))}
    return Tone(round(float(moved[-1]), 2), grouped(weights))


def grouped(weights: dict[str, float]) -> dict[float, str]:
    groups: defaultdict[float, list[str]] = defaultdict(list)
    for word, weight in sorted(weights.items()):
        groups[round(weight / GRAIN) * GRAIN].append(word)
    return {weight: " ".join(groups[weight]) for weight in sorted(groups, reverse=True) if weight}


def sound_texts() -> Iterator[str]:
    """Texts the newsroom would show: the first half of the labelled stories, and the sample threads."""
    yield from (CORPORA / "stories_dev.txt").read_text(encoding="utf-8").split("=== ")[1:]
    for path in sorted((files("threadjuice_dagster") / "editorial" / "threads").iterdir(), key=str):
        yield from parse_thread(json.loads(path.read_text(encoding="utf-8")), "sample").texts


def cross_validated(examples: list[Example], sound: list[Example], prior: Tone) -> float:
    random.Random(2).shuffle(examples)
    scores, labels = [], []
    for fold in range(FOLDS):
        held = examples[fold::FOLDS]
        tone = fit([example for at, example in enumerate(examples) if at % FOLDS != fold] + sound, prior)
        scores += [round(tone.lean(text_stems), 6) for text_stems, _ in held]
        labels += [label for _, label in held]
    return average_precision(labels, scores)


def main() -> None:
    grades = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))
    listed = {grade: " ".join(sorted(stems(words))) for grade, words in grades.items()}
    prior = Tone(0.0, listed)
    unmask = load_moderator().unmask
    examples = [(stems(unmask(one["text"])), one["label"]) for one in corpus("dev")]
    sound = [(stems(unmask(text)), 0) for text in sound_texts()]
    tone = fit(examples + sound, prior)
    print(yaml.safe_dump({"bias": tone.bias, "words": grouped(tone.weights)}, sort_keys=False, width=118), end="")
    print(f"average precision, cross-validated: {cross_validated(examples, sound, prior):.3f}", file=sys.stderr)


if __name__ == "__main__":
    main()
