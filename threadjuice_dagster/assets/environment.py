"""Environment: what the newsroom depends on, as it was found. What each answer means belongs in ``resources/``."""

import dagster as dg

from threadjuice_dagster.assets.steps import RETRIES, reported
from threadjuice_dagster.assets.threads import OWNERS
from threadjuice_dagster.domain.environment import EnvironmentReport
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.probes import EnvironmentDesk
from threadjuice_dagster.settings import read_settings


@dg.asset(group_name="deployment", owners=OWNERS, kinds={"python"}, retry_policy=RETRIES)
def environment_report(
    context: dg.AssetExecutionContext, database: Database, environment: EnvironmentDesk
) -> dg.MaterializeResult[None]:
    """Every variable looked at and every outside system asked: state, milliseconds, and what mends it."""
    with reported(context, database):
        report = environment.report(*read_settings())
        return dg.MaterializeResult(
            metadata={
                **{state: count for state, count in report.counts.items()},
                "verdict": "ok" if report.ok else ", ".join(row.name for row in report.failed()),
                "systems": report_table(report, "system"),
                "variables": report_table(report, "variable"),
            }
        )


def report_table(report: EnvironmentReport, kind: str) -> dg.TableMetadataValue:
    """The rows of one kind as the UI shows a table, the worst first."""
    order = ("failed", "warning", "stand-in", "ok")
    rows = sorted((row for row in report.rows if row.kind == kind), key=lambda row: order.index(row.state))
    return dg.MetadataValue.table(
        [dg.TableRecord({**row.model_dump(exclude={"kind"}), "latency_ms": row.latency_ms or 0.0}) for row in rows]
    )
