"""`threadjuice maintenance`: what keeps a newsroom in order."""

from typing import Annotated

import typer

from threadjuice_dagster.cli import printed
from threadjuice_dagster.cli.shared import AsJson, opened_newsroom, show_document

maintenance = typer.Typer(no_args_is_help=True, help="Upkeep: backups, clean-up, pictures.")


@maintenance.command()
def optimize(as_json: AsJson = False) -> None:
    """Bring pictures to where and how they should be: storage and IMAGE_OPTIMIZATION_QUALITY as they are set now.

    A public story whose files are gone gets another picture.
    """
    with opened_newsroom(as_json) as newsroom:
        swept = newsroom.sweep_images()
        show_document({"images": swept}, as_json, lambda: printed.sweep_text(swept))
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


@maintenance.command()
def monitor(as_json: AsJson = False) -> None:
    """Measure database, generation, pictures, errors and readers, and ask every outside system."""
    _maintain("monitoring_job", as_json)


@maintenance.command()
def full(as_json: AsJson = False) -> None:
    """The week's upkeep: a proven backup, then the clean-up, then the image sweep, then the figures."""
    _maintain("maintenance_job", as_json)


def _maintain(job: str, as_json: bool) -> None:
    with opened_newsroom(as_json) as newsroom:
        done = newsroom.maintain(job)
        show_document(done, as_json, lambda: printed.upkeep_text(done))
        if not done["ok"]:
            raise typer.Exit(1)


@maintenance.command()
def cleanup(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Remove more than CLEANUP_MAX_SHARE too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Archive and remove test content, rejected drafts, withdrawn stories, old events and files of nobody."""
    with opened_newsroom(as_json) as newsroom:
        report = newsroom.clean_up(dry_run=dry_run, force=force)
        show_document({"cleanup": report}, as_json, lambda: printed.cleanup_text(report))
        if not dry_run and any(rule["refused"] and rule["found"] for rule in report["rules"]):
            raise typer.Exit(1)
