"""Which requests may reach the Dagster UI: rules on host, origin, method and session.

Dagster itself runs a mutation that comes by GET, as ``text/plain``, from any page and under any name. Browsers say
where a request comes from in ``Origin`` and, on https and on this machine, in ``Sec-Fetch-*``
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
"""Where Dagster's webserver answers with something else than the UI's page or one of its files."""

UNKNOWN_NAME = "This server is not known by that name."

MAX_FAILURES = 10
"""Wrong passwords of one address in ``FAILURE_SECONDS``; then even the right one is not looked at."""

FAILURE_SECONDS = 60.0

_MOST_ADDRESSES = 4096


class Visit(BaseModel):
    """What a request, or the handshake of a websocket, says of itself. Names of headers are in lower case."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["http", "websocket"] = "http"
    method: str = "GET"
    path: str = "/"
    query: str = ""
    headers: Sequence[tuple[str, str]] = ()
    arrived_at: str = ""
    """The address of this machine that was connected to."""

    def values(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value.strip() for header, value in self.headers if header == name]

    def value(self, name: str) -> str:
        """A header's only value; empty where there is none or several."""
        values = self.values(name)
        return values[0] if len(values) == 1 else ""

    @property
    def is_from_browser(self) -> bool:
        """Whether a browser sends it: programs set none of these headers unless they are told to."""
        return any(name == "origin" or name.startswith("sec-fetch-") for name, _ in self.headers)

    @property
    def is_opened(self) -> bool:
        """Whether a browser says that somebody opens this in a window, by its address or by a link anywhere."""
        return self.value("sec-fetch-dest") == "document" and self.value("sec-fetch-mode") == "navigate"

    @property
    def is_page_load(self) -> bool:
        """Whether it can only show the UI's page, or one of its files to a program."""
        if self.kind != "http" or self.method not in ("GET", "HEAD"):
            return False
        if self.path == GRAPHQL:  # so asked, Dagster answers with the page of GraphiQL
            is_page = not self.query and "text/html" in self.value("accept")
        else:
            is_page = not any(self.path == path or self.path.startswith(f"{path}/") for path in DATA_PATHS)
        return is_page and (self.is_opened or not any(name.startswith("sec-fetch-") for name, _ in self.headers))


class Refusal(BaseModel):
    """Why a request is turned away, as a status of HTTP and a line for whoever reads it."""

    model_config = ConfigDict(frozen=True)

    status: int
    message: str


class KnownNames(BaseModel):
    """By which names, beside this machine's own, a server is reached: its public address and the host it listens on."""

    model_config = ConfigDict(frozen=True)

    public_url: str = ""
    listening_on: str = ""

    def has_host(self, visit: Visit) -> bool:
        """Whether ``Host`` is a name of ours; a page whose own name was pointed at this machine sends its own."""
        host = _host_name(visit.value("host"))
        ours = {_host_name(urlsplit(self.public_url).netloc), self.listening_on.lower(), visit.arrived_at.lower()}
        return bool(host) and (is_loopback(host) or host in ours - {""})

    def has_origin(self, visit: Visit) -> bool:
        """Whether every ``Origin`` is the page that this very server gave out."""
        known = {f"{scheme}://{visit.value('host').lower()}" for scheme in ("http", "https")}
        ui = urlsplit(self.public_url)
        known.add(f"{ui.scheme}://{ui.netloc}".lower())
        return all(origin.lower() in known for origin in visit.values("origin"))


def refusal(visit: Visit, names: KnownNames) -> Refusal | None:
    """Why a request may not reach Dagster, whoever sends it; None where it may."""
    if not names.has_host(visit):
        return Refusal(status=403, message=f"{UNKNOWN_NAME} Set DAGSTER_UI_URL to its address.")
    if not names.has_origin(visit):
        return Refusal(status=403, message="Requests of other sites are refused.")
    sites = set(visit.values("sec-fetch-site"))
    if not (sites <= {"same-origin", "none"} or (visit.is_page_load and visit.is_opened)):
        return Refusal(status=403, message="Requests of other sites are refused.")
    return _wrong_form(visit) if visit.kind == "http" else None


def _wrong_form(visit: Visit) -> Refusal | None:
    """Why a request has a form that other sites can send too, or that Dagster has no use for."""
    if visit.method not in ("GET", "HEAD", "POST"):
        return Refusal(status=405, message="Only GET, HEAD and POST are answered.")
    if visit.method == "POST":
        types = {value.split(";")[0].strip().lower() for value in visit.values("content-type")}
        return None if types == {"application/json"} else Refusal(status=415, message="Send application/json.")
    if visit.path.rstrip("/") == GRAPHQL and not visit.is_page_load:
        return Refusal(status=405, message="GraphQL is answered by POST only.")
    return None


def is_loopback(host: str) -> bool:
    """Whether a name or an address can only be this machine. No name server is asked about ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _host_name(netloc: str) -> str:
    """The name or address of ``name:port`` in lower case, IPv6 without brackets; empty where it is no such thing."""
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port  # raises where it is no number
    except ValueError:
        return ""
    return (parts.hostname or "").rstrip(".") if parts.netloc == netloc and "@" not in netloc else ""


class FailedLogins:
    """Counts wrong passwords by the address they came from; the addresses of one IPv6 network count as one."""

    def __init__(self) -> None:
        self._moments: dict[str, deque[float]] = {}

    def are_too_many(self, address: str, now: float) -> bool:
        """Whether this address has to wait."""
        moments = self._moments.get(_network(address), deque())
        return sum(now - moment < FAILURE_SECONDS for moment in moments) >= MAX_FAILURES

    def add(self, address: str, now: float) -> None:
        """Count one; of the addresses the ones that have been quiet for longest are forgotten."""
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
