"""What a smoke test asks for, and what it takes for an answer."""

import hashlib

import pytest

from threadjuice_dagster.operations.deployment.rules import (
    LARGEST,
    SAMPLE,
    DeploymentStep,
    File,
    SmokeRequest,
    find_problem,
    interrupted,
    sample_files,
    sends_site_headers,
    smoke_requests,
)
from threadjuice_dagster.site.layout import Marker

PAGE = b"<html>a page</html>"
SHA1 = hashlib.sha1(PAGE).hexdigest()


def files(folder: str, count: int) -> list[File]:
    return [File(f"{folder}{number:05}.html", SHA1, len(PAGE)) for number in range(count)]


def test_a_sample_has_the_top_of_the_site_and_both_ends_of_every_folder() -> None:
    site = [*files("", 5), *files("story/", 10_000), *files("img/", 3)]
    paths = [file.path for file in sample_files(site)]
    assert len(paths) == len(set(paths)) == 5 + SAMPLE + 3
    assert {"00000.html", "story/00000.html", "story/09999.html", "img/00002.html"} <= set(paths)


def test_files_too_large_to_read_and_the_page_for_misses_are_not_asked_for() -> None:
    site = [File("video.bin", SHA1, LARGEST + 1), File("404.html", SHA1, 10), File("index.html", SHA1, 10)]
    assert [file.path for file in sample_files(site)] == ["index.html"]


def test_the_front_page_and_a_page_that_is_nowhere_are_asked_for_as_well() -> None:
    asked = smoke_requests([File("story/a b/index.html", SHA1, 9)], lambda _: {"X-A": "b"})
    assert asked[0] == SmokeRequest("/story/a%20b/index.html", 200, SHA1, {"X-A": "b"})
    assert (asked[1].path, asked[1].status) == ("/", 200)
    assert asked[2].status == 404


@pytest.mark.parametrize(
    ("status", "headers", "body", "wrong"),
    [
        (200, {"x-frame-options": "deny"}, PAGE, ""),
        (500, {"X-Frame-Options": "DENY"}, PAGE, "answered 500 instead of 200"),
        (404, {"X-Frame-Options": "DENY"}, PAGE, "answered 404"),
        (200, {"X-Frame-Options": "DENY"}, PAGE + b" ", "is not what was built"),
        (200, {}, PAGE, "came with X-Frame-Options: none"),
        (200, {"X-Frame-Options": "SAMEORIGIN"}, PAGE, "came with X-Frame-Options: SAMEORIGIN"),
    ],
)
def test_an_answer_has_the_status_the_bytes_and_the_headers_of_the_build(
    status: int, headers: dict[str, str], body: bytes, wrong: str
) -> None:
    question = SmokeRequest("/", 200, SHA1, {"X-Frame-Options": "DENY"})
    assert wrong in find_problem(question, status, headers, body)
    assert bool(wrong) == bool(find_problem(question, status, headers, body))


@pytest.mark.parametrize(
    ("name", "promised", "came", "breaks"),
    [
        ("Content-Type", "text/html; charset=utf-8", "text/html", False),
        ("Content-Type", "application/xml; charset=utf-8", "text/xml; charset=UTF-8", False),
        ("Content-Type", "text/javascript; charset=utf-8", "application/javascript", False),
        ("Content-Type", "image/webp", "application/octet-stream", False),
        ("Content-Type", "text/css; charset=utf-8", "text/plain", True),
        ("Content-Type", "text/html; charset=utf-8", "application/octet-stream", True),
        ("Cache-Control", "public, max-age=31536000, immutable", "public, max-age=0", False),
        ("Cache-Control", "no-cache", "public, max-age=31536000, immutable", True),
        ("Permissions-Policy", "camera=(), microphone=()", "camera=(),microphone=()", False),
        ("Content-Security-Policy", "default-src 'none'", "default-src *", True),
    ],
)
def test_headers_may_be_worded_differently_where_nothing_hangs_on_it(
    name: str, promised: str, came: str, breaks: bool
) -> None:
    assert bool(find_problem(SmokeRequest("/", 200, "", {name: promised}), 200, {name.lower(): came}, b"")) == breaks


def test_a_place_that_sends_only_what_any_server_sends_was_not_told_of_the_site_s_headers() -> None:
    promised = {"Content-Type": "text/html", "Cache-Control": "no-cache", "Referrer-Policy": "no-referrer"}
    assert not sends_site_headers({"content-type": "text/html", "cache-control": "max-age=0", "server": "x"}, promised)
    assert sends_site_headers({"referrer-policy": "anything"}, promised)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"<html>", b'{"stories": "many"}', b"\xff", b"[" * 99_999])
def test_what_is_no_marker_names_no_version(body: bytes) -> None:
    assert Marker.read(body).version == ""


def test_a_marker_names_version_stories_and_origins_and_may_say_more() -> None:
    marker = Marker.read(b'{"version": "abc", "stories": 3, "origins": ["https://img.example"], "updated": null}')
    assert (marker.version, marker.stories, marker.origins) == ("abc", 3, ("https://img.example",))


def test_a_step_that_runs_without_its_process_was_interrupted() -> None:
    steps = [DeploymentStep(name="stage", state="done"), DeploymentStep(name="promote", state="running")]
    assert interrupted(steps, alive=True) == steps
    assert [step.state for step in interrupted(steps, alive=False)] == ["done", "interrupted"]
