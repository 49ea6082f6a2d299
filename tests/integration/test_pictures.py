import io
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from PIL import Image
from servers.pictures import Answer, PictureServer, json_answer, photograph, picture_server

from threadjuice_dagster.domain import thumbhash
from threadjuice_dagster.domain.images import PictureRefused, StoryImage, licence_problem
from threadjuice_dagster.domain.stories import Category
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, TransientFailure
from threadjuice_dagster.resources import http
from threadjuice_dagster.resources.http import download_picture, fetch_json, retry_after
from threadjuice_dagster.resources.pictures import PictureDesk
from threadjuice_dagster.resources.sockets import is_public
from threadjuice_dagster.resources.storage import FolderStorage, Storage

NEIGHBOURS = Category(slug="neighbours", name="Neighbours", description="Fences.", colour="#15703a")
PHOTO = photograph(1000, 750)


@pytest.fixture
def server() -> Iterator[PictureServer]:
    with picture_server() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> FolderStorage:
    return FolderStorage(root=str(tmp_path / "img"), public_url="https://img.example.org")


def desk(server: PictureServer, *providers: str, **changes: object) -> PictureDesk:
    settings = {
        "openverse_url": server.url,
        "unsplash_url": server.url,
        "unsplash_key": "k3y",
        "unsplash_unattended": True,
        "allowed_origins": [server.url],
        "speed": 9,
    }
    return PictureDesk(providers=list(providers), **{**settings, **changes})


def chosen(desk: PictureDesk, storage: Storage, used: frozenset[str] = frozenset()) -> StoryImage:
    return desk.choose("t3-ladder", "old ladder", "The ladder came back", "A ladder", NEIGHBOURS, storage, used)


def fetched(server: PictureServer, path: str, **options: object) -> bytes:
    return download_picture(server.url + path, (), [server.url], **options)


# Openverse


