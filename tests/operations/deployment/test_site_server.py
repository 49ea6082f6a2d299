import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from newsstand import kettle_story, plain_picture

from threadjuice_dagster.operations.deployment.site_server import PreviewServer, serve
from threadjuice_dagster.operations.deployment.targets import LocalTarget
from threadjuice_dagster.operations.ui.rules import KnownNames
from threadjuice_dagster.site.assets import INK, PAPER, contrast, readable, site_assets
from threadjuice_dagster.site.builder import build_site
from threadjuice_dagster.site.headers import header_rules, headers_of


@pytest.mark.parametrize("colour", ["#ffff00", "#000000", "#ffffff", "#1d4ed8", "#808080", "nonsense", "red;}", ""])
def test_every_accent_can_be_read_on_both_backgrounds(colour: str) -> None:
    for background in (PAPER, INK):
        assert contrast(readable(colour, background), background) >= 4.5


def test_the_style_sheet_s_text_colours_meet_aa() -> None:
    assets = site_assets([])
    sheets = (assets.files[path].decode() for path in (assets.stylesheet, assets.dark))
    light, dark = (dict(re.findall(r"--([\w-]+):(#[0-9a-f]{6})", sheet.split("@media print")[0])) for sheet in sheets)
    assert (light["paper"], dark["paper"]) == (PAPER, INK)
    for scheme in (light, dark):
        for background in (scheme["paper"], scheme["raised"]):
            for text in ("ink", "soft", "accent"):
                assert contrast(scheme[text], background) >= 4.5


def test_the_fonts_are_small_renamed_and_have_the_letters_of_european_languages() -> None:
    import io

    from fontTools.ttLib import TTFont

    assets = site_assets([])
    fonts = {path: data for path, data in assets.files.items() if path.endswith(".woff2")}
    assert len(fonts) == 3
    assert sum(map(len, fonts.values())) < 92_000
    for data in fonts.values():
        font = TTFont(io.BytesIO(data))
        assert not {
            str(record) for record in font["name"].names if record.nameID in (1, 4, 6) and "Source" in str(record)
        }
        assert set("Žluťoučký kůň – “où” ½ € ß ø ğ ł ő") - {chr(code) for code in font.getBestCmap()} == set()
    assert b"Reserved Font Name" in assets.files["assets/font-licence.txt"]


