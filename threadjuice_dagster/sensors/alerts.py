"""From trouble to the people who mend it: what went wrong is written down once, and told once."""

from collections.abc import Callable

import dagster as dg

from threadjuice_dagster.operations.alerts.delivery import AlertDelivery
from threadjuice_dagster.operations.alerts.service import Watch


def alert_sensors(status: dg.DefaultSensorStatus) -> list[dg.SensorDefinition]:
    """The sensors that look for trouble, each at one kind of it; all of them deliver what waits in the outbox."""
    kinds: tuple[tuple[str, Callable[[Watch], None], int, str], ...] = (
        ("failed_run_alert_sensor", Watch.runs, 15, "runs that failed and are not tried again"),
        ("failed_check_alert_sensor", Watch.checks, 30, "asset checks that do not pass, also in runs that succeeded"),
        ("failed_tick_alert_sensor", Watch.ticks, 30, "ticks of schedules and sensors that failed"),
        ("overdue_alert_sensor", Watch.now, 60, "assets that are overdue, runs that take long, services that are down"),
    )
    return [_sensor(status, *kind) for kind in kinds]


def _sensor(
    status: dg.DefaultSensorStatus, name: str, look: Callable[[Watch], None], seconds: int, subject: str
) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        minimum_interval_seconds=seconds,
        default_status=status,
        description=f"Alerts once of {subject}, and once when it is over.",
    )
    def sensor(context: dg.SensorEvaluationContext, alerts: AlertDelivery) -> dg.SkipReason:
        look(alerts.watch(context.instance))
        delivered = alerts.deliver()
        from threadjuice_dagster.operations.alerts.store import Incidents

        incidents = Incidents(alerts.database.store.engine)
        return dg.SkipReason(
            f"{incidents.count()} incidents are open; {delivered} messages delivered now, {incidents.waiting()} wait."
        )

    return sensor
