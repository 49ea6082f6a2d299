"""PRAW itself against a loopback Reddit, and every form of a permalink."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from prawcore.sessions import Session
from servers.loopback import Reply
from servers.reddit_server import CLIENT_ID, CLIENT_SECRET, RedditServer, comment, listing, post

from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, TransientFailure, UsageError
from threadjuice_dagster.sources.reddit import Reddit, thread_id_of
from threadjuice_dagster.sources.registry import ThreadSources
from threadjuice_dagster.sources.samples import Samples
from threadjuice_dagster.sources.thread_source import Deletions, StoredThread

HUM = "Mine hums in the key of G on cold mornings, and nobody believes me."


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedditServer]:
    # prawcore waits two to four seconds before its own last retry.
    monkeypatch.setattr("prawcore.sessions.FiniteRetryStrategy._sleep_seconds", lambda _: None)
    with RedditServer() as running:
        yield running


def reddit(server: RedditServer, **fields: Any) -> Reddit:
    settings = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "user_agent": "test:threadjuice:1 (by /u/nobody)",
        "reddit_url": server.url,
        "oauth_url": server.url,
        **fields,
    }
    return Reddit(**settings)


def deleted(server: RedditServer, comments: dict[str, list[str]]) -> Deletions:
    """What is gone of these threads, by id, and of these comments of theirs."""
    return reddit(server).deleted({thread: StoredThread("", used) for thread, used in comments.items()})


def test_candidates_are_ranked_by_engagement_and_carry_their_comments(server: RedditServer) -> None:
    server.add(post("quiet1", score=3, num_comments=0), [])
    server.add(post("loud01", "tea", score=9000, num_comments=800), [comment("c2", "The lid did it, as lids do.")])
    threads = reddit(server).listing("cooking+r/tea", 2)
    assert [thread.id for thread in threads] == ["loud01", "kettle1"]
    assert threads[0].comments[0].body == "The lid did it, as lids do."
    assert threads[0].source == "reddit"


def test_the_listing_is_asked_for_the_wanted_time_and_number(server: RedditServer) -> None:
    reddit(server, time_filter="week", limit=7).listing("cooking", 1)
    (request,) = server.seen("listing")
    assert (request.path, request.query["t"], request.query["limit"]) == ("/r/cooking/top", "week", "7")
    assert request.headers["user-agent"].startswith("test:threadjuice:1")


@pytest.mark.parametrize(
    "fields",
    [
        {"over_18": True},
        {"stickied": True},
        {"removed_by_category": "moderator"},
        {"selftext": "[removed]"},
        {"selftext": "[deleted]", "author": "[deleted]"},
        {"author": None},
    ],
)
def test_posts_that_may_not_be_used_are_no_candidates(server: RedditServer, fields: dict[str, Any]) -> None:
    server.add(post("barred", score=99_999, **fields), [])
    assert [thread.id for thread in reddit(server).listing("cooking", 5)] == ["kettle1"]


def test_no_author_name_survives_and_bots_and_deleted_comments_are_dropped(server: RedditServer) -> None:
    reply = comment("c3", "Ask u/some_neighbour about it.", parent_id="t1_c1")
    server.add(
        post("names1"),
        [
            comment("c1", "The tune is an old one.", [reply]),
            comment("c4", "I am a bot.", author="AutoModerator"),
            comment("c5", "[deleted]", author="[deleted]"),
            {"kind": "more", "data": {"children": ["c9"], "count": 40}},
        ],
    )
    thread = reddit(server).thread("names1")
    stored = thread.model_dump_json()
    assert {kept.id for kept in thread.comments} == {"c1", "c3"}
    assert not any(name in stored for name in ("poster_name", "commenter_name", "some_neighbour"))


def test_a_private_or_unknown_subreddit_does_not_end_the_discovery_of_others(server: RedditServer) -> None:
    server.script("listing", "403", "redirect", "404")
    names = ["private", "unknown", "missing", "cooking"]
    assert [thread.id for thread in reddit(server).listing("+".join(names), 5)] == ["kettle1"]
    server.script("listing", "404", "403")
    with pytest.raises(PermanentFailure):
        reddit(server).listing("missing+private", 5)


def test_refused_credentials_end_a_discovery_at_once(server: RedditServer) -> None:
    with pytest.raises(ConfigurationError):
        reddit(server, client_secret="wrong").listing("one+two+three", 5)
    assert [request.kind for request in server.requests] == ["token"]


def test_the_number_of_comments_asked_for_is_bounded(server: RedditServer) -> None:
    reddit(server, comment_limit=100_000).thread("kettle1")
    assert int(server.seen("thread")[0].query["limit"]) <= 500


def test_a_thread_that_goes_away_between_listing_and_reading_is_passed_over(server: RedditServer) -> None:
    server.add(post("second", score=50), [])
    server.script("thread", "404")
    assert len(reddit(server).listing("cooking", 5)) == 1


@pytest.mark.parametrize("fields", [{"selftext": "[removed]"}, {"removed_by_category": "deleted"}])
def test_a_thread_taken_down_is_refused(server: RedditServer, fields: dict[str, Any]) -> None:
    server.add(post("gone01", **fields), [])
    with pytest.raises(PermanentFailure, match="removed or deleted"):
        reddit(server).thread("https://redd.it/gone01")


@pytest.mark.parametrize("told", ["retry-after", "x-ratelimit-reset"])
def test_a_limit_is_a_transient_failure_with_the_wait_told(server: RedditServer, told: str) -> None:
    server.script("thread", Reply({}, 429, {told: "7"}))
    with pytest.raises(TransientFailure) as caught:
        reddit(server).thread("kettle1")
    assert caught.value.retry_after == 7


@pytest.mark.parametrize("kind", ["token", "thread"])
@pytest.mark.parametrize("fault", ["503", "500", "429", "reset", "not_json", "truncated"])
def test_an_outage_is_a_transient_failure(server: RedditServer, kind: str, fault: str) -> None:
    server.always(kind, fault)
    with pytest.raises(TransientFailure):
        reddit(server).thread("kettle1")


def test_an_answer_that_is_no_thread_is_a_transient_failure(server: RedditServer) -> None:
    server.always("thread", "not_a_thread")
    with pytest.raises(TransientFailure, match="is no thread"):
        reddit(server).thread("kettle1")


def test_a_refusal_reddit_explains_is_no_crash(server: RedditServer) -> None:
    server.always("thread", Reply({"reason": "BAD_REQUEST", "explanation": "the request was odd"}, 400))
    with pytest.raises(TransientFailure):
        reddit(server).thread("kettle1")


def test_a_short_outage_is_ridden_out(server: RedditServer) -> None:
    server.script("thread", "503")
    assert reddit(server).thread("kettle1").id == "kettle1"


@pytest.mark.parametrize("kind", ["token", "listing"])
@pytest.mark.parametrize("fault", ["401", "403"])
def test_refused_credentials_are_settings_to_mend(server: RedditServer, kind: str, fault: str) -> None:
    server.always(kind, fault)
    with pytest.raises(ConfigurationError, match="REDDIT_CLIENT_ID") as caught:
        reddit(server).listing("cooking", 1)
    assert "REDDIT_CLIENT_SECRET" in str(caught.value)


def test_no_secret_travels_in_an_error(server: RedditServer) -> None:
    with pytest.raises(ConfigurationError) as caught:
        reddit(server, client_secret="wrong-and-secret").thread("kettle1")
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert not any("wrong-and-secret" in str(error) for error in chain)


def test_an_oauth_error_is_a_setting_to_mend(server: RedditServer) -> None:
    server.always("token", "oauth_error")
    with pytest.raises(ConfigurationError, match="REDDIT_CLIENT_ID"):
        reddit(server).thread("kettle1")


def test_an_unknown_thread_or_subreddit_is_permanent(server: RedditServer) -> None:
    with pytest.raises(PermanentFailure, match="thread nowhere"):
        reddit(server).thread("nowhere")
    server.always("listing", "redirect")
    with pytest.raises(PermanentFailure, match="r/cooking"):
        reddit(server).listing("cooking", 1)


def test_reddit_without_credentials_says_what_to_set(server: RedditServer) -> None:
    with pytest.raises(ConfigurationError, match="REDDIT_CLIENT_ID"):
        reddit(server, client_id="").thread("kettle1")


GONE_POSTS = [
    {"selftext": "[removed]"},
    {"selftext": "[deleted]", "author": "[deleted]"},
    {"title": "[deleted by user]"},
    {"title": "[ Removed by Reddit ]"},
    {"selftext": "[ Removed by Reddit on account of violating the [rules](/help/rules). ]"},
    {"author": "[deleted]"},
    {"author": None},
    {"removed_by_category": "moderator"},
    {"selftext": "", "crosspost_parent": "t3_x1", "crosspost_parent_list": [post("x1", author="[deleted]")]},
]
GONE_COMMENTS: list[dict[str, Any]] = [
    {"body": "[deleted]"},
    {"body": " [Removed] "},
    {"body": "[removed by moderator]"},
    {"author": None},
    {"author": "[deleted]"},
    {"removed_by_category": "moderator"},
    {"collapsed_reason_code": "DELETED"},
    {"banned_by": True},
]


def names(server: RedditServer) -> list[list[str]]:
    """The names each question to /api/info held."""
    return [request.query["id"].split(",") for request in server.seen("info")]


@pytest.fixture
def lids(server: RedditServer) -> RedditServer:
    """A server with two threads: one comment in kettle1; two and a reply in lids01."""
    reply = comment("c22", "It did so twice.")
    server.add(post("lids01"), [comment("c2", "The lid did it.", [reply]), comment("c3", "A lid is a lid.")])
    return server


def test_sources_that_are_still_there_are_asked_about_in_one_request(lids: RedditServer) -> None:
    found = deleted(lids, {"kettle1": ["c1"], "lids01": ["c2", "c22"]})
    assert found == Deletions(checked=5, requests=1)
    assert names(lids) == [["t3_kettle1", "t1_c1", "t3_lids01", "t1_c2", "t1_c22"]]
    assert lids.seen("info")[0].query["raw_json"] == "1"


@pytest.mark.parametrize("fields", GONE_POSTS)
def test_a_post_that_was_taken_down_or_lost_its_author_is_deleted(lids: RedditServer, fields: dict[str, Any]) -> None:
    lids.posts["lids01"].update(fields)
    lids.comments["lids01"][0]["data"]["body"] = "[deleted]"
    assert deleted(lids, {"kettle1": ["c1"], "lids01": ["c2", "c3"]}) == Deletions(
        frozenset(["lids01"]), frozenset(), checked=5, requests=1
    )


@pytest.mark.parametrize("fields", GONE_COMMENTS)
def test_a_comment_that_was_taken_down_or_lost_its_author_is_deleted(
    lids: RedditServer, fields: dict[str, Any]
) -> None:
    lids.comments["lids01"][0]["data"].update(fields)
    assert deleted(lids, {"kettle1": ["c1"], "lids01": ["c2", "c3"]}) == Deletions(
        frozenset(), frozenset([("lids01", "c2")]), checked=5, requests=1
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "[Removed] my kettle from the hob [update]", "selftext": ""},
        {"selftext": "It said [deleted], and nothing else."},
        {"author": "deleted", "removed_by_category": None},
    ],
)
def test_a_post_that_speaks_of_deletions_is_not_deleted(server: RedditServer, fields: dict[str, Any]) -> None:
    server.posts["kettle1"].update(fields)
    assert not deleted(server, {"kettle1": []}).threads


def test_a_post_left_out_is_deleted_once_its_own_page_is_gone(lids: RedditServer) -> None:
    del lids.posts["lids01"], lids.comments["lids01"]
    assert deleted(lids, {"kettle1": ["c1"], "lids01": ["c2"]}) == Deletions(
        frozenset(["lids01"]), frozenset(), checked=4, requests=2
    )


def refusal(status: int, **fields: str) -> Reply:
    """A refusal in Reddit's own words."""
    return Reply({"message": "Forbidden", "error": status, **fields}, status)


