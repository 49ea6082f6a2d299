"""What the sources of threads allow is kept over all processes: requests a minute and a day, quotas and pauses."""

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from threadjuice_dagster.database.outages import Outages
from threadjuice_dagster.database.source_limits import SourceLimits
from threadjuice_dagster.failures import TransientFailure
from threadjuice_dagster.operations.limits import SharedSourceLimit
from threadjuice_dagster.resources.postgres import Postgres


@pytest.fixture
def limit(prepared_url: str) -> Iterator[SharedSourceLimit]:
    with Postgres(url=prepared_url).process_config_and_initialize_cm() as database:
        yield SharedSourceLimit(database=database)


def engine_of(limit: SharedSourceLimit) -> sa.Engine:
    engine: sa.Engine = limit.database.store.engine
    return engine


def test_requests_of_a_day_are_counted_and_bounded(limit: SharedSourceLimit) -> None:
    for _ in range(3):
        limit.acquire("stackexchange", 100, 3)
    with pytest.raises(TransientFailure) as refused:
        limit.acquire("stackexchange", 100, 3)
    assert refused.value.service == "stackexchange"
    assert 0 < (refused.value.retry_after or 0) <= 86_400
    limit.acquire("hackernews", 100, None)
    assert {known.service: known.requests for known in SourceLimits(engine_of(limit)).today()} == {
        "stackexchange": 3,
        "hackernews": 1,
    }


def test_a_new_day_begins_with_a_new_quota(limit: SharedSourceLimit) -> None:
    limit.acquire("stackexchange", 100, 1)
    limit.record("stackexchange", left=0, most=300)
    with pytest.raises(TransientFailure):
        limit.acquire("stackexchange", 100, 1)
    with engine_of(limit).begin() as connection:
        connection.execute(sa.text("UPDATE source_limits SET day = day - 1, paused_until = NULL"))
    limit.acquire("stackexchange", 100, 1)
    (known,) = SourceLimits(engine_of(limit)).today()
    assert (known.requests, known.quota_left, known.quota_most) == (1, None, 300)


def test_a_quota_that_is_used_up_is_not_asked_for_more(limit: SharedSourceLimit) -> None:
    limit.record("stackexchange", left=0, most=300)
    with pytest.raises(TransientFailure, match="stackexchange"):
        limit.acquire("stackexchange", 100, None)


def test_a_pause_is_kept_by_every_process_and_a_long_one_is_not_waited_for(limit: SharedSourceLimit) -> None:
    limit.record("stackexchange", pause=3600, left=200)
    with pytest.raises(TransientFailure, match="pause"):
        limit.acquire("stackexchange", 100, None)
    limit.record("stackexchange", pause=0)  # a later answer does not end an earlier pause
    with pytest.raises(TransientFailure, match="pause"):
        limit.acquire("stackexchange", 100, None)


def test_requests_at_once_never_pass_the_bound_of_the_day(limit: SharedSourceLimit) -> None:
    allowed: list[int] = []

    def ask(number: int) -> None:
        try:
            limit.acquire("stackexchange", 100, 4)
        except TransientFailure:
            return
        allowed.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(allowed) == 4


def test_an_outage_is_recorded_once_and_ends_with_an_answer(limit: SharedSourceLimit) -> None:
    for _ in range(3):
        limit.record_outage("lemmy:lemmy.world", "It answered 502.")
    assert [outage.service for outage in Outages(engine_of(limit)).ongoing()] == ["lemmy:lemmy.world"]
    limit.record_recovery("lemmy:lemmy.world")
    assert Outages(engine_of(limit)).ongoing() == []
