"""How well the rubric tells sound stories from damaged ones, on the half it was fitted on and on one it never saw.

Beside each kind of damage: the chance that a sound story scores above a damaged one (AUC), and the share of damaged
ones under the gate of 8.0. Speed is counted in CPU time of one process, so of one core.
"""

import sys
import time
from pathlib import Path

from threadjuice_dagster.domain.judging.rubric import draft_from_text, rate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from corpora.stories import HALVES, stories
from corpora.trial import PROMISED, auc, stopped, try_rubric

DRAWS, ROUNDS = 3, 5


def main() -> None:
    for half in HALVES:
        trial = try_rubric(half, DRAWS)
        for kind, scores in trial.damaged.items():
            goal = " (goal at least 0.90)" if kind in PROMISED else ""
            name = f"{half:<6} {kind.replace('_', ' '):<20}"
            print(f"rubric: {name} AUC {auc(trial.sound, scores):.3f}{goal}, {stopped(scores):.0%} stopped")
        every = auc(trial.sound, trial.promised)
        print(f"rubric: {half:<6} all damage            AUC {every:.3f} (goal at least 0.97)")
        print(f"rubric: {half:<6} sound stories         {1 - stopped(trial.sound):.1%} pass (goal at least 97 %)")
    for name, known in (("without a thread", False), ("with its thread", True)):
        print(f"rubric: {name:<27} {speed(known):.0f} stories/s on one core (goal at least 300)")


def speed(with_thread: bool) -> float:
    """Stories rated in a second of CPU time, drafts already made; the best of several rounds."""
    chosen = [story for half in HALVES for story in stories(half) if story.thread or not with_thread]
    drafts = [(draft_from_text(story.title, story.text), story.thread if with_thread else None) for story in chosen]
    best = 0.0
    for _ in range(ROUNDS):
        start = time.process_time()
        for draft, thread in drafts:
            rate(draft, thread)
        best = max(best, len(drafts) / (time.process_time() - start))
    return best


if __name__ == "__main__":
    main()
