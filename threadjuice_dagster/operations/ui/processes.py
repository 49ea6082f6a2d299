"""Child processes of a foreground command, which end together with all that they started."""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence

GRACE_SECONDS = 5.0
"""Seconds that processes have to end by themselves. Then they are killed with all that they started."""

_INTERRUPTED = ""


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
        self._signal(signal.SIGINT)
        deadline = time.monotonic() + GRACE_SECONDS
        while any(process.poll() is None for process in self._running.values()):
            try:
                if self._ended.get(timeout=max(deadline - time.monotonic(), 0)) == _INTERRUPTED:
                    break
            except queue.Empty:
                break
        self._signal(signal.SIGKILL)

    def start(self, name: str, command: Sequence[str], keep: Sequence[int] = ()) -> None:
        """Start a process that inherits the open files ``keep``."""
        process = subprocess.Popen(command, env=self._environment, pass_fds=keep, process_group=0)  # noqa: S603 -- ours
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

    def _signal(self, number: int) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
