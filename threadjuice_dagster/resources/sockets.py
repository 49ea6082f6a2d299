"""Sockets for addresses nobody vouches for: only to the open internet, and only until a deadline.

Which names may be asked at all is decided in ``resources/http.py``, which loads this module when it is
first needed.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore2

from threadjuice_dagster.domain.pictures.images import PictureRefused
from threadjuice_dagster.resources.addresses import is_public


def public_addresses(host: str, port: int) -> list[str]:
    """What a name resolves to. Raises ``PictureRefused`` if any of it is not public."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError(str(error)) from error
    addresses = list(dict.fromkeys(str(entry[4][0]).split("%")[0] for entry in found))
    if not all(is_public(ipaddress.ip_address(address)) for address in addresses):
        next_step = "Choose another picture; only origins in IMAGE_ALLOWED_ORIGINS may be private."
        raise PictureRefused(f"{host} resolves to an address that is not public.", next_step)
    return addresses


class _Deadline:
    """A moment of ``time.monotonic()`` after which nothing more may be waited for."""

    def __init__(self, moment: float) -> None:
        self.moment = moment

    def left(self, timeout: float | None) -> float:
        """Seconds a call may take that itself would wait ``timeout``. Raises ``ReadTimeout`` after the deadline."""
        remaining = self.moment - time.monotonic()
        if remaining <= 0:
            raise httpcore2.ReadTimeout("out of time")
        return remaining if timeout is None else min(timeout, remaining)


class _TimedStream(httpcore2.NetworkStream):
    """A connection whose every read and write ends at the deadline, however slowly the other side drips."""

    def __init__(self, inner: httpcore2.NetworkStream, deadline: _Deadline) -> None:
        self.inner = inner
        self.deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.inner.read(max_bytes, self.deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.inner.write(buffer, self.deadline.left(timeout))

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        inner = self.inner.start_tls(ssl_context, server_hostname, self.deadline.left(timeout))
        return _TimedStream(inner, self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


class CheckedBackend(httpcore2.SyncBackend):
    """Connects, unless ``private_ok``, only where every address of the name is public.

    The name is resolved once and what was checked is connected to: a second look-up could answer
    differently. Host header and TLS name stay those of the address asked for.
    """

    def __init__(self, private_ok: bool, deadline: float) -> None:
        self.private_ok = private_ok
        self.deadline = _Deadline(deadline)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """The first of the name's addresses that answers."""
        failure: Exception = httpcore2.ConnectError("the name has no address")
        for address in [host] if self.private_ok else public_addresses(host, port):
            wait = self.deadline.left(timeout)
            try:
                stream = super().connect_tcp(address, port, wait, local_address, socket_options)
                return _TimedStream(stream, self.deadline)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure
