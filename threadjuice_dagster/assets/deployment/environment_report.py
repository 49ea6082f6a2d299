"""Environment: what the newsroom depends on, as it was found. What each answer means belongs in ``resources/``."""

from collections.abc import Mapping
from datetime import datetime

import dagster as dg

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.findings import result
from threadjuice_dagster.assets.steps import now
from threadjuice_dagster.operations.environment.rules import EnvironmentReport
from threadjuice_dagster.operations.environment.service import EnvironmentService
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.settings import Settings, read_settings

ANSWER = dg.AssetCheckSpec(
    "systems_answer", asset="environment_report", description="Every outside system that is configured answers."
)
YOUNG = dg.AssetCheckSpec(
    "keys_are_young", asset="environment_report", description="No key is older than KEY_MAX_AGE_DAYS."
)


@asset(kinds={"python"}, check_specs=[ANSWER, YOUNG])
def environment_report(database: Database, environment: EnvironmentService) -> dg.MaterializeResult:
    """Every variable looked at and every outside system asked: state, milliseconds, and what mends it."""
    settings, problems = read_settings()
    report = environment.report(settings, problems)
    environment.close_incidents(report)
    return dg.MaterializeResult(
        check_results=check_results(report, settings, database),
        metadata={
            **{state: count for state, count in report.counts.items()},
            "verdict": "ok" if report.ok else ", ".join(row.name for row in report.failed()),
            "systems": report_table(report, "system"),
            "variables": report_table(report, "variable"),
        },
    )


def check_results(report: EnvironmentReport, settings: Settings, database: Database) -> list[dg.AssetCheckResult]:
    """Both checks on a report."""
    from threadjuice_dagster.database.keys import Keys

    return [_answer(report), _young(settings, Keys(database.store.engine).since(settings.keys), now())]


def _answer(report: EnvironmentReport) -> dg.AssetCheckResult:
    silent = [row for row in report.failed() if row.kind == "system"]
    message = "; ".join(f"{row.name}: {row.message}" for row in silent) or "Every system answers."
    advice = {"next step": silent[0].next_step if silent else "Nothing needs to be done."}
    return result(ANSWER.name, not silent, message, dg.AssetCheckSeverity.ERROR, advice)


def _young(settings: Settings, since: Mapping[str, datetime], today: datetime) -> dg.AssetCheckResult:
    """Which keys have been the same for too long; they count from when they were first seen."""
    limit = settings.deployment.key_max_age_days
    ages = {name: (today - first).days for name, first in since.items()}
    old = [f"{name} is {age} days old" for name, age in ages.items() if age > limit]
    message = "; ".join(old) or f"{len(ages)} keys, none older than {limit} days."
    advice = {"next step": "Replace it as the runbook says.", "runbook": "key-rotation", **ages}
    return result(YOUNG.name, not old, message, metadata=advice)


def report_table(report: EnvironmentReport, kind: str) -> dg.TableMetadataValue:
    """The rows of one kind as the UI shows a table, the worst first."""
    order = ("failed", "warning", "stand-in", "ok")
    rows = sorted((row for row in report.rows if row.kind == kind), key=lambda row: order.index(row.state))
    return dg.MetadataValue.table(
        [dg.TableRecord({**row.model_dump(exclude={"kind"}), "latency_ms": row.latency_ms or 0.0}) for row in rows]
    )
