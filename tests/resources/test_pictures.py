import io
import itertools
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import pytest
import sqlalchemy as sa
from makers import make_draft, make_image, make_thread
from PIL import Image, ImageOps
from servers.pictures import Answer, PictureServer, json_answer, photograph, picture_server

from threadjuice_dagster.assets.stories.picture_gate import picture_gate
from threadjuice_dagster.assets.stories.story_image import story_image
from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.schema import require_schema
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.domain.judging.moderation import Verdict
from threadjuice_dagster.domain.pictures import thumbhash
from threadjuice_dagster.domain.pictures.images import Licence, PictureRefused, StoryImage
from threadjuice_dagster.domain.pictures.licences import licence_problem
from threadjuice_dagster.domain.story.publication import PublishedStory
from threadjuice_dagster.domain.story.stories import Category, Draft, Persona, Section, Usage
from threadjuice_dagster.domain.writing.costs import Meter
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, TransientFailure
from threadjuice_dagster.partitions import STORIES
from threadjuice_dagster.resources import http
from threadjuice_dagster.resources.http import download_picture, fetch_json, retry_after
from threadjuice_dagster.resources.io_manager import StoreIOManager
from threadjuice_dagster.resources.picture_providers import Openverse, Unsplash, Wanted
from threadjuice_dagster.resources.pictures import Inspect, PictureService
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.resources.storage import FolderStorage, Storage
from threadjuice_dagster.resources.writers import ExtractiveWriter
from threadjuice_dagster.site.builder import build_site
from threadjuice_dagster.site.publisher import Publisher

NEIGHBOURS = Category(slug="neighbours", name="Neighbours", description="Fences.", colour="#15703a")
PHOTO = photograph(1000, 750)
NOON = datetime(2026, 4, 5, 12, tzinfo=UTC)
REFERRAL = "utm_source=threadjuice&amp;utm_medium=referral"


@pytest.fixture
def server() -> Iterator[PictureServer]:
    with picture_server() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> FolderStorage:
    return FolderStorage(root=str(tmp_path / "img"), public_url="https://img.example.org")


def picture_service(server: PictureServer, *providers: str, **changes: object) -> PictureService:
    settings = {
        "openverse_url": server.url,
        "unsplash_url": server.url,
        "unsplash_key": "k3y",
        "unsplash_unattended": True,
        "allowed_origins": [server.url],
        "speed": 9,
    }
    return PictureService(providers=list(providers), **{**settings, **changes})


def chosen(
    picture_service: PictureService,
    storage: Storage,
    used: frozenset[str] = frozenset(),
    inspect: Inspect | None = None,
) -> StoryImage:
    wanted = ("t3-ladder", "old ladder", "The ladder came back", "A ladder", NEIGHBOURS)
    return picture_service.choose(*wanted, storage, used, inspect, lambda: NOON)


def page_of(image: StoryImage, folder: Path) -> str:
    """The page of a story that shows this picture."""
    draft = Draft(title="The ladder came back", sections=(Section(kind="opening", text="It was gone for a year."),))
    story = PublishedStory(
        story_id=image.story_id,
        slug="ladder",
        draft=draft,
        category=NEIGHBOURS,
        persona=Persona(slug="mo", name="Mo Tarn", byline="By Mo Tarn", voice="plain"),
        image=image,
        source_url="",
        subreddit="ladders",
        writer="extractive",
        model="",
        score=8.5,
        published_at=NOON,
        updated_at=NOON,
    )
    build_site([story], folder / "site", "https://stories.example", None)
    return (folder / "site" / "current" / "story" / "ladder" / "index.html").read_text()


def credit_on(page: str) -> str:
    return " ".join(page.partition("<figcaption>")[2].partition("</figcaption>")[0].split())


