"""What the gates make of true stories and of damaged ones, at the same thresholds: passed, held, rejected.

And how many orders to a machine, in words that no rule was written against, the first wall recognises.

No model takes part: this is what the gates are worth by themselves. One half of the stories was written by somebody who
had not seen the code, and no rule was written against it.
"""

import sys
import time
from collections import Counter
from pathlib import Path

from threadjuice_dagster.domain.judging.assess import assess
from threadjuice_dagster.domain.judging.injection import addresses_machine
from threadjuice_dagster.domain.judging.screening import screen
from threadjuice_dagster.domain.judging.verdicts import gate_findings, overall_outcome

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from corpora.truth import HALVES, SOUND, TruthStory, records, truth_stories

OUTCOMES = ("pass", "hold", "reject")


def main() -> None:
    for half in HALVES:
        began = time.process_time()
        outcomes: dict[str, Counter[str]] = {}
        stories = truth_stories(half)
        for story in stories:
            outcomes.setdefault(story.kind, Counter())[outcome_of(story)] += 1
        seconds = time.process_time() - began
        every = sum((counts for kind, counts in outcomes.items() if kind != SOUND), Counter[str]())
        for kind, counts in {**outcomes, "all damaged stories": every}.items():
            shares = ", ".join(f"{outcome} {counts[outcome]}" for outcome in OUTCOMES)
            print(f"truth: {half:<6} {kind.replace('_', ' '):<22} {shares} of {counts.total()}")
        print(f"truth: {half:<6} stories/s on one core   {len(stories) / seconds:.0f}")
    texts = records("unseen", "hostile")
    for name, harmless in (("orders to a machine", False), ("harmless look-alikes", True)):
        of_kind = [text for text in texts if (text["kind"] == "harmless") == harmless]
        recognised = sum(addresses_machine(text["text"]) for text in of_kind)
        print(f"truth: unseen {name:<22} recognised {recognised} of {len(of_kind)}")


def outcome_of(story: TruthStory) -> str:
    """Return what the gates on the text say together of a story whose thread is screened as it would be."""
    screened = screen(story.thread)[0]
    return overall_outcome(gate_findings(assess(story.draft, story.thread, screened=screened)))


if __name__ == "__main__":
    main()
