"""In words: why an order was not filled, why the supply of threads is short, and what an operator can do about it.

How many threads there are belongs in ``domain/writing/supply.py``.
"""

from collections.abc import Sequence

from pydantic import Field

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.writing.supply import Supply, counted
from threadjuice_dagster.failures import OrderUnfilled

MOST_NAMED = 5
"""Places that a message names; the others are counted."""

SAMPLES = "samples"
"""The spec of the bundled threads, of which there are no more than there are."""

NAME_PLACES = "Name more places in THREAD_SOURCES, such as stackexchange:workplace or hackernews:ask."


class PlaceReading(Model):
    """What the newest look at a place gave: how many threads, or why it could not be read."""

    spec: str
    threads: int = 0
    problem: str = ""
    next_step: str = ""


class Shortfall(Model):
    """An order that was given up before it was filled.

    ``tried`` of at most ``most`` threads were given to a writer; ``refused`` of them did not pass, ``by_gate`` counts
    them by what refused them. ``failed`` and ``waiting`` stories have no outcome, for ``problem``.
    """

    wanted: int
    published: int
    tried: int
    most: int
    refused: int = 0
    by_gate: dict[str, int] = Field(default_factory=dict)
    failed: int = 0
    waiting: int = 0
    problem: str = ""
    next_step: str = ""
    category: str = ""
    source: str = ""

    @property
    def ran_dry(self) -> bool:
        """Whether another thread would have been tried, had there been one."""
        return self.tried < self.most and self.published + self.failed + self.waiting < self.wanted


def explain(shortfall: Shortfall, places: Sequence[PlaceReading]) -> OrderUnfilled:
    """Return an unfilled order as an error: how far it came, every cause, and the next step."""
    causes: list[str] = []
    if shortfall.failed:
        causes.append(f"{_stories(shortfall.failed)} failed: {shortfall.problem}")
    elif shortfall.waiting:
        causes.append(f"{_stories(shortfall.waiting)} must wait: {shortfall.problem}")
    if shortfall.refused:
        by_gate = f" ({counted(shortfall.by_gate)})" if shortfall.by_gate else ""
        causes.append(f"of {_threads(shortfall.tried)} that were tried, {shortfall.refused} were refused{by_gate}")
    if shortfall.ran_dry:
        asked = f" of category {shortfall.category}" if shortfall.category else ""
        asked += f" from {shortfall.source}" if shortfall.source else ""
        causes.append(f"no unused thread{asked} that suits a story is left")
        causes += _of_places(places)
    elif shortfall.tried >= shortfall.most and shortfall.refused:
        causes.append("an order may not try more threads than that")
    message = "; ".join(cause.rstrip(".") for cause in causes)
    return OrderUnfilled(
        f"Published {shortfall.published} of {shortfall.wanted}: {message}.", _next_step(shortfall, places)
    )


def is_short(supply: Supply, days: float) -> bool:
    """Return whether the unused threads last for fewer days than they should; ``days`` 0 asks for none."""
    return supply.days < days


def supply_message(supply: Supply, places: Sequence[PlaceReading], days: float) -> str:
    """Return what the supply is and, where it is short, what the places gave."""
    if not is_short(supply, days):
        return f"{supply}."
    share = f", as {supply.published} of the newest {supply.tried} were published" if supply.published_share < 1 else ""
    return "; ".join([f"{supply}{share}, and {days:g} are wanted", *_of_places(places)]) + "."


def supply_advice(places: Sequence[PlaceReading]) -> str:
    """Return what an operator can do about a short supply."""
    down = [place for place in places if place.problem]
    return f"{_repair(down)} {NAME_PLACES}".strip()


def _next_step(shortfall: Shortfall, places: Sequence[PlaceReading]) -> str:
    if shortfall.failed or shortfall.waiting:
        return shortfall.next_step
    if not shortfall.ran_dry:
        return "See why they were refused: threadjuice content list --status rejected (or --status held)."
    options = [name for name in ("category", "source") if getattr(shortfall, name)]
    loosen = f"Leave out {' and '.join(f'--{name}' for name in options)}, or: " if options else ""
    return f"{loosen}{supply_advice(places)} A thread of your own: --thread FILE."


def _of_places(places: Sequence[PlaceReading]) -> list[str]:
    """Return what the newest look at the places gave, where it gave too little."""
    if [place.spec for place in places if not place.problem] == [SAMPLES] and len(places) == 1:
        return ["the bundled samples are the only source"]
    down = [f"{place.spec} could not be read ({place.problem.rstrip('.')})" for place in places if place.problem]
    empty = [place.spec for place in places if not place.problem and not place.threads]
    said = [*down[:MOST_NAMED], *([f"{len(down) - MOST_NAMED} more could not be read"] if down[MOST_NAMED:] else [])]
    if empty:
        named = ", ".join([*empty[:MOST_NAMED], *(["others"] if empty[MOST_NAMED:] else [])])
        said.append(f"{named} had no thread for a story")
    return said


def _repair(down: Sequence[PlaceReading]) -> str:
    """Return the next steps of places that could not be read, each once."""
    steps = dict.fromkeys(place.next_step for place in down if place.next_step)
    return " ".join(list(steps)[:2])


def _stories(count: int) -> str:
    return "1 story" if count == 1 else f"{count} stories"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
