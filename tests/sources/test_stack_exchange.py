"""Stack Exchange's API on loopback: what is asked, what is made of the answers, and what an outage may not do."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from servers.loopback import Reply
from servers.stack_exchange_server import (
    DAY,
    HOST,
    KEY,
    NOW,
    StackExchangeServer,
    answer,
    comment,
    question,
    user,
)

from threadjuice_dagster.failures import (
    ConfigurationError,
    PermanentFailure,
    TransientFailure,
    Unsuitable,
    UsageError,
)
from threadjuice_dagster.sources.client import SourceLimiter
from threadjuice_dagster.sources.registry import ThreadSources
from threadjuice_dagster.sources.stack_exchange import POLICY, StackExchange
from threadjuice_dagster.sources.thread_source import Deletions, StoredThread

ADDRESS = f"https://{HOST}/questions/98765"
FERN = {"se-workplace-98765": StoredThread(ADDRESS, ("a98770", "a98771", "c112233", "c112244"))}
OUTAGES = ["502", "503", "429", "reset", "html", "truncated", "cut_gzip", "not_gzip", "no_wrapper", "empty"]
OUTAGES += ["throttle_violation:77", "temporarily_unavailable", "internal_error"]


class Recorder(SourceLimiter):
    """A limiter that waits for nothing, and keeps what it was asked and told."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int, int | None]] = []
        self.pauses: list[float] = []
        self.quota: tuple[int | None, int | None] = (None, None)

    def acquire(self, service: str, per_minute: int, per_day: int | None) -> None:
        self.asked.append((service, per_minute, per_day))

    def record(self, service: str, *, pause: float = 0.0, left: int | None = None, most: int | None = None) -> None:
        self.pauses += [pause] if pause else []
        self.quota = (left, most) if left is not None else self.quota


@pytest.fixture
def server() -> Iterator[StackExchangeServer]:
    with StackExchangeServer() as running:
        yield running


@pytest.fixture
def limiter() -> Recorder:
    return Recorder()


def stack_exchange(server: StackExchangeServer, limiter: SourceLimiter | None = None, key: str = "") -> StackExchange:
    return StackExchange(url=server.url, key=key, limiter=limiter, now=lambda: datetime.fromtimestamp(NOW, UTC))


def test_a_listing_holds_questions_with_answers_and_the_comments_on_both(server: StackExchangeServer) -> None:
    (thread,) = stack_exchange(server).listing("workplace", 5)
    assert (thread.id, thread.spec, thread.licence) == ("se-workplace-98765", "stackexchange:workplace", "cc-by-sa-4.0")
    assert [kept.id for kept in thread.comments] == ["a98770", "c112233", "c112244", "a98771"]
    assert thread.comments[2].parent_id == "a98770"


def test_the_registry_reads_the_places_and_addresses_of_stack_exchange(server: StackExchangeServer) -> None:
    sources = ThreadSources(specs=["stackexchange:workplace"], stack_exchange_url=server.url, stack_exchange_key=KEY)
    (listed,) = sources.candidates(5).threads
    assert sources.thread(ADDRESS) == listed
    server.delete("comments", 112233)
    assert sources.deleted(FERN).deletions.comments == {(listed.id, "c112233")}
    assert {request.query["key"] for request in server.requests} == {KEY}


def test_a_site_may_be_named_by_its_host(server: StackExchangeServer) -> None:
    assert len(stack_exchange(server).listing("workplace.stackexchange.com", 5)) == 1
    assert server.seen("listing")[0].query["site"] == "workplace"


def test_the_best_questions_of_a_month_are_asked_for_and_ranked_by_engagement(server: StackExchangeServer) -> None:
    for number in range(1, 31):
        server.add(question(number, score=number, answer_count=9 if number == 4 else 1))
        server.add(*(answer(1000 + 10 * number + each, number) for each in range(9 if number == 4 else 1)))
    threads = stack_exchange(server).listing("workplace", 3)
    (request,) = server.seen("listing")
    assert (request.query["sort"], request.query["order"]) == ("votes", "desc")
    assert int(request.query["fromdate"]) == NOW - 30 * DAY
    assert [thread.id for thread in threads] == ["se-workplace-98765", "se-workplace-4", "se-workplace-30"]


