"""What a command works with: settings, Dagster instance, definitions and resources, opened once.

A command runs the same jobs on the same instance as the Dagster UI. What it does with them belongs in its own file.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg

from threadjuice_dagster.assets.steps import LAUNCHED_BY, OUTCOME_TAG
from threadjuice_dagster.database.schema import current_revision
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.definitions import build_definitions
from threadjuice_dagster.failures import PermanentFailure, ThreadJuiceError, TransientFailure
from threadjuice_dagster.instance import open_instance
from threadjuice_dagster.interruption import check, received
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.settings import Settings
from threadjuice_dagster.wiring import build_resources

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Run configuration that keeps Dagster's log off the terminal."""


@dataclass(frozen=True)
class NewsroomSession:
    """An opened newsroom. ``say`` prints a line of progress; ``resources`` are those of the definitions."""

    settings: Settings
    instance: dg.DagsterInstance
    definitions: dg.Definitions
    resources: dict[str, Any]
    database: Database
    say: Callable[[str], None]

    @property
    def store(self) -> Store:
        """The newsroom's tables."""
        return self.database.store

    @property
    def revision(self) -> str:
        """The migration the database is at."""
        with self.store.engine.connect() as connection:
            return current_revision(connection) or ""

    def page(self, slug: str) -> str:
        """Return the address or path of a published story's page."""
        return str(self.resources["publisher"].page(slug))

    def opened(self, resource: str) -> AbstractContextManager[Any]:
        """Return a resource as a run would get it, with its secrets read from the environment."""
        manager: AbstractContextManager[Any] = self.resources[resource].process_config_and_initialize_cm()
        return manager

    def execute(self, job: str, **options: Any) -> dg.ExecuteInProcessResult:
        """Run a job in this process, also to a failure; ``options`` are those of ``execute_in_process``."""
        options = {"run_config": QUIET, **options, "tags": {LAUNCHED_BY: "command line", **options.get("tags", {})}}
        definition = self.definitions.resolve_job_def(job)
        result = definition.execute_in_process(instance=self.instance, raise_on_error=False, **options)
        if received():
            self.instance.add_run_tags(result.run_id, {OUTCOME_TAG: "interrupted"})
            check()
        return result

    def run(self, job: str, config: dict[str, dict[str, Any]] | None = None) -> dg.ExecuteInProcessResult:
        """Run a job in this process with the configuration of its assets; raises why it failed."""
        ops = {"ops": {asset: {"config": values} for asset, values in (config or {}).items()}}
        result = self.execute(job, run_config={**ops, **QUIET})
        if not result.success:
            raise failure_of(result)
        return result

    def build_site(self) -> None:
        """Rebuild the static site."""
        self.say("Building the site")
        self.run("site_job")


@contextmanager
def open_session(
    settings: Settings, say: Callable[[str], None] = lambda _: None, *, prepare: bool = False
) -> Iterator[NewsroomSession]:
    """Open the newsroom of these settings; ``prepare`` first migrates its database and seeds the catalogue."""
    resources = build_resources(settings)
    with (
        open_instance(settings) as instance,
        resources["database"].process_config_and_initialize_cm() as database,
    ):
        session = NewsroomSession(settings, instance, build_definitions(settings, resources), resources, database, say)
        if prepare:
            session.run("prepare_database_job")
        yield session


def failure_of(result: dg.ExecuteInProcessResult) -> ThreadJuiceError:
    """Return why a run failed: the error of its first failed step, or the blocking checks that stopped it."""
    failures = [event.step_failure_data.user_failure_data for event in result.all_events if event.is_step_failure]
    for failure in filter(None, failures):
        kind, next_step = (str(failure.metadata[name].value or "") for name in ("kind", "next step"))
        message = (failure.description or "").removesuffix(next_step)
        return (TransientFailure if kind == "transient" else PermanentFailure)(message, next_step)
    stopped = [check for check in result.get_asset_check_evaluations() if not check.passed and check.blocking]
    if stopped:
        problems = "; ".join(f"{check.check_name}: {check.description}" for check in stopped)
        return PermanentFailure(problems, "Correct it, then run the command again.")
    return PermanentFailure(f"Run {result.run_id} failed.", "Open it in the Dagster UI for its log.")
