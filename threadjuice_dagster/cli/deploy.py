"""`threadjuice deploy`: from a checked environment to a site that readers see.

Exit codes: 0 done and in order (a check may warn), 1 a step or a check failed, 2 wrong usage or configuration.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from threadjuice_dagster.cli import printed
from threadjuice_dagster.cli.shared import AsJson, load_env_file, opened, reporting, say, show_document
from threadjuice_dagster.settings import read_settings

if TYPE_CHECKING:
    import dagster as dg

    from threadjuice_dagster.cli.session import NewsroomSession
    from threadjuice_dagster.operations.deployment.rules import DeploymentStep

STEPS_OF_ASSETS = {"database_schema": "migrate", "editorial_catalogue": "seed", "site": "build"}
"""Assets that are steps of a deployment, by the names they have there."""

deploy = typer.Typer(no_args_is_help=True, help="Deployment: check, build, migrate, stage, go live, roll back.")


@deploy.command()
def check(as_json: AsJson = False) -> None:
    """Check every variable and ask every outside system once; works while the database is down."""
    with reporting(as_json):
        from threadjuice_dagster.cli.watching import close_incidents, passing
        from threadjuice_dagster.wiring import build_resources

        load_env_file()
        settings, problems = read_settings()
        with build_resources(settings)["environment"].process_config_and_initialize_cm() as environment:
            report = environment.report(settings, problems)
            close_incidents(environment, report, lambda: passing(environment.database, settings, report))
        show_document(report.model_dump(mode="json"), as_json, lambda: printed.environment_text(report))
        if not report.ok:
            raise typer.Exit(1)


@deploy.command()
def migrate(as_json: AsJson = False) -> None:
    """Migrate the database to this version and seed the catalogue; doing it twice changes nothing."""
    with opened(as_json) as session:
        document = _migrate(session)
        show_document(document, as_json, lambda: printed.migration_text(document))
        if document["deployment"]["state"] == "failed":
            raise typer.Exit(1)


@deploy.command()
def build(as_json: AsJson = False) -> None:
    """Build the site from the published stories; readers see nothing of it yet."""
    _run("site_job", as_json)


@deploy.command()
def staging(as_json: AsJson = False) -> None:
    """Migrate, build, and bring the site to where it can be tried; readers do not see it. Exits 1 if a check fails."""
    _run("staging_job", as_json)


@deploy.command()
def production(as_json: AsJson = False) -> None:
    """Migrate, build, stage, test, show to readers and validate; what fails there is rolled back at once.

    Exits 1 if a step fails (readers see what they saw before) or a check of the live site fails (they see the new one).
    """
    _run("production_job", as_json)


@deploy.command()
def rollback(
    deployment: Annotated[str, typer.Argument(metavar="[DEPLOYMENT]", help="Its id.")] = "previous",
    as_json: AsJson = False,
) -> None:
    """Show readers an earlier deployment again, and verify that they get it."""
    _run("rollback_job", as_json, deployment)


@deploy.command()
def history(as_json: AsJson = False) -> None:
    """List the last 20 deployments, newest first, and which of them a rollback can restore."""
    with opened(as_json) as session:
        with session.opened("deployment_service") as service:
            document = {
                "deployments": [
                    {
                        **service.with_public_address(deployment).summary(),
                        "at": deployment.built_at.isoformat(),
                        "restorable": service.is_restorable(deployment),
                    }
                    for deployment in service.history.newest()
                ]
            }
        show_document(document, as_json, lambda: printed.history_text(document))


def _run(job: str, as_json: bool, roll_back: str | None = None) -> None:
    with opened(as_json) as session:
        say(f"Running {job}")
        document = _deploy(session, job, roll_back)
        show_document(document, as_json, lambda: printed.deployment_text(document))
        if not _is_in_order(document):
            raise typer.Exit(1)


def _deploy(session: "NewsroomSession", job: str, roll_back: str | None) -> dict[str, Any]:
    """Run a deployment job, and return the deployment, its steps and checks, of which some may have failed.

    ``roll_back`` names the deployment to go back to, or ``previous``. Raises ``UsageError`` if there is none.
    """
    from threadjuice_dagster.cli.session import QUIET, failure_of

    with session.opened("deployment_service") as service:
        config = {}
        if roll_back is not None:
            config = {"production_deployment": {"config": {"roll_back": service.restorable(roll_back).id}}}
        result = session.execute(job, run_config={"ops": config, **QUIET})
        steps = _steps_of_assets(session, result)
        deployment = None
        if all(step.state == "done" for step in steps):
            steps += service.history.steps(result.run_id)
            recorded = service.history.of_run(result.run_id)
            deployment = recorded and service.with_public_address(recorded)
    checks = [_check_record(check) for check in result.get_asset_check_evaluations()]
    document = {"steps": [step.model_dump(mode="json") for step in steps], "checks": checks}
    if not result.success and _is_in_order(document):
        raise failure_of(result)
    return {"deployment": deployment.summary() if deployment else _built_site(session, result.success), **document}


def _is_in_order(document: dict[str, Any]) -> bool:
    """Return whether no step and no check of a deployment failed; a check that warns has not."""
    return not any(entry["state"] in ("failed", "interrupted") for entry in (*document["steps"], *document["checks"]))


def _migrate(session: "NewsroomSession") -> dict[str, Any]:
    """Bring the database to this version: its revision before and after, and the migrations that ran."""
    result = session.execute("prepare_database_job")
    materializations = result.asset_materializations_for_node("database_schema")
    metadata: Any = materializations[-1].metadata if materializations else {}
    before, after = (metadata[name].value if metadata else "" for name in ("before", "after"))
    state = "migrated" if result.success else "failed"
    return {
        "deployment": {"id": after, "url": "", "version": after, "state": state},
        "revision": {"before": before, "after": after},
        "migrations": metadata["steps"].value if metadata else [],
        "steps": [step.model_dump(mode="json") for step in _steps_of_assets(session, result)],
    }


def _steps_of_assets(session: "NewsroomSession", result: "dg.ExecuteInProcessResult") -> "list[DeploymentStep]":
    from threadjuice_dagster.cli.session import failure_of
    from threadjuice_dagster.operations.deployment.rules import DeploymentStep

    stats = {step.step_key: step for step in session.instance.get_run_step_stats(result.run_id)}
    done = {event.step_key for event in result.all_events if event.is_step_success}
    steps = []
    for asset, name in STEPS_OF_ASSETS.items():
        step = stats.get(asset)
        if step is None or step.start_time is None:
            continue
        seconds = round((step.end_time or step.start_time) - step.start_time, 3)
        message = "" if asset in done else str(failure_of(result))
        steps.append(
            DeploymentStep(name=name, state="done" if asset in done else "failed", seconds=seconds, message=message)
        )
    return steps


def _check_record(check: "dg.AssetCheckEvaluation") -> dict[str, str]:
    """Return a check with its state: ``passed``, ``warning``, or ``failed`` where its severity is an error."""
    missed = "failed" if check.severity.value == "ERROR" else "warning"
    state = "passed" if check.passed else missed
    return {"name": check.check_name, "state": state, "message": check.description or ""}


def _built_site(session: "NewsroomSession", success: bool) -> dict[str, str]:
    """Return the site as it is built, in the form of a deployment, for jobs that deploy nothing."""
    from threadjuice_dagster.site.layout import MARKER, Marker

    folder = session.resources["publisher"].current
    front, marker = folder / "index.html", folder / MARKER
    version = Marker.read(marker.read_bytes()).version if marker.is_file() else ""
    url = front.absolute().as_uri() if front.exists() else ""
    return {"id": version, "url": url, "version": version, "state": "built" if success else "failed"}