def test_a_quiet_month_is_filled_up_from_a_longer_time(server: StackExchangeServer) -> None:
    server.add(question(5, creation_date=NOW - 90 * DAY), answer(6, 5), question(7, creation_date=NOW - 900 * DAY))
    server.add(answer(8, 7))
    assert len(stack_exchange(server).listing("workplace", 2)) == 2
    assert len(stack_exchange(server).listing("workplace", 3)) == 3
    assert ["fromdate" in request.query for request in server.seen("listing")] == [True, True, True, True, False]


@pytest.mark.parametrize(
    "fields",
    [
        {"answer_count": 0},
        {"score": -1},
        {"closed_date": NOW, "closed_reason": "Needs more focus"},
        {"locked_date": NOW},
        {"owner": user(-1, "Community")},
    ],
)
def test_questions_that_may_not_be_used_are_not_listed(server: StackExchangeServer, fields: dict[str, Any]) -> None:
    server.add(question(5, **fields))
    assert [thread.id for thread in stack_exchange(server).listing("workplace", 5)] == ["se-workplace-98765"]


def test_pages_are_read_until_the_last(server: StackExchangeServer) -> None:
    server.add(*(answer(1000 + number, 98765, score=number) for number in range(250)))
    server.add(*(comment(5000 + number, 98765) for number in range(150)))
    (thread,) = stack_exchange(server).listing("workplace", 1)
    assert [request.query["page"] for request in server.seen("question_answers")] == ["1", "2", "3"]
    assert [request.query["page"] for request in server.seen("question_comments")] == ["1", "2"]
    assert sum(kept.kind == "answer" for kept in thread.comments) == 252


def busy(server: StackExchangeServer, site: str) -> None:
    """Fill a site with more of everything than one listing reads."""
    for number in range(1, 121):
        server.add(question(number, answer_count=9), site=site)
        server.add(*(answer(10_000 + 10 * number + each, number) for each in range(9)), site=site)
        server.add(*(comment(20_000 + 10 * number + each, number) for each in range(9)), site=site)
        server.add(*(comment(90_000 + 10 * number + each, 10_000 + 10 * number) for each in range(9)), site=site)


def test_seven_busy_sites_a_day_and_four_sweeps_of_them_stay_within_300_requests(server: StackExchangeServer) -> None:
    sites = ["workplace", "interpersonal", "parenting", "travel", "money", "diy", "cooking"]
    for site in sites:
        busy(server, site)
    source = stack_exchange(server)
    threads = [thread for site in sites for thread in source.listing(site, 25)]
    listed = len(server.requests)
    stored = {
        thread.id: StoredThread(thread.permalink, [kept.id for kept in thread.comments][:12]) for thread in threads
    }
    assert len(threads) == 7 * 25
    assert source.deleted(stored).threads == frozenset()
    swept = len(server.requests) - listed
    assert listed <= 7 * 16
    assert listed + 4 * swept < POLICY.requests_per_day  # type: ignore[operator]


def test_the_limiter_knows_of_every_request_and_of_the_quota(server: StackExchangeServer, limiter: Recorder) -> None:
    stack_exchange(server, limiter).listing("workplace", 1)
    assert limiter.asked == [("stackexchange", 60, 300)] * len(server.requests)
    assert limiter.quota == (300 - len(server.requests), 300)
    left = 299 - len(server.requests)
    assert stack_exchange(server).check("workplace").startswith(f"{left} of 300 requests of the day are left.")


