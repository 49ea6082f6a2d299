"""From publications to pages, and where AUTO_DEPLOY is set to readers."""

import time

import dagster as dg

from threadjuice_dagster.jobs import production_job, site_job, staging_job
from threadjuice_dagster.resources.postgres import Database

QUIET_SECONDS = 5
"""How long publications must have been quiet before the site is rebuilt, so that a batch is one build."""

PAUSE_SECONDS = 300
"""After a run that an outage failed."""


def publications_sensor(status: dg.DefaultSensorStatus, deploys: str = "") -> dg.SensorDefinition:
    """The sensor that rebuilds the site, or runs the job ``deploys`` that does so and deploys it."""
    job = deploys or site_job.name

    @dg.sensor(
        name="site_sensor",
        jobs=[site_job, staging_job, production_job],
        minimum_interval_seconds=10,
        default_status=status,
        description="Rebuilds the site, and deploys it where AUTO_DEPLOY is set, after stories changed or left it.",
    )
    def site_sensor(context: dg.SensorEvaluationContext, database: Database) -> dg.RunRequest | dg.SkipReason:
        changed, age = database.store.last_publication()
        if changed is None:
            return dg.SkipReason("Nothing was published yet.")
        if busy := _busy(context.instance, job):
            return dg.SkipReason(busy)
        if context.cursor == changed and not _is_owed(context.instance, job, database):
            return dg.SkipReason("No story changed since the last build was asked for.")
        if 0 <= age < QUIET_SECONDS:
            return dg.SkipReason("Stories are still being published.")
        context.update_cursor(changed)
        return dg.RunRequest(job_name=job)  # no run key: a restored database may be back at a moment built before

    return site_sensor


def _busy(instance: dg.DagsterInstance, job: str) -> str:
    """What is published meanwhile is in the next build: runs of one site never pile up."""
    last = instance.get_run_records(dg.RunsFilter(job_name=job), limit=1)
    return f"{job} is still running." if last and not last[0].dagster_run.is_finished else ""


def _is_owed(instance: dg.DagsterInstance, job: str, database: Database) -> bool:
    """Whether the last run failed for an outage, some time ago; what failed otherwise waits for a person."""
    from threadjuice_dagster.database.ledger import Ledger

    last = instance.get_run_records(dg.RunsFilter(job_name=job), limit=1)
    if not last or not last[0].dagster_run.is_failure or 0 <= time.time() - (last[0].end_time or 0) < PAUSE_SECONDS:
        return False
    errors = Ledger(database.store.engine).errors(run_id=last[0].dagster_run.run_id, limit=1)
    return bool(errors) and errors[0]["kind"] == "transient"
