"""A clock that was set deletes nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from threadjuice_dagster.operations.clock import clock_finding, clock_problem, idle_problem

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("ours", "newest", "told"),
    [
        (NOW, NOW - 5 * HOUR, ""),
        (NOW, None, ""),
        (NOW + timedelta(minutes=4), NOW, ""),
        (NOW + 24 * HOUR, NOW, "1 d 0 h ahead of the database server's"),
        (NOW - 25 * HOUR, NOW, "1 d 1 h behind the database"),
        (NOW + HOUR / 2, NOW, "0 h 30 min ahead of"),
        (NOW, NOW + 24 * HOUR, "still to come"),
    ],
)
def test_a_clock_is_believed_that_agrees_with_the_servers_and_with_what_was_written(
    ours: datetime, newest: datetime | None, told: str
) -> None:
    problem = clock_problem(ours, NOW, newest)
    assert bool(problem) == bool(told)
    assert told in problem
    finding = clock_finding(ours, NOW, newest)
    assert finding.passed == (not told)
    assert bool(finding.next_step) == bool(told)


def test_a_newsroom_that_wrote_nothing_for_days_may_have_had_its_clock_set_ahead() -> None:
    assert idle_problem(NOW, None) == idle_problem(NOW, NOW - 71 * HOUR) == ""
    assert "for 5 days" in idle_problem(NOW, NOW - 121 * HOUR)
