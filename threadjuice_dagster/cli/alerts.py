"""`threadjuice alerts` and `threadjuice watch`: what is wrong, who is told, and who is not for a while."""

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
    opened_newsroom,
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
    everything: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """What is wrong now, seen last first."""
    with opened_newsroom(as_json) as newsroom:
        found = newsroom.incidents(everything=everything)
        show_document(found, as_json, lambda: printed.incidents_text(found))


@alerts.command()
def mute(
    cause: Annotated[str, typer.Argument(help="The cause, as `alerts list` shows it.")],
    duration: Annotated[str, typer.Option("--for", help="For how long: minutes, hours or days, as in 30m, 4h, 2d.")],
    by: Annotated[str, typer.Option(help="Who asks for it; stored and shown.")] = "",
    as_json: AsJson = False,
) -> None:
    """Keep quiet about a cause for a time. What is still wrong then is told then."""
    with opened_newsroom(as_json) as newsroom:
        until = datetime.now(UTC) + _duration(duration)
        muted = newsroom.mute(cause, until, by or getpass.getuser())
        show_document({"incident": muted}, as_json, lambda: printed.incident_line(muted))


@alerts.command()
def unmute(cause: Annotated[str, typer.Argument(help="The cause.")], as_json: AsJson = False) -> None:
    """Speak of a cause again."""
    with opened_newsroom(as_json) as newsroom:
        muted = newsroom.mute(cause, None, "")
        show_document({"incident": muted}, as_json, lambda: printed.incident_line(muted))


@alerts.command("test")
def send_test(as_json: AsJson = False) -> None:
    """Send a message that says it is a test, to see where alerts arrive and what they look like."""
    with opened_newsroom(as_json) as newsroom:
        sent = newsroom.send_test_alert()
        show_document(sent, as_json, lambda: f"Delivered to {sent['delivered_to']}.")


def watch(
    every: Annotated[float, typer.Option(help="Look again after so many seconds; 0 looks once.", min=0)] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Look for trouble from outside, also for a dead daemon or database, and deliver alerts."""
    with reporting(as_json):
        while True:
            try:
                _look(as_json)
            except typer.Exit:
                if not every or received():
                    raise
            if not every:
                return
            time.sleep(every)


def _look(as_json: bool) -> None:
    with explaining(as_json):
        settings = read_environment()
        from threadjuice_dagster.cli.watching import look_once

        found = look_once(settings)
        show_document(found, as_json, lambda: printed.incidents_text(found))


def _duration(text: str) -> timedelta:
    """A time such as 4h. Raises ``UsageError``."""
    found = re.fullmatch(r"(\d{1,4})([mhd])", text.strip())
    if not found:
        raise UsageError(f"{text[:20]!r} is no time.", "Write it as in 30m, 4h or 2d.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
