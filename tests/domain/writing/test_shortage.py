"""What is said of an order that was not filled and of a supply that is short."""

from typing import Any

import pytest

from threadjuice_dagster.domain.writing.shortage import (
    PlaceReading,
    Shortfall,
    explain,
    is_short,
    supply_advice,
    supply_message,
)
from threadjuice_dagster.domain.writing.supply import Supply

SAMPLES = [PlaceReading(spec="samples", threads=14)]
PLACES = [
    PlaceReading(spec="hackernews:ask"),
    PlaceReading(spec="lemmy:lemmy.example/c/tea", problem="lemmy.example is down.", next_step="Wait for lemmy."),
    PlaceReading(spec="stackexchange:workplace", threads=7),
]


def shortfall(**changes: Any) -> Shortfall:
    return Shortfall(**{"wanted": 5, "published": 2, "tried": 2, "most": 15, **changes})


def test_an_order_that_ran_dry_says_so_and_what_to_do() -> None:
    error = explain(shortfall(), SAMPLES)
    assert error.kind == "unfilled"
    assert error.message == (
        "Published 2 of 5: no unused thread that suits a story is left; the bundled samples are the only source."
    )
    assert "THREAD_SOURCES" in error.next_step
    assert "--thread FILE" in error.next_step


def test_places_that_are_down_and_places_that_are_empty_are_named() -> None:
    error = explain(shortfall(), PLACES)
    assert "lemmy:lemmy.example/c/tea could not be read (lemmy.example is down)" in error.message
    assert "hackernews:ask had no thread for a story" in error.message
    assert "stackexchange:workplace" not in error.message
    assert "Wait for lemmy." in error.next_step


def test_of_many_places_the_first_are_named() -> None:
    down = [PlaceReading(spec=f"stackexchange:s{number}", problem="No quota is left.") for number in range(30)]
    empty = [PlaceReading(spec=f"reddit:r{number}") for number in range(30)]
    message = explain(shortfall(), [*down, *empty]).message
    assert "25 more could not be read" in message
    assert "reddit:r4, others had no thread" in message
    assert len(message) < 1000


def test_refused_threads_are_counted_by_gate() -> None:
    error = explain(
        shortfall(tried=15, published=2, refused=13, by_gate={"meets_quality_threshold": 12, "is_original": 4}), PLACES
    )
    assert error.message == (
        "Published 2 of 5: of 15 threads that were tried, 13 were refused (meets_quality_threshold 12, is_original 4);"
        " an order may not try more threads than that."
    )
    assert "content list --status rejected" in error.next_step


def test_failed_stories_come_first_and_their_next_step_is_the_order_s() -> None:
    error = explain(
        shortfall(tried=5, failed=3, problem="The key was refused.", next_step="Correct OPENAI_API_KEY."), PLACES
    )
    assert error.message == "Published 2 of 5: 3 stories failed: The key was refused."
    assert error.next_step == "Correct OPENAI_API_KEY."


def test_stories_that_wait_for_the_budget_are_told_as_waiting() -> None:
    error = explain(shortfall(tried=3, waiting=1, problem="The budget is spent.", next_step="Wait."), PLACES)
    assert error.message.startswith("Published 2 of 5: 1 story must wait: The budget is spent; no unused thread")
    assert error.next_step == "Wait."


def test_an_order_with_wishes_is_told_to_loosen_them() -> None:
    error = explain(shortfall(category="food", source="hackernews:ask"), PLACES[:1])
    assert "no unused thread of category food from hackernews:ask that suits a story is left" in error.message
    assert error.next_step.startswith("Leave out --category and --source, or: ")


class TestSupply:
    week = Supply(unused=30, by_place={"stackexchange:workplace": 21})
    short = Supply(unused=30, by_place={"stackexchange:workplace": 20}, tried=20, published=10)

    @pytest.mark.parametrize(("supply", "days", "short"), [(week, 7, False), (short, 7, True), (short, 0, False)])
    def test_less_than_the_days_that_are_wanted_is_short(self, supply: Supply, days: float, short: bool) -> None:
        assert is_short(supply, days) is short

    def test_a_short_supply_names_every_cause(self) -> None:
        assert supply_message(self.short, PLACES, 7) == (
            "20 unused threads suit a story (stackexchange 20), enough for 3.3 days, as 10 of the newest 20 were"
            " published, and 7 are wanted; lemmy:lemmy.example/c/tea could not be read (lemmy.example is down);"
            " hackernews:ask had no thread for a story."
        )

    def test_a_supply_of_a_week_is_told_in_one_sentence(self) -> None:
        assert supply_message(self.week, PLACES, 7) == (
            "21 unused threads suit a story (stackexchange 21), enough for 7 days."
        )

    def test_the_advice_repairs_places_first_and_repeats_nothing(self) -> None:
        advice = supply_advice([*PLACES, *PLACES])
        assert advice.count("Wait for lemmy.") == 1
        assert advice.index("Wait for lemmy.") < advice.index("THREAD_SOURCES")
