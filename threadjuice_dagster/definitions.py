"""Everything Dagster loads. ``build_definitions`` takes the resources, so that tests can bring their own."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from threadjuice_dagster.assets.deployment.checklist import deployment_preconditions, deployment_results
from threadjuice_dagster.assets.deployment.deployments import production_deployment, staged_deployment
from threadjuice_dagster.assets.deployment.environment_report import environment_report
from threadjuice_dagster.assets.deployment.staging import configured_writer
from threadjuice_dagster.assets.monitoring.database_health import database_health
from threadjuice_dagster.assets.monitoring.engagement_metrics import engagement_metrics
from threadjuice_dagster.assets.monitoring.error_report import error_report
from threadjuice_dagster.assets.monitoring.generation_metrics import generation_metrics
from threadjuice_dagster.assets.monitoring.image_delivery import image_delivery
from threadjuice_dagster.assets.publication.content_validation import content_validation
from threadjuice_dagster.assets.publication.image_library import image_library
from threadjuice_dagster.assets.publication.imported_stories import imported_stories
from threadjuice_dagster.assets.publication.review_desk import review_desk
from threadjuice_dagster.assets.publication.site import site
from threadjuice_dagster.assets.publication.takedowns import takedowns
from threadjuice_dagster.assets.stories.picture_gate import picture_gate
from threadjuice_dagster.assets.stories.text_gates import text_gates
from threadjuice_dagster.assets.threads.threads import reddit_threads, story_assignments
from threadjuice_dagster.assets.upkeep.backup_checks import restore_is_proven
from threadjuice_dagster.assets.upkeep.backups import database_backup, expired_backups
from threadjuice_dagster.assets.upkeep.cleanup import content_cleanup
from threadjuice_dagster.assets.upkeep.database import database_schema, editorial_catalogue
from threadjuice_dagster.jobs import JOBS, STORY_STEPS
from threadjuice_dagster.resources.openai_connection import SERVICE
from threadjuice_dagster.schedules.backups import daily_backup
from threadjuice_dagster.schedules.daily_stories import daily_stories
from threadjuice_dagster.schedules.maintenance import weekly_maintenance, weekly_pruning
from threadjuice_dagster.schedules.monitoring import hourly_monitoring
from threadjuice_dagster.sensors.alerts import alert_sensors
from threadjuice_dagster.sensors.assignments import story_assignments_sensor
from threadjuice_dagster.sensors.inbox import inbox_sensor
from threadjuice_dagster.sensors.site import publications_sensor
from threadjuice_dagster.sensors.takedowns import deleted_sources_sensor
from threadjuice_dagster.settings import Settings, load_settings
from threadjuice_dagster.wiring import build_resources

ASSETS = (
    database_schema,
    editorial_catalogue,
    reddit_threads,
    story_assignments,
    *STORY_STEPS,
    image_library,
    imported_stories,
    content_validation,
    review_desk,
    takedowns,
    database_backup,
    expired_backups,
    content_cleanup,
    site,
    environment_report,
    staged_deployment,
    production_deployment,
    database_health,
    generation_metrics,
    image_delivery,
    engagement_metrics,
    error_report,
)


def build_definitions(settings: Settings, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """All assets, checks, jobs, schedules and sensors over the given resources, or those the settings ask for.

    Sensors run by default everywhere, so that an assignment made in the UI is written; schedules where it is
    not a developer's machine. Steps of one run share a process: they wait on the network, not on a core.
    """
    status = dg.DefaultScheduleStatus
    due = status.STOPPED if settings.deployment.environment == "local" else status.RUNNING
    timezone = settings.deployment.timezone
    given = dict(resources or build_resources(settings))
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=[
            text_gates,
            picture_gate,
            restore_is_proven,
            deployment_preconditions,
            deployment_results,
            configured_writer,
        ],
        jobs=JOBS,
        schedules=[
            daily_stories(timezone, due),
            daily_backup(timezone, due),
            weekly_maintenance(timezone, due),
            weekly_pruning(timezone, due),
            hourly_monitoring(due),
        ],
        sensors=[
            story_assignments_sensor(dg.DefaultSensorStatus.RUNNING, _indispensable(settings), given["writer"].budget),
            publications_sensor(dg.DefaultSensorStatus.RUNNING, deploys=_deploy_job(settings)),
            deleted_sources_sensor(dg.DefaultSensorStatus.RUNNING),
            inbox_sensor(dg.DefaultSensorStatus.RUNNING),
            *alert_sensors(dg.DefaultSensorStatus.RUNNING),
        ],
        resources=given,
        executor=dg.in_process_executor,
    )


def _indispensable(settings: Settings) -> str:
    """The service without which no story is written: the model's, unless another writer steps in for it."""
    content = settings.content
    return SERVICE if content.openai_api_key.get_secret_value() and not content.writer_fallback else ""


def _deploy_job(settings: Settings) -> str:
    """The job that brings a rebuilt site to readers, where publications are deployed by themselves."""
    if not settings.deployment.auto_deploy:
        return ""
    return "staging_job" if settings.deployment.environment == "staging" else "production_job"


@dg.definitions
def newsroom() -> dg.Definitions:
    """The code location, from the environment."""
    return build_definitions(load_settings())