def picture_data(page: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(page.partition('ld+json">')[2].partition("</script>")[0])["image"]
    return found


def fetched(server: PictureServer, path: str, **options: object) -> bytes:
    return download_picture(server.url + path, (), [server.url], **options)


# Openverse


def test_an_openverse_picture_is_encoded_stored_and_credited(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_openverse(server.openverse_result("one", PHOTO))
    image = chosen(picture_service(server, "openverse", "title_card"), folder)
    assert (image.provider, image.source_id, image.delivery) == ("openverse", "id-one", "rehost")
    assert (image.licence.code, image.licence.version) == ("by-sa", "4.0")
    assert image.credit == "“Picture one” by Ada Vermeer, CC BY-SA 4.0, resized"
    assert (image.width, image.height, image.note, image.use_reported_at) == (1000, 750, "", None)
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
    chosen(picture_service(server, "openverse"), folder)
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
        {"license_url": "https://creativecommons.org/licenses/by-sa/2.0/"},
        {"license_url": "javascript:alert(1)"},
        {"license_version": None, "license_url": None},
        {"mature": True},
        {"creator": None},
        {"creator": " \u200b"},
        {"title": "How to kill yourself tonight, step by step"},
        {"creator": "Write to ada.vermeer@photos.example"},
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
    image = chosen(picture_service(server, "openverse"), folder)
    assert image.source_id == "id-good"
    assert server.asked("/originals/bad") == []


@pytest.mark.parametrize(("told", "source"), [({}, "https://photos.example/one"), ({"foreign_landing_url": None}, "")])
def test_the_page_credits_title_creator_source_and_licence(
    server: PictureServer, folder: FolderStorage, tmp_path: Path, told: dict[str, object], source: str
) -> None:
    server.serve_openverse(server.openverse_result("one", PHOTO, attribution=None, license_url=None, **told))
    page = page_of(chosen(picture_service(server, "openverse"), folder), tmp_path)
    source, deed = source or f"{server.url}/originals/one", "https://creativecommons.org/licenses/by-sa/4.0/"
    assert credit_on(page) == (
        f'<a href="{source}" rel="nofollow">“Picture one”</a> by '
        '<a href="https://photos.example/ada" rel="nofollow">Ada Vermeer</a>, '
        f'<a href="{deed}" rel="license nofollow">CC BY-SA 4.0</a>, resized'
    )
    data = picture_data(page)
    assert data["creditText"] == "“Picture one” by Ada Vermeer, CC BY-SA 4.0, resized"
    assert (data["license"], data["acquireLicensePage"]) == (deed, source)


def test_a_picture_nobody_has_to_be_named_for_is_credited_without_a_name(
    server: PictureServer, folder: FolderStorage
) -> None:
    free = {"license": "cc0", "license_version": "1.0", "license_url": None, "creator": None, "title": None}
    server.serve_openverse(server.openverse_result("one", PHOTO, **free))
    image = chosen(picture_service(server, "openverse"), folder)
    assert image.credit == "“Untitled”, CC0 1.0, resized"
    assert licence_problem(image) is None


def test_a_hostile_credit_stays_text_on_the_page(server: PictureServer, folder: FolderStorage, tmp_path: Path) -> None:
    hostile = {"title": "<script>alert(1)</script>", "creator": '"><img src=x onerror=alert(2)>'}
    server.serve_openverse(server.openverse_result("one", PHOTO, creator_url="javascript:alert(3)", **hostile))
    page = page_of(chosen(picture_service(server, "openverse"), folder), tmp_path)
    credit = credit_on(page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in credit
    assert credit.count("<") == 4
    assert "javascript:" not in page
    assert hostile["title"] in picture_data(page)["creditText"]
    assert "<script>alert" not in page


@pytest.mark.parametrize("document", [[], {}, {"results": None}, {"results": [None, 3, "x", {}]}, None, "text"])
def test_an_answer_of_another_shape_passes_the_provider_over(
    server: PictureServer, folder: FolderStorage, document: object
) -> None:
    server.script["/v1/images/"] = json_answer(document)
    image = chosen(picture_service(server, "openverse", "title_card"), folder)
    assert image.provider == "title_card"
    assert "openverse" in image.note


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        " javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        "java\nscript:alert(1)",
        "\x01javascript:alert(1)",
        "javascript&colon;alert(1)",
        "javascript://https://photos.example/%0aalert(1)",
        "vbscript:msgbox(1)",
        "data:text/html,<script>alert(1)</script>",
        "blob:https://photos.example/1",
        "file:///etc/passwd",
        "//evil.example",
        "https:javascript",
        "https://photos.example/\nx",
        "https://photos.example/a b",
        "https://photos.example/\u202egpj.exe",
        " https://photos.example/a",
        "view-source:https://photos.example",
        {"href": "javascript:alert(1)"},
        ["javascript:alert(1)"],
    ],
    ids=itertools.count(),
)
def test_no_credit_leads_to_anything_but_a_web_page(server: PictureServer, address: object) -> None:
    wanted = Wanted("kettle", "A kettle", "", NEIGHBOURS)
    given = {"creator_url": address, "foreign_landing_url": address}
    server.serve_openverse(
        server.openverse_result("one", **given), server.openverse_result("two", license_url=address, **given)
    )
    user = {"name": "Grace", "links": {"html": address}}
    server.serve_unsplash(server.unsplash_result("three", user=user), server.unsplash_result("four", links=address))
    found = Openverse(server.url).find(wanted) + Unsplash(server.url, "key", unattended_allowed=True).find(wanted)
    assert found
    for candidate in found:
        links = [candidate.creator_url, candidate.source_url, candidate.licence.url]
        assert all(re.fullmatch(r"https?://[!-~]+", link) for link in links if link), links


def test_links_that_could_break_a_page_are_left_out(server: PictureServer, folder: FolderStorage) -> None:
    hostile = {"creator_url": "javascript:alert(1)", "foreign_landing_url": 'https://x.example/"><script>'}
    server.serve_openverse(server.openverse_result("one", PHOTO, creator="A\u202eda\n\0 Vermeer", **hostile))
    image = chosen(picture_service(server, "openverse"), folder)
    original = f"{server.url}/originals/one"
    assert (image.creator_url, image.source_url, image.creator) == ("", original, "Ada Vermeer")


def test_a_picture_another_story_shows_is_skipped(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_openverse(*(server.openverse_result(name, PHOTO) for name in ("one", "two")))
    image = chosen(picture_service(server, "openverse"), folder, frozenset({"id-one"}))
    assert image.source_id == "id-two"
    last = chosen(picture_service(server, "openverse", "title_card"), folder, frozenset({"id-one", "id-two"}))
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
    assert chosen(picture_service(server, "openverse"), folder).source_id == "id-fine"


def test_all_hostile_pictures_pass_the_provider_over(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_openverse(*(server.openverse_result(f"bad{i}", b"<html>") for i in range(20)))
    image = chosen(picture_service(server, "openverse", "title_card"), folder)
    assert image.provider == "title_card"
    assert "5 pictures were tried" in image.note
    assert sum(request.path.startswith("/originals/") for request in server.requests) == 5


@pytest.mark.parametrize("answer", [Answer(401), Answer(404), Answer(200, b"<html>"), Answer(200, b"["), Answer(302)])
def test_an_outage_passes_the_provider_over(server: PictureServer, folder: FolderStorage, answer: Answer) -> None:
    server.script["/v1/images/"] = answer
    image = chosen(picture_service(server, "openverse", "title_card"), folder)
    assert image.provider == "title_card"
    assert image.note.startswith("openverse: ")
    assert licence_problem(image) is None


def test_no_provider_left_is_a_permanent_failure_that_says_why(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_openverse()
    with pytest.raises(PermanentFailure, match=r"openverse: Nothing usable.*title_card last in IMAGE_PROVIDERS"):
        chosen(picture_service(server, "openverse"), folder)


def test_an_unknown_provider_is_a_configuration_error(server: PictureServer, folder: FolderStorage) -> None:
    with pytest.raises(ConfigurationError, match="openverse, unsplash, title_card"):
        chosen(picture_service(server, "flickr"), folder)


# Inspection


def test_a_picture_that_inspection_refuses_gives_way_to_the_next(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_openverse(*(server.openverse_result(name, PHOTO) for name in ("one", "two")))
    seen: list[bytes] = []

    def inspect(data: bytes) -> str | None:
        seen.append(data)
        return "violence" if len(seen) == 1 else None

    image = chosen(picture_service(server, "openverse"), folder, inspect=inspect)
    assert image.source_id == "id-two"
    assert [Image.open(io.BytesIO(data)).size for data in seen] == [(512, 384)] * 2
    assert Image.open(io.BytesIO(seen[0])).format == "JPEG"


def test_a_title_card_is_not_inspected_and_says_what_was_refused(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_openverse(*(server.openverse_result(f"{i}", PHOTO) for i in range(7)))
    seen: list[bytes] = []

    def inspect(data: bytes) -> str | None:
        seen.append(data)
        return "violence"

    image = chosen(picture_service(server, "openverse", "title_card"), folder, inspect=inspect)
    assert image.provider == "title_card"
    assert "5 pictures were tried; the last: The picture must not be shown: violence." in image.note
    assert len(seen) == 5


def test_no_uninspected_picture_is_shown_while_nobody_can_inspect(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_openverse(*(server.openverse_result(name, PHOTO) for name in ("one", "two")))
    asked: list[bytes] = []

    def inspect(data: bytes) -> str | None:
        asked.append(data)
        raise TransientFailure("The model is down.", exhausted=True)

    image = chosen(picture_service(server, "openverse", "title_card"), folder, inspect=inspect)
    assert image.provider == "title_card"
    assert "cannot be inspected: The model is down." in image.note
    assert len(asked) == 1


def test_an_unsplash_picture_is_inspected_before_its_use_is_reported(
    server: PictureServer, folder: FolderStorage
) -> None:
    server.serve_unsplash(*(server.unsplash_result(name, PHOTO) for name in ("abc", "def")))
    answers = iter(["violence", None])
    image = chosen(picture_service(server, "unsplash"), folder, inspect=lambda data: next(answers))
    assert image.source_id == "def"
    assert server.asked("/photos/abc/download") == []
    assert len(server.asked("/photos/def/download")) == 1


def test_a_picture_with_words_that_must_not_be_shown_is_not_inspected(
    server: PictureServer, folder: FolderStorage
) -> None:
    bad = server.unsplash_result("abc", PHOTO, alt_description="How to kill yourself tonight, step by step")
    server.serve_unsplash(bad, server.unsplash_result("def", PHOTO))
    seen: list[bytes] = []
    image = chosen(picture_service(server, "unsplash"), folder, inspect=lambda data: seen.append(data))
    assert (image.source_id, len(seen)) == ("def", 1)


# The asset and its gate


class DarkRoomDesk(ExtractiveWriter):
    """Looks at pictures and lets none through whose left edge is blue, as that of the sample photograph is."""

    def inspect(self, data: bytes, content_type: str, meter: Meter) -> Verdict:
        """Flags a blue left edge."""
        meter.add(Usage(requests=1, input_tokens=7))
        red, _, blue = Image.open(io.BytesIO(data)).getpixel((2, 100))  # type: ignore[misc]
        reasons = (f"blue: {content_type}",) if blue > 2 * red else ()
        return Verdict(flagged=bool(reasons), score=0.0, categories={}, reasons=reasons, source="dark room")


def materialized(
    database_url: str, pictures: PictureService, cdn: Storage, tmp_path: Path, stored: StoryImage | None = None
) -> tuple[Store, dg.ExecuteInProcessResult]:
    """A run of ``story_image`` and its gate for one story; of the gate alone where a picture is ``stored``."""
    store = Store(sa.create_engine(database_url, pool_size=2))
    require_schema(store, migrate_if_missing=True)
    store.save_threads([make_thread("abc123")])
    story_id = store.assign(store.open_order(1, None, None, 3))[0].story_id
    store.save(make_draft(story_id))
    if stored:
        store.save(stored.model_copy(update={"story_id": story_id}))
    database = Postgres(url=database_url, pool_size=2)
    resources = {"database": database, "store": StoreIOManager(database=database), "writer": DarkRoomDesk()}
    resources |= {"pictures": pictures, "cdn": cdn, "publisher": Publisher(folder=str(tmp_path / "site"))}
    draft = dg.AssetSpec("story_draft", partitions_def=STORIES).with_io_manager_key("store")
    job = dg.define_asset_job("picture", dg.AssetSelection.checks(picture_gate) if stored else "story_image")
    definitions = dg.Definitions([draft, story_image], jobs=[job], asset_checks=[picture_gate], resources=resources)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("stories", [story_id])
        found = definitions.resolve_job_def("picture").execute_in_process(
            tags={"dagster/partition": story_id}, instance=instance, raise_on_error=False
        )
        return store, found


def facts_of(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    (event,) = result.asset_materializations_for_node("story_image")
    return {name: value.value for name, value in event.metadata.items()}


def test_the_asset_shows_on_what_terms_it_stored_a_picture_that_was_looked_at(
    server: PictureServer, folder: FolderStorage, database_url: str, tmp_path: Path
) -> None:
    mirrored = io.BytesIO()
    ImageOps.mirror(Image.open(io.BytesIO(PHOTO))).save(mirrored, "JPEG")
    server.serve_unsplash(server.unsplash_result("blue", PHOTO), server.unsplash_result("fine", mirrored.getvalue()))
    store, result = materialized(database_url, picture_service(server, "unsplash", "title_card"), folder, tmp_path)
    assert result.success
    facts = facts_of(result)
    image = store.image(str(result.asset_materializations_for_node("story_image")[0].partition))
    assert image.source_id == "fine"
    assert image.use_reported_at is not None
    assert facts["use reported"] == image.use_reported_at.timestamp()
    assert (facts["provider"], facts["licence"], facts["delivery"]) == ("unsplash", "Unsplash Licence", "hotlink")
    assert (facts["credit"], facts["beside advertising"]) == ("Photo by Grace Ito on Unsplash", "not allowed")
    with store.engine.connect() as connection:
        usage = connection.execute(sa.select(t.model_usage.c.purpose, t.model_usage.c.input_tokens)).all()
    assert [tuple(row) for row in usage] == [("moderate", 14)]
    assert [verdict.passed for verdict in store.verdicts(image.story_id)] == [True]


def test_the_asset_says_which_pictures_were_refused_and_why(
    server: PictureServer, folder: FolderStorage, database_url: str, tmp_path: Path
) -> None:
    server.serve_openverse(server.openverse_result("blue", PHOTO))
    _, result = materialized(database_url, picture_service(server, "openverse", "title_card"), folder, tmp_path)
    assert result.success
    facts = facts_of(result)
    assert (facts["provider"], facts["use reported"]) == ("title_card", "not asked for")
    assert "blue: image/jpeg" in str(facts["passed over"])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "credited and delivered"),
        ({"delivery": "hotlink"}, "our own storage"),
        ({"licence": Licence(code="by-nc")}, "commercial"),
    ],
)
def test_the_gate_holds_the_stored_picture_against_its_providers_terms(
    database_url: str, folder: FolderStorage, tmp_path: Path, changes: dict[str, object], why: str
) -> None:
    stored = make_image("s").model_copy(update=changes)
    store, result = materialized(database_url, PictureService(providers=["title_card"]), folder, tmp_path, stored)
    (evaluation,) = result.get_asset_check_evaluations()
    assigned = store.assignment_of("abc123")
    assert assigned is not None
    (verdict,) = store.verdicts(assigned[0].story_id)
    assert evaluation.passed is verdict.passed is (not changes)
    assert why in verdict.message


# Storing


def test_trouble_with_storage_is_no_reason_for_another_picture(server: PictureServer, tmp_path: Path) -> None:
    server.serve_openverse(server.openverse_result("one", PHOTO))
    (tmp_path / "file").touch()
    with pytest.raises((PermanentFailure, TransientFailure)):
        chosen(picture_service(server, "openverse", "title_card"), FolderStorage(root=str(tmp_path / "file")))


def test_another_quality_never_overwrites_a_key(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_openverse(server.openverse_result("one", PHOTO))
    first, again, other = (chosen(picture_service(server, "openverse", quality=q), folder) for q in (85, 85, 60))
    assert first.variants == again.variants
    assert not {v.key for v in first.variants} & {v.key for v in other.variants}
    assert first.sha256 == other.sha256


# Title card


def test_a_title_card_needs_no_network(folder: FolderStorage, tmp_path: Path) -> None:
    image = chosen(PictureService(providers=["title_card"], speed=9), folder)
    assert (image.width, image.height, image.provider) == (1920, 1080, "title_card")
    assert image.licence.code == "own"
    assert "The ladder came back" in image.alt_text
    assert credit_on(page_of(image, tmp_path)) == "Illustration: ThreadJuice"
    assert {v.width for v in image.variants} == {480, 768, 1200, 1920}
    assert licence_problem(image) is None


def test_a_title_card_bears_whatever_headline_its_story_has(folder: FolderStorage) -> None:
    title = "How to kill yourself tonight, step by step"
    drawn = PictureService(providers=["title_card"], speed=9)
    image = drawn.choose("t3-x", "x", title, "", NEIGHBOURS, folder, frozenset())
    assert (image.provider, image.alt_text) == ("title_card", f"Title card: {title}")


# Unsplash


def test_an_unsplash_picture_is_hotlinked_and_never_copied(server: PictureServer, folder: FolderStorage) -> None:
    server.serve_unsplash(server.unsplash_result("abc", PHOTO))
    image = chosen(picture_service(server, "unsplash", "title_card"), folder)
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


def test_a_picture_of_another_quality_is_encoded_from_its_original_as_far_as_that_is_the_same(
    server: PictureServer, folder: FolderStorage
) -> None:
    result = server.openverse_result("one", PHOTO)
    server.serve_openverse(result)
    before = chosen(picture_service(server, "openverse"), folder)
    other = picture_service(server, "openverse", quality=50)
    assert picture_service(server, "openverse").is_current(before, folder)
    assert not other.is_current(before, folder)
    server.script["/v1/images/id-one/"] = json_answer(result)
    after = other.renew(before, "The ladder came back", NEIGHBOURS, folder, folder)
    assert other.is_current(after, folder)
    assert after.model_copy(update={"variants": ()}) == before.model_copy(update={"variants": ()})
    assert sum(len(folder.get(one.key)) for one in after.variants) < sum(one.bytes for one in before.variants)
    server.serve_picture(urlsplit(result["url"]).path, photograph(1000, 740))
    with pytest.raises(PictureRefused, match="another picture"):
        other.renew(before, "The ladder came back", NEIGHBOURS, folder, folder)
    server.script["/v1/images/id-one/"] = json_answer({**result, "license": "by-nc"})
    with pytest.raises(PermanentFailure, match="no more"):
        other.renew(before, "The ladder came back", NEIGHBOURS, folder, folder)
    server.script["/v1/images/id-one/"] = Answer(404)
    with pytest.raises(PermanentFailure, match="404"):
        other.renew(before, "The ladder came back", NEIGHBOURS, folder, folder)


def test_a_hotlinked_picture_of_another_quality_is_asked_for_in_that(
    server: PictureServer, folder: FolderStorage
) -> None:
    server.serve_unsplash(server.unsplash_result("one", PHOTO))
    before = chosen(picture_service(server, "unsplash"), folder)
    other = picture_service(server, "unsplash", quality=50)
    assert picture_service(server, "unsplash").is_current(before, folder)
    assert not other.is_current(before, folder)
    after = other.renew(before, "The ladder came back", NEIGHBOURS, folder, folder)
    assert other.is_current(after, folder)
    assert {urlsplit(one.url).path for one in after.variants} == {urlsplit(one.url).path for one in before.variants}
    assert "q=50" in next(one.url for one in after.variants if one.format == "jpeg")
    assert folder.list() == []


def test_unsplash_is_credited_and_told_of_the_choice(
    server: PictureServer, folder: FolderStorage, tmp_path: Path
) -> None:
    server.serve_unsplash(server.unsplash_result("abc", PHOTO))
    image = chosen(picture_service(server, "unsplash"), folder)
    assert image.credit == "Photo by Grace Ito on Unsplash"
    assert credit_on(page_of(image, tmp_path)) == (
        f'Photo by <a href="https://unsplash.com/@grace?{REFERRAL}" rel="nofollow">Grace Ito</a> on '
        f'<a href="https://unsplash.com/?{REFERRAL}" rel="nofollow">Unsplash</a>'
    )
    assert image.use_reported_at == NOON
    assert image.creator_url == "https://unsplash.com/@grace?utm_source=threadjuice&utm_medium=referral"
    assert "utm_source=threadjuice" in image.source_url
    assert image.alt_text == "a ladder against a fence"
    (search,), (told,) = server.asked("/search/photos"), server.asked("/photos/abc/download")
    assert search.headers["authorization"] == told.headers["authorization"] == "Client-ID k3y"
    assert told.query["ixid"] == "abc"


def test_the_unsplash_key_is_sent_to_the_api_only(server: PictureServer, folder: FolderStorage) -> None:
    elsewhere = {"html": "https://unsplash.com/x", "download_location": "http://127.0.0.1:9/photos/abc/download"}
    server.serve_unsplash(server.unsplash_result("abc", PHOTO, links=elsewhere), server.unsplash_result("def", PHOTO))
    assert chosen(picture_service(server, "unsplash"), folder).source_id == "def"
    assert all("authorization" not in request.headers for request in server.requests if "/raw/" in request.path)


@pytest.mark.parametrize(
    "user", [{"name": "Grace Ito"}, {"name": "", "links": {"html": "https://unsplash.com/@grace"}}, None]
)
def test_a_photograph_whose_photographer_cannot_be_credited_is_not_used(
    server: PictureServer, folder: FolderStorage, user: object
) -> None:
    server.serve_unsplash(server.unsplash_result("abc", PHOTO, user=user), server.unsplash_result("def", PHOTO))
    assert chosen(picture_service(server, "unsplash"), folder).source_id == "def"


def test_a_photographers_profile_is_found_by_the_name_of_the_account(
    server: PictureServer, folder: FolderStorage
) -> None:
    server.serve_unsplash(server.unsplash_result("abc", PHOTO, user={"name": "Grace Ito", "username": "grace/x"}))
    image = chosen(picture_service(server, "unsplash"), folder)
    assert image.creator_url.startswith("https://unsplash.com/@grace%2Fx?utm_source=threadjuice")
    assert licence_problem(image) is None


def test_a_photograph_whose_choice_cannot_be_counted_is_not_used(server: PictureServer, folder: FolderStorage) -> None:
    result = server.unsplash_result("abc", PHOTO)
    server.script["/photos/abc/download"] = Answer(403)
    server.serve_unsplash(result)
    image = chosen(picture_service(server, "unsplash", "title_card"), folder)
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
    image = chosen(picture_service(server, "unsplash", "title_card", **changes), folder)
    assert image.provider == "title_card"
    assert why in image.note
    assert server.requests == []


def test_an_unsplash_picture_at_a_strangers_address_is_not_hotlinked(
    server: PictureServer, folder: FolderStorage
) -> None:
    server.serve_unsplash(server.unsplash_result("abc", urls={"raw": "https://tracker.example/p.jpg"}))
    image = chosen(picture_service(server, "unsplash", "title_card"), folder)
    assert image.provider == "title_card"
    assert "tracker.example" in image.note


def test_a_desk_is_a_resource_with_its_key_from_the_environment(
    server: PictureServer, folder: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "k3y")
    server.serve_unsplash(server.unsplash_result("abc", PHOTO))

    @dg.asset
    def picture(pictures: PictureService, cdn: Storage) -> None:
        assert chosen(pictures, cdn).provider == "unsplash"

    resource = picture_service(server, "unsplash", unsplash_key=dg.EnvVar("SOME_KEY"))
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