def test_a_key_is_sent_and_raises_the_days_limit(server: StackExchangeServer, limiter: Recorder) -> None:
    source = stack_exchange(server, limiter, KEY)
    source.check("workplace")
    assert server.requests[0].query["key"] == KEY
    assert limiter.asked == [("stackexchange", 60, 10_000)]
    assert (source.policy.requests_per_day, StackExchange.policy.requests_per_day) == (10_000, 300)
    stack_exchange(server).check("workplace")
    assert "key" not in server.requests[1].query


def test_a_wrong_key_is_told_without_showing_it(server: StackExchangeServer) -> None:
    with pytest.raises(ConfigurationError, match="STACK_EXCHANGE_KEY") as caught:
        stack_exchange(server, key="not-a-known-key").check("workplace")
    assert "not-a-known-key" not in str(caught.value)


def test_the_base_address_gets_the_version_only_where_it_has_no_path(server: StackExchangeServer) -> None:
    StackExchange(url=f"{server.url}/2.3/").check("workplace")
    StackExchange(url=f"{server.url}/").check("workplace")
    assert [request.path for request in server.requests] == ["/2.3/questions"] * 2


def test_answers_are_asked_for_compressed(server: StackExchangeServer) -> None:
    stack_exchange(server).check("workplace")
    assert "gzip" in server.requests[0].headers["accept-encoding"]


def test_a_pause_that_the_api_asks_for_is_kept(server: StackExchangeServer) -> None:
    server.script("listing", "backoff:1")
    began = time.monotonic()
    stack_exchange(server).listing("workplace", 1)
    assert server.requests[1].at - began >= 1


def test_a_pause_of_more_than_a_minute_ends_the_work_before_the_next_request(server: StackExchangeServer) -> None:
    server.script("listing", "backoff:3600")
    with pytest.raises(TransientFailure, match="pause") as caught:
        stack_exchange(server).listing("workplace", 1)
    assert (caught.value.service, len(server.requests)) == ("stackexchange", 1)


def test_a_used_up_quota_ends_the_work_before_the_next_request(server: StackExchangeServer, limiter: Recorder) -> None:
    server.quota = 1
    source = stack_exchange(server)
    with pytest.raises(TransientFailure, match="pause") as caught:
        source.listing("workplace", 1)
    assert (caught.value.service, len(server.requests)) == ("stackexchange", 1)
    server.quota = 1
    stack_exchange(server, limiter).check("workplace")
    assert (limiter.quota, limiter.pauses) == ((0, 300), [3600])


def test_a_refusal_for_too_many_requests_says_when_to_ask_again(server: StackExchangeServer, limiter: Recorder) -> None:
    server.script("listing", "throttle_violation:77", "throttle_violation")
    for wait in (77, 60):
        with pytest.raises(TransientFailure) as caught:
            stack_exchange(server, limiter).listing("workplace", 1)
        assert (caught.value.service, caught.value.retry_after) == ("stackexchange", wait)
    assert limiter.pauses == [77, 60]


def test_a_refusal_that_comes_as_a_502_is_heeded_as_well(server: StackExchangeServer) -> None:
    words = "too many requests from this IP, more requests available in 4711 seconds"
    refusal = {"error_id": 502, "error_name": "throttle_violation", "error_message": words}
    server.always("listing", Reply(refusal, 502))
    source = stack_exchange(server)
    for _ in range(2):
        with pytest.raises(TransientFailure, match="pause of 4711") as caught:
            source.listing("workplace", 1)
        assert caught.value.service == "stackexchange"
    assert len(server.requests) == 1


def test_a_429_is_tried_again_after_the_pause_it_names(server: StackExchangeServer) -> None:
    server.script("listing", "429:1")
    assert len(stack_exchange(server).listing("workplace", 1)) == 1
    assert server.requests[1].at - server.requests[0].at >= 1


@pytest.mark.parametrize("kind", ["listing", "question_answers"])
@pytest.mark.parametrize("fault", OUTAGES)
def test_an_outage_is_a_transient_failure_of_the_service(
    server: StackExchangeServer, limiter: Recorder, kind: str, fault: str
) -> None:
    server.always(kind, fault)
    with pytest.raises(TransientFailure) as caught:
        stack_exchange(server, limiter).listing("workplace", 1)
    assert (caught.value.service, caught.value.exhausted) == ("stackexchange", True)


