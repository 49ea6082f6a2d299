"""All sources behind one resource: what is read, what is passed over, and in which order threads come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import ClassVar

import pytest
from makers import make_thread

from threadjuice_dagster.domain.story.threads import SourceName, Thread, interleaved, thread_key
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, TransientFailure, UsageError
from threadjuice_dagster.settings import load_settings
from threadjuice_dagster.sources.client import SourceLimiter
from threadjuice_dagster.sources.registry import ThreadSources, may_read
from threadjuice_dagster.sources.thread_source import Deletions, SourcePolicy, StoredThread, ThreadSource

POLICY = SourcePolicy(
    terms="LICENSE",
    terms_read=date(2026, 12, 1),
    licence="MIT",
    credit="none",
    unattended_use=True,
    deletion_hours=None,
)


@dataclass
class Forum(ThreadSource):
    """A source whose places are lists of scores; a place called ``down`` is an outage, ``none`` does not exist."""

    name: ClassVar[SourceName] = "lemmy"
    prefix: ClassVar[str] = "lemmy"
    policy: ClassVar[SourcePolicy] = POLICY
    asked: list[str] = field(default_factory=list)

    def service(self, place: str) -> str:
        return f"forum:{place.partition('/')[0]}"

    def listing(self, place: str, limit: int) -> list[Thread]:
        self.asked.append(place)
        if place == "down":
            raise TransientFailure("It is down.", service="forum:down")
        if place == "none":
            raise PermanentFailure("There is no such place.", "Name another.")
        spec = f"lemmy:{place}"
        return [make_thread(f"lemmy-{place}-{score}", spec=spec, score=int(score)) for score in place.split("/")][
            :limit
        ]

    def recognises(self, reference: str) -> bool:
        return reference.startswith("forum ")

    def thread(self, reference: str) -> Thread:
        return make_thread("lemmy-1")

    def deleted(self, threads: Mapping[str, StoredThread]) -> Deletions:
        if any(stored.permalink == "down" for stored in threads.values()):
            raise TransientFailure("It is down.")
        return Deletions(frozenset(threads), frozenset(), len(threads), 1)


class Noting(SourceLimiter):
    """Notes what is recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, str]] = []

    def record_outage(self, service: str, message: str) -> None:
        self.events.append(("outage", service))

    def record_recovery(self, service: str) -> None:
        self.events.append(("recovery", service))


@pytest.fixture
def forum(monkeypatch: pytest.MonkeyPatch) -> Forum:
    forum, sources = Forum(), ThreadSources.sources
    monkeypatch.setattr(ThreadSources, "sources", lambda self: {**sources(self), "lemmy": forum})
    return forum


def sources(*specs: str, limiter: SourceLimiter | None = None) -> ThreadSources:
    return ThreadSources(specs=list(specs), limiter=limiter or SourceLimiter())


def test_the_best_thread_of_every_place_comes_before_the_second_of_any(forum: Forum) -> None:
    found = sources("lemmy:9000/8000/7000", "lemmy:3/2").candidates(10)
    assert [thread.score for thread in found.threads] == [9000, 3, 8000, 2, 7000]
    assert found.problems == {}


def test_a_place_that_is_down_or_unknown_is_passed_over_and_only_an_outage_is_recorded(forum: Forum) -> None:
    limiter = Noting()
    found = sources("lemmy:down", "lemmy:none", "lemmy:5", limiter=limiter).candidates(10)
    assert [thread.score for thread in found.threads] == [5]
    assert set(found.problems) == {"lemmy:down", "lemmy:none"}
    assert limiter.events == [("outage", "forum:down"), ("recovery", "forum:5")]


def test_where_no_place_answers_an_outage_is_the_failure_rather_than_a_wrong_name(forum: Forum) -> None:
    failure = sources("lemmy:none", "lemmy:down").candidates(10).failure
    assert isinstance(failure, TransientFailure)
    assert "down" in str(failure)
    assert isinstance(sources("lemmy:none").candidates(10).failure, PermanentFailure)
    assert sources("lemmy:down", "lemmy:1").candidates(10).failure is None


