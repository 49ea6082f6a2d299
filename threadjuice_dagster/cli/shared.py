"""What every command does around its work: read settings, report errors, exit with a code, print.

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
    from threadjuice_dagster.cli.session import NewsroomSession

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document; progress goes to stderr.")]


@contextmanager
def opened(as_json: bool, *, prepare: bool = False) -> "Iterator[NewsroomSession]":
    """Open the newsroom for one command, and report its errors; ``prepare`` brings its database up to date first."""
    with reporting(as_json):
        settings = read_environment()
        from threadjuice_dagster.cli.session import open_session

        with open_session(settings, say, prepare=prepare) as session:
            yield session


@contextmanager
def reporting(as_json: bool) -> Iterator[None]:
    """Turn a command's errors into one line or one JSON document and an exit code; Ctrl-C and SIGTERM stop it."""
    with stopping_on_signals(), explaining(as_json):
        yield


@contextmanager
def explaining(as_json: bool) -> Iterator[None]:
    """Report errors as ``reporting`` does, for a command that handles signals itself."""
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
    """Return the settings from the environment and from .env in the working folder."""
    load_env_file()
    return load_settings()


def load_env_file() -> None:
    """Set the variables of .env in the working folder that the environment does not set yet.

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
            raise ConfigurationError("The file .env leads nowhere.", "Remove the link, or correct it.") from None
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
    """Print a line of progress, which is not the command's result, on stderr."""
    print(line, file=sys.stderr, flush=True)


def show_document(document: Any, as_json: bool, text: Callable[[], str]) -> None:
    """Print a command's result: the document, or its text for people."""
    print(json_text(document, indent=2) if as_json else text(), flush=True)


def json_text(document: Any, indent: int | None = None) -> str:
    """Return a document as JSON text. Half a surrogate pair, which UTF-8 cannot encode, becomes its JSON escape."""
    return json.dumps(document, ensure_ascii=False, indent=indent).encode(errors="backslashreplace").decode()
