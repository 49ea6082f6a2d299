"""Everything Dagster loads: what stands in ``assets/``, ``schedules/`` and ``sensors/`` is found there, with the jobs.

``build_definitions`` takes the resources, so that commands and tests can bring their own.
"""

import importlib
import pkgutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg

from threadjuice_dagster import assets, jobs, schedules, sensors
from threadjuice_dagster.settings import Settings, load_settings
from threadjuice_dagster.wiring import build_resources


def build_definitions(settings: Settings, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return all definitions over the given resources, or over those that the settings ask for.

    Steps of one run share a process: they wait on the network, not on a core.
    """
    with warnings.catch_warnings():  # Every run process would say that finding definitions and links is new in Dagster.
        warnings.simplefilter("ignore", (dg.PreviewWarning, dg.BetaWarning))
        definitions = dg.load_definitions_from_modules([jobs, *_modules(assets, schedules, sensors)])
        linked = _with_links(definitions.assets, settings.deployment.code_url)
    return dg.Definitions(
        assets=linked,
        asset_checks=definitions.asset_checks,
        jobs=definitions.jobs,
        schedules=[_with_settings(schedule, settings) for schedule in definitions.schedules or ()],
        sensors=definitions.sensors,
        resources=dict(resources or build_resources(settings)),
        executor=dg.in_process_executor,
    )


def _modules(*folders: ModuleType) -> list[ModuleType]:
    """Return every module of these packages, in a fixed order."""
    names = [
        module.name for folder in folders for module in pkgutil.walk_packages(folder.__path__, f"{folder.__name__}.")
    ]
    return [importlib.import_module(name) for name in names]


def _with_settings(schedule: Any, settings: Settings) -> dg.ScheduleDefinition:
    """Return a schedule in the newsroom's time zone, if it names none, and on by default outside a laptop."""
    deployment, status = settings.deployment, dg.DefaultScheduleStatus
    return dg.ScheduleDefinition(
        name=schedule.name,
        job=schedule.job,
        cron_schedule=schedule.cron_schedule,
        execution_timezone=schedule.execution_timezone or deployment.timezone,
        default_status=status.STOPPED if deployment.environment == "local" else status.RUNNING,
        description=schedule.description,
        execution_fn=schedule,
    )


def _with_links(assets_found: Any, code_url: str) -> Any:
    """Return the assets with links to a repository in place of files, where the settings name one."""
    if not code_url:
        return assets_found
    repository, _, branch = code_url.partition("/tree/")
    return dg.link_code_references_to_git(
        assets_found,
        git_url=repository.removesuffix("/-"),
        git_branch=branch,
        platform="gitlab" if repository.endswith("/-") else "github",
        file_path_mapping=dg.AnchorBasedFilePathMapping(
            local_file_anchor=Path(__file__).parent, file_anchor_path_in_repository="threadjuice_dagster"
        ),
    )


@dg.definitions
def newsroom() -> dg.Definitions:
    """Return the code location, from the environment."""
    return build_definitions(load_settings())
