"""When sources are checked for deletions."""

import dagster as dg

from threadjuice_dagster.jobs import takedowns_job

EVERY_SECONDS = 6 * 3600


def deleted_sources_sensor(status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The sensor that sweeps for deletions."""

    @dg.sensor(
        name="takedown_sensor",
        job=takedowns_job,
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=status,
        description="Every six hours: re-checks the sources of all stories and takes down what was deleted.",
    )
    def takedown_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        swept = context.instance.get_run_records(_sweeping(), limit=1)
        if swept:
            return dg.SkipReason("A sweep is still going on.")
        return dg.RunRequest()

    return takedown_sensor


def _sweeping() -> dg.RunsFilter:
    going_on = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    return dg.RunsFilter(job_name=takedowns_job.name, statuses=going_on)
