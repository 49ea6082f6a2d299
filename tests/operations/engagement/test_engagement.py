"""What is believed of a page's report, what is counted of it, and how counts add up."""

import json
from email.message import Message
from threading import Thread
from typing import Any

import pytest

from threadjuice_dagster.domain.story.page_events import EVENTS
from threadjuice_dagster.operations.engagement import rules as engagement
from threadjuice_dagster.operations.engagement.rules import (
    BURST,
    MAX_BODY,
    MAX_PENDING,
    PER_SECOND,
    Intake,
    RefusedReport,
    Report,
    check_headers,
    figures,
    is_uncounted,
    read_report,
)

PAGE = "0123456789abcdef" * 2
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def body(**changes: Any) -> bytes:
    told = {"story": "a-fence", "page": PAGE, "events": ["view"], **changes}
    return json.dumps({name: value for name, value in told.items() if value is not None}).encode()


def headers(**changes: str) -> Message:
    """The headers of a browser, with changes by name; an empty one leaves a header out."""
    own = {"Content_Type": "application/json", "Origin": "https://stories.example", "Host": "stories.example"}
    message = Message()
    for name, value in {**own, "User_Agent": FIREFOX, **changes}.items():
        if value:
            message[name.replace("_", "-")] = value
    return message


def test_a_report_of_a_page_is_read() -> None:
    assert read_report(body(events=list(EVENTS))) == Report("a-fence", PAGE, EVENTS)


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"view"',
        b"\xff\xfe",
        b"[" * MAX_BODY,
        b'{"story": ' + b"9" * 900 + b"}",
        body(story=None),
        body(page=None),
        body(extra=1),
        body(story=7),
        body(story=["a-fence"]),
        body(story="../../etc/passwd"),
        body(story="a fence"),
        body(story="a-fence\n"),
        body(story="A-Fence"),
        body(story="a" * 121),
        body(story="a\0"),
        body(page="short"),
        body(page=PAGE.upper()),
        body(page=PAGE + "00"),
        body(page=int("1" * 32)),
        body(events="view"),
        body(events=[]),
        body(events=["view"] * (len(EVENTS) + 1)),
        body(events=["buy"]),
        body(events=[{"view": 1}]),
        body(events=[["view"]]),
        body(events={"view": 1}),
        body(events=["depth:33"]),
        body(events=[None]),
    ],
)
def test_a_report_of_another_shape_is_refused(hostile: bytes) -> None:
    with pytest.raises(RefusedReport) as refused:
        read_report(hostile)
    assert refused.value.status == 400


def test_a_report_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(RefusedReport) as refused:
        read_report(body() + b" " * MAX_BODY)
    assert refused.value.status == 413


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"Origin": "http://127.0.0.1:3001", "Host": "127.0.0.1:3001"},
        {"Content_Type": "application/json; charset=utf-8"},
        {"Sec_Fetch_Site": "same-origin"},
        {"Host": "STORIES.example"},
    ],
)
def test_a_report_of_the_site_s_own_page_passes(own: dict[str, str]) -> None:
    check_headers(headers(**own))


@pytest.mark.parametrize(
    ("foreign", "status"),
    [
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/jsonp"}, 415),
        ({"Content_Type": ""}, 415),
        ({"Origin": ""}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "https://stories.example.elsewhere.example"}, 403),
        ({"Origin": "https://stories.example:8443"}, 403),
        ({"Origin": "https://", "Host": ""}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "none"}, 403),
    ],
)
def test_a_report_of_another_site_is_refused(foreign: dict[str, str], status: int) -> None:
    with pytest.raises(RefusedReport) as refused:
        check_headers(headers(**foreign))
    assert refused.value.status == status


@pytest.mark.parametrize(
    "agent",
    [
        FIREFOX,
        "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 "
        "Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 "
        "Safari/537.36 Edg/150.0.0.0",
        "Mozilla/5.0 (Linux; Android 15; CUBOT_NOTE 60) AppleWebKit/537.36 Chrome/150.0.0.0 Mobile Safari/537.36",
    ],
)
def test_a_reader_is_counted(agent: str) -> None:
    assert not is_uncounted(headers(User_Agent=agent))


@pytest.mark.parametrize(
    "agent",
    [
        "",
        "curl/8.9.1",
        "python-requests/2.32",
        "Googlebot/2.1 (+http://www.google.com/bot.html)",
        "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/150.0 Safari/537.36",
        "Mozilla/5.0 (compatible; YandexBot/3.0)",
        "Mozilla/5.0 (compatible; some_bot_2/1.0)",
        "Mozilla/5.0 (compatible; AhrefsSiteAudit/6.1; crawler)",
        "Mozilla/5.0 (compatible; Yahoo! Slurp)",
        "Mozilla/5.0 (compatible; Google-InspectionTool/1.0;)",
        "facebookexternalhit/1.1",
        "Mozilla/4.0 (compatible; MSIE 6.0)",
    ],
)
def test_a_program_is_not_counted(agent: str) -> None:
    assert is_uncounted(headers(User_Agent=agent))


