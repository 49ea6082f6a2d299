"""What every command does around its work: settings, errors, exit codes, output.

Exit codes: 0 done, 1 the work failed, 2 wrong usage or configuration, 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

import io
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from threadjuice_dagster.failures import (
    ConfigurationError,
    Interrupted,
    ThreadJuiceError,
    UnexpectedFailure,
    UsageError,
)
from threadjuice_dagster.interruption import received, stopping_on_signals
from threadjuice_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from threadjuice_dagster.cli.newsroom import Newsroom

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document; progress goes to stderr.")]


@contextmanager
def opened_newsroom(as_json: bool, *, prepare: bool = False) -> "Iterator[Newsroom]":
    """The newsroom for one command, whose errors are reported."""
    with reporting(as_json):
        settings = read_environment()
        from threadjuice_dagster.cli.newsroom import open_newsroom

        with open_newsroom(settings, say, prepare=prepare) as newsroom:
            yield newsroom


@contextmanager
def reporting(as_json: bool) -> Iterator[None]:
    """A command's errors become one line, or one JSON document, and an exit code; Ctrl-C and SIGTERM stop it."""
    with stopping_on_signals(), explaining(as_json):
        yield


@contextmanager
def explaining(as_json: bool) -> Iterator[None]:
    """The same for a command that answers to signals in its own way."""
    try:
        yield
    except ThreadJuiceError as error:
        fail(error, as_json)
    except KeyboardInterrupt:
        if as_json:
            print_error(Interrupted())
        raise typer.Exit(128 + (received() or signal.SIGINT)) from None
    except typer.Exit:
        raise
    except Exception as error:
        from threadjuice_dagster.assets.steps import classified

        failure = classified(error)
        if isinstance(failure, UnexpectedFailure):
            raise
        fail(failure, as_json)


def read_environment() -> Settings:
    """The settings, from the environment and from .env in the working folder."""
    load_env_file()
    return load_settings()


def load_env_file() -> None:
    """Put what .env in the working folder sets into the environment, unless it is set there already.

    Raises ``ConfigurationError`` for a .env that cannot be read as text.
    """
    from dotenv import load_dotenv

    path = Path.cwd() / ".env"
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
        if "\0" in text:
            raise ValueError("it holds NUL characters")
    except FileNotFoundError:
        if path.is_symlink():
            raise ConfigurationError("The file .env leads nowhere.", "Remove the link, or mend it.") from None
        return
    except OSError as error:
        problem = f"The file .env cannot be read: {error.strerror}."
        raise ConfigurationError(problem, "Make it a file this user may read, or remove it.") from None
    except ValueError:
        next_step = "Save it as UTF-8, with one NAME=value to a line."
        raise ConfigurationError("The file .env is not UTF-8 text.", next_step) from None
    load_dotenv(stream=io.StringIO(text))


def fail(error: ThreadJuiceError, as_json: bool) -> NoReturn:
    """End the command with an error: one line, or one JSON document."""
    if as_json:
        print_error(error)
    else:
        say(f"Error: {error}")
    raise typer.Exit(2 if isinstance(error, ConfigurationError | UsageError) else 1)


def print_error(error: ThreadJuiceError) -> None:
    """Print an error as the one JSON document of a command."""
    print(json.dumps({"error": error.record}))


def say(line: str) -> None:
    """Tell the operator something that is not the command's result."""
    print(line, file=sys.stderr, flush=True)


def show_document(document: Any, as_json: bool, text: Callable[[], str]) -> None:
    """Print a command's result: the document, or its text for people."""
    print(json.dumps(document, ensure_ascii=False, indent=2) if as_json else text(), flush=True)
