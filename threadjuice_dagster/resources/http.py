"""The one HTTP client: requests to services that an operator configured, and downloads of pictures from unknown hosts.

What an answer means belongs to the resource that sends the request. Retries happen here and nowhere else. A picture is
never retried, because there is always another one.
"""

import functools
import json
import random
import re
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from threadjuice_dagster.domain.pictures.images import PictureRefused
from threadjuice_dagster.failures import PermanentFailure, TransientFailure

if TYPE_CHECKING:
    import httpx2

USER_AGENT = "ThreadJuice/1.0"

ATTEMPTS = 3
"""Attempts before an outage is reported."""

MAX_WAIT = 60.0
"""Longest wait between two attempts, in seconds."""

MAX_JSON = 10_000_000
MAX_PICTURE = 25_000_000
"""Most bytes of one answer."""

MAX_REDIRECTS = 5

_BACKOFF = 0.5
_PORTS = {"http": 80, "https": 443}
_CHOOSE_ANOTHER = "Choose another picture."


class Answer(NamedTuple):
    """A service's answer. ``headers`` can be looked up in any case.

    ``first_byte`` is the number of seconds until the headers had arrived.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    first_byte: float = 0.0


def send(
    method: str,
    url: str,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    timeout: float = 20.0,
    attempts: int = ATTEMPTS,
    reason: Callable[[Answer], str] | None = None,
) -> Answer:
    """Send a request to a configured service and return its answer, whatever its status below 500.

    429, 5xx and silence are retried, up to ``attempts`` requests in all, each within ``timeout`` seconds.
    ``Retry-After`` is honoured; a wait beyond ``MAX_WAIT`` ends the attempts. Redirects are not followed. Raises
    ``TransientFailure``, or ``PermanentFailure`` for an invalid address. Their messages contain no query, header or
    body, except what ``reason`` reads from an answer.
    """
    import httpx2

    request = _named(url, method)
    failure, tried = TransientFailure(f"{request} was not tried."), 0
    for attempt in range(attempts):
        if (failure.retry_after or 0.0) > MAX_WAIT:
            break
        if attempt:
            time.sleep(_wait(attempt, failure.retry_after))
        tried = attempt + 1
        try:
            answer = _exchange(url, params, headers, timeout, method, content)
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            failure = TransientFailure(f"{request} got no answer ({type(error).__name__}).")
            continue
        except (httpx2.InvalidURL, ValueError) as error:
            raise PermanentFailure(f"{request} is no address to ask.", "Correct the configured address.") from error
        if answer.status != 429 and answer.status < 500:
            return answer
        failure = _failure_of(answer, request, reason(answer) if reason else "")
    message = f"{failure.message} It was tried {tried} times."
    raise TransientFailure(message, "Try again later.", retry_after=failure.retry_after, exhausted=True)


def _failure_of(answer: Answer, request: str, why: str) -> TransientFailure:
    """Return what a service's 429 or 5xx means: when to ask again, and ``why`` in the service's own words."""
    wait = retry_after(answer.headers.get("retry-after", ""), datetime.now(UTC))
    return TransientFailure(f"{request} answered {answer.status}{f': {why}' if why else ''}.", retry_after=wait)


def fetch(
    url: str,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 20.0,
    attempts: int = ATTEMPTS,
) -> bytes:
    """Return the body of a configured service's answer. Raises as ``send`` does, and for any status other than 2xx."""
    answer = send("GET", url, params, headers, None, timeout, attempts)
    if not 200 <= answer.status < 300:
        raise refused(_named(url), answer.status)
    return answer.body


def fetch_json(
    url: str,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 20.0,
    attempts: int = ATTEMPTS,
) -> Any:
    """Return the JSON that a configured service answers with. Raises as ``fetch`` does."""
    try:
        return json.loads(fetch(url, params, headers, timeout, attempts))
    except (ValueError, RecursionError) as error:
        message = f"{_named(url)} did not answer with JSON."
        raise TransientFailure(message, "Check that the configured address is the API's.", exhausted=True) from error


