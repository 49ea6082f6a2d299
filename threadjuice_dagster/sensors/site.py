"""From publications to pages."""

import dagster as dg

from threadjuice_dagster.jobs import site_job
from threadjuice_dagster.resources.postgres import Database

QUIET_SECONDS = 5
"""How long publications must have been quiet before the site is rebuilt, so that a batch is one build."""


def publications_sensor(status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The sensor that rebuilds the site."""

    @dg.sensor(
        name="site_sensor",
        job=site_job,
        minimum_interval_seconds=10,
        default_status=status,
        description="Rebuilds the site after stories were published, changed or withdrawn.",
    )
    def site_sensor(context: dg.SensorEvaluationContext, database: Database) -> dg.RunRequest | dg.SkipReason:
        changed, age = database.store.last_publication()
        if changed is None:
            return dg.SkipReason("Nothing was published yet.")
        if context.cursor == changed:
            return dg.SkipReason("No story changed since the last build was asked for.")
        if age < QUIET_SECONDS:
            return dg.SkipReason("Stories are still being published.")
        context.update_cursor(changed)
        return dg.RunRequest()  # no run key: a restored database may be back at a moment that was built before

    return site_sensor