@pytest.mark.parametrize("fault", [refusal(403, reason="private"), refusal(403, reason="quarantined"), "404", "451"])
def test_a_post_left_out_that_the_public_may_not_read_is_deleted(lids: RedditServer, fault: Reply | str) -> None:
    lids.omitted = {"t3_lids01", "t1_c2"}
    lids.always("thread", fault)
    assert deleted(lids, {"kettle1": [], "lids01": ["c2"]}).threads == {"lids01"}


@pytest.mark.parametrize("name", ["t3_lids01", "t1_c3"])
@pytest.mark.parametrize(
    "fault",
    [
        Reply(raw=b"<html>blocked by network security</html>", status=403, headers={"Content-Type": "text/html"}),
        Reply(raw=b"<html>not found</html>", status=404, headers={"Content-Type": "text/html"}),
        Reply({"error": "not found"}, 404),
        refusal(403),
    ],
)
def test_a_refusal_that_is_not_reddits_word_on_the_thread_removes_nothing(
    lids: RedditServer, fault: Reply, name: str
) -> None:
    lids.omitted = {name}
    lids.always("thread", fault)
    with pytest.raises((TransientFailure, ConfigurationError)):
        deleted(lids, {"kettle1": [], "lids01": ["c2", "c3"]})


def test_a_page_that_is_not_there_although_its_post_was_just_shown_removes_nothing(lids: RedditServer) -> None:
    lids.omitted = {"t1_c3"}
    lids.always("thread", "404")
    with pytest.raises(TransientFailure, match="in doubt"):
        deleted(lids, {"lids01": ["c2", "c3"]})


