"""A small web server for a built site, for readers on this machine and for smoke tests.

A public site belongs behind a real web server or a CDN.
"""

import gzip
import json
import logging
import os
import sys
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from threadjuice_dagster.operations.engagement.receiver import PATHS, Reports
from threadjuice_dagster.operations.ui.rules import UNKNOWN_NAME, KnownNames, Visit
from threadjuice_dagster.site.headers import CONTENT_TYPES, headers_of
from threadjuice_dagster.site.layout import MARKER

LOG = logging.getLogger(__name__)


_COMPRESSED = {".html", ".css", ".js", ".xml", ".json", ".svg", ".txt"}


class PreviewServer(ThreadingHTTPServer):
    """Serves ``<target>/current``, resolved anew for each request, so that a new build shows at once.

    Pictures that are not in the site are served from the storage folder ``pictures``. ``reports`` receives the events
    of pages. Only requests for one of ``names`` are answered, which stops DNS rebinding by other sites.
    """

    def __init__(
        self, target: Path, address: tuple[str, int], pictures: Path | None = None, reports: Reports | None = None
    ) -> None:
        self.current = target / "current"
        self.pictures, self.reports = pictures, reports
        self.names = KnownNames()
        self.empty = "The site has not been built yet. Run: threadjuice deploy build"
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error, unless the reader closed the connection."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            LOG.exception("A request could not be answered")

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"


def serve(
    target: Path, port: int, host: str = "127.0.0.1", pictures: Path | None = None, reports: Reports | None = None
) -> PreviewServer:
    """Return a server bound to ``host`` and ``port`` (0 picks a free one). Call its ``serve_forever``.

    Raises ``OSError`` where the port is taken.
    """
    return PreviewServer(target, (host, port), pictures, reports)


class _Handler(BaseHTTPRequestHandler):
    server: PreviewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "ThreadJuice", ""
    timeout = 30
    disable_nagle_algorithm = True  # otherwise a body waits 40 ms until the headers are acknowledged

    def do_GET(self) -> None:
        """Answer with the file."""
        self._answer(send_body=True)

    def do_HEAD(self) -> None:
        """Answer with the file's headers."""
        self._answer(send_body=False)

    def do_POST(self) -> None:
        """Receive the events of a page."""
        if not self._is_known_by_name():
            del self.headers["Host"]  # then no origin counts as the site's own
        if self.server.reports and self._raw_path in PATHS:
            self.server.reports.answer(self)
        else:
            self.close_connection = True
            self._send_text(HTTPStatus.METHOD_NOT_ALLOWED, b"Pages are only read.\n", "text/plain", send_body=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Write requests to the debug log."""
        LOG.debug(format, *args)

    def _is_known_by_name(self) -> bool:
        headers = [("host", value) for value in self.headers.get_all("Host", [])]
        arrived_at = str(self.connection.getsockname()[0])
        return self.server.names.has_host(Visit(headers=headers, arrived_at=arrived_at))

    def _answer(self, send_body: bool) -> None:
        if not self._is_known_by_name():
            self._send_text(HTTPStatus.FORBIDDEN, f"{UNKNOWN_NAME}\n".encode(), "text/plain", send_body)
            return
        root, parts = self.server.current.resolve(), self._parts()
        if self.server.pictures and parts and parts[0] == "img" and not root.joinpath(*parts).is_file():
            root = self.server.pictures.resolve()
        if not root.is_dir():
            empty = f"{self.server.empty}\n".encode()
            self._send_text(HTTPStatus.SERVICE_UNAVAILABLE, empty, "text/plain", send_body)
            return
        path = root.joinpath(*parts).resolve() if parts is not None else root / "404.html"
        if parts is None or not path.is_relative_to(root):
            self._miss(root, send_body)
        elif path.is_dir() and not self._raw_path.endswith("/"):
            self._redirect(parts)
        else:
            self._send_file(path / "index.html" if path.is_dir() else path, root, send_body)

    @property
    def _raw_path(self) -> str:
        # urlsplit would read a host in "//host/x".
        return self.path.split("?", 1)[0].split("#", 1)[0]

    def _parts(self) -> list[str] | None:
        """Return the path's segments, or None for a path that no page can have."""
        parts = [unquote(part) for part in self._raw_path.split("/") if part]
        odd = any(part in {".", ".."} or set(part) & set("/\\\0") or len(part) > 120 for part in parts)
        return None if odd or len(parts) > 12 else parts

    def _redirect(self, parts: list[str]) -> None:
        self.send_response(HTTPStatus.MOVED_PERMANENTLY)
        self.send_header("Location", "/" + "".join(f"{quote(part)}/" for part in parts))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_file(self, path: Path, root: Path, send_body: bool) -> None:
        try:
            file = path.open("rb")
        except OSError:
            self._miss(root, send_body)
            return
        with file:
            facts = os.fstat(file.fileno())
            headers = headers_of(path.relative_to(root).as_posix(), self._origins)
            headers["Last-Modified"] = formatdate(facts.st_mtime, usegmt=True)
            body = file.read()
        if "gzip" in self.headers.get("Accept-Encoding", "") and path.suffix in _COMPRESSED:
            body = gzip.compress(body, 6, mtime=0)
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        self._head(HTTPStatus.OK, len(body), headers)
        if send_body:
            self.wfile.write(body)

    def _miss(self, root: Path, send_body: bool) -> None:
        try:
            page = (root / "404.html").read_bytes()
        except OSError:
            page = b"<!doctype html><title>Page not found</title>Page not found"
        self._send_text(HTTPStatus.NOT_FOUND, page, CONTENT_TYPES[".html"], send_body)

    def _send_text(self, status: HTTPStatus, body: bytes, content_type: str, send_body: bool) -> None:
        self._head(status, len(body), {**headers_of("404.html", self._origins), "Content-Type": content_type})
        if send_body:
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    @property
    def _origins(self) -> list[str]:
        """The outside origins of the site's pictures, as its marker says."""
        try:
            return list(json.loads((self.server.current / MARKER).read_bytes())["origins"])
        except (OSError, ValueError, KeyError):
            return []
