"""Dagster's own storage, made to outlive a restart of its PostgreSQL; ``dagster.yaml`` names it.

Dagster tries again when it cannot connect, but not when a connection is lost under a statement: the run whose event
could not be stored would fail. Here the whole call is made again. At worst an event is then stored twice.
"""

import inspect
import warnings
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import pg_config

from threadjuice_dagster.database.embedded import EmbeddedServer
from threadjuice_dagster.database.engine import retry_lost_connection, wait_for_server

# Every process with an instance loads this file. The log that ``dagster.yaml`` configures is tested with this Dagster.
warnings.filterwarnings("ignore", message="Handling yaml-defined logging configuration")


class ReconnectingStorage(DagsterPostgresStorage):
    """PostgreSQL storage whose calls are made again when the connection is lost under them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        parts: tuple[Any, ...] = (self._run_storage, self._event_log_storage, self._schedule_storage)
        for part in parts:
            wait_for_server(part._engine)
            part.__class__ = _lasting(type(part))

    @classmethod
    def config_type(cls) -> Any:
        """The settings of ``dagster_postgres``, and the home whose embedded server may be the one of the address."""
        settings: Any = pg_config()
        return {**settings, "home": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "ReconnectingStorage":
        """The storage of these settings. A process that has one keeps an embedded server running."""
        address, home = config_value["postgres_url"], config_value.get("home")
        if home and (server := EmbeddedServer(Path(home))).is_at(address):
            server.use()
        return cls(address, inst_data=inst_data)


def _lasting(kind: type) -> type:
    calls = {name: call for name, call in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}
    again = {name: retry_lost_connection(call) for name, call in calls.items()}
    return type(kind.__name__, (kind,), {**again, "optimize_for_webserver": _optimize})


def _optimize(self: Any, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
    """As Dagster does it, with connections that are tested before they are used."""
    super(type(self), self).optimize_for_webserver(statement_timeout, pool_recycle, max_overflow)
    self._engine.pool._pre_ping = True
    wait_for_server(self._engine)
