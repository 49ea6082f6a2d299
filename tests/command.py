"""The command line as tests call it: in this process, which has everything imported already."""

import json
import os
from typing import Any

from typer.testing import CliRunner

from threadjuice_dagster.cli.app import app
from threadjuice_dagster.cli.session import NewsroomSession
from threadjuice_dagster.domain.story.threads import Thread


def threadjuice(*arguments: str, **variables: str) -> tuple[int, Any, str]:
    """A command with ``--json``: its exit code, the document it printed, and what it said on stderr.

    What a command leaves in the environment is undone. One that is to be killed, or run beside others, needs a process.
    """
    before = dict(os.environ)
    try:
        result = CliRunner().invoke(app, [*arguments, "--json"], env=variables, catch_exceptions=False)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return result.exit_code, json.loads(result.stdout) if result.stdout.strip() else None, result.stderr


def candidates(session: NewsroomSession) -> list[Thread]:
    """Threads that a story could be made of, from wherever the settings say."""
    with session.opened("threads") as sources:
        threads: list[Thread] = sources.candidates(50).threads
    return threads
