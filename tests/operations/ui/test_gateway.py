"""The gateway as a server: sessions, the password, websockets, and what every answer carries."""

import base64
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from typer.testing import CliRunner
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from threadjuice_dagster.cli.app import app
from threadjuice_dagster.failures import ConfigurationError
from threadjuice_dagster.operations.ui.gateway import Gateway, Session, session_key
from threadjuice_dagster.operations.ui.rules import MAX_FAILURES, KnownNames
from threadjuice_dagster.operations.ui.server import address_of, listen, server_of
from threadjuice_dagster.settings import load_settings

PASSWORD = "correct horse: bättery"
PAGE = {"Accept": "text/html", "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
JSON = {"Content-Type": "application/json"}


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("reached")
    await websocket.close()


async def answer(_: object) -> HTMLResponse:
    return HTMLResponse("reached", headers={"Content-Security-Policy": "object-src 'none'"})


INNER = Starlette(
    routes=[WebSocketRoute("/graphql", echo), Route("/{path:path}", answer, methods=["GET", "POST", "OPTIONS"])]
)


@pytest.fixture
def start() -> Iterator[Callable[..., int]]:
    """Serves an application behind the gateway, as the UI is served; gives its port."""
    servers: list[uvicorn.Server] = []

    def run(password: str, public_url: str = "http://127.0.0.1:3000") -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        gateway = Gateway(INNER, KnownNames(public_url=public_url), Session(b"key", password))
        servers.append(server_of(gateway, public_url))
        thread = threading.Thread(target=servers[-1].run, args=([listener],), daemon=True)
        thread.start()
        return int(listener.getsockname()[1])

    yield run
    for server in servers:
        server.should_exit = True


def ask(port: int, method: str, path: str, headers: dict[str, str]) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body="{}" if method == "POST" else None, headers=headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def cookie(response: HTTPResponse) -> str:
    return (response.getheader("Set-Cookie") or "").split(";")[0]


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()}


