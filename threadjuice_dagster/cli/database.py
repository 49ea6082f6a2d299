"""`threadjuice database`: tables, the backups there are, and the way back to one."""

import sys
from typing import Annotated

import typer

from threadjuice_dagster.cli import printed
from threadjuice_dagster.cli.shared import AsJson, opened, read_environment, reporting, say, show_document
from threadjuice_dagster.failures import ThreadJuiceError, UsageError
from threadjuice_dagster.settings import Settings

database = typer.Typer(no_args_is_help=True, help="The newsroom's database.")


@database.command()
def seed(as_json: AsJson = False) -> None:
    """Migrate the database to this version and seed categories and personas; doing it twice changes nothing."""
    from threadjuice_dagster.database.catalogue import Catalogue

    with opened(as_json, prepare=True) as session:
        catalogue = Catalogue(session.store.engine)
        seeded = {"categories": len(catalogue.categories()), "personas": len(catalogue.personas())}
        show_document(
            {"database": {"revision": session.revision, **seeded}},
            as_json,
            lambda: f"Migration {session.revision}; {seeded['categories']} categories, {seeded['personas']} personas.",
        )


@database.command()
def backups(as_json: AsJson = False) -> None:
    """List the backups in storage, newest first; needs no database."""
    with reporting(as_json):
        from threadjuice_dagster.cli.recovery import list_backups

        listed = list_backups(read_environment())
        show_document(
            {"backups": listed}, as_json, lambda: "\n".join(map(printed.backup_line, listed)) or "No backups yet."
        )


@database.command()
def resign(as_json: AsJson = False) -> None:
    """Compute anew the originality signatures that another version of the algorithm made, in batches."""
    from threadjuice_dagster.database.signatures import resign_stories

    with opened(as_json) as session:
        count = resign_stories(session.store.engine, say)
        show_document({"signatures": {"recomputed": count}}, as_json, lambda: f"{count:,} signatures recomputed.")


@database.command()
def restore(
    backup: Annotated[str, typer.Argument(metavar="BACKUP", help="A backup's id, as `database backups` shows it.")],
    confirm: Annotated[str, typer.Option(metavar="TOKEN", help="The token that the command prints without it.")] = "",
    unverified: Annotated[
        bool,
        typer.Option("--unverified", "--unvouched", help="Also restore one that no key and no database confirms."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what restoring a backup would do; with --confirm do it, keeping the database that is live now."""
    with reporting(as_json):
        from threadjuice_dagster.cli.recovery import plan_restore

        settings = read_environment()
        if confirm:
            _restore(settings, backup, confirm, as_json, unverified=unverified)
            return
        plan = plan_restore(settings, backup, allow_unverified=unverified)
        show_document(
            {"plan": plan.model_dump(mode="json")}, as_json, lambda: printed.plan_text(plan, unverified=unverified)
        )


@database.command("new-key")
def new_key(
    from_passphrase: Annotated[
        bool,
        typer.Option("--from-passphrase", help="Print the key that earlier versions made of a passphrase."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print a new key for BACKUP_ENCRYPTION_KEY: an age identity. It is stored nowhere."""
    with reporting(as_json):
        from threadjuice_dagster.resources.encryption import Encryptor, identity_of_passphrase, new_identity

        if from_passphrase:
            ask = sys.stdin.isatty()
            passphrase = typer.prompt("Passphrase", hide_input=True, err=True) if ask else sys.stdin.readline()
            if not passphrase.strip():
                raise UsageError("There is no passphrase.", "Type it, or pipe it into the command.")
            identity = identity_of_passphrase(passphrase.rstrip("\r\n"))
        else:
            identity = new_identity()
        recipient = Encryptor(identity).recipient
        say(f"Its public half: {recipient}. Keep the key where the backups are not: without it they cannot be opened.")
        show_document({"key": {"identity": identity, "recipient": recipient}}, as_json, lambda: identity)


def _restore(settings: Settings, backup: str, token: str, as_json: bool, *, unverified: bool) -> None:
    from threadjuice_dagster.cli.maintenance import sweep_images
    from threadjuice_dagster.cli.recovery import restore
    from threadjuice_dagster.cli.session import open_session

    restored = restore(settings, backup, token, say, allow_unverified=unverified)
    document, problem = {"restored": restored.model_dump(mode="json")}, ""
    try:
        with open_session(settings, say, prepare=True) as session:
            sweep_images(session)  # an empty machine may have lost its pictures too
            session.build_site()
    except ThreadJuiceError as error:
        problem = str(error)
    text = f"{restored.backup} is live with {restored.rows} rows; before it: {restored.kept or 'nothing'}."
    show_document({**document, "site_problem": problem or None}, as_json, lambda: text)
    if problem:
        say(f"The site could not be built: {problem}")
        raise typer.Exit(1)