def request_once(
    url: str,
    headers: Mapping[str, str] | None = None,
    method: str = "GET",
    timeout: float = 10.0,
    content: bytes | None = None,
) -> Answer:
    """Send one request without retries, and return the answer, whatever its status.

    Raises ``TransientFailure`` without an answer. Its message names only the host: a webhook's path is a secret.
    """
    import httpx2

    try:
        return _exchange(url, None, headers, timeout, method, content)
    except (httpx2.TransportError, httpx2.DecodingError, httpx2.InvalidURL, ValueError) as error:
        message = f"{urlsplit(url).hostname} got no answer ({type(error).__name__})."
        raise TransientFailure(message, "Check the configured address, and that its server runs.") from error


def retry_after(value: str, now: datetime) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for (RFC 9110: seconds or a date), or None."""
    if re.fullmatch(r"\s*\d{1,12}(?:\.\d*)?\s*", value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def download_picture(
    url: str,
    allowed_hosts: Iterable[str],
    extra_origins: Iterable[str] = (),
    max_bytes: int = MAX_PICTURE,
    timeout: float = 20.0,
) -> bytes:
    """Download a picture from an untrusted address, within ``max_bytes`` and ``timeout`` seconds in all.

    ``allowed_hosts`` are names, or ``.example.org`` for every name below it. They are reached by https at public
    addresses only, and the address that was checked is the one that is connected to. Only ``extra_origins``
    (``scheme://host:port``) may be private or plain http. Each redirect is checked the same way. Raises
    ``PictureRefused`` for what must not be fetched, ``TransientFailure`` for an outage.
    """
    import httpcore2
    import httpx2

    hosts, origins = frozenset(allowed_hosts), {_origin(httpx2.URL(origin)) for origin in extra_origins}
    deadline = time.monotonic() + timeout
    for _ in range(MAX_REDIRECTS + 1):
        target, private_ok = checked_address(url, hosts, origins)
        try:
            location, data = _fetch(target, private_ok, max_bytes, deadline)
        except httpcore2.TimeoutException as error:
            message = f"The picture at {target.host} did not arrive within {timeout:g} seconds."
            raise TransientFailure(message, "Try again later.", exhausted=True) from error
        except httpcore2.NetworkError as error:
            message = f"The picture at {target.host} cannot be reached ({type(error).__name__})."
            raise TransientFailure(message, "Try again later.", exhausted=True) from error
        except (httpcore2.ProtocolError, ValueError) as error:
            raise PictureRefused(f"{target.host} does not speak HTTP as it should.", _CHOOSE_ANOTHER) from error
        if location is None:
            return data
        try:
            url = str(target.join(location))
        except (httpx2.InvalidURL, ValueError) as error:
            raise PictureRefused(f"{target.host} redirects to no address.", _CHOOSE_ANOTHER) from error
    raise PictureRefused(f"The picture is behind more than {MAX_REDIRECTS} redirects.", _CHOOSE_ANOTHER)


def checked_address(url: str, hosts: Collection[str], origins: Collection[str]) -> tuple["httpx2.URL", bool]:
    """Return the parsed address, and whether it may be private. Raises ``PictureRefused`` if it is not allowed."""
    import httpx2

    try:
        target = httpx2.URL(url)
        origin = _origin(target)
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise PictureRefused("The picture's address cannot be read.", _CHOOSE_ANOTHER) from error
    host = target.host.rstrip(".").lower()
    if target.userinfo:
        raise PictureRefused(f"The picture's address at {host} carries a login.", _CHOOSE_ANOTHER)
    if origin in origins:
        return target, True
    allowed = any(host.endswith(name) if name.startswith(".") else host == name for name in hosts)
    if target.scheme != "https" or target.port not in (None, 443) or not allowed:
        next_step = f"Choose another picture, or add {origin} to IMAGE_ALLOWED_ORIGINS if it is trusted."
        raise PictureRefused(f"Pictures may not come from {origin}.", next_step)
    return target, False


@functools.cache
def _client() -> "httpx2.Client":
    import httpx2

    return httpx2.Client(follow_redirects=False, headers={"User-Agent": USER_AGENT})


@functools.cache
def _tls() -> ssl.SSLContext:
    import httpx2

    return httpx2.create_ssl_context()


def _exchange(
    url: str,
    params: Mapping[str, Any] | None,
    headers: Mapping[str, str] | None,
    timeout: float,
    method: str = "GET",
    content: bytes | None = None,
) -> Answer:
    """Send one request and return its answer, bounded in size and time."""
    import httpx2

    began, body = time.monotonic(), bytearray()
    query = None if params is None else dict(params)
    with _client().stream(method, url, params=query, headers=headers, content=content, timeout=timeout) as response:
        first_byte = time.monotonic() - began
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_JSON:
                raise PermanentFailure(f"{urlsplit(url).hostname} answered more than {MAX_JSON} bytes.")
            # The client's timeout bounds each read; this bounds all of them together.
            if time.monotonic() > began + timeout:
                raise httpx2.ReadTimeout("the answer took too long")
        return Answer(response.status_code, response.headers, bytes(body), first_byte)


def _wait(attempt: int, asked_wait: float | None) -> float:
    """Return the seconds before an attempt: as the service asked, else exponential backoff with jitter."""
    if asked_wait is not None:
        return min(asked_wait, MAX_WAIT)
    return min(_BACKOFF * 2 ** (attempt - 1) * random.uniform(0.5, 1.5), MAX_WAIT)  # noqa: S311


def _named(url: str, method: str = "GET") -> str:
    """Return the request as a message may show it: without login and query, which can hold a key."""
    return f"{method} " + re.sub(r"//[^/]*@", "//", re.split(r"[?#]", url)[0])[:200]


def refused(request: str, status: int) -> PermanentFailure:
    """Return the failure for an answer of this status."""
    next_step = {
        401: "Check the key for this service.",
        403: "Check what the key for this service may do.",
        404: "Check the configured address and that the thing still exists.",
    }.get(status, "Correct the request or the configured address.")
    return PermanentFailure(f"{request} answered {status}.", next_step)


def _fetch(target: "httpx2.URL", private_ok: bool, max_bytes: int, deadline: float) -> tuple[str | None, bytes]:
    """Return the target of a redirect, or None and the bytes."""
    import httpcore2

    from threadjuice_dagster.resources.sockets import CheckedBackend

    backend = CheckedBackend(private_ok, deadline)
    headers = [("User-Agent", USER_AGENT), ("Accept", "image/*"), ("Accept-Encoding", "identity")]
    with (
        httpcore2.ConnectionPool(ssl_context=_tls(), network_backend=backend) as pool,
        pool.stream("GET", str(target.copy_with(fragment=None)), headers=headers) as response,
    ):
        received = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
        if response.status in (301, 302, 303, 307, 308):
            return received.get("location", ""), b""
        _check_answer(response.status, received, target.host, max_bytes)
        body = bytearray()
        for chunk in response.iter_stream():
            body += chunk
            if len(body) > max_bytes:
                raise _too_large(target.host, max_bytes)
        return None, bytes(body)


def _check_answer(status: int, headers: Mapping[str, str], host: str, max_bytes: int) -> None:
    if status == 429 or status >= 500:
        raise TransientFailure(f"The picture's host {host} answered {status}.", "Try again later.", exhausted=True)
    if status != 200:
        raise PictureRefused(f"The picture's host {host} answered {status}.", _CHOOSE_ANOTHER)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise PictureRefused(f"{host} sent the picture compressed once more.", _CHOOSE_ANOTHER)
    if headers.get("content-length", "").isdecimal() and int(headers["content-length"][:20]) > max_bytes:
        raise _too_large(host, max_bytes)


def _too_large(host: str, max_bytes: int) -> PictureRefused:
    return PictureRefused(f"The picture at {host} is larger than {max_bytes / 1e6:g} MB.", _CHOOSE_ANOTHER)


def _origin(url: "httpx2.URL") -> str:
    scheme, host = url.scheme, url.host.rstrip(".").lower()
    if scheme not in _PORTS or not host:
        raise ValueError("not an http address")
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{url.port or _PORTS[scheme]}"
