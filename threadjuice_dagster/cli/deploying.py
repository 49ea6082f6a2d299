"""Deployments as the command line drives them: the jobs of the UI, and what they did step by step.

What a step does belongs in ``operations/deployment/service.py``, what a command prints in ``cli/printed.py``.
"""

from typing import Any

import dagster as dg

from threadjuice_dagster.cli.newsroom import QUIET, Newsroom
from threadjuice_dagster.operations.deployment.rules import Step
from threadjuice_dagster.site.layout import MARKER, Marker

STEPS_OF_ASSETS = {"database_schema": "migrate", "editorial_catalogue": "seed", "site": "build"}
"""Assets that are steps of a deployment, by the names they have there."""


def deploy(newsroom: Newsroom, job: str, roll_back: str | None = None) -> dict[str, Any]:
    """Run a deployment job: the deployment, its steps and checks, as the command prints them; some may have failed.

    ``roll_back`` names the deployment to go back to, or ``previous``. Raises ``UsageError`` if there is none.
    """
    with newsroom.resources["deployment_service"].process_config_and_initialize_cm() as service:
        config = {}
        if roll_back is not None:
            config = {"production_deployment": {"config": {"roll_back": service.restorable(roll_back).id}}}
        result = newsroom.execute(job, run_config={"ops": config, **QUIET})
        steps = _steps_of_assets(newsroom, result)
        deployment = None
        if all(step.state == "done" for step in steps):
            steps += service.history.steps(result.run_id)
            found = service.history.of_run(result.run_id)
            deployment = found and service.with_public_address(found)
    checks = [_told_of_check(check) for check in result.get_asset_check_evaluations()]
    document = {"steps": [step.model_dump(mode="json") for step in steps], "checks": checks}
    if not result.success and is_in_order(document):
        raise newsroom.failure(result)
    told = deployment.summary() if deployment else _told_of_build(newsroom, result.success)
    return {"deployment": told, **document}


def is_in_order(document: dict[str, Any]) -> bool:
    """Whether no step and no check of a deployment failed; a check that warns has not."""
    return not any(one["state"] in ("failed", "interrupted") for one in (*document["steps"], *document["checks"]))


def history(newsroom: Newsroom) -> dict[str, Any]:
    """The last deployments with their time (ISO 8601), and whether a rollback can go to them."""
    with newsroom.resources["deployment_service"].process_config_and_initialize_cm() as service:
        return {
            "deployments": [
                {
                    **service.with_public_address(one).summary(),
                    "at": one.built_at.isoformat(),
                    "restorable": service.is_restorable(one),
                }
                for one in service.history.newest()
            ]
        }


def migrate(newsroom: Newsroom) -> dict[str, Any]:
    """Bring the database to this version: its revision before and after, and the migrations that ran."""
    result = newsroom.execute("prepare_database_job")
    steps = _steps_of_assets(newsroom, result)
    done = result.asset_materializations_for_node("database_schema")
    metadata: Any = done[-1].metadata if done else {}
    before, after = (metadata[name].value if done else "" for name in ("before", "after"))
    state = "migrated" if result.success else "failed"
    return {
        "deployment": {"id": after, "url": "", "version": after, "state": state},
        "revision": {"before": before, "after": after},
        "migrations": metadata["steps"].value if done else [],
        "steps": [step.model_dump(mode="json") for step in steps],
    }


def _steps_of_assets(newsroom: Newsroom, result: dg.ExecuteInProcessResult) -> list[Step]:
    stats = {one.step_key: one for one in newsroom.instance.get_run_step_stats(result.run_id)}
    done = {event.step_key for event in result.all_events if event.is_step_success}
    steps = []
    for asset, name in STEPS_OF_ASSETS.items():
        found = stats.get(asset)
        if found is None or found.start_time is None:
            continue
        seconds = round((found.end_time or found.start_time) - found.start_time, 3)
        message = "" if asset in done else str(newsroom.failure(result))
        state = "done" if asset in done else "failed"
        steps.append(Step(name=name, state=state, seconds=seconds, message=message))  # type: ignore[arg-type]
    return steps


def _told_of_check(check: dg.AssetCheckEvaluation) -> dict[str, str]:
    """A check: ``passed``, ``warning``, or ``failed`` where it is an error."""
    missed = "failed" if check.severity == dg.AssetCheckSeverity.ERROR else "warning"
    state = "passed" if check.passed else missed
    return {"name": check.check_name, "state": state, "message": check.description or ""}


def _told_of_build(newsroom: Newsroom, success: bool) -> dict[str, str]:
    """What is told where nothing was deployed: the site as it is built."""
    front, marker = newsroom.publisher.current / "index.html", newsroom.publisher.current / MARKER
    version = Marker.read(marker.read_bytes()).version if marker.is_file() else ""
    url = front.absolute().as_uri() if front.exists() else ""
    return {"id": version, "url": url, "version": version, "state": "built" if success else "failed"}
