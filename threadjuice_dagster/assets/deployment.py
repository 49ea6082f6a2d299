"""Deployment: the built site staged and tested, then shown to readers and validated, or the one before restored.

The steps themselves belong in ``resources/deployments.py``.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from threadjuice_dagster.assets.site import site
from threadjuice_dagster.assets.steps import reported
from threadjuice_dagster.assets.threads import OWNERS
from threadjuice_dagster.domain.deployments import Deployment, Step
from threadjuice_dagster.resources.deployments import DeploymentDesk
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.publisher import Publisher


class PromotionConfig(dg.Config):
    """``roll_back`` goes back to a deployment by its id, or with ``previous`` to the one before; empty promotes."""

    roll_back: str = ""


@dg.asset(group_name="deployment", owners=OWNERS, kinds={"vercel"}, deps=[site])
def staged_deployment(
    context: dg.AssetExecutionContext, database: Database, publisher: Publisher, deployment_desk: DeploymentDesk
) -> dg.MaterializeResult[None]:
    """The built site at the place it is deployed to, tested there page by page; readers do not see it yet."""
    with reported(context, database):
        record = context.instance.get_run_record_by_id(context.run_id)
        started = record.start_time if record and record.start_time else time.time()
        moment = datetime.fromtimestamp(started, UTC)
        deployment, staged = deployment_desk.stage(Path(publisher.folder), context.run_id, moment)
        figures = {"files uploaded": staged.files, "bytes": staged.bytes}
        return _materialized(deployment, deployment_desk.book.steps(context.run_id), **figures)


@dg.asset(group_name="deployment", owners=OWNERS, kinds={"vercel"}, deps=[staged_deployment])
def production_deployment(
    context: dg.AssetExecutionContext, config: PromotionConfig, database: Database, deployment_desk: DeploymentDesk
) -> dg.MaterializeResult[None]:
    """What readers see: the staged deployment, validated where they are, or after a failure the one before again."""
    with reported(context, database):
        run_id, desk = context.run_id, deployment_desk
        deployment = desk.roll_back(config.roll_back, run_id) if config.roll_back else desk.promote(run_id)
        return _materialized(deployment, desk.book.steps(run_id))


def _materialized(deployment: Deployment, steps: Sequence[Step], **figures: Any) -> dg.MaterializeResult[None]:
    rows = [dg.TableRecord(step.model_dump(mode="json")) for step in steps]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(deployment.version),
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
