"""The Dagster instance of this newsroom: its home folder, its storage, and its ``dagster.yaml``."""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from threadjuice_dagster.failures import ConfigurationError
from threadjuice_dagster.partitions import STORIES
from threadjuice_dagster.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

    from threadjuice_dagster.database.server import Databases

POOLS = ("openai", "pictures", "sources")
"""Every pool that a step names. A test compares them with the assets."""

DAGSTER_YAML = """\
# Written by ThreadJuice. Storage is PostgreSQL, by the address in DAGSTER_DATABASE_URL.
storage:
  custom:
    module: threadjuice_dagster.database.dagster_storage
    class: ReconnectingStorage
    config:
      postgres_url: {env: DAGSTER_DATABASE_URL}
      home: {env: THREADJUICE_HOME}
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
concurrency:
  runs: {max_concurrent_runs: 4}
  pools: {default_limit: 4}
freshness:
  enabled: true
run_monitoring:
  enabled: true
  start_timeout_seconds: 180
  free_slots_after_run_end_seconds: 60
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
# Steps print nothing; they write to the event log. Capturing their output would cost two processes per run.
compute_logs:
  module: dagster.core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
python_logs:
  managed_python_loggers: [threadjuice_dagster]
  python_log_level: INFO
  # One JSON object per line, with the run's id, in THREADJUICE_HOME/logs/<day>.jsonl.
  dagster_handler_config:
    handlers:
      jsonl: {class: threadjuice_dagster.logs.JsonLines, level: INFO}
sensors: {use_threads: true, num_workers: 4}
schedules: {use_threads: true, num_workers: 2}
# Days that a tick of a schedule or sensor is kept. A sensor ticks every ten seconds, and most ticks do nothing.
retention:
  schedule: {purge_after_days: {skipped: 30, failure: 90, success: 90}}
  sensor: {purge_after_days: {skipped: 2, failure: 30, success: 30}}
telemetry: {enabled: false}
nux: {enabled: false}
"""

DEFINITIONS, LOCATION = "threadjuice_dagster.definitions", "threadjuice"

WORKSPACE_YAML = f"""\
load_from:
  - python_module:
      module_name: {DEFINITIONS}
      location_name: {LOCATION}
"""


def prepare_home(settings: Settings) -> dict[str, str]:
    """Write the instance's files and return the environment that Dagster's own processes need.

    The returned addresses hold a password: they go to child processes, never to a log. Raises ``ConfigurationError``
    for a home that cannot be written to.
    """
    home = settings.home / "dagster"
    try:
        home.mkdir(parents=True, exist_ok=True)
        _write_if_changed(home / "dagster.yaml", DAGSTER_YAML)
        _write_if_changed(home / "workspace.yaml", WORKSPACE_YAML)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        problem = f"The folder {settings.home} cannot be written to: {error.strerror}."
        raise ConfigurationError(problem, "Set THREADJUICE_HOME to a folder of this user's.") from None
    return {
        "THREADJUICE_HOME": str(settings.home),
        "DAGSTER_HOME": str(home),
        "DAGSTER_DATABASE_URL": database_addresses(settings).dagster,
    }


def database_addresses(settings: Settings) -> "Databases":
    """Return the addresses of both databases; starts the embedded server where none is configured."""
    from threadjuice_dagster.database.server import databases

    section = settings.database
    return databases(section.url.get_secret_value(), section.dagster_url.get_secret_value(), settings.home)


@contextlib.contextmanager
def open_instance(settings: Settings) -> "Iterator[dg.DagsterInstance]":
    """Open the instance that the UI shows, for this process."""
    environment = prepare_home(settings)
    os.environ.update(environment)
    with _first_in_turn(environment["DAGSTER_DATABASE_URL"]) as instance:
        # A command runs many short queries in one process: this pools the storage's connections, which are
        # otherwise opened anew for every query.
        instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=600, max_overflow=4)
        yield instance


@contextlib.contextmanager
def _first_in_turn(address: str) -> "Iterator[dg.DagsterInstance]":
    """Open the instance under a lock, because Dagster creates its tables and pools without one."""
    import dagster as dg
    from sqlalchemy.engine import make_url

    from threadjuice_dagster.database.locks import Locks
    from threadjuice_dagster.database.server import app_url

    locks = Locks(make_url(app_url(address)))
    try:
        with locks.waited_for("dagster instance"):
            instance = dg.DagsterInstance.get()
            declare_pools(instance)
    finally:
        locks.close()
    with instance:
        yield instance


def declare_pools(instance: "dg.DagsterInstance") -> None:
    """Give every pool the instance's default limit. The caller holds a lock.

    Dagster does this when a step first claims a slot. If two processes do it at the same time, PostgreSQL refuses one,
    and its run fails.
    """
    storage = instance.event_log_storage
    for pool in set(POOLS) - {limit.name for limit in storage.get_pool_limits()}:
        storage.initialize_concurrency_limit_to_default(pool)


def forget_story(instance: "dg.DagsterInstance", story_id: str, *, whole: bool) -> bool:
    """Delete the finished runs of a story, and its partition if ``whole``; return False while a run is in progress.

    Dagster keeps the last event of every asset and check beside the runs. They are deleted as well.
    """
    import dagster as dg

    runs = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": story_id}))
    ended = [run.run_id for run in runs if run.is_finished]
    delete_runs(instance, ended)
    if len(ended) < len(runs):
        return False
    if whole:
        instance.delete_dynamic_partition(str(STORIES.name), story_id)
    return True


def delete_runs(instance: "dg.DagsterInstance", run_ids: Sequence[str]) -> None:
    """Delete runs with their events. The run itself goes last, so that an interrupted deletion can be repeated."""
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, AssetKeyTable

    checks, last = AssetCheckExecutionsTable, AssetKeyTable
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        connection.execute(checks.delete().where(checks.c.run_id.in_(run_ids)))
        connection.execute(last.update().where(last.c.last_run_id.in_(run_ids)).values(last_materialization=None))
    for run_id in run_ids:
        instance.event_log_storage.delete_events(run_id)
        instance.delete_run(run_id)


def _write_if_changed(path: Path, text: str) -> None:
    if path.exists() and path.read_text() == text:
        return
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    beside.write_text(text)
    beside.replace(path)
