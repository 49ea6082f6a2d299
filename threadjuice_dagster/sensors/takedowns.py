"""When sources are checked for deletions."""

import dagster as dg

from threadjuice_dagster.jobs import takedowns_job

EVERY_SECONDS = 6 * 3600


@dg.sensor(
    job=takedowns_job,
    minimum_interval_seconds=EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Every six hours: re-checks the sources of all stories and takes down what was deleted.",
)
def takedown_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Start a check of all sources, unless one is under way."""
    statuses = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    if context.instance.get_run_records(dg.RunsFilter(job_name=takedowns_job.name, statuses=statuses), limit=1):
        return dg.SkipReason("A check of the sources is still running.")
    return dg.RunRequest()