def test_an_openverse_picture_is_encoded_stored_and_credited(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_openverse(server.openverse_result("one", PHOTO))
    image = chosen(desk(server, "openverse", "title_card"), folder)
    assert (image.provider, image.source_id, image.delivery) == ("openverse", "id-one", "rehost")
    assert (image.licence.code, image.licence.version) == ("by-sa", "4.0")
    assert image.credit == '"Picture one" by Ada Vermeer is licensed under CC BY-SA 4.0.'
    assert (image.width, image.height, image.note) == (1000, 750, "")
    assert licence_problem(image) is None
    assert len(image.variants) == 9
    for variant in image.variants:
        data = folder.get(variant.key)
        stored = Image.open(io.BytesIO(data))
        assert variant.url == f"https://img.example.org/{variant.key}"
        assert (stored.size, len(data)) == ((variant.width, variant.height), variant.bytes)
        assert stored.format.lower() == variant.format
    assert thumbhash.to_data_url(image.placeholder)


def test_openverse_is_asked_for_free_licences_only(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_openverse(server.openverse_result("one", PHOTO))
    chosen(desk(server, "openverse"), folder)
    (asked,) = server.asked("/v1/images/")
    assert asked.query["q"] == "old ladder"
    assert asked.query["license_type"] == "commercial,modification"
    assert asked.query["mature"] == "false"
    assert int(asked.query["page_size"]) <= 20


@pytest.mark.parametrize(
    "changes",
    [
        {"license": "by-nc"},
        {"license": "by-nc-sa"},
        {"license": "by-nd"},
        {"license": "sampling+"},
        {"license": "nc-sampling+"},
        {"license": "something-new"},
        {"license": ""},
        {"license": None},
        {"license": ["by"]},
        {"license": "by", "license_url": "https://creativecommons.org/licenses/by-nc/2.0/"},
        {"mature": True},
        {"attribution": "", "creator": None},
        {"url": "javascript:alert(1)"},
        {"url": None},
        {"id": None},
        {"width": 200, "height": 150},
        {"width": 30_000, "height": 30_000},
    ],
)
def test_an_openverse_result_that_must_not_be_used_is_skipped(
    server: PictureServer, folder: FolderStorage, changes: dict[str, object]
) -> None:
    server.serve_openverse(server.openverse_result("bad", PHOTO, **changes), server.openverse_result("good", PHOTO))
    image = chosen(desk(server, "openverse"), folder)
    assert image.source_id == "id-good"
    assert server.asked("/originals/bad") == []


def test_a_credit_is_composed_where_the_answer_has_none(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_openverse(server.openverse_result("one", PHOTO, attribution=None))
    credit = chosen(desk(server, "openverse"), folder).credit
    assert all(part in credit for part in ("Picture one", "Ada Vermeer", "BY-SA 4.0"))


@pytest.mark.parametrize("document", [[], {}, {"results": None}, {"results": [None, 3, "x", {}]}, None, "text"])
def test_an_answer_of_another_shape_passes_the_provider_over(
    server: PictureServer, folder: FolderStorage, document: object
) -> None:
    server.script["/v1/images/"] = json_answer(document)
    image = chosen(desk(server, "openverse", "title_card"), folder)
    assert image.provider == "title_card"
    assert "openverse" in image.note


def test_links_that_could_break_a_page_are_left_out(server: PictureServer, folder: FolderStorage) -> None:
    hostile = {"creator_url": "javascript:alert(1)", "foreign_landing_url": 'https://x.example/"><script>'}
    server.serve_openverse(server.openverse_result("one", PHOTO, creator="A\u202eda\n\0 Vermeer", **hostile))
    image = chosen(desk(server, "openverse"), folder)
    assert (image.creator_url, image.source_url, image.creator) == ("", "", "Ada Vermeer")


def test_a_picture_another_story_shows_is_skipped(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_openverse(*(server.openverse_result(name, PHOTO) for name in ("one", "two")))
    image = chosen(desk(server, "openverse"), folder, frozenset({"id-one"}))
    assert image.source_id == "id-two"
    last = chosen(desk(server, "openverse", "title_card"), folder, frozenset({"id-one", "id-two"}))
    assert last.provider == "title_card"
    assert "Other stories" in last.note


def test_a_picture_that_cannot_be_read_gives_way_to_the_next(server: PictureServer, folder: FolderStorage) -> None:
    bodies = {
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "html": b"<html>",
        "cut": PHOTO[:3000],
        "fine": PHOTO,
    }
    server.serve_openverse(*(server.openverse_result(name, body) for name, body in bodies.items()))
    assert chosen(desk(server, "openverse"), folder).source_id == "id-fine"


def test_all_hostile_pictures_pass_the_provider_over(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_openverse(*(server.openverse_result(f"bad{i}", b"<html>") for i in range(20)))
    image = chosen(desk(server, "openverse", "title_card"), folder)
    assert image.provider == "title_card"
    assert "5 pictures were tried" in image.note
    assert sum(request.path.startswith("/originals/") for request in server.requests) == 5


@pytest.mark.parametrize("answer", [Answer(401), Answer(404), Answer(200, b"<html>"), Answer(200, b"["), Answer(302)])
def test_an_outage_passes_the_provider_over(server: PictureServer, folder: FolderStorage, answer: Answer) -> None:
    server.script["/v1/images/"] = answer
    image = chosen(desk(server, "openverse", "title_card"), folder)
    assert image.provider == "title_card"
    assert image.note.startswith("openverse: ")
    assert licence_problem(image) is None


def test_no_provider_left_is_a_permanent_failure_that_says_why(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_openverse()
    with pytest.raises(PermanentFailure, match=r"openverse: Nothing usable.*title_card last in IMAGE_PROVIDERS"):
        chosen(desk(server, "openverse"), folder)


def test_an_unknown_provider_is_a_configuration_error(server: PictureServer, folder: FolderStorage) -> None:
    with pytest.raises(ConfigurationError, match="openverse, unsplash, title_card"):
        chosen(desk(server, "flickr"), folder)


# Storing


def test_trouble_with_storage_is_no_reason_for_another_picture(server: PictureServer, tmp_path: Path) -> None:
    server.serve_openverse(server.openverse_result("one", PHOTO))
    (tmp_path / "file").touch()
    with pytest.raises((PermanentFailure, TransientFailure)):
        chosen(desk(server, "openverse", "title_card"), FolderStorage(root=str(tmp_path / "file")))


def test_another_quality_never_overwrites_a_key(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_openverse(server.openverse_result("one", PHOTO))
    first, again, other = (chosen(desk(server, "openverse", quality=q), folder) for q in (85, 85, 60))
    assert first.variants == again.variants
    assert not {v.key for v in first.variants} & {v.key for v in other.variants}
    assert first.sha256 == other.sha256


# Title card


def test_a_title_card_needs_no_network(folder: FolderStorage) -> None:
    image = chosen(PictureDesk(providers=["title_card"], speed=9), folder)
    assert (image.width, image.height, image.provider) == (1920, 1080, "title_card")
    assert image.licence.code == "own"
    assert "The ladder came back" in image.alt_text
    assert {v.width for v in image.variants} == {480, 768, 1200, 1920}
    assert licence_problem(image) is None


# Unsplash


def test_an_unsplash_picture_is_hotlinked_and_never_copied(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_unsplash(server.unsplash_result("abc", PHOTO))
    image = chosen(desk(server, "unsplash", "title_card"), folder)
    assert (image.provider, image.source_id, image.delivery) == ("unsplash", "abc", "hotlink")
    assert folder.list() == []
    assert len(image.variants) == 12
    widest = next(v for v in image.variants if v.format == "avif")
    assert widest.width == 1920
    assert widest.height == 1440
    assert widest.url.startswith(f"{server.url}/raw/abc?")
    assert all(part in widest.url for part in ("ixid=abc", "w=1920", "fm=avif", "q=72"))
    assert any("fm=jpg" in v.url and "w=480" in v.url for v in image.variants)
    assert licence_problem(image) is None
    assert thumbhash.decode(image.placeholder).width == 32


def test_unsplash_is_credited_and_told_of_the_choice(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_unsplash(server.unsplash_result("abc", PHOTO))
    image = chosen(desk(server, "unsplash"), folder)
    assert image.credit == "Photo by Grace Ito on Unsplash"
    assert image.creator_url == "https://unsplash.com/@grace?utm_source=threadjuice&utm_medium=referral"
    assert "utm_source=threadjuice" in image.source_url
    assert image.alt_text == "a ladder against a fence"
    (search,), (told,) = server.asked("/search/photos"), server.asked("/photos/abc/download")
    assert search.headers["authorization"] == told.headers["authorization"] == "Client-ID k3y"
    assert told.query["ixid"] == "abc"


def test_the_unsplash_key_is_sent_to_the_api_only(server: PictureServer, folder: FolderStorage) -> None:
    elsewhere = {"html": "https://unsplash.com/x", "download_location": "http://127.0.0.1:9/photos/abc/download"}
    server.serve_unsplash(server.unsplash_result("abc", PHOTO, links=elsewhere), server.unsplash_result("def", PHOTO))
    assert chosen(desk(server, "unsplash"), folder).source_id == "def"
    assert all("authorization" not in request.headers for request in server.requests if "/raw/" in request.path)


def test_a_photograph_whose_choice_cannot_be_counted_is_not_used(server: PictureServer, folder: FolderStorage) -> None:
    result = server.unsplash_result("abc", PHOTO)
    server.script["/photos/abc/download"] = Answer(403)
    server.serve_unsplash(result)
    image = chosen(desk(server, "unsplash", "title_card"), folder)
    assert image.provider == "title_card"
    assert "403" in image.note


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"unsplash_unattended": False}, "UNSPLASH_UNATTENDED"), ({"unsplash_key": ""}, "UNSPLASH_ACCESS_KEY")],
)
def test_unsplash_is_not_asked_without_agreement_and_key(
    server: PictureServer, folder: FolderStorage, changes: dict[str, object], why: str
) -> None:
    server.serve_unsplash(server.unsplash_result("abc", PHOTO))
    image = chosen(desk(server, "unsplash", "title_card", **changes), folder)
    assert image.provider == "title_card"
    assert why in image.note
    assert server.requests == []


def test_an_unsplash_picture_at_a_strangers_address_is_not_hotlinked(
    server: PictureServer, folder: FolderStorage
) -> None:
    server.serve_unsplash(server.unsplash_result("abc", urls={"raw": "https://tracker.example/p.jpg"}))
    image = chosen(desk(server, "unsplash", "title_card"), folder)
    assert image.provider == "title_card"
    assert "tracker.example" in image.note


def test_a_desk_is_a_resource_with_its_key_from_the_environment(
    server: PictureServer, folder: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "k3y")
    server.serve_unsplash(server.unsplash_result("abc", PHOTO))

    @dg.asset
    def picture(pictures: PictureDesk, cdn: Storage) -> None:
        assert chosen(pictures, cdn).provider == "unsplash"

    resource = desk(server, "unsplash", unsplash_key=dg.EnvVar("SOME_KEY"))
    assert dg.materialize([picture], resources={"pictures": resource, "cdn": folder}).success
    assert server.asked("/search/photos")[0].headers["authorization"] == "Client-ID k3y"


# Downloads


def test_a_picture_is_downloaded_from_an_allowed_origin(server: PictureServer) -> None:
    server.serve_picture("/a b.jpg", PHOTO)
    server.script["/a%20b.jpg"] = server.script["/a b.jpg"]
    assert fetched(server, "/a b.jpg") == PHOTO


def test_a_redirect_is_followed_where_it_may_lead(server: PictureServer) -> None:
    server.serve_picture("/end", PHOTO)
    server.script["/start"] = Answer(302, headers={"Location": "next"})
    server.script["/next"] = Answer(301, headers={"Location": f"{server.url}/end"})
    assert fetched(server, "/start") == PHOTO


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:9/admin",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "https://localhost/x.jpg",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "//10.0.0.1/x.jpg",
        "https://user:password@127.0.0.1/x.jpg",
        "http://[bad",
        "",
    ],
)
def test_a_redirect_to_anywhere_else_is_refused(server: PictureServer, location: str) -> None:
    server.script["/start"] = Answer(302, headers={"Location": location})
    with pytest.raises(PictureRefused):
        fetched(server, "/start")


def test_redirects_without_end_are_refused(server: PictureServer) -> None:
    server.script["/loop"] = Answer(302, headers={"Location": "/loop"})
    with pytest.raises(PictureRefused, match="redirects"):
        fetched(server, "/loop")
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    "url",
    [
        "http://images.example.org/a.jpg",
        "https://images.example.org:8443/a.jpg",
        "https://images.example.org.evil.test/a.jpg",
        "https://evil.test/images.example.org",
        "https://images.example.org@evil.test/a.jpg",
        "https://user@images.example.org/a.jpg",
        "https://notflickr.test/a.jpg",
        "https://evilflickr.example/a.jpg",
        "ftp://images.example.org/a.jpg",
        "data:image/png;base64,AAAA",
        "images.example.org/a.jpg",
        "https://",
        "",
        "https://exa mple.org/\0",
    ],
)
def test_an_address_that_is_not_allow_listed_is_refused_unasked(url: str) -> None:
    with pytest.raises(PictureRefused):
        download_picture(url, ("images.example.org", ".flickr.example"))


def test_an_allowed_name_that_resolves_to_a_private_address_is_refused() -> None:
    for host in ("localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.1.2.3", "0x7f000001", "2130706433"):
        with pytest.raises((PictureRefused, TransientFailure)) as caught:
            download_picture(f"https://{host}/a.jpg", (host.strip("[]"),))
        if isinstance(caught.value, PictureRefused):
            assert "not public" in str(caught.value)


def test_loopback_names_are_refused_and_not_merely_unreachable() -> None:
    with pytest.raises(PictureRefused, match="not public"):
        download_picture("https://localhost/a.jpg", ("localhost",))


@pytest.mark.parametrize("answers", [["93.184.215.14", "127.0.0.1"], ["10.0.0.1"], ["fd00::1"], ["100.64.0.1"]])
def test_a_name_with_any_private_address_is_refused(monkeypatch: pytest.MonkeyPatch, answers: list[str]) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in answers]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)
    with pytest.raises(PictureRefused, match="not public"):
        download_picture("https://rebinding.example/a.jpg", ("rebinding.example",))


