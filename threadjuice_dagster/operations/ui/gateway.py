"""An ASGI gateway before the Dagster UI: requests that ``operations/ui/rules.py`` refuses never reach Dagster.

A browser gets a session cookie with the UI's page, and needs it for everything else; pages of other sites cannot make a
browser send it. Programs on this machine need no cookie. A password, if one is set, is required for the page and of
every program.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import time
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from threadjuice_dagster.operations.ui.rules import (
    FAILURE_SECONDS,
    FailedLogins,
    KnownNames,
    RequestRefusal,
    Visit,
    refusal,
)

HEADERS = {
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers added to every answer: no other site may frame, open or load any of it."""


class Session:
    """The session cookie of a browser that loaded the UI's page, and the password.

    ``key`` is secret and stays the same, so that open pages survive a restart. A new password ends all sessions.
    """

    def __init__(self, key: bytes, password: str) -> None:
        # Cookies are shared by all ports of a host, and several newsrooms may run on one.
        self.cookie = f"threadjuice_{hashlib.sha256(key).hexdigest()[:8]}"
        self.token = hmac.new(key, f"session\0{password}".encode(), "sha256").hexdigest()
        self.password = password
        self._failed = FailedLogins()

    def refusal(self, visit: Visit, client: str) -> RequestRefusal | None:
        """Return why this request is refused, or None."""
        if self._has_token(visit):
            return None
        if self.password and (refused := self._login(visit, client)):
            return refused
        if visit.is_from_browser and not visit.is_page_load:
            return RequestRefusal(status=403, message="Load the page again: this browser has no session here.")
        return None

    def header(self, visit: Visit, *, secure: bool) -> str:
        """Return the ``Set-Cookie`` header."""
        return f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")

    def _has_token(self, visit: Visit) -> bool:
        return any(_equal(cookie_parser(value).get(self.cookie, ""), self.token) for value in visit.values("cookie"))

    def _login(self, visit: Visit, client: str) -> RequestRefusal | None:
        """Return why HTTP Basic refuses the request, or None. Any user name is accepted."""
        if self._failed.are_too_many(client, time.monotonic()):
            return RequestRefusal(status=429, message=f"Too many wrong passwords: wait {FAILURE_SECONDS:.0f} seconds.")
        given = _password(visit.value("authorization"))
        if given is not None and _equal(given, self.password):
            return None
        if given is not None:
            self._failed.add(client, time.monotonic())
        return RequestRefusal(
            status=401, message="The password is the one in THREADJUICE_UI_PASSWORD; any user name will do."
        )


class Gateway:
    """Passes allowed requests on to ``app``."""

    def __init__(self, app: ASGIApp, names: KnownNames, session: Session) -> None:
        self._app, self._names, self._session = app, names, session
        self._secure_host = urlsplit(names.public_url).netloc if names.public_url.startswith("https:") else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or websocket."""
        visit = _visit(scope)
        client = scope["client"][0] if scope.get("client") else ""
        refused = refusal(visit, self._names) or self._session.refusal(visit, client)
        if refused and visit.kind == "websocket":
            await WebSocketClose()(scope, receive, send)  # this answers the handshake with 403
            return
        answer = _answer(refused) if refused else self._app

        async def marked(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                self._mark(MutableHeaders(scope=message), scope, visit, given=not refused)
            await send(message)

        await answer(scope, receive, marked)

    def _mark(self, headers: MutableHeaders, scope: Scope, visit: Visit, *, given: bool) -> None:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        headers.append(
            "Content-Security-Policy", "frame-ancestors 'self'"
        )  # a second policy beside Dagster's: browsers enforce both
        if given and visit.is_page_load and headers.get("content-type", "").startswith("text/html"):
            secure = scope["scheme"] == "https" or visit.value("host") == self._secure_host
            headers.append("Set-Cookie", self._session.header(visit, secure=secure))


def session_key(path: Path) -> bytes:
    """Return the session key, which is stored in a file that only its owner can read. Make it if it is missing."""
    if not path.exists():
        beside = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
        try:
            path.hardlink_to(beside)  # fails if another process was first: then its key counts
        except FileExistsError:
            pass
        finally:
            beside.unlink()
    return path.read_bytes()


def _visit(scope: Scope) -> Visit:
    headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"])
    return Visit(
        kind=scope["type"],
        method=scope.get("method", "GET"),
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        arrived_at=str((scope.get("server") or ("",))[0]),
    )


def _answer(refused: RequestRefusal) -> PlainTextResponse:
    headers = {"Cache-Control": "no-store"}
    if refused.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="ThreadJuice", charset="UTF-8"'
    if refused.status == 429:
        headers["Retry-After"] = f"{FAILURE_SECONDS:.0f}"
    return PlainTextResponse(f"{refused.message}\n", refused.status, headers)


def _password(authorization: str) -> str | None:
    """Return the password of HTTP Basic, or None where there is none."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode(errors="replace").partition(":")[2]
    except binascii.Error:
        return ""


def _equal(given: str, right: str) -> bool:
    """Compare two texts in a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode(errors="replace"), right.encode(errors="replace"))