@pytest.mark.parametrize("wish", [{"DNT": "1"}, {"Sec_GPC": "1"}])
def test_a_reader_who_asks_not_to_be_tracked_is_not_counted(wish: dict[str, str]) -> None:
    assert is_uncounted(headers(**wish))


def test_a_report_sent_again_counts_once() -> None:
    intake = Intake()
    for _ in range(5):
        intake.take(Report("a-fence", PAGE, ("view", "view", "depth:25")))
    intake.take(Report("a-fence", PAGE, ("depth:25", "depth:50")))
    assert intake.drain() == ({("a-fence", "view"): 1, ("a-fence", "depth:25"): 1, ("a-fence", "depth:50"): 1}, 0)
    intake.take(Report("a-fence", PAGE, ("view",)))
    assert intake.drain() == ({}, 0)


def test_another_view_and_another_story_count_by_themselves() -> None:
    intake = Intake()
    for story, page in (("a", "1"), ("a", "2"), ("b", "1")):
        intake.take(Report(story, page, ("view",)))
    assert intake.drain()[0] == {("a", "view"): 2, ("b", "view"): 1}


def test_a_flood_is_cut_to_so_many_a_second() -> None:
    intake, admitted = Intake(), 0
    for number in range(10_000):
        try:
            intake.admit(1000.0 + number / 1000)
            admitted += 1
        except RefusedReport:
            continue
    assert admitted == pytest.approx(BURST + 10 * PER_SECOND, abs=2)
    assert intake.drain()[1] == 10_000 - admitted


def test_what_is_held_is_bounded_and_what_is_dropped_is_counted() -> None:
    intake = Intake()
    for number in range(MAX_PENDING + 7):
        intake.take(Report(f"s{number}", PAGE, ("view",)))
    intake.take(Report("s1", "2", ("view",)))
    counts, dropped = intake.drain()
    assert (len(counts), counts[("s1", "view")], dropped) == (MAX_PENDING, 2, 7)
    intake.give_back(counts)
    intake.take(Report("s1", "3", ("view",)))
    assert intake.drain()[0][("s1", "view")] == 3


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engagement, "MAX_SEEN", 100)
    intake = Intake()
    for number in range(1000):
        intake.take(Report("a", str(number), ("view",)))
    assert len(intake._seen) == 100
    intake.take(Report("a", "999", ("view",)))
    assert intake.drain()[0] == {("a", "view"): 1000}


def test_threads_at_once_lose_no_count() -> None:
    intake = Intake()

    def tell(name: str) -> None:
        for number in range(2000):
            intake.take(Report("a", f"{name}{number}", ("view",)))

    threads = [Thread(target=tell, args=[name]) for name in "abcd"]
    for thread in threads:
        thread.start()
    total = 0
    while any(thread.is_alive() for thread in threads):
        total += sum(intake.drain()[0].values())
    assert total + sum(intake.drain()[0].values()) == 8000


def test_figures_add_up_by_story_category_and_persona() -> None:
    import pandas as pd

    rows = [
        ("a", "food", "ana", "view", 10),
        ("a", "food", "ana", "depth:25", 8),
        ("a", "food", "ana", "depth:100", 4),
        ("a", "food", "ana", "share:link", 1),
        ("a", "food", "ana", "share:native", 2),
        ("b", "food", "bo", "view", 30),
        ("b", "food", "bo", "depth:100", 6),
        ("b", "food", "bo", "reaction:juicy", 5),
        ("c", "work", "bo", "depth:100", 3),
    ]
    frame = pd.DataFrame(rows, columns=["story", "category", "persona", "event", "count"])
    by_story = figures(frame, "story")
    assert list(by_story.index) == ["b", "a", "c"]
    assert by_story.loc["a"].to_dict() == {
        "views": 10,
        "read_25": 8,
        "read_50": 0,
        "read_75": 0,
        "read_100": 4,
        "finished": 40.0,
        "shares": 3,
        "reactions": 0,
    }
    assert by_story["finished"].to_dict() == {"a": 40.0, "b": 20.0, "c": 100.0}
    assert figures(frame, "category")["views"].to_dict() == {"food": 40, "work": 0}
    assert figures(frame, "persona")["reactions"].to_dict() == {"ana": 0, "bo": 5}


def test_a_day_without_readers_has_figures_too() -> None:
    import pandas as pd

    frame = pd.DataFrame([], columns=["story", "event", "count"]).astype({"count": "int64"})
    assert figures(frame, "story").empty
    assert figures(frame, "story")["views"].sum() == 0
