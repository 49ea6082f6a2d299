"""``POST /events``: receives reports of pages over HTTP and writes them in batches.

Which reports are accepted and counted is decided in ``operations/engagement/rules.py``. The preview server and
the deployed function both answer through this file, which imports only the standard library and that one.
"""

import logging
import re
import threading
import time
from collections.abc import Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler
from typing import Protocol

from threadjuice_dagster.operations.engagement.rules import (
    MAX_BODY,
    Intake,
    Key,
    RefusedReport,
    check_headers,
    is_uncounted,
    read_report,
)

LOG = logging.getLogger(__name__)

PATHS = ("/events", "/events/")
"""Addresses that take reports. Pages use the second; hosts whose folders end with a slash redirect the first to it."""

WRITE_SECONDS = 1.0
"""Longest time that counts are held before they are written."""

_DISCARDED = 65_536
"""Bytes of a refused body that are read, so that its sender gets to see the answer."""


class Counts(Protocol):
    """The store of counts, such as ``ViewCounts`` of ``operations/engagement/store.py``."""

    def is_public(self, slug: str) -> bool:
        """Whether there is a public story of this slug."""

    def add(self, counts: Mapping[Key, int]) -> None:
        """Add counts to those of today."""


class Reports:
    """Answers reports. Inside a ``with`` block counts are written once a second, otherwise before each answer.

    Reports that arrive while counts are being written are written together afterwards.
    """

    def __init__(self, counts: Counts) -> None:
        self._counts, self._intake = counts, Intake()
        self._writing, self._ended = threading.Lock(), threading.Event()
        self._writer: threading.Thread | None = None

    def __enter__(self) -> "Reports":
        self._writer = threading.Thread(target=self._write_on, daemon=True)
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._writer:
            self._writer.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one ``POST`` without a body: 204 for an accepted report, else the error's status."""
        body, status = _read_body(request)
        status = status or self.status(request.headers, body)
        request.send_response(status)
        request.send_header("Cache-Control", "no-store")
        if status != 204:
            request.send_header("Content-Length", "0")
            request.send_header("Connection", "close")  # what was not read of a body is no next request
        request.end_headers()

    def status(self, headers: Message, body: bytes) -> int:
        """Process a report and return the HTTP status of the answer."""
        try:
            check_headers(headers)
            report = read_report(body)
            if is_uncounted(headers):
                return 204
            if not self._counts.is_public(report.story):
                return 404
            self._intake.admit(time.monotonic())  # last: what is not counted takes no room from what is
            self._intake.take(report)
            if not self._writer:
                self.write()
        except RefusedReport as refused:
            return refused.status
        except Exception as error:
            _warn("Events cannot be counted", error)
            return 503
        return 204

    def write(self) -> None:
        """Write the held counts. If that fails they are held again, and the error is raised."""
        with self._writing:
            counts, dropped = self._intake.drain()
            if dropped:
                LOG.warning("%d reports or counts were dropped: more came than is counted.", dropped)
            try:
                if counts:
                    self._counts.add(counts)
            except Exception:
                self._intake.give_back(counts)
                raise

    def _write_on(self) -> None:
        while True:
            ended = self._ended.wait(WRITE_SECONDS)
            try:
                self.write()
            except Exception as error:
                _warn("Events are held, since they cannot be written", error)
            if ended:
                return


def _warn(what: str, error: Exception) -> None:
    # A driver's own words may quote its address, password and all.
    LOG.warning("%s: %s", what, error if isinstance(error, LookupError) else type(error).__name__)


def _read_body(request: BaseHTTPRequestHandler) -> tuple[bytes, int]:
    """Return the body and 0, or a refusal's status: 411 without a length, 413 where it is too long."""
    lengths = request.headers.get_all("Content-Length", [])
    has_length = len(lengths) == 1 and re.fullmatch("[0-9]{1,12}", lengths[0])
    if not has_length or "Transfer-Encoding" in request.headers:
        return b"", 411
    length = int(lengths[0])
    body = request.rfile.read(min(length, _DISCARDED))
    return (body, 0) if length <= MAX_BODY else (b"", 413)
