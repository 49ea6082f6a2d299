"""A small server of the site as built, for a reader on this machine and for smoke tests.

It serves files and decides nothing about them; a public site belongs behind a real web server or a CDN.
"""

import logging
import os
import shutil
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

LOG = logging.getLogger(__name__)

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".xml": "application/xml; charset=utf-8",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".avif": "image/avif",
    ".webp": "image/webp",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".woff": "font/woff",
}
IMMUTABLE = ("img", "assets")
"""Folders whose file names carry their content's hash."""


class PreviewServer(ThreadingHTTPServer):
    """Serves ``<target>/current``, read anew with each request, so that a build shows at once.

    Pictures no page shows yet are served from the storage folder ``pictures``.
    """

    def __init__(self, target: Path, address: tuple[str, int], pictures: Path | None = None) -> None:
        self.current = target / "current"
        self.pictures = pictures
        super().__init__(address, _Handler)

    @property
    def url(self) -> str:
        """Where the site can be read."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"


def serve(target: Path, port: int, host: str = "127.0.0.1", pictures: Path | None = None) -> PreviewServer:
    """A server bound to ``host`` and ``port`` (0 picks a free one); call its ``serve_forever``.

    Raises ``OSError`` where the port is taken.
    """
    return PreviewServer(target, (host, port), pictures)


class _Handler(BaseHTTPRequestHandler):
    server: PreviewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "ThreadJuice", ""
    timeout = 30

    def do_GET(self) -> None:
        """Answer with the file."""
        self._answer(send_body=True)

    def do_HEAD(self) -> None:
        """Answer with the file's headers."""
        self._answer(send_body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests go to the debug log."""
        LOG.debug(format, *args)

    def _answer(self, send_body: bool) -> None:
        root, parts = self.server.current.resolve(), self._parts()
        if self.server.pictures and parts and parts[0] == "img" and not root.joinpath(*parts).is_file():
            root = self.server.pictures.resolve()
        if not root.is_dir():
            self._send_text(
                HTTPStatus.SERVICE_UNAVAILABLE, b"The site has not been built yet.\n", "text/plain", send_body
            )
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
        # Not urlsplit: of "//host/x" it would make a host.
        return self.path.split("?", 1)[0].split("#", 1)[0]

    def _parts(self) -> list[str] | None:
        """The path's segments, or None for a path that no page has."""
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
            cached = path.relative_to(root).parts[0] in IMMUTABLE
            facts = os.fstat(file.fileno())
            self._head(HTTPStatus.OK, facts.st_size, _type_of(path), cached, formatdate(facts.st_mtime, usegmt=True))
            if send_body:
                shutil.copyfileobj(file, self.wfile)

    def _miss(self, root: Path, send_body: bool) -> None:
        try:
            page = (root / "404.html").read_bytes()
        except OSError:
            page = b"<!doctype html><title>Page not found</title>Page not found"
        # The page cannot know how deep the missing address was; here the site is at the top.
        page = page.replace(b"<head>", b'<head><base href="/">', 1)
        self._send_text(HTTPStatus.NOT_FOUND, page, CONTENT_TYPES[".html"], send_body)

    def _send_text(self, status: HTTPStatus, body: bytes, content_type: str, send_body: bool) -> None:
        self._head(status, len(body), content_type, cached=False)
        if send_body:
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, length: int, content_type: str, cached: bool, modified: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "public, max-age=31536000, immutable" if cached else "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        if modified:
            self.send_header("Last-Modified", modified)
        self.end_headers()


def _type_of(path: Path) -> str:
    return CONTENT_TYPES.get(path.suffix.lower(), "application/octet-stream")
