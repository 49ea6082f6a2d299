"""Which requests may reach the Dagster UI."""

import pytest

from threadjuice_dagster.operations.ui.rules import (
    DATA_PATHS,
    FAILURE_SECONDS,
    MAX_FAILURES,
    FailedLogins,
    KnownNames,
    Visit,
    is_loopback,
    refusal,
)

HERE = "127.0.0.1:3000"
JSON = ("content-type", "application/json")
OTHER_SITE = ("sec-fetch-site", "cross-site")
OPENED = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("accept", "text/html,*/*;q=0.8")]


def visit(method: str = "POST", path: str = "/graphql", *headers: tuple[str, str], host: str = HERE, query: str = ""):
    kind = "websocket" if method == "WS" else "http"
    return Visit(
        kind=kind,  # type: ignore[arg-type]
        method="GET" if kind == "websocket" else method,
        path=path,
        query=query,
        headers=(("host", host), *headers),
        arrived_at="10.0.0.7",
    )


def status(asked: Visit, names: KnownNames | None = None) -> int:
    refused = refusal(asked, names or KnownNames())
    return refused.status if refused else 200


@pytest.mark.parametrize("host", [HERE, "localhost", "LOCALHOST:3000", "[::1]:3000", "127.9.9.9", "10.0.0.7:3000"])
def test_this_machine_and_the_address_that_was_connected_to_are_known_hosts(host: str) -> None:
    assert status(visit("POST", "/graphql", JSON, host=host)) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:3000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example#127.0.0.1",
        "x@127.0.0.1",
        "127.0.0.1:port",
        "10.0.0.8",
        "0.0.0.0:3000",
        "[::ffff:1.2.3.4]",
        "",
        "[",
    ],
)
def test_a_name_that_somebody_pointed_at_this_machine_is_no_known_host(host: str) -> None:
    assert status(visit("POST", "/graphql", JSON, host=host)) == 403


def test_two_hosts_are_none() -> None:
    assert status(visit("POST", "/graphql", JSON, ("host", HERE))) == 403


def test_the_address_in_the_settings_is_known_as_host_and_as_origin() -> None:
    names = KnownNames(public_url="https://dagster.example.org", listening_on="news.local")
    origin = ("origin", "https://dagster.example.org")
    assert status(visit("POST", "/graphql", JSON, origin, host="dagster.example.org"), names) == 200
    assert status(visit("POST", "/graphql", JSON, origin), names) == 200  # a proxy may send the host it connects to
    assert status(visit("POST", "/graphql", JSON, host="news.local:3000"), names) == 200
    assert status(visit("POST", "/graphql", JSON, ("origin", "https://example.org")), names) == 403


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://127.0.0.1:3001",
        "http://localhost:3000",
        "",
        f"http://{HERE}.evil.example",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "WS"])
def test_no_other_page_is_answered(origin: str, method: str) -> None:
    path = "/server_info" if method == "GET" else "/graphql"
    assert status(visit(method, path, JSON, ("origin", origin))) == 403
    assert status(visit(method, path, JSON, ("origin", f"http://{HERE}"), ("origin", origin))) == 403
    assert status(visit(method, path, JSON, ("origin", f"http://{HERE}"))) == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_what_another_site_makes_a_browser_fetch_is_refused_also_without_an_origin(site: str) -> None:
    for destination in ("image", "script", "iframe", "empty", "object"):
        headers = [("sec-fetch-site", site), ("sec-fetch-dest", destination), ("accept", "text/html")]
        assert status(visit("GET", "/", *headers)) == 403
        assert status(visit("GET", "/", *headers, ("sec-fetch-mode", "navigate"))) == 403
    assert status(visit("GET", "/", ("sec-fetch-site", site))) == 403
    assert status(visit("GET", "/runs/x", ("sec-fetch-site", site), *OPENED)) == 200  # a link, as in an alert
    assert status(visit("POST", "/runs/x", ("sec-fetch-site", site), *OPENED)) == 403


@pytest.mark.parametrize(
    ("method", "types", "right"),
    [
        ("POST", ["application/json"], 200),
        ("POST", ["application/json; charset=utf-8"], 200),
        ("POST", ["text/plain"], 415),
        ("POST", ["text/plain; application/json"], 415),
        ("POST", ["application/x-www-form-urlencoded"], 415),
        ("POST", ["multipart/form-data; boundary=application/json"], 415),
        ("POST", ["application/graphql"], 415),
        ("POST", ["application/json", "text/plain"], 415),
        ("POST", [], 415),
        ("GET", [], 405),
        ("GET", ["application/json"], 405),
        ("HEAD", [], 405),
        ("OPTIONS", [], 405),
        ("PUT", ["application/json"], 405),
        ("DELETE", [], 405),
    ],
)
@pytest.mark.parametrize("path", ["/graphql", "/graphql/"])
def test_graphql_takes_json_by_post_and_nothing_else(path: str, method: str, types: list[str], right: int) -> None:
    headers = [("content-type", value) for value in types]
    assert status(visit(method, path, *headers, query="query=mutation{x}")) == right


def test_the_page_of_graphiql_opens_without_a_query_only() -> None:
    assert status(visit("GET", "/graphql", *OPENED)) == 200
    assert status(visit("GET", "/graphql", *OPENED, query="query=mutation{x}")) == 405


def test_reports_of_assets_are_json_as_well() -> None:
    assert status(visit("POST", "/report_asset_materialization/site", ("content-type", "text/plain"))) == 415


@pytest.mark.parametrize("path", DATA_PATHS)
def test_data_is_no_page(path: str) -> None:
    assert not visit("GET", f"{path}/x", *OPENED).is_page_load
    assert not visit("GET", path, *OPENED, query="x").is_page_load


def test_every_path_of_dagster_s_server_is_a_page_or_its_file_or_known_as_data() -> None:
    from dagster_webserver.webserver import DagsterWebserver
    from starlette.routing import Mount

    server = DagsterWebserver(None)  # type: ignore[type-var]
    for route in server.build_routes():
        if isinstance(route, Mount) or route.name in ("root_static", "index_html_endpoint"):  # type: ignore[attr-defined]
            continue
        path = route.path.split("/{")[0]  # type: ignore[attr-defined]
        assert path in DATA_PATHS


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "localhost.example.org", ""])
def test_only_this_machine_s_own_addresses_are_loopback(host: str) -> None:
    assert not is_loopback(host)
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))


def test_wrong_passwords_are_counted_by_network_and_forgotten_in_time() -> None:
    failed = FailedLogins()
    for moment in range(MAX_FAILURES):
        assert not failed.are_too_many("2001:db8::1", moment)
        failed.add(f"2001:db8::{moment:x}", moment)
    assert failed.are_too_many("2001:db8::ffff", MAX_FAILURES)
    assert not failed.are_too_many("2001:db8:0:1::1", MAX_FAILURES)
    assert not failed.are_too_many("2001:db8::1", FAILURE_SECONDS + 1)
    for number in range(5000):  # a flood of addresses is bounded, and the newest are kept
        failed.add(f"10.1.{number // 256}.{number % 256}", 100)
    for _ in range(MAX_FAILURES - 1):
        failed.add("10.1.19.135", 100)
    assert failed.are_too_many("10.1.19.135", 101)
