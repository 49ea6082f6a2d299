"""How the threads of a list are collected: refusals are passed over, an outage is told or ends the list."""

import pytest
from makers import make_thread

from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.failures import TransientFailure, Unsuitable
from threadjuice_dagster.sources.thread_source import ThreadFormatError, collect_threads


def read(name: str) -> Thread:
    """A thread of so many points; some names are refusals, ``down`` is an outage."""
    problems = {"deleted": Unsuitable("It is gone."), "odd": ThreadFormatError("no title"), "own": KeyError("own")}
    if name in problems:
        raise problems[name]
    if name == "down":
        raise TransientFailure("It is down.")
    comments = () if name == "silent" else make_thread().comments
    return make_thread(name, over_18=name == "adult", comments=comments, score=int(name) if name.isdecimal() else 1)


@pytest.mark.parametrize(
    ("names", "limit", "collected"),
    [
        (["3", "90", "20"], 9, ["90", "20", "3"]),
        (["3", "90", "20"], 2, ["90", "3"]),
        (["deleted", "odd", "own", "adult", "silent", "7"], 9, ["7"]),
        (["5", "down", "9"], 9, ["5"]),
        ([], 9, []),
    ],
)
def test_what_may_become_a_story_is_collected(names: list[str], limit: int, collected: list[str]) -> None:
    assert [thread.id for thread in collect_threads("a place", names, limit, read, KeyError)] == collected


def test_an_outage_before_the_first_thread_is_raised() -> None:
    with pytest.raises(TransientFailure):
        collect_threads("a place", ["deleted", "down", "9"], 9, read)


def test_a_refusal_that_nobody_expects_is_raised() -> None:
    with pytest.raises(KeyError):
        collect_threads("a place", ["own"], 9, read)
