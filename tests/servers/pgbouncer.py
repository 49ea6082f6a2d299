"""PgBouncer, the real one, before a server of the tests."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import sqlalchemy as sa


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PgBouncer:
    """Lends connections to a server's databases in this ``mode`` while the block runs."""

    def __init__(self, server: str, mode: str, **settings: str) -> None:
        self._server = sa.make_url(server)
        self._settings = {"pool_mode": mode, **settings}
        self._port = free_port()

    def url(self, address: str) -> str:
        """The address of a database of the server, through the pooler."""
        return f"postgresql://{self._server.username}@127.0.0.1:{self._port}/{sa.make_url(address).database}"

    def __enter__(self) -> "PgBouncer":
        self._folder = tempfile.TemporaryDirectory(prefix="tj-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        folder.chmod(0o777)
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self._port),
            "unix_socket_dir": "",
            "auth_type": "any",
            "logfile": str(folder / "log"),
            **self._settings,
        }
        there = f"* = host={self._server.query['host']} user={self._server.username}"
        lines = ["[databases]", there, "[pgbouncer]", *(f"{name} = {value}" for name, value in settings.items())]
        (folder / "ini").write_text("\n".join(lines) + "\n")
        account = "pgserver" if os.geteuid() == 0 else None
        program = shutil.which("pgbouncer") or "pgbouncer"
        self._process = subprocess.Popen([program, "-q", str(folder / "ini")], user=account, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                psycopg.connect(f"host=127.0.0.1 port={self._port} user=postgres dbname=postgres").close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
            else:
                return self
        raise AssertionError("PgBouncer did not start.")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()
