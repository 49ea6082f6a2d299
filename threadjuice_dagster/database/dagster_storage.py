"""Dagster's own storage, made to outlive a restart of its PostgreSQL; ``dagster.yaml`` names it.

Dagster tries again when it cannot connect, but not when a connection is lost under a statement: the run whose event
could not be stored would fail. Here the whole call is made again. At worst an event is then stored twice.
"""

import inspect
import warnings
from pathlib import Path
from types import FunctionType
from typing import Any

import dagster as dg
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)

from threadjuice_dagster.database.embedded import EmbeddedServer
from threadjuice_dagster.database.engine import retry_lost_connection, wait_for_server

# Every process with an instance loads this file. The log that ``dagster.yaml`` configures is tested with this Dagster.
warnings.filterwarnings("ignore", message="Handling yaml-defined logging configuration")


class _Reconnecting:
    """Comes before one of Dagster's storages: every public method is called again when its connection is lost."""

    _engine: Any

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in dir(cls):
            method = inspect.getattr_static(cls, name)
            if isinstance(method, FunctionType) and not name.startswith("_"):
                setattr(cls, name, retry_lost_connection(method))

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        wait_for_server(self._engine)

    def optimize_for_webserver(self, *arguments: Any, **options: Any) -> None:
        """Pool connections as Dagster does it, and test each before it is used."""
        super().optimize_for_webserver(*arguments, **options)  # type: ignore[misc]
        self._engine.pool._pre_ping = True
        wait_for_server(self._engine)


class ReconnectingRunStorage(_Reconnecting, PostgresRunStorage):
    """Runs."""


class ReconnectingEventLogStorage(_Reconnecting, PostgresEventLogStorage):
    """Events."""


class ReconnectingScheduleStorage(_Reconnecting, PostgresScheduleStorage):
    """Schedules, sensors and their ticks."""


class ReconnectingStorage(DagsterPostgresStorage):
    """The three storages above in one, as ``dagster.yaml`` names it."""

    def __init__(self, postgres_url: str, inst_data: Any = None) -> None:
        self.postgres_url, self.should_autocreate_tables, self._inst_data = postgres_url, True, inst_data
        self._run_storage = ReconnectingRunStorage(postgres_url)
        self._event_log_storage = ReconnectingEventLogStorage(postgres_url)
        self._schedule_storage = ReconnectingScheduleStorage(postgres_url)
        # The initializer of ``DagsterPostgresStorage`` would open three storages of its own.
        super(DagsterPostgresStorage, self).__init__()

    @classmethod
    def config_type(cls) -> Any:
        """Return the settings of ``dagster_postgres``, and the home of an embedded server that may be behind them."""
        settings: Any = super().config_type()
        return {**settings, "home": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "ReconnectingStorage":
        """Return the storage of these settings. A process that has one keeps an embedded server running."""
        address, home = config_value["postgres_url"], config_value.get("home")
        if home and (server := EmbeddedServer(Path(home))).is_at(address):
            server.use()
        return cls(address, inst_data)
