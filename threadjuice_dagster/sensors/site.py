"""What rebuilds the site: a story that was published, changed or withdrawn; AUTO_DEPLOY brings it to readers, too."""

import time

import dagster as dg

from threadjuice_dagster.jobs import production_job, site_job, staging_job
from threadjuice_dagster.operations.policy import EditorialPolicy
from threadjuice_dagster.resources.postgres import Database

QUIET_SECONDS = 5
"""How long publications must have been quiet before the site is rebuilt, so that a batch is one build."""

PAUSE_SECONDS = 300
"""After a run that an outage failed."""


@dg.sensor(
    jobs=[site_job, staging_job, production_job],
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Rebuilds the site, and deploys it where AUTO_DEPLOY is set, after stories changed or left it.",
)
def site_sensor(
    context: dg.SensorEvaluationContext, database: Database, policy: EditorialPolicy
) -> dg.RunRequest | dg.SkipReason:
    """Start the job that the policy names, once publications have been quiet for a moment."""
    job = policy.publication_job
    changed, age = database.store.last_publication()
    if changed is None:
        return dg.SkipReason("Nothing was published yet.")
    last_runs = context.instance.get_run_records(dg.RunsFilter(job_name=job), limit=1)
    # Whatever is published during a build is in the next one, so that runs never pile up.
    if last_runs and not last_runs[0].dagster_run.is_finished:
        return dg.SkipReason(f"{job} is still running.")
    if context.cursor == changed and not any(_is_worth_another_try(run, database) for run in last_runs):
        return dg.SkipReason("No story changed since the last build was asked for.")
    if 0 <= age < QUIET_SECONDS:
        return dg.SkipReason("Stories are still being published.")
    context.update_cursor(changed)
    return dg.RunRequest(job_name=job)  # no run key: a restored database may be back at a moment built before


def _is_worth_another_try(run: dg.RunRecord, database: Database) -> bool:
    """Return whether an outage failed the run some time ago. After any other failure a person has to act first."""
    from threadjuice_dagster.database.ledger import Ledger

    if not run.dagster_run.is_failure or 0 <= time.time() - (run.end_time or 0) < PAUSE_SECONDS:
        return False
    errors = Ledger(database.store.engine).errors(run_id=run.dagster_run.run_id, limit=1)
    return bool(errors) and errors[0]["kind"] == "transient"
