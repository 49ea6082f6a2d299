"""Stop a command on Ctrl-C or SIGTERM within two seconds, so that its work can be resumed.

The first signal raises ``KeyboardInterrupt`` in the main thread. While a run executes, Dagster installs handlers of its
own, which raise another exception or wait. So a thread reads each signal too, from the descriptor that Python's signal
module writes to, and ends the process at a second signal or after ``SECONDS``. That leaves the state that ``kill -9``
leaves, and every part of the newsroom recovers from it.
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
"""Time a command has to clean up before the thread ends it."""

SAID = b"Interrupted. Run the command again to go on where it stopped.\n"

_received: list[int] = []


def received() -> int:
    """Return the signal that told this process to stop, or 0."""
    return _received[0] if _received else 0


def check() -> None:
    """Raise ``KeyboardInterrupt`` if this process was told to stop, even if Dagster caught the signal's exception."""
    if _received:
        raise KeyboardInterrupt


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop the block and then the process; outside the main thread, do nothing.

    After a signal the former handlers are not restored, because the process ends within ``SECONDS``.
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
    """Record the first signal, and end the process at the second one or when the time is up."""
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
    """Return the signals that arrived, or nothing once the block has ended; end the process when the time is up."""
    try:
        return reading.recv(64)
    except TimeoutError:
        os._exit(128 + _received[0])
