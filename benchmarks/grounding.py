"""What the grounding of a story finds of inventions planted one at a time, what it finds in sound stories, how fast.

The stories are those of ``tests/corpora``; rules were written against the first half.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from threadjuice_dagster.domain.judging.grounding import MAX_UNSUPPORTED, ground
from threadjuice_dagster.domain.story.stories import Draft
from threadjuice_dagster.domain.story.threads import Thread

TESTS = Path(__file__).parents[1] / "tests"
TRIES, COMMENTS = 3, 500
Told = tuple[Draft, Thread, tuple[str, ...]]
FACTS = ("added number", "invented time", "name inside a sentence", "name at a sentence start", "invented place")


def main() -> None:
    sys.path.insert(0, str(TESTS))
    from corpora.stories import HALVES

    for half in HALVES:
        for line in (*_sound(half), *_planted(half), *_speed(half)):
            print(f"grounding: {half:<6} {line}")


def _sound(half: str) -> Iterator[str]:
    from corpora.inventions import sound

    groundings = [ground(*story) for story in sound(half)]
    counts = Counter(len(grounding.unsupported) for grounding in groundings)
    yield f"facts listed in {len(groundings)} sound stories: {dict(sorted(counts.items()))}"
    refused = sum(len(grounding.unsupported) > MAX_UNSUPPORTED for grounding in groundings)
    yield f"sound stories refused for their facts {refused}"
    strayed = sum("quotation marks" in " ".join(grounding.problems) for grounding in groundings)
    yield f"stories refused for words in quotation marks that their thread does not hold {strayed}"


def _planted(half: str) -> Iterator[str]:
    from corpora.inventions import PLANTS, sound

    for kind, plant in PLANTS.items():
        changed = [
            (story, after)
            for number, story in enumerate(sound(half) * TRIES)
            if (after := plant(*story[:2], Random(number), half))
        ]
        seen = sum(_seen(after, story) for story, after in changed)
        yield f"{kind:<26} {seen:>3} of {len(changed)}"
    refused = 0
    for number, (draft, thread, framing) in enumerate(sound(half)):
        for place, kind in enumerate(FACTS):
            draft = PLANTS[kind](draft, thread, Random(10 * number + place), half) or draft
        refused += not ground(draft, thread, framing).ok
    yield f"refused with {len(FACTS)} invented facts {refused:>3} of {len(sound(half))}"


def _seen(after: Draft, story: Told) -> bool:
    """Whether grounding says something of the changed story that it does not say of the sound one."""
    before, now = ground(*story), ground(after, *story[1:])
    return bool({*now.problems, *now.unsupported} - {*before.problems, *before.unsupported})


def _speed(half: str) -> Iterator[str]:
    from corpora.inventions import sound

    draft, thread, framing = sound(half)[-1]
    many = [thread.comments[i % len(thread.comments)].model_copy(update={"id": f"x{i}"}) for i in range(COMMENTS)]
    long = thread.model_copy(update={"comments": tuple(many)})
    for name, source in (("its own thread", thread), (f"{COMMENTS} comments", long)):
        start = time.process_time()
        for _ in range(10):
            ground(draft, source, framing)
        yield f"stories/s against {name:<14} {10 / (time.process_time() - start):.0f}"