@pytest.mark.parametrize(("place", "kind"), [("two words", UsageError), ("nowhere", PermanentFailure)])
def test_a_site_that_is_none_is_told(server: StackExchangeServer, place: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"[nN]o site"):
        stack_exchange(server).listing(place, 1)


def test_a_wrong_base_address_is_a_wrong_setting(server: StackExchangeServer) -> None:
    with pytest.raises(ConfigurationError, match="STACK_EXCHANGE_API_URL"):
        StackExchange(url=f"{server.url}/elsewhere").check("workplace")


@pytest.mark.parametrize("reference", [ADDRESS, f"https://{HOST}/a/98771", "se-workplace-98765"])
def test_a_question_is_read_by_its_address_its_answers_address_or_its_key(
    server: StackExchangeServer, reference: str
) -> None:
    source = stack_exchange(server)
    assert source.recognises(reference)
    thread = source.thread(reference)
    assert (thread.id, len(thread.comments)) == ("se-workplace-98765", 4)


@pytest.mark.parametrize("reference", [f"https://{HOST}/users/11", f"https://{HOST}/"])
def test_an_address_without_a_question_is_wrong_usage(server: StackExchangeServer, reference: str) -> None:
    with pytest.raises(UsageError, match="not the address of a question"):
        stack_exchange(server).thread(reference)


@pytest.mark.parametrize("path", ["questions/4711", "a/4711"])
def test_a_question_that_is_not_shown_is_gone_and_where_none_is_shown_it_is_an_outage(
    server: StackExchangeServer, path: str
) -> None:
    with pytest.raises(Unsuitable, match="4711"):
        stack_exchange(server).thread(f"https://{HOST}/{path}")
    for kind in ("listing", "questions", "answers"):
        server.always(kind, "empty")
    with pytest.raises(TransientFailure, match="no question of workplace at all"):
        stack_exchange(server).thread(f"https://{HOST}/{path}")


def test_a_question_closed_for_its_content_is_refused_by_address_too(server: StackExchangeServer) -> None:
    server.add(question(98765, closed_date=NOW, closed_reason="Opinion-based"))
    with pytest.raises(Unsuitable, match="Opinion-based"):
        stack_exchange(server).thread(ADDRESS)


def test_a_saved_answer_becomes_a_thread(server: StackExchangeServer) -> None:
    nested = question(98765, answers=[answer(5, 98765)])
    thread = stack_exchange(server).parse({"items": [nested], "has_more": False, "quota_remaining": 5})
    assert thread is not None
    assert [kept.id for kept in thread.comments] == ["a5"]
    assert stack_exchange(server).parse({"hits": []}) is None
    assert server.requests == []


def test_what_is_still_shown_is_not_gone(server: StackExchangeServer) -> None:
    assert stack_exchange(server).deleted(FERN) == Deletions(checked=5, requests=3)
    assert stack_exchange(server).deleted({}) == Deletions()


def test_a_deleted_question_is_gone_and_its_comments_are_not_asked_about(server: StackExchangeServer) -> None:
    server.add(question(5))
    server.delete("questions", 98765)
    deletions = stack_exchange(server).deleted(FERN)
    assert (deletions.threads, deletions.comments) == (frozenset(FERN), frozenset())
    assert server.seen("answers") == server.seen("comments") == []


def test_a_deleted_answer_is_gone_with_the_comments_on_it(server: StackExchangeServer) -> None:
    server.delete("answers", 98770)
    server.add(comment(112244, 98770))  # as if the API still showed it
    deletions = stack_exchange(server).deleted(FERN)
    key = "se-workplace-98765"
    assert (deletions.threads, deletions.comments) == (frozenset(), {(key, "a98770"), (key, "c112244")})


