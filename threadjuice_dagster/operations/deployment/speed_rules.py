"""How fast a deployment answers, held against the one that is live.

What is fetched, and from where, belongs in ``operations/deployment/speed.py``.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.operations.findings import Finding, judged

SLOWER, SECONDS = 1.5, 0.25
"""So many times as long, and so much longer, that a reader notices."""

HEAVIER, BYTES = 1.5, 100_000
"""The same for what is sent."""


class Speed(Model):
    """What a reader waits for: milliseconds to the first byte and to the last, and the bytes."""

    first_byte_ms: float
    whole_ms: float
    bytes: int


class Compared(Model):
    """A page, picture or feed where it is staged and where it is live; ``ratio`` is of the whole times."""

    name: str
    staged: Speed
    live: Speed

    @property
    def ratio(self) -> float:
        """How many times as long the staged one takes."""
        return round(self.staged.whole_ms / max(self.live.whole_ms, 0.01), 2)

    @property
    def wrong(self) -> str:
        """What readers would notice; empty where it is as it was."""
        longer = self.staged.whole_ms - self.live.whole_ms
        if self.ratio > SLOWER and longer > SECONDS * 1000:
            return f"{self.name} takes {self.staged.whole_ms:.0f} ms instead of {self.live.whole_ms:.0f}"
        if self.staged.bytes > self.live.bytes * HEAVIER and self.staged.bytes - self.live.bytes > BYTES:
            return f"{self.name} has {self.staged.bytes:,} bytes instead of {self.live.bytes:,}"
        return ""


def typical(samples: Sequence[Speed]) -> Speed:
    """The median of each figure."""
    return Speed(
        first_byte_ms=round(median(one.first_byte_ms for one in samples), 1),
        whole_ms=round(median(one.whole_ms for one in samples), 1),
        bytes=int(median(one.bytes for one in samples)),
    )


def compared(staged: Mapping[str, Speed], live: Mapping[str, Speed]) -> list[Compared]:
    """What is at both places."""
    return [Compared(name=name, staged=speed, live=live[name]) for name, speed in staged.items() if name in live]


def speed_finding(rows: Iterable[Compared]) -> Finding:
    """Whether what is staged is about as fast and as light as what is live."""
    rows = list(rows)
    wrong = [row.wrong for row in rows if row.wrong]
    told = "; ".join(f"{row.name} {row.staged.whole_ms:.0f} ms, {row.ratio:g} times the live one's" for row in rows)
    step = "Look at what changed in the build before it goes live: threadjuice deploy production"
    good = f"{told}." if told else "Nothing is live yet that it could be held against."
    return judged("as_fast_as_live", "alerts", good, ("warning", bool(wrong), f"{'; '.join(wrong)}.", step))