def test_one_place_or_the_places_of_one_source_can_be_read_alone(forum: Forum) -> None:
    sources("lemmy:1", "lemmy:2").candidates(10, "lemmy:2")
    sources("samples", "lemmy:3").candidates(10, "lemmy")
    sources("samples").candidates(10, "lemmy:4")
    assert forum.asked == ["2", "3", "4"]
    with pytest.raises(ConfigurationError, match="'lemmy' names no source"):
        sources("samples").candidates(10, "lemmy")


@pytest.mark.parametrize("spec", ["usenet:alt.test", "lemmy", "samples:all", ":", "hn"])
def test_a_spec_of_no_source_names_those_there_are(spec: str) -> None:
    with pytest.raises(ConfigurationError, match=r"THREAD_SOURCES.*reddit.*samples"):
        sources(spec).candidates(1)


def test_an_address_of_no_source_says_what_to_pass() -> None:
    with pytest.raises(UsageError, match="neither a file nor the address"):
        sources("samples").thread("https://example.org/a-thread")


def test_a_service_that_is_down_hinders_no_other_deletion(forum: Forum) -> None:
    asked = {
        "lemmy-a-1": StoredThread("up"),
        "lemmy-b-2": StoredThread("down"),
        "1abcde": StoredThread("https://www.reddit.com/comments/1abcde/"),
        "imported": StoredThread(""),
    }
    sweep = sources("samples").deleted(asked)
    assert sweep.deletions.threads == {"lemmy-a-1"}
    assert set(sweep.problems) == {"forum:down"}
    assert sweep.not_set_up == ["reddit"]


def test_every_source_that_can_be_named_is_taken_by_the_settings_and_nothing_else() -> None:
    named = set(ThreadSources().sources()) - {"submission"}
    specs = [name if name == "samples" else f"{name}:a" for name in named]
    assert load_settings({"THREAD_SOURCES": ",".join(specs)}).content.thread_sources == specs
    for wrong in ("workplace", "usenet:a", "stackexchange:", "samples:a", "submission:a"):
        with pytest.raises(ConfigurationError, match="THREAD_SOURCES should be places"):
            load_settings({"THREAD_SOURCES": wrong})


def test_one_question_is_asked_of_a_service_however_many_places_it_has() -> None:
    specs = ["stackexchange:workplace", "stackexchange:travel", "hackernews:ask", "lemmy:a.example/c/x", "samples"]
    checks = ThreadSources(specs=specs).checks()
    assert list(checks) == ["stackexchange", "hackernews", "lemmy:a.example", "sample"]


def test_terms_decide_what_is_read_without_being_named() -> None:
    assert may_read("samples")
    assert may_read("reddit:cooking")
    assert not may_read("usenet:alt.test")


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        (("hn", "41234567"), "hn-41234567"),
        (("se", "workplace", "98765"), "se-workplace-98765"),
        (("lemmy", "lemmy.world", "12"), "lemmy-lemmy.world-12"),
        (("discourse", "127.0.0.1:8080", "7"), "discourse-127.0.0.1-8080-7"),
    ],
)
def test_a_key_is_the_source_and_the_thread(parts: tuple[str, ...], key: str) -> None:
    assert thread_key(*parts) == key


def test_a_long_name_is_shortened_to_a_key_of_its_own() -> None:
    hosts = [f"discussions.of.the.very.long.name.example{number}.org" for number in range(50)]
    keys = {thread_key("discourse", host, "1234567") for host in hosts}
    assert len(keys) == 50
    assert all(len(key) <= 32 and key.startswith("discourse-") and key.endswith("-1234567") for key in keys)


def test_a_thread_that_two_places_list_is_there_once() -> None:
    assert len(interleaved([make_thread("a"), make_thread("a")])) == 1
