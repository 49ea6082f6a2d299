"""Deploy the built site: stage and test it, show it to readers and validate it, or restore the one before.

The steps themselves belong in ``operations/deployment/service.py``.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.preview import described
from threadjuice_dagster.assets.publication.site import site
from threadjuice_dagster.failures import ThreadJuiceError
from threadjuice_dagster.operations.deployment.reader import compared_with_live
from threadjuice_dagster.operations.deployment.rules import Compared, Deployment, DeploymentStep, speed_finding
from threadjuice_dagster.operations.deployment.service import DeploymentService
from threadjuice_dagster.operations.deployment.targets import Staged
from threadjuice_dagster.site.publisher import Publisher


class PromotionConfig(dg.Config):
    """``roll_back`` restores a deployment by its id, or ``previous`` the one before. Empty promotes the staged one."""

    roll_back: str = ""


AS_FAST = dg.AssetCheckSpec(
    "as_fast_as_live",
    asset="staged_deployment",
    description="Pages, pictures and feed of what is staged come about as fast, and as light, as of what is live.",
)


@asset(kinds={"vercel"}, deps=[site], check_specs=[AS_FAST], retry_policy=None)
def staged_deployment(
    context: dg.AssetExecutionContext, publisher: Publisher, deployment_service: DeploymentService
) -> dg.MaterializeResult:
    """The built site at the place it is deployed to, tested there page by page; readers do not see it yet."""
    record = context.instance.get_run_record_by_id(context.run_id)
    started = record.start_time if record and record.start_time else time.time()
    moment = datetime.fromtimestamp(started, UTC)
    deployment, staged = deployment_service.stage(Path(publisher.folder), context.run_id, moment)
    rows, check = _speed(deployment_service, staged)
    figures = {"files uploaded": staged.files, "bytes": staged.bytes, **_figures(rows)}
    steps = deployment_service.history.steps(context.run_id)
    return _materialized(deployment, steps, [check], **figures)


@asset(kinds={"vercel"}, deps=[staged_deployment], retry_policy=None)
def production_deployment(
    context: dg.AssetExecutionContext,
    config: PromotionConfig,
    deployment_service: DeploymentService,
) -> dg.MaterializeResult[None]:
    """What readers see: the staged deployment, validated where they are, or after a failure the one before again."""
    run_id, service = context.run_id, deployment_service
    deployment = service.roll_back(config.roll_back, run_id) if config.roll_back else service.promote(run_id)
    return _materialized(deployment, service.history.steps(run_id))


def _speed(service: DeploymentService, staged: Staged) -> tuple[list[Compared], dg.AssetCheckResult]:
    """Compare the speed of the staged and the live deployment. A failed measurement does not stop a deployment."""
    rows: list[Compared] = []
    try:
        rows = compared_with_live(service.deployer, staged)
        finding = speed_finding(rows)
        passed, text = finding.passed, f"{finding.message} {finding.next_step}".strip()
    except ThreadJuiceError as failure:
        passed, text = False, f"It could not be measured: {failure}"
    warns = dg.AssetCheckSeverity.WARN
    check = dg.AssetCheckResult(check_name=AS_FAST.name, passed=passed, severity=warns, description=described(text))
    return rows, check


def _figures(rows: Sequence[Compared]) -> dict[str, Any]:
    """Return the speeds as metadata that the UI shows and plots."""
    table = [
        dg.TableRecord(
            {
                "what": row.name,
                "first byte ms": row.staged.first_byte_ms,
                "live first byte ms": row.live.first_byte_ms,
                "whole ms": row.staged.whole_ms,
                "live whole ms": row.live.whole_ms,
                "bytes": row.staged.bytes,
                "live bytes": row.live.bytes,
                "ratio": row.ratio,
            }
        )
        for row in rows
    ]
    if not rows:
        return {}
    ratios = {f"{row.name}: times the live one's": row.ratio for row in rows}
    return {"speed": dg.MetadataValue.table(table), **ratios}


def _materialized(
    deployment: Deployment, steps: Sequence[DeploymentStep], checks: Sequence[dg.AssetCheckResult] = (), **figures: Any
) -> dg.MaterializeResult[None]:
    rows = [dg.TableRecord(step.model_dump(mode="json")) for step in steps]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(deployment.version),
        check_results=checks,
        metadata={
            "url": dg.MetadataValue.url(deployment.url),
            "deployment": deployment.id,
            "version": deployment.version,
            "state": deployment.state,
            "seconds": round(sum(step.seconds for step in steps), 3),
            "steps": dg.MetadataValue.table(rows),
            **figures,
        },
    )
