"""`threadjuice maintenance`: what keeps a newsroom in order."""

import typer

from threadjuice_dagster.commands import printed
from threadjuice_dagster.commands.shared import AsJson, opened_newsroom, show_document

maintenance = typer.Typer(no_args_is_help=True, help="Upkeep: backups, pictures.")


@maintenance.command()
def optimize(as_json: AsJson = False) -> None:
    """Give public stories whose picture files are gone a picture anew, optimised as any other."""
    with opened_newsroom(as_json) as newsroom:
        swept = newsroom.sweep_images()
        text = (
            f"{swept['lacking']} stories lacked files; {swept['redrawn']} have a picture again, {swept['left']} do not."
        )
        show_document({"images": swept}, as_json, lambda: text)
        if swept["left"]:
            raise typer.Exit(1)


@maintenance.command()
def backup(as_json: AsJson = False) -> None:
    """Back the database up, prove the backup by restoring it, and delete what BACKUP_RETENTION lets go."""
    with opened_newsroom(as_json) as newsroom:
        taken = newsroom.backup()
        show_document({"backup": taken}, as_json, lambda: printed.backup_line(taken))
        if not taken["proven"]:
            raise typer.Exit(1)
