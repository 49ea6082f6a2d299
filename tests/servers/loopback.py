"""A scriptable HTTP server on the loopback address: real sockets, a request log, faults on demand."""

import argparse
import contextlib
import dataclasses
import json
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit


@dataclasses.dataclass(frozen=True)
class Request:
    """A request as it arrived; ``at`` is the monotonic clock in seconds. ``repeated`` has every value of a key."""

    at: float
    kind: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    repeated: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"null")


@dataclasses.dataclass(frozen=True)
class Reply:
    """What is sent back: JSON or bytes, after ``delay`` seconds; or the connection reset."""

    document: Any = None
    status: int = 200
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    raw: bytes | None = None
    delay: float = 0.0
    reset: bool = False


class _Server(ThreadingHTTPServer):
    request_queue_size = (
        128  # of the default, 5, a busy machine drops connections, which are tried again a second later
    )


class LoopbackServer:
    """Base of the loopback servers. A subclass names the kind of a request and answers it.

    ``script(kind, fault, …)`` queues behaviours, one per request of that kind; ``always`` sets the one
    used once the queue is empty. A behaviour is a ``Reply`` or a name that ``fault`` understands.
    """

    prefix = ""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self._queues: dict[str, deque[Reply | str]] = defaultdict(deque)
        self._standing: dict[str, Reply | str] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _handler_for(self))
        self._server.daemon_threads = True
        self._runner = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._runner.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.prefix}"

    def heal(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._queues.clear()
            self._standing.clear()

    def script(self, kind: str, *behaviours: Reply | str) -> None:
        with self._lock:
            self._queues[kind].extend(behaviours)

    def always(self, kind: str, behaviour: Reply | str) -> None:
        with self._lock:
            self._standing[kind] = behaviour

    def seen(self, kind: str) -> list[Request]:
        return [request for request in self.requests if request.kind == kind]

    def kind_of(self, method: str, path: str, body: bytes) -> str:
        raise NotImplementedError

    def answer(self, request: Request) -> Reply:
        raise NotImplementedError

    def fault(self, name: str, request: Request) -> Reply:
        """``429:2`` and ``503`` are statuses (with Retry-After), ``slow:1`` delays, ``reset`` drops the line."""
        name, _, value = name.partition(":")
        if name == "ok":
            return self.answer(request)
        if name == "slow":
            return dataclasses.replace(self.answer(request), delay=float(value or 1))
        if name == "reset":
            return Reply(reset=True)
        if name.isdigit():
            return Reply(self.problem(int(name)), int(name), {"Retry-After": value} if value else {})
        raise ValueError(f"unknown fault {name!r}")

    def problem(self, status: int) -> Any:
        return {"error": {"message": f"scripted {status}", "type": "scripted", "code": None, "param": None}}

    def reply_to(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            queue = self._queues[request.kind]
            behaviour = queue.popleft() if queue else self._standing.get(request.kind, "ok")
        return self.fault(behaviour, request) if isinstance(behaviour, str) else behaviour


def _handler_for(server: LoopbackServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            arrived, address = time.monotonic(), urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kind = server.kind_of(self.command, address.path, body)
            headers = {name.lower(): value for name, value in self.headers.items()}
            query, repeated = dict(parse_qsl(address.query)), parse_qs(address.query)
            request = Request(arrived, kind, self.command, address.path, query, headers, body, repeated)
            self.send(server.reply_to(request))

        do_POST = do_PUT = do_DELETE = do_OPTIONS = do_GET  # noqa: N815 -- the names http.server looks for

        def send(self, reply: Reply) -> None:
            if reply.delay:
                time.sleep(reply.delay)
            if reply.reset:
                # A linger of zero seconds turns the close into a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return self.connection.close()
            body = json.dumps(reply.document).encode() if reply.raw is None else reply.raw
            with contextlib.suppress(ConnectionError):
                self.send_response(reply.status)
                headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **reply.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.close_connection = self.close_connection or headers["Content-Length"] != str(len(body))
                if self.close_connection:  # a client that does not hear of it sends its next request into the close
                    self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)
            return None

        def log_message(self, *_: object) -> None:
            pass

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()

    return Handler


def main(server_class: type[LoopbackServer]) -> None:
    """Serve until interrupted: ``--port N`` and any number of ``--fault KIND=NAME`` (standing faults)."""
    parser = argparse.ArgumentParser(description=server_class.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fault", action="append", default=[], metavar="KIND=NAME")
    options = parser.parse_args()
    with server_class(port=options.port) as server, contextlib.suppress(KeyboardInterrupt):
        for fault in options.fault:
            server.always(*fault.split("=", 1))
        print(server.url, flush=True)
        threading.Event().wait()
