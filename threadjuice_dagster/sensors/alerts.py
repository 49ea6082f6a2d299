"""What looks for trouble and alerts people: each sensor finds one kind of it, and all deliver what the outbox holds.

What counts as trouble, and how often it is told, belongs in ``operations/alerts/``.
"""

from collections.abc import Callable

import dagster as dg

from threadjuice_dagster.operations.alerts.delivery import AlertDelivery
from threadjuice_dagster.operations.alerts.service import Watch


def _alert_sensor(name: str, search: Callable[[Watch], None], seconds: int, subject: str) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Alerts once of {subject}, and once when it is over.",
    )
    def sensor(context: dg.SensorEvaluationContext, alerts: AlertDelivery) -> dg.SkipReason:
        search(alerts.watch(context.instance))
        delivered = alerts.deliver()
        from threadjuice_dagster.operations.alerts.store import Incidents

        incidents = Incidents(alerts.database.store.engine)
        return dg.SkipReason(
            f"{incidents.count()} incidents are open; {delivered} messages delivered now, {incidents.waiting()} wait."
        )

    return sensor


# Dagster finds the sensors in this list.
ALERT_SENSORS = [
    _alert_sensor("failed_run_alert_sensor", Watch.runs, 15, "runs that failed and are not tried again"),
    _alert_sensor("failed_check_alert_sensor", Watch.checks, 30, "asset checks that do not pass, in any run"),
    _alert_sensor("failed_tick_alert_sensor", Watch.ticks, 30, "ticks of schedules and sensors that failed"),
    _alert_sensor(
        "overdue_alert_sensor", Watch.now, 60, "assets that are overdue, runs that take long, services that are down"
    ),
]
