"""`threadjuice deploy`: from a checked environment to a site that readers see.

Exit codes: 0 done and in order (a check may warn), 1 a step or a check failed, 2 wrong usage or configuration.
"""

from typing import Annotated

import typer

from threadjuice_dagster.cli import printed
from threadjuice_dagster.cli.shared import AsJson, load_env_file, opened_newsroom, reporting, say, show_document
from threadjuice_dagster.settings import read_settings

deploy = typer.Typer(no_args_is_help=True, help="Deployment: check, build, migrate, stage, go live, roll back.")


@deploy.command()
def check(as_json: AsJson = False) -> None:
    """Look at every variable and ask every outside system once; works while the database is down."""
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
    with opened_newsroom(as_json) as newsroom:
        from threadjuice_dagster.cli.deploying import migrate

        document = migrate(newsroom)
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
    """The last 20 deployments, newest first, and which of them can be gone back to."""
    with opened_newsroom(as_json) as newsroom:
        from threadjuice_dagster.cli.deploying import history

        document = history(newsroom)
        show_document(document, as_json, lambda: printed.history_text(document))


def _run(job: str, as_json: bool, roll_back: str | None = None) -> None:
    with opened_newsroom(as_json) as newsroom:
        from threadjuice_dagster.cli.deploying import deploy, is_in_order

        say(f"Running {job}")
        document = deploy(newsroom, job, roll_back)
        show_document(document, as_json, lambda: printed.deployment_text(document))
        if not is_in_order(document):
            raise typer.Exit(1)