def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, connected = [], []

    def resolve(host: str, *rest: object, **options: object) -> list[object]:
        asked.append(host)
        address = "93.184.215.14" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]

    def connect(address: tuple[str, int], *rest: object, **options: object) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(TransientFailure):
        download_picture("https://rebinding.example/a.jpg", ("rebinding.example",))
    assert asked == ["rebinding.example"]
    assert connected == [("93.184.215.14", 443)]


def test_tls_names_the_host_although_the_address_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TCP listener stands in for the public address; the client's greeting must name the host."""
    listener = socket.create_server(("127.0.0.1", 0))
    greeted: list[bytes] = []

    def accept() -> None:
        connection, _ = listener.accept()
        with connection:
            greeted.append(connection.recv(4096))

    def connect(*rest: object, **options: object) -> socket.socket:
        connection = socket.socket()
        connection.connect(listener.getsockname())
        return connection

    threading.Thread(target=accept, daemon=True).start()
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(TransientFailure):
        download_picture("https://pinned.example/a.jpg", ("pinned.example",), timeout=3)
    assert b"pinned.example" in greeted[0]
    assert http._tls().verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:4700::1111", True),
        ("64:ff9b::5db8:d70e", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fec0::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("2001:db8::1", False),
    ],
)
def test_only_addresses_of_the_open_internet_are_public(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


def test_an_oversize_picture_is_refused_by_its_announcement(server: PictureServer) -> None:
    server.script["/big"] = Answer(200, b"x", {"Content-Length": "99999999"})
    with pytest.raises(PictureRefused, match="larger than 1 MB"):
        fetched(server, "/big", max_bytes=1_000_000)


def test_a_stream_without_end_is_cut_off(server: PictureServer) -> None:
    server.script["/endless"] = Answer(200, endless=True)
    with pytest.raises(PictureRefused, match="larger than"):
        fetched(server, "/endless", max_bytes=1_000_000)


@pytest.mark.parametrize("drip", [{"drip": 0.05}, {"drip": 0.05, "drip_headers": True}])
def test_a_picture_that_drips_in_is_given_up_in_time(server: PictureServer, drip: dict[str, object]) -> None:
    server.script["/slow"] = Answer(200, PHOTO, **drip)
    started = time.monotonic()
    with pytest.raises(TransientFailure, match=r"0\.6 seconds"):
        fetched(server, "/slow", timeout=0.6)
    assert time.monotonic() - started < 2


def test_a_picture_packed_once_more_is_refused(server: PictureServer) -> None:
    server.script["/packed"] = Answer(200, b"x", {"Content-Encoding": "gzip"})
    with pytest.raises(PictureRefused, match="compressed"):
        fetched(server, "/packed")


@pytest.mark.parametrize(
    ("status", "kind"), [(404, PictureRefused), (403, PictureRefused), (429, TransientFailure), (503, TransientFailure)]
)
def test_a_host_that_has_no_picture_is_named(server: PictureServer, status: int, kind: type[Exception]) -> None:
    server.script["/gone"] = Answer(status)
    with pytest.raises(kind, match=f"127.0.0.1 answered {status}"):
        fetched(server, "/gone")


def test_a_host_that_hangs_up_is_refused_or_out(server: PictureServer) -> None:
    server.script["/hangs"] = Answer(hang_up=True)
    with pytest.raises((PictureRefused, TransientFailure)):
        fetched(server, "/hangs")
    with pytest.raises(TransientFailure, match="cannot be reached"):
        download_picture("http://127.0.0.1:9/a", (), ["http://127.0.0.1:9"])


# JSON


def test_json_is_fetched_after_an_outage_of_moments(server: PictureServer) -> None:
    server.script["/api"] = [Answer(503), Answer(429, headers={"Retry-After": "0"}), json_answer({"ok": True})]
    assert fetch_json(f"{server.url}/api", {"q": "x"}, {"X-Key": "k"}) == {"ok": True}
    assert [asked.query for asked in server.requests] == [{"q": "x"}] * 3
    assert server.requests[0].headers["x-key"] == "k"


def test_retry_after_is_waited_for(server: PictureServer) -> None:
    server.script["/api"] = [Answer(429, headers={"Retry-After": "1"}), json_answer(1)]
    started = time.monotonic()
    assert fetch_json(f"{server.url}/api") == 1
    assert time.monotonic() - started >= 1


def test_a_wait_is_never_longer_than_a_minute() -> None:
    assert http._wait(1, 86_400.0) == 60.0
    assert http._wait(1, 7.0) == 7.0
    assert 0 < http._wait(1, None) < http._wait(20, None) <= 60.0


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    now = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
    assert retry_after("17", now) == 17
    assert retry_after("Tue, 01 Jan 2030 12:00:30 GMT", now) == 30
    assert retry_after("Tue, 01 Jan 2030 11:00:00 GMT", now) == 0
    assert [retry_after(text, now) for text in ("", "soon", "-5", "1e9")] == [None] * 4


def test_a_lasting_outage_is_transient_exhausted_and_keeps_the_secret(server: PictureServer) -> None:
    server.script["/api"] = Answer(503, b"internal secret", {"Retry-After": "0"})
    with pytest.raises(TransientFailure, match=r"503\. It was tried 3 times") as caught:
        fetch_json(f"{server.url}/api?key=s3cr3t", headers={"Authorization": "Bearer s3cr3t"})
    assert caught.value.exhausted
    assert "s3cr3t" not in str(caught.value)
    assert "internal" not in str(caught.value)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refused_request_is_permanent_and_not_repeated(server: PictureServer, status: int) -> None:
    server.script["/api"] = Answer(status, b"body with a secret")
    with pytest.raises(PermanentFailure, match=str(status)) as caught:
        fetch_json(f"{server.url}/api")
    assert "body" not in str(caught.value)
    assert len(server.requests) == 1


def test_silence_and_a_closed_port_are_transient(server: PictureServer) -> None:
    server.script["/slow"] = Answer(200, b"[1]" * 100, drip=0.05)
    for url in (f"{server.url}/slow", "http://127.0.0.1:9/"):
        with pytest.raises(TransientFailure, match="got no answer"):
            fetch_json(url, timeout=0.3, attempts=2)


def test_an_answer_without_end_is_cut_off(server: PictureServer) -> None:
    server.script["/api"] = Answer(200, endless=True)
    with pytest.raises(PermanentFailure, match="bytes"):
        fetch_json(f"{server.url}/api")


@pytest.mark.parametrize("body", [b"<html>", b"", b"[" * 100_000, b"\xff\xfe"])
def test_what_is_not_json_is_named(server: PictureServer, body: bytes) -> None:
    server.script["/api"] = Answer(200, body)
    with pytest.raises(TransientFailure, match="JSON"):
        fetch_json(f"{server.url}/api")


def test_a_wrong_address_is_a_permanent_failure() -> None:
    for url in ("http://[bad/", "nonsense", "http://exa mple/"):
        with pytest.raises((PermanentFailure, TransientFailure)):
            fetch_json(url, attempts=1)