@pytest.fixture
def server(storage: Path, target: Path) -> Iterator[PreviewServer]:
    build_site([kettle_story(storage)], target, "", storage)
    with serve(target, 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def get(server: PreviewServer, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(*server.server_address[:2], timeout=5)  # type: ignore[arg-type]
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def test_the_preview_serves_pages_and_pictures_with_their_types(server: PreviewServer) -> None:
    status, headers, body = get(server, "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"The kettle" in body
    for name, expected in (("avif", "image/avif"), ("webp", "image/webp"), ("jpeg", "image/jpeg")):
        status, headers, body = get(server, f"/img/{'ab' * 32}/480.{name}")
        assert (status, headers["content-type"]) == (200, expected)
        assert headers["cache-control"] == "public, max-age=31536000, immutable"
        assert body.startswith(name.encode())
    assert "immutable" not in get(server, "/version.json")[1]["cache-control"]


def test_an_empty_preview_says_which_command_fills_it(tmp_path: Path) -> None:
    deployed = LocalTarget(folder=str(tmp_path)).server(0)
    for server, command in ((serve(tmp_path, 0), "deploy build"), (deployed, "deploy production")):
        with server:
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            status, _, body = get(server, "/")
            thread.join()
        assert (status, command in body.decode()) == (503, True)


def test_the_preview_leads_to_the_folder_s_page(server: PreviewServer) -> None:
    status, headers, _ = get(server, "/story/the-kettle-1?x=1")
    assert (status, headers["location"]) == (301, "/story/the-kettle-1/")
    assert get(server, "/story/the-kettle-1/")[0] == 200


def test_the_preview_answers_head_without_a_body(server: PreviewServer) -> None:
    status, headers, body = get(server, "/about/", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 1000


def test_the_preview_shows_the_site_s_own_page_for_a_miss(server: PreviewServer) -> None:
    status, headers, body = get(server, "/story/gone/deeper/")
    assert (status, headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b"come loose" in body
    assert b'href="/index.html"' in body


@pytest.mark.parametrize(
    "path",
    [
        "/../../secret.txt",
        "/%2e%2e/%2e%2e/secret.txt",
        "/..%2f..%2fsecret.txt",
        "/img/..\\..\\secret.txt",
        "/link/secret.txt",
        "/%00",
        "//secret.txt",
        "/" + "a/" * 400,
        "/" + "a" * 5000,
        "/index.html/x",
    ],
)
def test_the_preview_never_leaves_the_site(server: PreviewServer, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "site" / "current" / "link").symlink_to(tmp_path)
    status, _, body = get(server, path)
    assert status == 404
    assert b"secret" not in body


def test_the_preview_never_redirects_to_another_host(server: PreviewServer, target: Path) -> None:
    (target / "current" / "evil.example").mkdir()
    assert get(server, "//evil.example")[1]["location"] == "/evil.example/"


def test_the_preview_shows_a_new_build_at_once(server: PreviewServer, storage: Path, target: Path) -> None:
    built = build_site([kettle_story(storage, 2)], target, "", storage)
    with urllib.request.urlopen(f"{server.url}/version.json", timeout=5) as answer:
        assert json.load(answer)["version"] == built.version
    assert get(server, "/story/the-kettle-1/")[0] == 404


def test_the_preview_says_so_when_nothing_was_built(tmp_path: Path) -> None:
    with serve(tmp_path / "nowhere", 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(running.url, timeout=5)
        refused.value.close()
        running.shutdown()
    assert refused.value.code == 503


def test_the_preview_sends_what_every_host_has_to_send(storage: Path, target: Path) -> None:
    build_site([kettle_story(storage), kettle_story(storage, 2, image=plain_picture(None))], target, "", storage)
    with serve(target, 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        for path in ("index.html", "story/the-kettle-1/index.html", "feed.xml", f"img/{'ab' * 32}/480.avif"):
            sent = get(running, f"/{path}")[1]
            for name, value in headers_of(path, ["https://pictures.example"]).items():
                assert sent[name.lower()] == value
        running.shutdown()
        thread.join()


def test_the_headers_rules_match_the_files_they_are_for() -> None:
    rules = header_rules(["https://pictures.example"])
    for path in ("index.html", "story/a/index.html", "assets/site.0.css", "img/0/480.avif", "assetsy/x.html"):
        matching = [rule.headers for rule in rules if re.fullmatch(rule.source, f"/{path}")]
        merged = {name: value for headers in matching for name, value in headers.items()}
        assert sum(len(headers) for headers in matching) == len(merged)
        assert merged.items() <= headers_of(path, ["https://pictures.example"]).items()
        assert "frame-ancestors 'none'" in merged["Content-Security-Policy"]
        assert "unsafe" not in merged["Content-Security-Policy"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "x@localhost"])
def test_a_name_that_somebody_pointed_at_this_machine_is_not_answered(server: PreviewServer, host: str) -> None:
    connection = HTTPConnection(*server.server_address[:2], timeout=5)  # type: ignore[arg-type]
    for method, path in (("GET", "/"), ("HEAD", "/"), ("GET", "/version.json")):
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        assert answer.status == 403
        assert b"site" not in answer.read()
        connection.close()
    connection.request("GET", "/", headers={"Host": "localhost"})
    assert connection.getresponse().status == 200
    connection.close()
    server.names = KnownNames(public_url="https://news.example.org")
    connection.request("GET", "/", headers={"Host": "news.example.org"})
    assert connection.getresponse().status == 200
    connection.close()
