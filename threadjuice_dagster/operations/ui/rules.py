"""Rules for requests to the Dagster UI: host, origin, method and session.

Dagster itself runs mutations sent by GET, as ``text/plain``, from any page and under any host name. Browsers state the
origin of a request in ``Origin`` and, on https and on this machine, in ``Sec-Fetch-*``
(https://www.w3.org/TR/fetch-metadata).
"""

import ipaddress
from collections import deque
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

GRAPHQL = "/graphql"

DATA_PATHS = (
    GRAPHQL,
    "/server_info",
    "/dagit_info",
    "/logs",
    "/notebook",
    "/dagit/notebook",
    "/download_debug",
    "/report_asset_materialization",
    "/report_asset_check",
    "/report_asset_observation",
)
"""Paths where Dagster's webserver answers with data, not with the UI's page or one of its files."""

UNKNOWN_NAME = "This server is not known by that name."

MAX_FAILURES = 10
"""Wrong passwords from one address in ``FAILURE_SECONDS`` after which even the right one is refused."""

FAILURE_SECONDS = 60.0

_MOST_ADDRESSES = 4096


class Visit(BaseModel):
    """A request, or the handshake of a websocket. Names of headers are in lower case."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["http", "websocket"] = "http"
    method: str = "GET"
    path: str = "/"
    query: str = ""
    headers: Sequence[tuple[str, str]] = ()
    arrived_at: str = ""
    """The address of this machine that the client connected to."""

    def values(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value.strip() for header, value in self.headers if header == name]

    def value(self, name: str) -> str:
        """Return a header's only value, or an empty text if there is none or several."""
        values = self.values(name)
        return values[0] if len(values) == 1 else ""

    @property
    def is_from_browser(self) -> bool:
        """Whether a browser sent it: programs do not set these headers by themselves."""
        return any(name == "origin" or name.startswith("sec-fetch-") for name, _ in self.headers)

    @property
    def is_opened(self) -> bool:
        """Whether a browser says that a user opened this in a window, by its address or by any link."""
        return self.value("sec-fetch-dest") == "document" and self.value("sec-fetch-mode") == "navigate"

    @property
    def is_page_load(self) -> bool:
        """Whether its answer can only be the UI's page or one of its files."""
        if self.kind != "http" or self.method not in ("GET", "HEAD"):
            return False
        if self.path == GRAPHQL:  # then Dagster answers with the page of GraphiQL
            is_page = not self.query and "text/html" in self.value("accept")
        else:
            is_page = not any(self.path == path or self.path.startswith(f"{path}/") for path in DATA_PATHS)
        return is_page and (self.is_opened or not any(name.startswith("sec-fetch-") for name, _ in self.headers))


class RequestRefusal(BaseModel):
    """The refusal of a request: an HTTP status and a line for people."""

    model_config = ConfigDict(frozen=True)

    status: int
    message: str


class KnownNames(BaseModel):
    """The names of a server beside this machine's own: its public address and the host it listens on."""

    model_config = ConfigDict(frozen=True)

    public_url: str = ""
    listening_on: str = ""

    def has_host(self, visit: Visit) -> bool:
        """Return whether ``Host`` is one of our names. After DNS rebinding a page sends its own name instead."""
        host = _host_name(visit.value("host"))
        ours = {_host_name(urlsplit(self.public_url).netloc), self.listening_on.lower(), visit.arrived_at.lower()}
        return bool(host) and (is_loopback(host) or host in ours - {""})

    def has_origin(self, visit: Visit) -> bool:
        """Return whether every ``Origin`` is this server's own."""
        own = {f"{scheme}://{visit.value('host').lower()}" for scheme in ("http", "https")}
        ui = urlsplit(self.public_url)
        own.add(f"{ui.scheme}://{ui.netloc}".lower())
        return all(origin.lower() in own for origin in visit.values("origin"))


def refusal(visit: Visit, names: KnownNames) -> RequestRefusal | None:
    """Return why a request may not reach Dagster, whoever sent it, or None."""
    if not names.has_host(visit):
        return RequestRefusal(status=403, message=f"{UNKNOWN_NAME} Set DAGSTER_UI_URL to its address.")
    if not names.has_origin(visit):
        return RequestRefusal(status=403, message="Requests of other sites are refused.")
    sites = set(visit.values("sec-fetch-site"))
    if not (sites <= {"same-origin", "none"} or (visit.is_page_load and visit.is_opened)):
        return RequestRefusal(status=403, message="Requests of other sites are refused.")
    return _wrong_form(visit) if visit.kind == "http" else None


def _wrong_form(visit: Visit) -> RequestRefusal | None:
    """Return why the method or content type is refused: other sites could send it, or Dagster needs no such request."""
    if visit.method not in ("GET", "HEAD", "POST"):
        return RequestRefusal(status=405, message="Only GET, HEAD and POST are answered.")
    if visit.method == "POST":
        types = {value.split(";")[0].strip().lower() for value in visit.values("content-type")}
        return None if types == {"application/json"} else RequestRefusal(status=415, message="Send application/json.")
    if visit.path.rstrip("/") == GRAPHQL and not visit.is_page_load:
        return RequestRefusal(status=405, message="GraphQL is answered by POST only.")
    return None


def is_loopback(host: str) -> bool:
    """Return whether a name or address can only be this machine. ``localhost`` is not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _host_name(netloc: str) -> str:
    """Return the name or address in ``name:port`` in lower case, IPv6 without brackets, or an empty text."""
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port  # raises where it is no number
    except ValueError:
        return ""
    return (parts.hostname or "").rstrip(".") if parts.netloc == netloc and "@" not in netloc else ""


class FailedLogins:
    """Counts wrong passwords by client address. All addresses of an IPv6 network count as one."""

    def __init__(self) -> None:
        self._moments: dict[str, deque[float]] = {}

    def are_too_many(self, address: str, now: float) -> bool:
        """Return whether this address has to wait."""
        moments = self._moments.get(_network(address), deque())
        return sum(now - moment < FAILURE_SECONDS for moment in moments) >= MAX_FAILURES

    def add(self, address: str, now: float) -> None:
        """Count a wrong password. If there are too many addresses, forget the one that was quiet for longest."""
        network = _network(address)
        moments = self._moments.pop(network, deque(maxlen=MAX_FAILURES))
        moments.append(now)
        self._moments[network] = moments
        if len(self._moments) > _MOST_ADDRESSES:
            del self._moments[next(iter(self._moments))]


def _network(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))