def test_a_deleted_comment_is_gone_alone(server: StackExchangeServer) -> None:
    server.delete("comments", 112233)
    assert stack_exchange(server).deleted(FERN).comments == {("se-workplace-98765", "c112233")}


def test_all_comments_gone_are_believed_where_the_site_shows_its_questions(server: StackExchangeServer) -> None:
    for number in (112233, 112244):
        server.delete("comments", number)
    gone = stack_exchange(server).deleted(FERN).comments
    assert gone == {("se-workplace-98765", "c112233"), ("se-workplace-98765", "c112244")}


def test_many_threads_are_asked_about_a_hundred_at_a_time_and_by_site(server: StackExchangeServer) -> None:
    server.add(*(question(number) for number in range(1, 251)), *(answer(1000 + n, n) for n in range(1, 251)))
    server.add(question(7), answer(8, 7), site="superuser")
    stored = {
        f"se-workplace-{number}": StoredThread(f"https://{HOST}/questions/{number}/x", [f"a{1000 + number}"])
        for number in range(1, 251)
    }
    stored["se-superuser-7"] = StoredThread("https://superuser.com/questions/7/x", ["a8"])
    assert stack_exchange(server).deleted(stored) == Deletions(checked=502, requests=8)
    assert {len(request.path.split(";")) for request in server.requests} == {100, 50, 1}
    assert [request.query["site"] for request in server.requests][-2:] == ["superuser"] * 2


@pytest.mark.parametrize("kind", ["questions", "answers", "comments"])
@pytest.mark.parametrize("fault", OUTAGES)
def test_an_outage_during_a_sweep_deletes_nothing(
    server: StackExchangeServer, limiter: Recorder, kind: str, fault: str
) -> None:
    server.always(kind, fault)
    server.always("listing", fault)
    with pytest.raises(TransientFailure) as caught:
        stack_exchange(server, limiter).deleted(FERN)
    assert caught.value.service == "stackexchange"


@pytest.mark.parametrize("kind", ["questions", "answers", "comments"])
def test_an_answer_that_leaves_out_everything_is_not_believed_where_others_show_it(
    server: StackExchangeServer, kind: str
) -> None:
    server.always(kind, "empty")
    with pytest.raises(TransientFailure, match=r"yet its question shows it|no question of .* at all"):
        stack_exchange(server).deleted(FERN)


@pytest.mark.parametrize("kind", ["questions", "answers", "comments"])
def test_items_without_ids_are_no_deletion(server: StackExchangeServer, kind: str) -> None:
    items = [{"score": 4, "owner": {}}, "item"]
    server.always(kind, Reply({"items": items, "has_more": False, "quota_remaining": 5, "quota_max": 300}))
    with pytest.raises(TransientFailure, match="without their ids"):
        stack_exchange(server).deleted(FERN)


def test_an_answer_with_more_pages_is_not_believed(server: StackExchangeServer) -> None:
    reply = {"items": [question(1)], "has_more": True, "quota_remaining": 5, "quota_max": 300}
    server.always("questions", Reply(reply))
    with pytest.raises(TransientFailure, match="did not show all"):
        stack_exchange(server).deleted(FERN)


def test_a_site_that_was_closed_does_not_hinder_the_others(server: StackExchangeServer) -> None:
    server.delete("answers", 98771)
    closed = {"se-ferns-1": StoredThread("https://ferns.stackexchange.com/q/1")}
    assert stack_exchange(server).deleted({**closed, **FERN}).comments == {("se-workplace-98765", "a98771")}
    with pytest.raises(PermanentFailure, match="No site found"):
        stack_exchange(server).deleted(closed)


def test_a_thread_whose_address_was_lost_is_asked_about_by_its_key(server: StackExchangeServer) -> None:
    assert stack_exchange(server).deleted({"se-workplace-98765": StoredThread("")}).checked == 1
    assert stack_exchange(server).deleted({"se-5": StoredThread("")}).checked == 0
