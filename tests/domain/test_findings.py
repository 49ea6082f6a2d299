"""Thresholds: from where on figures want looking at, and what is said then."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from threadjuice_dagster.operations.backups.rules import KeptDatabase, kept_name
from threadjuice_dagster.operations.deployment.rules import Speed, capacity_finding, compared, speed_finding, typical
from threadjuice_dagster.operations.monitoring.database_health_rules import (
    Health,
    Running,
    TableFigures,
    backup_finding,
    health_findings,
    kept_finding,
)
from threadjuice_dagster.operations.monitoring.errors_rules import by_class, error_finding
from threadjuice_dagster.operations.monitoring.image_delivery_rules import (
    encoding_finding,
    missing,
    page_findings,
    sniffed,
)
from threadjuice_dagster.site.build_state import SiteSize
from threadjuice_dagster.site.markup import Page, PagePicture, srcset

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def health(**changes: Any) -> Health:
    values: dict[str, Any] = {
        "most": 100, "used": 5, "sessions": (), "running": (), "waiting": (), "statements": None, "tables": (),
        "bytes": 10_000_000, "cache_hits": 99.0, "deadlocks": 0, "own_ms": {"stories": 1.0},
    }  # fmt: skip
    return Health(**{**values, **changes})


def running(seconds: float, **changes: Any) -> Running:
    return Running(**{"pid": 7, "seconds": seconds, "application": "x", "statement": "SELECT 1", **changes})


def table(dead: int, rows: int = 100_000, size: int = 50_000_000) -> TableFigures:
    return TableFigures(name="events", bytes=size, rows=rows, dead=dead, vacuumed_at=None)


@pytest.mark.parametrize(
    ("changes", "name", "state"),
    [
        ({}, "queries_are_fast", "ok"),
        ({"running": (running(4.9),)}, "queries_are_fast", "ok"),
        ({"running": (running(5.1),)}, "queries_are_fast", "warning"),
        ({"own_ms": {"stories": 1500.0}}, "queries_are_fast", "warning"),
        ({"used": 79}, "connections_have_room", "ok"),
        ({"used": 80}, "connections_have_room", "warning"),
        ({"used": 95}, "connections_have_room", "failed"),
        ({"tables": (table(30_000),)}, "no_bloat", "ok"),
        ({"tables": (table(60_000),)}, "no_bloat", "warning"),
        ({"tables": (table(9_000, 10),)}, "no_bloat", "ok"),
        ({"tables": (table(60_000, size=1_000_000),)}, "no_bloat", "ok"),
        ({"waiting": (running(29, blocked_by="3"),)}, "locks_are_free", "ok"),
        ({"waiting": (running(31, blocked_by="3, 4"),)}, "locks_are_free", "failed"),
    ],
)
def test_a_database_is_judged_by_its_figures(changes: dict[str, Any], name: str, state: str) -> None:
    found = {one.name: one for one in health_findings(health(**changes), 5.0)}
    assert found[name].state == state
    assert bool(found[name].next_step) == (state != "ok")
    assert [one.name for one in found.values() if one.state != "ok"] == ([name] if state != "ok" else [])


def test_who_holds_a_lock_is_named_in_the_next_step() -> None:
    *_, locks = health_findings(health(waiting=(running(31, blocked_by="3, 4"),)), 5.0)
    assert "pg_terminate_backend(3)" in locks.next_step


@pytest.mark.parametrize(
    ("hours", "stored", "state"),
    [(None, True, "warning"), (25.9, True, "ok"), (26.1, True, "failed"), (1, False, "failed")],
)
def test_a_backup_is_recent_for_a_day_and_two_hours(hours: float | None, stored: bool, state: str) -> None:
    taken = NOW - timedelta(hours=hours) if hours is not None else None
    assert backup_finding(taken, NOW, is_stored=stored).state == state


@pytest.mark.parametrize(
    ("kinds", "stories", "state"),
    [
        ({}, 0, "ok"),
        ({"transient": 3}, 0, "ok"),
        ({"transient": 2, "configuration": 2}, 0, "warning"),
        ({"transient": 10}, 0, "failed"),
        ({"transient": 10}, 100, "ok"),
        ({"unsuitable": 50, "usage": 50, "permanent": 1}, 0, "ok"),
    ],
)
def test_errors_are_few_by_number_or_by_share(kinds: dict[str, int], stories: int, state: str) -> None:
    assert error_finding(kinds, stories).state == state


def test_every_kind_of_error_has_a_class() -> None:
    kinds = {"transient": 1, "permanent": 2, "unexpected": 4, "configuration": 8, "unsuitable": 16, "usage": 32}
    assert by_class(kinds) == {"transient": 1, "permanent": 14, "editorial": 48}


def test_an_encoder_that_works_is_found_to() -> None:
    assert encoding_finding(85).state == "ok"


def test_formats_are_told_by_their_first_bytes() -> None:
    assert sniffed(b"\xff\xd8\xff\xe0") == "jpeg"
    assert sniffed(b"RIFF\x00\x00\x00\x00WEBPVP8 ") == "webp"
    assert sniffed(b"\x00\x00\x00\x1cftypavif") == "avif"
    assert sniffed(b"<html>") == sniffed(b"") == ""


def test_what_a_picture_should_have_goes_by_its_width() -> None:
    assert missing(480, [(480, "avif"), (480, "webp")]) == [(480, "jpeg")]
    assert len(missing(1920, [])) == 12


PICTURE = '<picture><source srcset="a.avif"><img src="{}" width="4" height="3" {}></picture>'


@pytest.mark.parametrize(
    ("page", "wrong"),
    [
        (PICTURE.format("a.jpg", "") + PICTURE.format("b.jpg", 'loading="lazy"'), []),
        (PICTURE.format("a.jpg", "") * 2, ["lazy_loading"]),
        (PICTURE.format("a.avif", 'loading="lazy"'), ["fallback_pictures"]),
        (PICTURE.replace(' width="4"', "").format("a.jpg", ""), ["fallback_pictures"]),
        ('<img src="a.webp">', []),
        ("", []),
    ],
)
def test_pages_load_their_pictures_lazily_and_have_one_for_old_browsers(page: str, wrong: list[str]) -> None:
    assert [one.name for one in page_findings([page]) if not one.passed] == wrong


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("a.avif 480w, b.avif 768w", ["a.avif", "b.avif"]),
        ("a.avif 1x,b.avif 2x", ["a.avif", "b.avif"]),
        ("\n  a,b.jpg?w=4,h=3 480w\t,\n c.jpg", ["a,b.jpg?w=4,h=3", "c.jpg"]),
        ("a.jpg, b.jpg", ["a.jpg", "b.jpg"]),
        ("data:image/png;base64,AA== 1x, , c.jpg 2x", ["data:image/png;base64,AA==", "c.jpg"]),
        (" , ", []),
    ],
)
def test_a_srcset_is_split_as_browsers_do(value: str, addresses: list[str]) -> None:
    assert [address for address, _ in srcset(value)] == addresses


def test_a_page_is_read_as_browsers_do() -> None:
    page = Page(
        """<!-- <img src="comment.jpg"> --><script>var html = '<img src="script.jpg">'</script>
        <img class=blur src="data:image/png;base64,AA==" alt=""><IMG ALT="a > b" SRC='plain.jpg' LOADING=lazy>
        <picture><source srcset="small.avif 480w, wide.avif 1200w"><source srcset="wide.webp 1200w">
        <img src="small.jpg" width=4 height=3 srcset="small.jpg 480w"></picture>
        <a id="top" href="?a=1&amp;b=2">x</a><textarea><a href="text.html"></textarea>"""
    )
    plain, shown = page.pictures()
    assert plain == PagePicture(("plain.jpg",), "plain.jpg", has_formats=False, is_lazy=True, has_size=False)
    assert shown.choices == ("wide.avif", "small.avif", "wide.webp", "small.jpg")
    assert (shown.fallback, shown.has_formats, shown.is_lazy, shown.has_size) == ("small.jpg", True, False, True)
    assert page.links() == ["?a=1&b=2"]
    assert {"data:image/png;base64,AA==", "wide.webp", "?a=1&b=2"} < set(page.addresses())
    assert not {"comment.jpg", "script.jpg", "text.html"} & set(page.addresses())
    assert page.has_id("top")
    assert not page.has_id("blur")


@pytest.mark.parametrize(
    ("ages", "state"),
    [
        ([], "ok"),
        ([1], "ok"),
        ([30.5, 2], "ok"),
        ([32], "warning"),
        ([5, 4, 3, 2, 1], "ok"),
        ([6, 5, 4, 3, 2, 1], "warning"),
    ],
)
def test_databases_that_restores_put_aside_are_told_of_once_they_are_many_or_old(ages: list[float], state: str) -> None:
    kept = [KeptDatabase(name=kept_name("tj", NOW - timedelta(days=days)), bytes=5_000_000) for days in ages]
    finding = kept_finding(kept, "tj", NOW)
    assert finding.state == state
    assert not kept or f"{5 * len(ages)} MB" in finding.message


@pytest.mark.parametrize(
    ("staged", "wrong"),
    [
        ((40.0, 50.0, 20_000), ""),
        ((40.0, 290.0, 20_000), ""),  # five times as long, which nobody notices
        ((40.0, 320.0, 20_000), "takes 320 ms instead of 50"),
        ((40.0, 50.0, 110_000), ""),
        ((40.0, 50.0, 130_000), "has 130,000 bytes instead of 20,000"),
    ],
)
def test_what_is_staged_is_held_against_what_is_live(staged: tuple[float, float, int], wrong: str) -> None:
    def speed(first: float, whole: float, size: int) -> Speed:
        return Speed(first_byte_ms=first, whole_ms=whole, bytes=size)

    rows = compared({"story": speed(*staged), "new": speed(1, 1, 1)}, {"story": speed(30.0, 50.0, 20_000)})
    assert [row.name for row in rows] == ["story"]
    assert wrong in rows[0].wrong
    assert speed_finding(rows).passed == (not wrong)
    assert speed_finding([]).passed
    assert typical([speed(1, 9, 5), speed(2, 3, 5), speed(9, 4, 5)]) == speed(2, 4, 5)


def size(stories: int, picture_bytes: int = 900_000, recent: int = 84) -> SiteSize:
    """A site whose stories have 24 kB of text each, and pictures of so many bytes."""
    pictures = 12 if picture_bytes else 0
    return SiteSize(
        stories=stories,
        recent=recent,
        files=60 + stories * (2 + pictures),
        bytes=400_000 + stories * (24_000 + picture_bytes),
        story_bytes=stories * 24_000,
        pictures=stories * pictures,
        picture_bytes=stories * picture_bytes,
    )


@pytest.mark.parametrize(
    ("built", "has_cdn", "state", "told", "step"),
    [
        (size(3), False, "warning", "its 100 MB (Hobby) in 106 stories, 35 days", "CDN_BUCKET"),
        (size(3, recent=0), False, "ok", "At 1.0 stories a day", ""),
        (size(1_050), False, "warning", "1 GB (Pro) is reached in 51 stories, 17 days", "CDN_BUCKET"),
        (size(1_200), False, "failed", "(Pro) is reached already", "CDN_BUCKET"),
        (size(1_200), True, "failed", "already", "maintenance optimize"),
        (size(50), True, "warning", "600 files of pictures are in it", "maintenance optimize"),
        (size(5_000, 0), True, "ok", "(Pro) is reached in 119,983 stories, 39,994 days", ""),
        (size(100_000, 0), True, "ok", "its 100 MB (Hobby) already", ""),
        (size(124_900, 0), True, "warning", "(Pro) is reached in 83 stories", "larger plan"),
        (size(0, 0, 0), False, "ok", "for 0 stories", ""),
    ],
)
def test_it_is_told_when_a_site_will_fit_into_no_deployment(
    built: SiteSize, has_cdn: bool, state: str, told: str, step: str
) -> None:
    finding = capacity_finding(built, 1, has_cdn=has_cdn)
    assert (finding.state, told in finding.message, step in finding.next_step) == (state, True, True), finding