def test_a_browser_gets_its_session_with_the_page_and_nothing_without_it(start: Callable[[str], int]) -> None:
    port = start("")
    page = ask(port, "GET", "/runs/1", {**PAGE, "Sec-Fetch-Site": "cross-site"})
    attributes = (page.getheader("Set-Cookie") or "").split("; ")[1:]
    assert (page.status, attributes) == (200, ["Path=/", "HttpOnly", "SameSite=Strict"])
    ours = {**JSON, "Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}
    assert ask(port, "POST", "/graphql", ours).status == 403
    assert ask(port, "POST", "/graphql", {**ours, "Cookie": "a={}; " + cookie(page)}).status == 200
    assert ask(port, "POST", "/graphql", {**ours, "Cookie": cookie(page) + "0"}).status == 403
    assert (
        ask(port, "POST", "/graphql", {**ours, "Cookie": cookie(page), "Origin": "http://evil.example"}).status == 403
    )
    assert ask(port, "GET", "/download_debug/1", PAGE).status == 403
    assert ask(port, "GET", "/download_debug/1", {**PAGE, "Cookie": cookie(page)}).status == 200


def test_a_program_of_this_machine_needs_no_session(start: Callable[[str], int]) -> None:
    port = start("")
    assert ask(port, "POST", "/graphql", JSON).status == 200
    assert ask(port, "GET", "/server_info", {}).getheader("Set-Cookie") is None
    assert cookie(ask(port, "GET", "/", {})) != ""  # one that loads the page gets a session like a browser


def test_websockets_are_held_to_the_same_rules(capfd: pytest.CaptureFixture[str], start: Callable[[str], int]) -> None:
    port = start("")
    address, session = f"ws://127.0.0.1:{port}/graphql", cookie(ask(port, "GET", "/", PAGE))

    def reached(**headers: str) -> bool:
        try:
            with connect(address, additional_headers=headers, proxy=None) as websocket:
                return websocket.recv(10) == "reached"
        except InvalidStatus as refused:
            return refused.response.status_code != 403

    assert reached()
    assert not reached(Origin="http://evil.example")
    assert not reached(Origin="http://evil.example", Cookie=session)
    assert not reached(Origin=f"http://127.0.0.1:{port}")
    assert reached(Origin=f"http://127.0.0.1:{port}", Cookie=session)
    assert capfd.readouterr().err == ""  # pages of others fill no log


def test_no_answer_may_be_framed_or_loaded_by_another_site(start: Callable[[str], int]) -> None:
    port = start("")
    for response in (ask(port, "GET", "/", PAGE), ask(port, "GET", "/graphql?query={x}", {})):
        policies = response.headers.get_all("Content-Security-Policy") or []
        assert "frame-ancestors 'self'" in policies
        assert response.getheader("X-Frame-Options") == "SAMEORIGIN"
        assert response.getheader("Cross-Origin-Resource-Policy") == "same-origin"
        assert response.getheader("Access-Control-Allow-Origin") is None
    assert "object-src 'none'" in (ask(port, "GET", "/", PAGE).headers.get_all("Content-Security-Policy") or [])


def test_with_a_password_nothing_is_answered_without_it(start: Callable[[str], int]) -> None:
    port = start(PASSWORD)
    asked = ask(port, "GET", "/", PAGE)
    assert (asked.status, asked.getheader("Set-Cookie")) == (401, None)
    assert (asked.getheader("WWW-Authenticate") or "").startswith("Basic ")
    for headers in ({}, {"Authorization": "Basic !"}, {"Authorization": "Bearer x"}, basic(""), basic(PASSWORD[:-1])):
        assert ask(port, "POST", "/graphql", {**JSON, **headers}).status == 401
    assert ask(port, "POST", "/graphql", {**JSON, **basic(PASSWORD)}).status == 200
    page = ask(port, "GET", "/", {**PAGE, **basic(PASSWORD)})
    ours = {**JSON, "Origin": f"http://127.0.0.1:{port}", "Cookie": cookie(page)}
    assert ask(port, "POST", "/graphql", ours).status == 200
    with connect(
        f"ws://127.0.0.1:{port}/graphql", additional_headers={"Cookie": cookie(page)}, proxy=None
    ) as websocket:
        assert websocket.recv(10) == "reached"


def test_guessing_ends_after_a_few_passwords_and_open_sessions_go_on(start: Callable[[str], int]) -> None:
    port = start(PASSWORD)
    session = {"Cookie": cookie(ask(port, "GET", "/", {**PAGE, **basic(PASSWORD)}))}
    guessed = [ask(port, "GET", "/", {**PAGE, **basic(str(number))}).status for number in range(MAX_FAILURES)]
    assert set(guessed) == {401}
    refused = ask(port, "GET", "/", {**PAGE, **basic(PASSWORD)})
    assert (refused.status, refused.getheader("Retry-After")) == (429, "60")
    assert ask(port, "GET", "/", {**PAGE, **session}).status == 200


@pytest.mark.parametrize(("public_url", "last"), [("http://127.0.0.1:3000", 429), ("https://dagster.example.org", 401)])
def test_only_a_proxy_that_is_named_says_from_which_address_somebody_guesses(
    start: Callable[..., int], public_url: str, last: int
) -> None:
    port = start(PASSWORD, public_url)
    guessed = [
        ask(port, "GET", "/", {**PAGE, **basic("wrong"), "X-Forwarded-For": f"192.0.2.{number}"}).status
        for number in range(MAX_FAILURES + 1)
    ]
    assert guessed == [401] * MAX_FAILURES + [last]


def test_a_session_outlives_a_restart_but_not_a_new_password_or_another_newsroom() -> None:
    assert Session(b"key", "a").token == Session(b"key", "a").token
    assert Session(b"key", "a").token != Session(b"key", "b").token
    assert Session(b"key", "a").cookie != Session(b"other", "a").cookie


def test_processes_that_start_together_share_one_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "ui.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(session_key, [path] * 16))
    assert len(keys) == 1
    assert len(keys.pop()) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_without_a_password_only_this_machine_is_listened_to(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"THREADJUICE_UI_PASSWORD.*ssh -L"):
        listen(load_settings({}), host, 0)


def test_with_a_password_others_are_listened_to() -> None:
    settings = load_settings({"THREADJUICE_UI_PASSWORD": PASSWORD})
    assert "horse" not in repr(settings)
    with listen(settings, "0.0.0.0", 0) as listener:
        assert address_of(listener, "0.0.0.0") == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_port_that_is_taken_or_is_none_is_said_at_once() -> None:
    with listen(load_settings({}), "127.0.0.1", 0) as listener:
        with pytest.raises(ConfigurationError, match="--port"):
            listen(load_settings({}), "127.0.0.1", listener.getsockname()[1])
        with pytest.raises(ConfigurationError, match="65535"):
            listen(load_settings({}), "127.0.0.1", 65536)


@pytest.mark.parametrize("command", ["dev", "ui"])
def test_the_command_line_says_in_one_line_how_others_may_be_let_in(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--host", "0.0.0.0"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "THREADJUICE_UI_PASSWORD" in result.stderr


@pytest.mark.parametrize("text", [None, "", "load_from: [", "a: 1", "- 1", "\x00"])
def test_a_workspace_that_dagster_does_not_understand_is_one_line(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "workspace.yaml"
    if text is not None:
        path.write_text(text)
    result = CliRunner().invoke(app, ["ui", "--port", "0", "--workspace", str(path)], catch_exceptions=False)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert str(path) in result.stderr
