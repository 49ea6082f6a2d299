"""The command line: what an operator types, run by the same jobs on the same instance as the Dagster UI."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from threadjuice_dagster.cli import printed
from threadjuice_dagster.cli.alerts import alerts, watch
from threadjuice_dagster.cli.content import content
from threadjuice_dagster.cli.database import database
from threadjuice_dagster.cli.deploy import deploy
from threadjuice_dagster.cli.diagnose import diagnose
from threadjuice_dagster.cli.maintenance import maintenance
from threadjuice_dagster.cli.shared import (
    AsJson,
    explaining,
    opened,
    read_environment,
    say,
    show_document,
)

if TYPE_CHECKING:
    from threadjuice_dagster.cli.session import NewsroomSession

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="ThreadJuice.")
app.add_typer(alerts, name="alerts")
app.add_typer(content, name="content")
app.add_typer(database, name="database")
app.add_typer(deploy, name="deploy")
app.add_typer(diagnose, name="diagnose")
app.add_typer(maintenance, name="maintenance")


app.command()(watch)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show what this newsroom runs on and what it has done."""
    with opened(as_json) as session:
        document = newsroom_status(session)
        show_document(document, as_json, lambda: printed.status_text(document))


Port = Annotated[int, typer.Option(help="Port of the Dagster UI; 0 picks a free one.")]
Host = Annotated[str, typer.Option(help="Address to listen on; any but this machine's own needs a password.")]


@app.command()
def dev(port: Port = 3000, host: Host = "127.0.0.1") -> None:
    """Run the Dagster UI, its daemon and the site preview until interrupted."""
    with explaining(as_json=False):
        from threadjuice_dagster.cli.dev import run

        raise typer.Exit(run(read_environment(), host, port, say))


@app.command()
def ui(
    port: Port = 3000,
    host: Host = "127.0.0.1",
    workspace: Annotated[Path | None, typer.Option(help="File that names the code locations; ours by default.")] = None,
) -> None:
    """Run the Dagster UI alone until interrupted, behind the gateway that keeps other sites and strangers out."""
    with explaining(as_json=False):
        settings = read_environment()
        from threadjuice_dagster.operations.ui.server import address_of, check_workspace, listen, serve

        if workspace:
            check_workspace(workspace)
        listener = listen(settings, host, port)
        say(f"Dagster    {address_of(listener, host)}")
        serve(settings, listener, host, workspace)


def newsroom_status(session: "NewsroomSession") -> dict[str, Any]:
    """Return what this newsroom runs on, its stories by status, its threads, the site, and the newest errors."""
    from threadjuice_dagster.cli.writing import budget_today
    from threadjuice_dagster.database.ledger import Ledger
    from threadjuice_dagster.database.supply import ThreadSupply

    with session.opened("replica") as replica:
        reads = replica.reads()
    page = session.resources["publisher"].current / "index.html"
    keys = ("asset", "story_id", "kind", "message", "next_step")
    errors = Ledger(reads.store.engine).errors(limit=5)
    return {
        "environment": session.settings.deployment.environment,
        "runs_on": session.settings.stand_ins,
        "migration": session.revision,
        "reads_from": reads.source,
        "stories": dict(reads.store.status_counts()),
        "budget": budget_today(session).record,
        "threads": ThreadSupply(reads.store.engine).supply(session.settings.content.daily_story_count).record,
        "site": session.settings.deployment.production_url or (str(page) if page.exists() else ""),
        "errors": [{**{key: error[key] for key in keys}, "at": error["at"].isoformat()} for error in errors],
    }


def main() -> None:
    """Entry point of the ``threadjuice`` command."""
    app()
