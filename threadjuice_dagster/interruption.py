"""Ctrl-C and SIGTERM for every command: it stops within two seconds, in one line, and its work can be resumed.

The first signal raises ``KeyboardInterrupt`` in the main thread; while a run executes, Dagster puts handlers of its own
in place, which raise its own exception or wait for a better moment. A thread therefore hears of each signal as well,
through the descriptor that Python's signal module writes to: it ends the process when what was raised has not ended it
in time, or at a second signal. Whatever is cut off then is left as ``kill -9`` would leave it, which every part of the
newsroom survives.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

SECONDS = 1.3
"""Within which a command cleans up after itself; then it is ended."""

SAID = b"Interrupted. Run the command again to go on where it stopped.\n"

_received: list[int] = []


def received() -> int:
    """The signal that told this process to stop, or 0."""
    return _received[0] if _received else 0


def check() -> None:
    """Raise ``KeyboardInterrupt`` if this process was told to stop, also where Dagster kept that to itself."""
    if _received:
        raise KeyboardInterrupt


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop the block and then the process; in any thread but the main one, do nothing.

    After a signal nothing is put back: the process is to end, and does so within ``SECONDS``.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    descriptor_before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    handlers_before = {number: signal.signal(number, _raise) for number in SIGNALS}
    threading.Thread(target=_listen, args=(reading,), name="signals", daemon=True).start()
    try:
        yield
    finally:
        if not _received:
            for number, handler in handlers_before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(descriptor_before)
            writing.close()


def _raise(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _listen(reading: socket.socket) -> None:
    """Note the first signal, and end the process at the second or when its time is up."""
    with reading:
        while numbers := _read(reading):
            for number in numbers:
                if number not in SIGNALS:
                    continue
                if _received:
                    os._exit(128 + _received[0])
                _received.append(number)
                with contextlib.suppress(OSError):
                    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, SAID)
                reading.settimeout(SECONDS)


def _read(reading: socket.socket) -> bytes:
    """The signals that arrived, or nothing once the block has ended. Does not return when the time is up."""
    try:
        return reading.recv(64)
    except TimeoutError:
        os._exit(128 + _received[0])