def test_an_answer_cut_short_takes_no_comment_down_that_its_page_shows(lids: RedditServer) -> None:
    lids.omitted = {"t1_c22", "t1_c3"}
    assert deleted(lids, {"kettle1": ["c1"], "lids01": ["c2", "c22", "c3"]}) == Deletions(checked=6, requests=3)


def test_a_private_forum_is_told_as_such(server: RedditServer) -> None:
    server.always("thread", refusal(403, reason="private"))
    with pytest.raises(PermanentFailure, match=r"does not show thread kettle1 to the public \(private\)"):
        reddit(server).thread("kettle1")


def test_a_post_left_out_whose_page_shows_it_taken_down_is_deleted(lids: RedditServer) -> None:
    lids.omitted = {"t3_lids01"}
    lids.posts["lids01"]["removed_by_category"] = "deleted"
    assert deleted(lids, {"kettle1": [], "lids01": []}).threads == {"lids01"}


def test_a_post_left_out_whose_page_is_there_is_not_deleted(lids: RedditServer) -> None:
    lids.omitted = {"t3_lids01"}
    found = deleted(lids, {"kettle1": ["c1"], "lids01": ["c2"]})
    assert found == Deletions(checked=4, requests=2)


def test_a_comment_left_out_is_deleted_once_its_page_does_not_show_it(lids: RedditServer) -> None:
    del lids.comments["lids01"][1]
    found = deleted(lids, {"kettle1": ["c1"], "lids01": ["c2", "c3"]})
    assert found == Deletions(frozenset(), frozenset([("lids01", "c3")]), checked=5, requests=2)


