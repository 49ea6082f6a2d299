"""What the moderator without a key finds in the two labelled corpora, and how fast, on one core.

Rules and weights were made with the first half; the second was written afterwards and is only measured.
"""

import json
import time
from pathlib import Path
from typing import Any

from threadjuice_dagster.domain.judging.moderation import Verdict, load_moderator

CORPORA = Path(__file__).parents[1] / "tests" / "corpora"
HALVES = ("dev", "unseen")
PASSES = 5
GOALS = {"AP": 0.80, "precision": 0.90, "recall": 0.50, "texts/s": 500.0}


def corpus(half: str) -> list[dict[str, Any]]:
    """Texts as ``{id, text, label, category}``; a harmless text's category is the one it could be taken for."""
    lines = (CORPORA / f"moderation_{half}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def average_precision(labels: list[int], scores: list[float]) -> float:
    """Sum of precision times gain in recall down the ranking; texts of equal score count as one step."""
    hits = seen = 0
    area = 0.0
    for score in sorted(set(scores), reverse=True):
        tied = [label for label, other in zip(labels, scores, strict=True) if other == score]
        hits, seen = hits + sum(tied), seen + len(tied)
        area += sum(tied) / sum(labels) * hits / seen
    return area


def figures(half: str) -> dict[str, float]:
    texts, moderator = corpus(half), load_moderator()
    for one in texts:
        moderator.moderate(one["text"])
    start = time.process_time()
    verdicts: list[Verdict] = [moderator.moderate(one["text"]) for _ in range(PASSES) for one in texts][: len(texts)]
    seconds = time.process_time() - start
    labels, flagged = [one["label"] for one in texts], [verdict.flagged for verdict in verdicts]
    hits = sum(label and flag for label, flag in zip(labels, flagged, strict=True))
    return {
        "AP": average_precision(labels, [verdict.score for verdict in verdicts]),
        "precision": hits / max(sum(flagged), 1),
        "recall": hits / sum(labels),
        "texts/s": PASSES * len(texts) / seconds,
    }


def main() -> None:
    for half in HALVES:
        for name, value in figures(half).items():
            goal = GOALS[name]
            digits = 0 if goal > 1 else 3
            print(f"moderation: {half:<7} {name:<10} {value:7.{digits}f} (goal at least {goal:.{min(digits, 2)}f})")
