"""Clocks that are set back: nothing waits a day for what was written ahead."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from threadjuice_dagster.database.outages import MOST, Outages
from threadjuice_dagster.database.server import app_url
from threadjuice_dagster.database.store import Store, open_store
from threadjuice_dagster.operations.alerts.rules import Alert, Trouble
from threadjuice_dagster.operations.alerts.store import Incidents
from threadjuice_dagster.operations.limits import SharedRateLimit
from threadjuice_dagster.resources.postgres import Postgres


@pytest.fixture
def store(prepared_url: str) -> Iterator[Store]:
    store = open_store(app_url(prepared_url), 2)
    yield store
    store.engine.dispose()


def write(store: Store, statement: str) -> None:
    with store.engine.begin() as connection:
        connection.execute(sa.text(statement))


def test_what_was_written_a_day_ahead_holds_nobody_up(store: Store, prepared_url: str) -> None:
    write(store, "INSERT INTO rate_tickets (service, at) VALUES ('openai', now() + interval '1 day')")
    began = time.monotonic()
    SharedRateLimit(database=Postgres(url=prepared_url, pool_size=2), per_minute=1).acquire("openai")
    assert time.monotonic() - began < 30
    Outages(store.engine).failed("openai", "It fails (503).", on_trial=False)
    write(store, "UPDATE outages SET next_at = now() + interval '1 day'")
    (outage,) = Outages(store.engine).ongoing()
    assert outage.waits <= MOST
    assert Outages(store.engine).may_try("openai")
    Incidents(store.engine).note(Trouble(cause="x", source="run", title="X", message="x", at=datetime.now(UTC)))
    write(store, "UPDATE alerts SET due_at = now() + interval '1 day', attempts = 3, problem = 'It answered 503.'")
    sent: list[Alert] = []
    assert Incidents(store.engine).deliver(sent.append, 10, lambda: datetime.now(UTC)) == 1