def test_an_answer_without_any_comment_has_each_looked_up_on_its_page(lids: RedditServer) -> None:
    lids.omitted = {"t1_c1", "t1_c22", "t1_c3"}
    del lids.comments["lids01"][1]
    found = deleted(lids, {"kettle1": ["c1"], "lids01": ["c22", "c3"]})
    assert found == Deletions(frozenset(), frozenset([("lids01", "c3")]), checked=5, requests=4)
    assert [request.query["comment"] for request in lids.seen("thread")] == ["c1", "c22", "c3"]


def test_a_comment_shown_deep_in_its_thread_is_not_deleted(lids: RedditServer) -> None:
    lids.omitted = {"t1_c22"}
    things = [{"kind": "t3", "data": lids.posts["lids01"]}]
    lids.always("thread", Reply([listing(things), listing(lids.comments["lids01"])]))
    assert deleted(lids, {"lids01": ["c22"]}) == Deletions(checked=2, requests=2)


def test_an_empty_answer_removes_nothing_while_a_post_is_there(lids: RedditServer) -> None:
    del lids.posts["kettle1"]
    lids.always("info", "empty")
    with pytest.raises(TransientFailure, match="t3_lids01 is there") as caught:
        deleted(lids, {"kettle1": ["c1"], "lids01": ["c2"]})
    assert "nothing was taken down" in str(caught.value)


