"""``POST /events`` as a Vercel Python function, deployed as ``api/events.py`` with the files it imports.

``ENGAGEMENT_DATABASE_URL`` is its PostgreSQL address, for a role that may read slugs and write counts only.
"""

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import psycopg

sys.path.insert(0, str(Path(__file__).parent / "_vendor"))

from threadjuice_dagster.database.addresses import clean_address
from threadjuice_dagster.operations.engagement.receiver import Reports
from threadjuice_dagster.operations.engagement.store import ViewCounts


class _Connection:
    """One connection per process, opened at its first use and again after it was lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: psycopg.Connection[Any] | None = None

    def run(self, sql: str, values: Mapping[str, Any]) -> Sequence[Any]:
        """Run one statement and return its rows."""
        with self._lock:
            if self._open is None or self._open.closed:
                return self._connect().execute(sql.encode(), values).fetchall()
            try:
                return self._open.execute(sql.encode(), values).fetchall()
            except psycopg.OperationalError:
                if not self._open.closed:
                    raise
            return self._connect().execute(sql.encode(), values).fetchall()

    def _connect(self) -> "psycopg.Connection[Any]":
        address = os.environ.get("ENGAGEMENT_DATABASE_URL", "")
        if not address:
            raise LookupError("ENGAGEMENT_DATABASE_URL is not set: nothing can be counted.")
        # Poolers that lend a connection per transaction know no prepared statements, and no options at the start.
        address = clean_address(address)
        self._open = psycopg.connect(address, autocommit=True, prepare_threshold=None, connect_timeout=5)
        return self._open


_REPORTS = Reports(ViewCounts(_Connection().run))


class handler(BaseHTTPRequestHandler):  # noqa: N801 -- the name Vercel looks for
    """Takes reports. Counts are written before the answer, since Vercel may pause the process after it."""

    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_POST(self) -> None:
        """Answer a report."""
        _REPORTS.answer(self)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, since a line would hold the reader's address."""
