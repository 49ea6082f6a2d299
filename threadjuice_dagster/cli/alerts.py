"""`threadjuice alerts` and `threadjuice watch`: open incidents, and the messages that are sent about them."""

import getpass
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from threadjuice_dagster.cli import printed
from threadjuice_dagster.cli.shared import (
    AsJson,
    explaining,
    fail,
    opened,
    read_environment,
    reporting,
    show_document,
)
from threadjuice_dagster.failures import UsageError
from threadjuice_dagster.interruption import received

alerts = typer.Typer(no_args_is_help=True, help="Incidents and the messages on them.")

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@alerts.command("list")
def list_incidents(
    everything: Annotated[bool, typer.Option("--all", help="Also list incidents that are over.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what is wrong now, the incident seen last first."""
    with opened(as_json) as session:
        from threadjuice_dagster.cli.watching import incidents_document
        from threadjuice_dagster.operations.alerts.store import Incidents

        document = incidents_document(Incidents(session.store.engine), everything=everything)
        show_document(document, as_json, lambda: printed.incidents_text(document))


@alerts.command()
def mute(
    cause: Annotated[str, typer.Argument(help="The cause, as `alerts list` shows it.")],
    duration: Annotated[str, typer.Option("--for", help="For how long: minutes, hours or days, as in 30m, 4h, 2d.")],
    by: Annotated[str, typer.Option(help="Who mutes it; stored and shown.")] = "",
    as_json: AsJson = False,
) -> None:
    """Send no alerts about a cause for a time; if it is still wrong after that, an alert follows."""
    _mute(cause, datetime.now(UTC) + _duration(duration, as_json), by or getpass.getuser(), as_json)


@alerts.command()
def unmute(cause: Annotated[str, typer.Argument(help="The cause.")], as_json: AsJson = False) -> None:
    """Send alerts about a muted cause again."""
    _mute(cause, None, "", as_json)


@alerts.command("test")
def send_test(as_json: AsJson = False) -> None:
    """Send a message that says it is a test, to see where alerts arrive and what they look like."""
    with opened(as_json) as session:
        from threadjuice_dagster.cli.watching import send_test as deliver_test

        with session.opened("alerts") as delivery:
            sent = deliver_test(delivery)
        show_document(sent, as_json, lambda: f"Delivered to {sent['delivered_to']}.")


def watch(
    every: Annotated[float, typer.Option(help="Look again after so many seconds; 0 looks once.", min=0)] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Look for trouble from outside, also for a dead daemon or database, and deliver alerts."""
    with reporting(as_json):
        while True:
            try:
                _look_once(as_json)
            except typer.Exit:
                if not every or received():
                    raise
            if not every:
                return
            time.sleep(every)


def _mute(cause: str, until: datetime | None, by: str, as_json: bool) -> None:
    """Send no alerts of a cause until then, or (None) send them again. Raises ``UsageError`` for an unknown cause."""
    with opened(as_json) as session:
        from threadjuice_dagster.cli.watching import incident_record
        from threadjuice_dagster.operations.alerts.store import Incidents

        incident = incident_record(Incidents(session.store.engine).mute(cause, until, by, datetime.now(UTC)))
        show_document({"incident": incident}, as_json, lambda: printed.incident_line(incident))


def _look_once(as_json: bool) -> None:
    with explaining(as_json):
        settings = read_environment()
        from threadjuice_dagster.cli.watching import look_once

        document = look_once(settings)
        show_document(document, as_json, lambda: printed.incidents_text(document))


def _duration(text: str, as_json: bool) -> timedelta:
    """Return the duration that a text such as 4h stands for; any other text ends the command."""
    match = re.fullmatch(r"(\d{1,4})([mhd])", text.strip())
    if not match:
        fail(UsageError(f"{text[:20]!r} is no time.", "Write it as in 30m, 4h or 2d."), as_json)
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