def test_an_answer_about_something_else_is_as_good_as_empty(server: RedditServer) -> None:
    other = [{"kind": "t3", "data": post("other1")}, comment("c9", "A lid is a lid.")]
    server.always("info", Reply(listing(other)))
    with pytest.raises(TransientFailure, match="left out all 2"):
        deleted(server, {"kettle1": ["c1"]})


def test_an_empty_answer_is_believed_when_every_post_is_confirmed_gone(server: RedditServer) -> None:
    server.always("info", "empty")
    server.posts.clear()
    found = deleted(server, {"kettle1": ["c1"], "lids01": ["c2"]})
    assert found == Deletions(frozenset(["kettle1", "lids01"]), frozenset(), checked=4, requests=3)


@pytest.mark.parametrize("kind", ["info", "thread"])
@pytest.mark.parametrize("fault", ["429", "503", "500", "reset", "slow:1", "not_json", "truncated", "not_a_thread"])
def test_an_answer_that_cannot_be_read_removes_nothing(
    server: RedditServer, monkeypatch: pytest.MonkeyPatch, kind: str, fault: str
) -> None:
    monkeypatch.setitem(Session.request.__kwdefaults__, "timeout", 0.3)
    server.posts["kettle1"]["selftext"] = "[deleted]"
    server.always(kind, fault)
    with pytest.raises(TransientFailure):
        deleted(server, {"kettle1": ["c1"], "nowhere": []})


@pytest.mark.parametrize(
    "answer",
    [
        {"data": {"children": [{"kind": "t3", "data": None}]}},
        {"data": {"children": [{"kind": "t3"}]}},
        {"data": {"children": None}},
        {"data": None},
        [],
        None,
        "",
    ],
)
@pytest.mark.parametrize("kind", ["info", "thread"])
def test_a_malformed_answer_removes_nothing(server: RedditServer, kind: str, answer: Any) -> None:
    server.always(kind, Reply(answer))
    with pytest.raises(TransientFailure):
        deleted(server, {"kettle1": ["c1"], "nowhere": []})


def test_a_page_that_does_not_show_its_thread_removes_nothing(server: RedditServer) -> None:
    server.always("thread", Reply([listing([]), listing([])]))
    with pytest.raises(TransientFailure, match="does not show it"):
        deleted(server, {"kettle1": ["c1"], "nowhere": []})


@pytest.mark.parametrize(("kind", "fault"), [("info", "401"), ("info", "403"), ("thread", "401"), ("token", "401")])
def test_refused_credentials_delete_nothing(server: RedditServer, kind: str, fault: str) -> None:
    server.always(kind, fault)
    with pytest.raises(ConfigurationError, match="REDDIT_CLIENT_ID"):
        deleted(server, {"kettle1": ["c1"], "nowhere": []})


def test_the_wait_reddit_tells_travels_with_the_failure(server: RedditServer) -> None:
    server.always("info", "429:7")
    with pytest.raises(TransientFailure) as caught:
        deleted(server, {"kettle1": []})
    assert caught.value.retry_after == 7


def test_no_more_than_a_hundred_names_are_asked_about_at_a_time(server: RedditServer) -> None:
    sources: dict[str, list[str]] = {}
    for number in range(1, 121):
        gone = {"author": "[deleted]"} if number in (1, 60, 120) else {}
        server.add(post(f"post{number}"), [comment(f"n{number}", "A lid is a lid.", **gone)])
        sources[f"post{number}"] = [f"n{number}"]
    found = deleted(server, sources)
    assert [len(batch) for batch in names(server)] == [100, 100, 40]
    assert len({name for batch in names(server) for name in batch}) == 240
    assert found == Deletions(
        frozenset(), frozenset([("post1", "n1"), ("post60", "n60"), ("post120", "n120")]), checked=240, requests=3
    )


def test_an_outage_halfway_removes_nothing_of_the_first_half(server: RedditServer) -> None:
    server.posts["kettle1"]["selftext"] = "[deleted]"
    sources = {"kettle1": [f"k{number}" for number in range(150)]}
    server.script("info", "ok", "429")
    with pytest.raises(TransientFailure):
        deleted(server, sources)


