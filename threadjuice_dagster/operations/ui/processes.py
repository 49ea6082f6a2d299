"""Child processes of a foreground command, which end together with all that they started."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

GRACE_SECONDS = 5.0
"""Seconds that processes have to end by themselves. Then they are killed with all that they started."""

ENDS_FIRST_SECONDS = 1.5
"""How long the processes started later have before the first one is stopped, which they depend on."""

_INTERRUPTED = ""

_WITH_PARENT = """
import ctypes, os, signal, sys
parent, command = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        sys.exit(1)
os.execv(command[0], command)
"""
"""Becomes a command that Linux interrupts when its parent dies, also where the parent was killed with SIGKILL."""


class Processes:
    """Child processes. In a ``with`` block SIGINT, SIGTERM and SIGHUP end the wait; its end stops every process.

    Each child has a process group of its own, so that a terminal's Ctrl-C reaches only this process, and what a dead
    child had started is still found. A second interrupt kills them at once.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()

    def __enter__(self) -> "Processes":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Set before the start: a child would inherit a shell's "ignore" for background jobs, but not this handler.
            signal.signal(number, lambda *_: self._ended.put(_INTERRUPTED))
        return self

    def __exit__(self, *_: object) -> None:
        """Interrupt the processes, the first one last, and kill what has not ended in time."""
        first, *later = self._running.values() or (None,)
        until = time.monotonic() + GRACE_SECONDS
        self._signal(later, signal.SIGINT)
        if self._wait_for(later, min(until, time.monotonic() + ENDS_FIRST_SECONDS)) and first:
            self._signal([first], signal.SIGINT)
            self._wait_for([first, *later], until)
        self._signal(self._running.values(), signal.SIGKILL)

    def start(self, name: str, command: Sequence[str], keep: Sequence[int] = ()) -> None:
        """Start a process that inherits the open files ``keep``."""
        process = subprocess.Popen(  # noqa: S603 -- ours
            [sys.executable, "-I", "-S", "-c", _WITH_PARENT, str(os.getpid()), *command],
            env=self._environment,
            pass_fds=keep,
            process_group=0,
        )
        self._running[name] = process

        def watch() -> None:
            process.wait()
            self._ended.put(name)

        threading.Thread(target=watch, daemon=True).start()

    def wait(self, until: Callable[[], bool] | None = None) -> str | None:
        """Return the name of the process that ended, empty when interrupted, or None as soon as ``until`` is true."""
        while True:
            try:
                return self._ended.get(timeout=0.05 if until else None)
            except queue.Empty:
                if until and until():
                    return None

    def _wait_for(self, processes: "Sequence[subprocess.Popen[bytes]]", until: float) -> bool:
        """Wait until these processes have ended or the time is up; return False if interrupted once more."""
        while any(process.poll() is None for process in processes):
            try:
                if self._ended.get(timeout=max(until - time.monotonic(), 0)) == _INTERRUPTED:
                    return False
            except queue.Empty:
                break
        return True

    def _signal(self, processes: "Iterable[subprocess.Popen[bytes]]", number: int) -> None:
        for process in processes:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
