"""A loopback server that speaks Openverse's and Unsplash's wire formats and serves pictures, faults included.

``with picture_server() as server:`` gives ``server.url``. What a path answers is set by
``server.script[path] = Answer(...)`` (or a list of answers, given one after the other, the last one again
and again); every request is kept in ``server.requests``.
"""

import contextlib
import dataclasses
import io
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclasses.dataclass(frozen=True)
class Answer:
    """What to answer. ``drip`` seconds are waited before each byte, ``endless`` bodies never stop."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    drip: float = 0.0
    drip_headers: bool = False
    endless: bool = False
    hang_up: bool = False


@dataclasses.dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


class PictureServer:
    """The running server: its address, its script and what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.script: dict[str, Answer | Sequence[Answer]] = {}
        self.requests: list[Asked] = []
        self.stopping = threading.Event()

    def asked(self, path: str) -> list[Asked]:
        return [request for request in self.requests if request.path == path]

    def answer(self, path: str) -> Answer:
        scripted = self.script.get(path, Answer(404, b"nothing here"))
        if isinstance(scripted, Answer):
            return scripted
        return scripted[min(len(self.asked(path)), len(scripted)) - 1]

    def serve_picture(self, path: str, data: bytes, **changes: Any) -> str:
        self.script[path] = Answer(200, data, {"Content-Type": "image/jpeg"}, **changes)
        return self.url + path

    def serve_openverse(self, *results: Mapping[str, Any]) -> None:
        document = {"result_count": len(results), "page_count": 1, "page_size": 20, "page": 1, "results": results}
        self.script["/v1/images/"] = json_answer(document)

    def serve_unsplash(self, *results: Mapping[str, Any]) -> None:
        self.script["/search/photos"] = json_answer({"total": len(results), "total_pages": 1, "results": results})

    def openverse_result(self, name: str, data: bytes | None = None, **changes: Any) -> dict[str, Any]:
        """One result in the shape of ``GET /v1/images/``; the picture is served where ``data`` is given."""
        if data is not None:
            self.serve_picture(f"/originals/{name}", data)
        return {
            "id": f"id-{name}",
            "title": f"Picture {name}",
            "foreign_landing_url": f"https://photos.example/{name}",
            "url": f"{self.url}/originals/{name}",
            "creator": "Ada Vermeer",
            "creator_url": "https://photos.example/ada",
            "license": "by-sa",
            "license_version": "4.0",
            "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
            "provider": "flickr",
            "source": "flickr",
            "attribution": f'"Picture {name}" by Ada Vermeer is licensed under CC BY-SA 4.0.',
            "mature": False,
            "width": 1000,
            "height": 750,
            **changes,
        }

    def unsplash_result(self, name: str, data: bytes | None = None, **changes: Any) -> dict[str, Any]:
        """One result in the shape of ``GET /search/photos``; the picture and the download call are served."""
        if data is not None:
            self.serve_picture(f"/raw/{name}", data)
        self.script[f"/photos/{name}/download"] = json_answer({"url": "https://images.unsplash.com/file"})
        return {
            "id": name,
            "width": 4000,
            "height": 3000,
            "description": None,
            "alt_description": "a ladder against a fence",
            "urls": {"raw": f"{self.url}/raw/{name}?ixid=abc&ixlib=rb-4.0.3"},
            "links": {
                "html": f"https://unsplash.com/photos/{name}",
                "download_location": f"{self.url}/photos/{name}/download?ixid=abc",
            },
            "user": {"name": "Grace Ito", "links": {"html": "https://unsplash.com/@grace"}},
            **changes,
        }


def json_answer(document: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(document).encode(), {"Content-Type": "application/json", **headers})


def photograph(width: int = 1000, height: int = 750, picture_format: str = "JPEG", **options: Any) -> bytes:
    """A small colourful picture file: blue fades to orange from left to right."""
    from PIL import Image

    gradient = Image.linear_gradient("L").rotate(90).resize((width, height))
    image = Image.merge("RGB", (gradient, gradient.point(lambda v: v // 2 + 40), gradient.point(lambda v: 255 - v)))
    buffer = io.BytesIO()
    image.save(buffer, picture_format, **options)
    return buffer.getvalue()


@contextlib.contextmanager
def picture_server() -> Iterator[PictureServer]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    httpd.daemon_threads = True
    server = PictureServer(f"http://127.0.0.1:{httpd.server_port}")
    httpd.picture_server = server  # type: ignore[attr-defined]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        httpd.shutdown()
        httpd.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: PictureServer = self.server.picture_server  # type: ignore[attr-defined]
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        server.requests.append(Asked(parts.path, query, {k.lower(): v for k, v in self.headers.items()}))
        answer = server.answer(parts.path)
        if answer.hang_up:
            self.connection.close()
            return
        with contextlib.suppress(OSError):
            self._send(answer, server)

    def _send(self, answer: Answer, server: PictureServer) -> None:
        if answer.drip_headers:
            self._drip(b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 10_000, answer.drip, server)
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if not answer.endless and "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if answer.drip:
            self._drip(answer.body, answer.drip, server)
        else:
            self.wfile.write(answer.body)
        while answer.endless and not server.stopping.is_set():
            self.wfile.write(b"\0" * 65536)

    def _drip(self, data: bytes, pause: float, server: PictureServer) -> None:
        for byte in data:
            if server.stopping.is_set():
                return
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(pause)

    def log_message(self, format: str, *args: Any) -> None:
        pass
