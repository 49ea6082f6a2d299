"""PostgreSQL servers of a test's own, with the settings and the programs it asks for."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from servers.pgbouncer import free_port
from sqlalchemy.engine import URL

from threadjuice_dagster.database.embedded import _account
from threadjuice_dagster.database.tools import packaged_programs


def debian_programs() -> Path | None:
    """The programs of the newest PostgreSQL that Debian's packages have installed; the wheel's have no TLS."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


class PostgresServer:
    """A server of a cluster that is made for the block; ``copy_of`` makes it a replica of another one."""

    def __init__(self, programs: Path | None = None, copy_of: "PostgresServer | None" = None, **settings: str) -> None:
        self.programs = programs or packaged_programs()
        self.port = free_port()
        self._primary, self._settings = copy_of, settings
        self._folder = tempfile.TemporaryDirectory(prefix="tj-", ignore_cleanup_errors=True)
        self.home = Path(self._folder.name)
        self.data = self.home / "data"

    def url(self, database: str = "postgres", user: str = "postgres", **query: str) -> str:
        """The address of a database, over TCP."""
        url = URL.create("postgresql", user, "hunter2", "127.0.0.1", self.port, database, query)
        return url.render_as_string(hide_password=False)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs as the account the server runs as."""
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                [self.programs / program, *arguments],
                user=_account(),
                cwd="/",
                env=environment,
                stdout=said,
                stderr=said,
                check=False,
            )
            said.seek(0)
            assert not done.returncode, said.read().decode(errors="replace")

    def __enter__(self) -> "PostgresServer":
        self.own(self.home)
        if self._primary:
            source = f"host=127.0.0.1 port={self._primary.port} user=postgres"
            self.run("pg_basebackup", "-D", str(self.data), "-d", source, "-R", "-X", "stream", "-c", "fast")
        else:
            self.run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        settings = {"port": self.port, "unix_socket_directories": "", "fsync": "off", **self._settings}
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(lines)
        self.control("start")
        return self

    def __exit__(self, *_: object) -> None:
        self.control("stop", "-m", "immediate")
        self._folder.cleanup()

    def control(self, *arguments: str) -> None:
        """Run ``pg_ctl``."""
        self.run("pg_ctl", *arguments, "-w", "-D", str(self.data), "-l", str(self.data / "log"))

    def own(self, *paths: Path) -> None:
        """Give files to the account the server runs as."""
        for path in paths:
            if account := _account():
                shutil.chown(path, account, account)