def test_comments_of_a_thread_beyond_the_first_batch_are_looked_up(server: RedditServer) -> None:
    ids = [f"k{number}" for number in range(100)]
    server.add(post("long01"), [comment(comment_id, "A lid is a lid.") for comment_id in ids[:-1]])
    found = deleted(server, {"long01": ids})
    assert found == Deletions(frozenset(), frozenset([("long01", "k99")]), checked=101, requests=3)


def test_nothing_is_asked_without_sources_and_samples_are_never_deleted(server: RedditServer) -> None:
    assert deleted(server, {}) == Deletions()
    assert server.requests == []
    assert Samples().deleted({"kettle1": StoredThread("", ["c1"])}) == Deletions()


@pytest.mark.parametrize(
    "reference",
    [
        "1abcde",
        "t3_1abcde",
        " 1ABCDE ",
        "https://www.reddit.com/r/cooking/comments/1abcde/the_kettle/",
        "https://www.reddit.com/r/cooking/comments/1abcde",
        "https://old.reddit.com/r/cooking/comments/1abcde/the_kettle/?sort=top&utm_source=share#thing",
        "http://np.reddit.com/r/cooking/comments/1abcde/",
        "https://new.reddit.com/r/cooking/comments/1abcde/the_kettle/kx12345/?context=3",
        "https://reddit.com/comments/1abcde/",
        "reddit.com/r/cooking/comments/1abcde/the_kettle",
        "/r/cooking/comments/1abcde/the_kettle/",
        "https://www.reddit.com/r/cooking/comments/1abcde.json",
        "https://www.reddit.com/r/cooking/comments/1abcde/the_kettle/.json?limit=500",
        "https://www.reddit.com/user/somebody/comments/1abcde/the_kettle/",
        "https://www.reddit.com/gallery/1abcde",
        "https://redd.it/1abcde",
        "redd.it/1abcde?utm=x",
        "https://m.reddit.com/r/cooking/comments/1abcde/comment/kx12345/",
        "r/cooking/comments/1abcde/the_kettle/",
        "https://www.reddit.com/poll/1abcde",
    ],
)
def test_every_form_of_a_permalink_names_its_thread(reference: str) -> None:
    assert thread_id_of(reference) == "1abcde"


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "https://www.reddit.com/r/cooking/",
        "https://www.reddit.com.evil.example/r/cooking/comments/1abcde/",
        "https://evilreddit.com/r/cooking/comments/1abcde/",
        "https://example.com/?u=reddit.com/comments/1abcde",
        "https://redd.it/",
        "https://[broken/comments/1abcde",
        "../../etc/passwd",
        "1abcde; rm -rf",
    ],
)
def test_what_is_no_permalink_is_refused(reference: str) -> None:
    with pytest.raises(UsageError):
        thread_id_of(reference)


def test_samples_are_ranked_readable_and_found_by_id() -> None:
    samples = Samples().listing("", 1_000)
    assert samples
    assert [thread.engagement for thread in samples] == sorted((t.engagement for t in samples), reverse=True)
    assert {thread.source for thread in samples} == {"sample"}
    assert Samples().thread(samples[0].permalink) == samples[0]
    assert len(Samples().listing("", 1)) == 1


def test_a_permalink_without_credentials_says_how_to_save_the_thread() -> None:
    with pytest.raises(ConfigurationError, match=r"\.json at its end") as caught:
        ThreadSources().thread("https://www.reddit.com/r/cooking/comments/zz99zz/")
    assert "https://www.reddit.com/comments/zz99zz/.rss" in str(caught.value)
    assert "REDDIT_CLIENT_ID" in str(caught.value)


def test_the_sources_serve_a_dagster_asset(server: RedditServer) -> None:
    @dg.asset
    def found(threads: ThreadSources) -> list[str]:
        return [thread.id for thread in threads.candidates(1).threads]

    app = {"reddit_client_id": CLIENT_ID, "reddit_client_secret": CLIENT_SECRET}
    live = ThreadSources(specs=["reddit:cooking"], reddit_url=server.url, reddit_oauth_url=server.url, **app)
    for sources in (live, ThreadSources()):
        result = dg.materialize([found], resources={"threads": sources})
        assert result.output_for_node("found")
