"""`threadjuice maintenance`: backups, clean-up, pictures and monitoring, each as the job of the same name runs it."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from threadjuice_dagster.cli import printed
from threadjuice_dagster.cli.shared import AsJson, opened, show_document

if TYPE_CHECKING:
    import dagster as dg

    from threadjuice_dagster.cli.session import NewsroomSession

maintenance = typer.Typer(no_args_is_help=True, help="Upkeep: backups, clean-up, pictures.")


@maintenance.command()
def optimize(as_json: AsJson = False) -> None:
    """Bring pictures to where and how they should be: storage and IMAGE_OPTIMIZATION_QUALITY as they are set now.

    A public story whose files are gone gets another picture.
    """
    with opened(as_json) as session:
        swept = sweep_images(session)
        show_document({"images": swept}, as_json, lambda: printed.sweep_text(swept))
        if swept["left"]:
            raise typer.Exit(1)


@maintenance.command()
def backup(as_json: AsJson = False) -> None:
    """Back the database up, prove the backup by restoring it, and delete what BACKUP_RETENTION lets go."""
    with opened(as_json) as session:
        taken = take_backup(session)
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


@maintenance.command()
def cleanup(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Remove more than CLEANUP_MAX_SHARE too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Archive and remove test content, rejected drafts, withdrawn stories, old events and files no story uses."""
    with opened(as_json) as session:
        report = clean_up(session, dry_run=dry_run, force=force)
        show_document({"cleanup": report}, as_json, lambda: printed.cleanup_text(report))
        if not dry_run and any(rule["refused"] and rule["found"] for rule in report["rules"]):
            raise typer.Exit(1)


def sweep_images(session: "NewsroomSession") -> dict[str, Any]:
    """Repair pictures whose files are gone, elsewhere or of another quality, and rebuild the site if any changed."""
    metadata = _metadata(session.run("image_sweep_job"), "image_library")
    names = ("lacking", "files", "outdated", "renewed", "redrawn", "left")
    swept = {name: metadata[name].value for name in names}
    if swept["redrawn"] or swept["renewed"]:
        session.build_site()
    return {**swept, "stories": metadata["stories"].value}


def clean_up(session: "NewsroomSession", *, dry_run: bool, force: bool) -> dict[str, Any]:
    """Archive and remove what the rules name (in a dry run, only find it), and return the report."""
    session.say("Looking for what has served its time")
    result = session.run("cleanup_job", {"content_cleanup": {"dry_run": dry_run, "force": force}})
    return dict(_metadata(result, "content_cleanup")["report"].value)


def take_backup(session: "NewsroomSession") -> dict[str, Any]:
    """Take today's backup, prove it and expire old ones. The backup may turn out not proven; the answer says why."""
    from threadjuice_dagster.cli.session import failure_of

    result = session.execute("backup_job", partition_key=_today())
    if not result.asset_materializations_for_node("database_backup"):
        raise failure_of(result)
    metadata = _metadata(result, "database_backup")
    proofs = result.get_asset_check_evaluations()
    proven = bool(proofs) and proofs[-1].passed
    if proven and not result.success:
        raise failure_of(result)
    return {
        "id": metadata["backup"].value,
        **{name: metadata[name].value for name in ("location", "sha256", "bytes", "rows", "seconds")},
        "encrypted": metadata["encrypted"].value == "yes",
        "proven": proven,
        "problem": "" if proven else (proofs[-1].description if proofs else "It was not compared."),
    }


def _maintain(job: str, as_json: bool) -> None:
    """Run today's upkeep or monitoring, and print each asset's state and the checks that do not pass.

    A failed step raises nothing: the answer names it, and what depends on it was left out.
    """
    with opened(as_json) as session:
        from threadjuice_dagster.cli.session import QUIET
        from threadjuice_dagster.jobs import MAINTENANCE

        session.say(f"Running {job}")
        config = MAINTENANCE if job == "maintenance_job" else {}
        result = session.execute(job, partition_key=_today(), run_config={**config, **QUIET})
        assets = session.definitions.resolve_job_def(job).asset_layer.executable_asset_keys
        document = {
            "run_id": result.run_id,
            "ok": result.success,
            "assets": _states(result, sorted(key.path[-1] for key in assets)),
            "checks": [
                {"name": check.check_name, "asset": check.asset_key.path[-1], "message": check.description or ""}
                for check in result.get_asset_check_evaluations()
                if not check.passed
            ],
        }
        show_document(document, as_json, lambda: printed.upkeep_text(document))
        if not result.success:
            raise typer.Exit(1)


def _states(result: "dg.ExecuteInProcessResult", assets: list[str]) -> list[dict[str, str]]:
    """Return the state of each asset after a run, with the message of its failure."""
    done = {event.asset_key.path[-1] for event in result.get_asset_materialization_events() if event.asset_key}
    failures = {event.step_key: _failure_message(event) for event in result.all_events if event.is_step_failure}
    states = {name: "done" if name in done else "failed" if name in failures else "left out" for name in assets}
    return [{"name": name, "state": states[name], "message": failures.get(name, "")} for name in assets]


def _failure_message(event: "dg.DagsterEvent") -> str:
    failure = event.step_failure_data.user_failure_data
    return (failure.description if failure else "") or "See the run's log."


def _metadata(result: "dg.ExecuteInProcessResult", asset: str) -> Any:
    return result.asset_materializations_for_node(asset)[-1].metadata


def _today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")
