"""Discourse against a loopback site, and its saved answers."""

from collections.abc import Iterator
from typing import Any

import pytest
from servers.discourse_server import DiscourseServer, post, topic

from threadjuice_dagster.failures import PermanentFailure, TransientFailure, Unsuitable, UsageError
from threadjuice_dagster.sources.client import SourceLimiter
from threadjuice_dagster.sources.discourse import Discourse
from threadjuice_dagster.sources.thread_source import StoredThread, ThreadFormatError

QUOTE = (
    '<aside class="quote no-group" data-username="asker" data-post="2" data-topic="42"><div class="title">'
    '<div class="quote-controls"></div> asker:</div><blockquote><p>What does it write about?</p></blockquote></aside>'
    '<p>Ask <a class="mention" href="/u/stove_owner">@stove_owner</a>, or Ines Kesselring, or kettle_ines7.</p>'
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[DiscourseServer]:
    monkeypatch.setattr("threadjuice_dagster.sources.client._PAUSE", 0.001)
    with DiscourseServer() as running:
        yield running


def discourse() -> Discourse:
    return Discourse(limiter=SourceLimiter())


def name(server: DiscourseServer) -> str:
    return server.url.removeprefix("http://")


def stored(server: DiscourseServer, *numbers: int, posts: tuple[str, ...] = ()) -> dict[str, StoredThread]:
    return {f"discourse-{number}": StoredThread(f"{server.url}/t/{number}", posts) for number in numbers}


def test_a_topic_is_read_with_its_tree_in_plain_text(server: DiscourseServer) -> None:
    thread = discourse().thread(f"{server.url}/t/the-kettle-that-kept-a-diary/42/3")
    assert thread.id == f"discourse-{name(server).replace(':', '-')}-42"
    assert (thread.source, thread.community, thread.spec) == ("discourse", "127.0.0.1", f"discourse:{server.url}")
    assert thread.title == "The kettle that kept a diary (42)"
    assert thread.body == "Each morning there is a new page in it."
    assert (thread.score, thread.num_comments, thread.permalink) == (9, 2, f"{server.url}/t/42")
    answer, question = thread.comments
    assert (answer.body, answer.score, answer.parent_id, answer.depth) == ("Mostly about the stove.", 5, question.id, 1)
    assert (question.parent_id, question.depth, question.by_poster) == (None, 0, False)
    assert (answer.by_poster, answer.permalink) == (True, f"{server.url}/t/42/3")


def test_names_of_users_are_masked_in_quotations_mentions_and_texts(server: DiscourseServer) -> None:
    server.add(topic(43, title="A word to kettle_ines7 :wave:"), [post(1, "<p>Well.</p>"), post(2, QUOTE)])
    thread = discourse().thread(f"{server.url}/t/43")
    assert thread.title == "A word to another user"
    assert thread.comments[0].body == (
        "> What does it write about?\n\nAsk another user, or another user, or another user."
    )
    texts = thread.model_dump_json()
    assert not any(word in texts for word in ("asker", "stove_owner", "kettle_ines7", "Kesselring"))


def test_an_accepted_answer_comes_first_and_reactions_count_as_likes(server: DiscourseServer) -> None:
    server.add(
        topic(44),
        [
            post(1, "<p>Who feeds it ink?</p>"),
            post(2, "<p>Nobody does.</p>", reactions=[{"id": "heart", "count": 4}, {"id": "tada", "count": 3}]),
            post(3, "<p>I do.</p>", accepted_answer=True, topic_accepted_answer=True),
        ],
    )
    accepted, other = discourse().thread(f"{server.url}/t/44").comments
    assert (accepted.body, accepted.kind, accepted.accepted) == ("I do.", "answer", True)
    assert (other.kind, other.accepted, other.score) == ("comment", False, 7)


@pytest.mark.parametrize(
    "left_out",
    [
        {"post_type": 2},
        {"post_type": 3, "action_code": "closed.enabled"},
        {"post_type": 4},
        {"hidden": True},
        {"deleted_at": "2026-11-21T00:00:00Z"},
        {"user_deleted": True},
        {"cooked": "<p>(post deleted by author)</p>"},
        {"cooked": "<p>(post withdrawn by author, will be automatically deleted in 24 hours unless flagged)</p>"},
        {"user_id": -1, "username": "system"},
        {"user_id": -1201, "username": "helpful_ai"},
        {"username": "discobot"},
        {"cooked": "<p>I am a bot, and this action was performed automatically.</p>"},
    ],
)
def test_notes_hidden_and_deleted_posts_and_those_of_programs_are_left_out(
    server: DiscourseServer, left_out: dict[str, Any]
) -> None:
    noted = post(2, **{"cooked": "<p>It was closed.</p>", **left_out})
    server.add(
        topic(45), [post(1, "<p>Well.</p>"), noted, post(3, "<p>Staff drink tea too.</p>", admin=True, staff=True)]
    )
    assert [kept.body for kept in discourse().thread(f"{server.url}/t/45").comments] == ["Staff drink tea too."]


def test_the_posts_beyond_the_first_20_are_asked_for_in_batches(server: DiscourseServer) -> None:
    server.add(topic(46), [post(number, f"<p>Page {number}.</p>", likes=number) for number in range(1, 66)])
    thread = discourse().thread(f"{server.url}/t/46")
    assert [kept.body for kept in thread.comments] == [f"Page {number}." for number in range(65, 1, -1)]
    assert [len(asked.repeated["post_ids[]"]) for asked in server.seen("posts")] == [20, 20, 5]


def test_at_most_500_replies_are_read(server: DiscourseServer) -> None:
    server.add(topic(47), [post(number, f"<p>Page {number}.</p>") for number in range(1, 560)])
    thread = discourse().thread(f"{server.url}/t/47")
    assert (len(thread.comments), thread.num_comments) == (500, 558)
    assert len(server.seen("posts")) == 25


def test_a_listing_holds_the_topics_of_the_week_then_the_latest(server: DiscourseServer) -> None:
    server.add(topic(48, like_count=900), [post(number, f"<p>Page {number}.</p>", likes=9) for number in range(1, 9)])
    loud, quiet = discourse().listing(server.url, 5)
    assert (loud.permalink, quiet.permalink) == (f"{server.url}/t/48", f"{server.url}/t/42")
    assert loud.spec == f"discourse:{server.url}"
    assert server.seen("top")[0].query == {"period": "weekly"}
    assert [thread.permalink for thread in discourse().listing(server.url, 1)] == [f"{server.url}/t/48"]


def test_a_listing_keeps_what_it_has_when_the_site_fails_in_the_middle(server: DiscourseServer) -> None:
    server.add(topic(41, like_count=900), [post(1, "<p>Well.</p>"), post(2, "<p>Well, well.</p>")])
    server.script("topic", "ok", "503", "503", "503")
    assert [thread.permalink for thread in discourse().listing(server.url, 5)] == [f"{server.url}/t/41"]


@pytest.mark.parametrize("fault", ["404", "not_found", "no_access", "html", "503"])
def test_without_a_list_of_top_topics_the_latest_are_read(server: DiscourseServer, fault: str) -> None:
    server.always("top", fault)
    assert [thread.permalink for thread in discourse().listing(server.url, 5)] == [f"{server.url}/t/42"]


def test_a_category_and_a_tag_are_places_of_their_own(server: DiscourseServer) -> None:
    server.add(topic(49, category_id=8, tags=["tea"]), [post(1, "<p>Well.</p>"), post(2, "<p>Well, well.</p>")])
    for part in ("/c/help/tea/8", "/tag/tea"):
        (thread,) = discourse().listing(f"{server.url}{part}", 5)
        assert (thread.permalink, thread.spec) == (f"{server.url}/t/49", f"discourse:{server.url}{part}")
    assert discourse().check(f"{server.url}/tag/tea") == f"{name(server)} lists 1 topics."
    assert [asked.path for asked in server.seen("top")] == ["/c/help/tea/8/l/top.json", "/tag/tea/l/top.json"]


@pytest.mark.parametrize(
    "fields",
    [
        {"pinned": True},
        {"pinned_globally": True},
        {"visible": False},
        {"archetype": "private_message"},
        {"archetype": "banner"},
        {"tags": ["NSFW"]},
        {"tags": [{"id": 1, "name": "nsfw"}]},
    ],
)
def test_topics_that_may_not_be_used_are_not_listed(server: DiscourseServer, fields: dict[str, Any]) -> None:
    server.add(topic(50, like_count=999, **fields), [post(1, "<p>Well.</p>"), post(2, "<p>Well, well.</p>")])
    server.add(topic(51), [post(1, "<p>Nobody answered.</p>")])
    assert [thread.permalink for thread in discourse().listing(server.url, 5)] == [f"{server.url}/t/42"]


def test_closed_topics_are_listed_since_most_close_by_age(server: DiscourseServer) -> None:
    server.topics[42]["closed"] = True
    assert discourse().listing(server.url, 5)


@pytest.mark.parametrize("how", ["not_found", "deleted", "no_access", "login"])
def test_a_topic_that_the_public_cannot_read_is_refused_and_passed_over(server: DiscourseServer, how: str) -> None:
    server.add(topic(52, like_count=99), [post(1, "<p>Well.</p>"), post(2, "<p>Well, well.</p>")])
    server.refused[52] = how
    with pytest.raises(Unsuitable, match="deleted"):
        discourse().thread(f"{server.url}/t/52")
    server.script("topic", how)
    assert discourse().listing(server.url, 5) == []


@pytest.mark.parametrize("fields", [{"hidden": True}, {"user_deleted": True}, {"user_id": -1}])
def test_a_topic_whose_first_post_is_gone_or_a_programs_is_refused(
    server: DiscourseServer, fields: dict[str, Any]
) -> None:
    server.add(topic(53), [post(1, "<p>Well.</p>", **fields), post(2, "<p>Well, well.</p>")])
    with pytest.raises(Unsuitable):
        discourse().thread(f"{server.url}/t/53")


def test_a_site_for_members_only_has_no_public_topics(server: DiscourseServer) -> None:
    server.always("top", "login")
    server.always("latest", "login")
    with pytest.raises(PermanentFailure, match="shows the public no topics"):
        discourse().listing(server.url, 5)


@pytest.mark.parametrize("fault", ["429:0", "502", "503", "reset", "html", "truncated", "403", "empty"])
@pytest.mark.parametrize("kind", ["latest", "topic", "posts"])
def test_an_outage_is_a_transient_failure_that_names_the_site(server: DiscourseServer, kind: str, fault: str) -> None:
    server.add(topic(54), [post(number, f"<p>Page {number}.</p>") for number in range(1, 30)])
    server.always(kind, fault)
    source = discourse()
    if (kind, fault) in (("latest", "empty"), ("posts", "empty")):
        assert source.thread(f"{server.url}/t/54")
        return
    with pytest.raises(TransientFailure) as raised:
        source.listing(server.url, 9) if kind == "latest" else source.thread(f"{server.url}/t/54")
    assert raised.value.service == f"discourse:{name(server)}"
    assert "post_ids" not in str(raised.value)


def test_a_fault_that_passes_is_tried_again(server: DiscourseServer) -> None:
    server.script("topic", "502", "429:0")
    assert discourse().thread(f"{server.url}/t/42").comments


def test_deleted_and_hidden_topics_and_posts_are_found_in_few_requests(server: DiscourseServer) -> None:
    server.add(topic(60), [post(number, f"<p>Page {number}.</p>") for number in range(1, 41)])
    server.posts[60][4]["hidden"] = True
    server.posts[60][6]["deleted_at"] = "2026-11-21T00:00:00Z"
    server.posts[60][30]["user_deleted"] = True
    server.posts[60][31]["deleted_at"] = "2026-11-21T00:00:00Z"
    server.add(topic(61), [post(1, "<p>Well.</p>", hidden=True)])
    server.moved[60099] = {**post(9, "<p>It moved.</p>"), "id": 60099, "topic_id": 42}
    ids = tuple(str(60000 + number) for number in (5, 6, 7, 31, 32, 33, 99))
    asked = {**stored(server, 42, 61, 999), **stored(server, 60, posts=ids)}
    deletions = discourse().deleted(asked)
    assert deletions.threads == {"discourse-61", "discourse-999"}
    assert {post_id for _, post_id in deletions.comments} == {"60005", "60007", "60031", "60032"}
    # Four topics, one batch of posts, and each of the three that their topic does not show.
    assert (deletions.checked, deletions.requests, len(server.requests)) == (11, 8, 8)


@pytest.mark.parametrize("how", ["not_found", "deleted", "no_access", "login"])
def test_a_refusal_is_believed_where_the_site_shows_another_topic(server: DiscourseServer, how: str) -> None:
    server.add(topic(62), [post(1, "<p>Well.</p>")])
    server.refused[62] = how
    assert discourse().deleted(stored(server, 62)).threads == {"discourse-62"}
    assert [asked.kind for asked in server.requests] == ["topic", "latest", "topic"]


def test_a_site_that_refuses_everything_is_in_doubt(server: DiscourseServer) -> None:
    server.always("topic", "login")
    with pytest.raises(TransientFailure, match="nor one that it lists itself"):
        discourse().deleted(stored(server, 42))
    server.always("latest", "login")
    with pytest.raises(TransientFailure, match="nothing at all"):
        discourse().deleted(stored(server, 42))


@pytest.mark.parametrize(
    "fault", ["429:0", "502", "503", "reset", "html", "truncated", "403", "404", "410", "301", "empty"]
)
def test_an_outage_is_no_deletion(server: DiscourseServer, fault: str) -> None:
    server.always("topic", fault)
    with pytest.raises(TransientFailure):
        discourse().deleted(stored(server, 42))


def test_a_site_that_is_gone_is_an_outage() -> None:
    with DiscourseServer() as server:
        asked = stored(server, 42)
    with pytest.raises(TransientFailure):
        discourse().deleted(asked)


def test_a_thread_without_an_address_is_not_asked_for() -> None:
    assert discourse().deleted({"discourse-1234abcd-42": StoredThread("")}).checked == 0


@pytest.mark.parametrize(
    ("reference", "is_discourses"),
    [
        ("https://meta.example.org/t/a-title/42", True),
        ("https://meta.example.org/t/a-title/42/7", True),
        ("https://meta.example.org/t/42", True),
        ("https://meta.example.org/t/-/42.json?page=2", True),
        ("meta.example.org/t/42/7", True),
        ("https://example.org/forum/t/a-title/42#reply", True),
        ("http://127.0.0.1:4200/t/42", True),
        ("https://meta.example.org/t/a-title", False),
        ("https://meta.example.org/u/somebody", False),
        ("https://lemmy.world/post/123", False),
        ("https://stackoverflow.com/questions/1/t/", False),
        ("t/42", False),
        ("soup.json", False),
    ],
)
def test_an_address_is_known_by_its_form(reference: str, is_discourses: bool) -> None:
    assert discourse().recognises(reference) is is_discourses


@pytest.mark.timeout(20)
def test_a_long_text_that_is_no_address_is_known_at_once() -> None:
    assert not any(
        discourse().recognises(text) for text in ("a." * 30_000 + "/t/x", "." * 50_000 + "/post/", "a/" * 30_000)
    )


@pytest.mark.parametrize(
    "wrong", ["", "meta", "http://meta.example.org", "https://10.0.0.1", "https://a.example/c/x", "ftp://a.example"]
)
def test_a_place_that_is_none_is_wrong_usage(wrong: str) -> None:
    with pytest.raises(UsageError):
        discourse().listing(wrong, 5)


def test_a_service_is_a_site() -> None:
    source = discourse()
    assert source.service("https://meta.example.org/c/support/6") == "discourse:meta.example.org"
    assert source.service("https://example.org/forum/t/42") == "discourse:example.org/forum"
    assert source.service("http://127.0.0.1:99") == "discourse:127.0.0.1:99"
    assert source.service("?") == "discourse"


def saved(**fields: Any) -> dict[str, Any]:
    posts = [post(1, "<p>Well.</p>"), post(2, "<p>Well, well.</p>")]
    return {**topic(70), "posts_count": 2, "post_stream": {"posts": posts, "stream": [9001, 9002]}, **fields}


def test_a_saved_topic_is_read_and_its_site_found_in_the_addresses_of_pictures() -> None:
    document = saved()
    picture = "/user_avatar/meta.example.org/kettle_ines7/{size}/12_2.png"
    document["post_stream"]["posts"][1]["avatar_template"] = f"https://cdn.example.net{picture}"
    thread = discourse().parse(document)
    assert thread is not None
    assert (thread.id, thread.permalink) == ("discourse-meta.example.org-70", "https://meta.example.org/t/70")
    assert (thread.spec, thread.comments[0].body) == ("discourse:https://meta.example.org", "Well, well.")


def test_a_saved_topic_of_an_unknown_site_has_no_address(caplog: pytest.LogCaptureFixture) -> None:
    thread = discourse().parse(saved())
    assert "names no site" in caplog.text
    assert thread is not None
    assert (thread.permalink, thread.comments[0].permalink, thread.spec) == ("", "", "")
    again = discourse().parse(saved(title="Another kettle"))
    assert again is not None
    assert again.id != thread.id


def test_documents_of_other_sources_are_none_of_discourses() -> None:
    others: list[Any] = [
        {"kind": "Listing", "data": {"children": []}},
        {"items": []},
        {"post_view": {}},
        {"post_stream": []},
        {"post_stream": {"posts": "none"}},
        {"errors": ["x"]},
        [],
        None,
        7,
        "post_stream",
    ]
    for document in others:
        assert discourse().parse(document) is None


def test_a_document_of_discourses_that_is_no_whole_thread_says_why() -> None:
    with pytest.raises(ThreadFormatError, match="not_found"):
        discourse().parse({"errors": ["Gone."], "error_type": "not_found"})
    with pytest.raises(ThreadFormatError, match="first post is missing"):
        discourse().parse({**topic(1), "post_stream": {"posts": [post(3, "<p>Well.</p>")]}})
    with pytest.raises(ThreadFormatError, match="no title"):
        discourse().parse(saved(title=["x"]))


def test_fields_of_wrong_types_are_missing_fields() -> None:
    odd = post(
        2,
        "<p>Well, well.</p>",
        id="9002",
        post_number="2",
        reply_to_post_number={"a": 1},
        actions_summary=[{"id": 2, "count": "x"}, 5],
        reactions={"a": 1},
        created_at=7,
        username=["x"],
        user_id={"x": 1},
        avatar_template=3,
        reply_to_user="x",
        link_counts=4,
    )
    document = saved(tags="nsfw", details=[1], created_at=5, posts_count="many", featured_link=[1])
    document["post_stream"] |= {"posts": [post(1, "<p>Well.</p>"), odd, 5, None, {"id": True}, {}], "stream": {"a": 1}}
    thread = discourse().parse(document)
    assert thread is not None
    (kept,) = thread.comments
    assert (kept.id, kept.score, kept.created_at.year, thread.num_comments) == ("9002", 0, 1970, 1)


def test_a_deep_topic_and_one_that_answers_in_circles_are_read() -> None:
    deep = [post(number, f"<p>Page {number}.</p>", reply_to_post_number=number - 1) for number in range(1, 5000)]
    thread = discourse().parse({**topic(71), "post_stream": {"posts": deep}})
    assert thread is not None
    assert max(kept.depth for kept in thread.comments) >= 400
    circle = [
        post(1, "<p>Well.</p>"),
        post(2, "<p>Two.</p>", reply_to_post_number=3),
        post(3, "<p>Three.</p>", reply_to_post_number=2),
    ]
    thread = discourse().parse({**topic(72), "post_stream": {"posts": circle}})
    assert thread is not None
    assert {(kept.body, kept.depth) for kept in thread.comments} == {("Two.", 0), ("Three.", 1)}
