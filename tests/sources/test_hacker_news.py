"""Hacker News: both of its APIs at a loopback server, every form of an address, and documents that were saved."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from servers.hacker_news_server import HackerNewsServer, Item, comment, story
from servers.loopback import Reply

from threadjuice_dagster.failures import PermanentFailure, TransientFailure, Unsuitable, UsageError
from threadjuice_dagster.sources import client
from threadjuice_dagster.sources import hacker_news as module
from threadjuice_dagster.sources.hacker_news import HackerNews
from threadjuice_dagster.sources.hacker_news_parser import parse_story
from threadjuice_dagster.sources.thread_source import Deletions, StoredThread, ThreadFormatError

OUTAGES = ["502", "503", "429:0", "reset", "not_json", "truncated", "empty"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HackerNewsServer]:
    monkeypatch.setattr(client, "_PAUSE", 0.0)
    with HackerNewsServer() as running:
        yield running


@pytest.fixture
def source(server: HackerNewsServer) -> HackerNews:
    return HackerNews(url=server.url, search_url=server.url)


def stored(*comments: str, number: int = 100) -> dict[str, StoredThread]:
    return {f"hn-{number}": StoredThread(f"https://news.ycombinator.com/item?id={number}", comments)}


def document(**fields: Any) -> Item:
    """A story as the search API sends it."""
    return {
        "id": 7,
        "created_at_i": 1_790_000_000,
        "type": "story",
        "author": "kettle_owner",
        "title": "The spoon drawer",
        "text": None,
        "url": None,
        "points": 3,
        "children": [reply(8, "The second spoon is the one that matters.")],
        **fields,
    }


def reply(number: int, text: str | None, *children: Item, author: str | None = "spooner") -> Item:
    kind = {"type": "comment", "created_at": "2026-11-30T08:00:00.000Z"}
    return {"id": number, "author": author, "text": text, "children": list(children), **kind}


def test_a_story_is_read_with_all_that_a_writer_needs(source: HackerNews) -> None:
    thread = source.thread("https://news.ycombinator.com/item?id=100")
    assert (thread.id, thread.source, thread.spec, thread.community) == (
        "hn-100",
        "hackernews",
        "hackernews:ask",
        "ask",
    )
    assert thread.title == "Ask HN: What do you do with a kettle that sings? (100)"
    assert thread.body == (
        "My kettle began to whistle a tune.\n\nI have written the tune down. What would you do with it?"
    )
    assert (thread.score, thread.num_comments, thread.link, thread.licence) == (120, 3, "", "")
    assert thread.permalink == "https://news.ycombinator.com/item?id=100"
    first, second, answer = thread.comments
    assert (first.id, first.parent_id, first.depth, first.by_poster, first.score) == ("101", None, 0, False, 0)
    assert first.permalink == "https://news.ycombinator.com/item?id=101"
    assert second.id == "103"
    assert (answer.id, answer.parent_id, answer.depth, answer.by_poster) == ("102", "101", 1, True)
    assert answer.body == "> nobody believes me\n\nI do. Ours sings in F."


def test_comments_stand_in_the_order_of_the_page_which_only_one_of_the_apis_knows(
    server: HackerNewsServer, source: HackerNews
) -> None:
    server.add(story(200), comment(203, "First."), comment(201, "Second."), comment(202, "Third."))
    assert [kept.id for kept in source.thread("hn-200").comments] == ["203", "201", "202"]
    server.always("item", "502")
    assert [kept.id for kept in source.thread("hn-200").comments] == ["203", "202", "201"]


def test_no_name_is_stored_and_names_in_texts_are_masked(server: HackerNewsServer, source: HackerNews) -> None:
    server.add(story(200), comment(201, "As drinker_202 says, and @kettle_owner too."), comment(202, "Quite so."))
    text = source.thread("hn-200").model_dump_json()
    assert not [name for name in ("kettle_owner", "drinker_201", "drinker_202") if name in text]
    assert "As another user says" in text


@pytest.mark.parametrize(
    ("title", "place"),
    [("Ask HN: Why?", "ask"), ("Show HN: A lid", "show"), ("Tell HN: A lid", "front"), ("Asking HN", "front")],
)
def test_a_story_named_by_its_address_belongs_where_the_site_puts_it(title: str, place: str) -> None:
    thread = parse_story(document(title=title))
    assert (thread.community, thread.spec) == (place, f"hackernews:{place}")


def test_a_link_post_has_its_address_and_no_text_of_the_page() -> None:
    thread = parse_story(document(url="https://example.org/spoons?page=2"))
    assert (thread.link, thread.body) == ("https://example.org/spoons?page=2", "")
    for address in (
        "javascript:alert(1)",
        "item?id=7",
        "https://news.ycombinator.com/item?id=1",
        "https://[",
        7,
        "h\n",
    ):
        assert parse_story(document(url=address)).link == ""


def test_the_options_of_a_poll_are_part_of_its_text(server: HackerNewsServer, source: HackerNews) -> None:
    server.items |= {
        301: {"id": 301, "type": "pollopt", "text": "Steel &amp; glass", "score": 4, "time": 1, "by": "a"},
        302: {"id": 302, "type": "pollopt", "text": "Copper", "score": 2, "time": 1, "by": "a"},
    }
    server.add(story(300, "Poll: Which kettle?", type="poll", parts=[301, 302]), comment(303, "Neither."))
    expected = "My kettle began to whistle a tune."
    for _ in ("by the search API", "by single items"):
        thread = source.thread("hn-300")
        assert thread.body.startswith(expected)
        assert thread.body.endswith("\n\n* Steel & glass\n* Copper")
        server.always("tree", "502")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"type": "job"}, "job advertisement"),
        ({"by": "whoishiring"}, "job advertisement"),
        ({"by": "news_bot"}, "bot"),
        ({"dead": True}, "deleted or is dead"),
        ({"deleted": True}, "deleted or is dead"),
        ({"text": "[flagged]"}, "deleted or is dead"),
    ],
)
def test_what_may_not_become_a_story_is_refused_and_no_candidate(
    server: HackerNewsServer, source: HackerNews, fields: Item, why: str
) -> None:
    server.add(story(200, **fields), comment(201, "A comment that stands."))
    with pytest.raises(Unsuitable, match=why):
        source.thread("https://news.ycombinator.com/item?id=200")
    assert [thread.id for thread in source.listing("ask", 5)] == ["hn-100"]


def test_a_story_that_the_search_api_still_shows_is_not_read_once_it_is_gone(
    server: HackerNewsServer, source: HackerNews
) -> None:
    server.lagging.add(100)
    server.delete(100)
    assert len(source.search("ask", 5)["hits"]) == 1
    with pytest.raises(Unsuitable):
        source.thread("hn-100")
    assert source.listing("ask", 5) == []


def test_deleted_dead_automated_and_official_comments_are_left_out_and_replies_to_them_stay(
    server: HackerNewsServer, source: HackerNews
) -> None:
    server.add(
        story(200),
        comment(201, "To be deleted.", comment(202, "An answer that stays.")),
        comment(203, "To be killed."),
        comment(204, "I have set the title to that of the page.", by="dang"),
        comment(205, "Beep.", by="spoon_bot"),
        comment(206, "[delayed]"),
        comment(207, "<p></p>"),
        comment(208, "The last word."),
    )
    server.delete(201)
    server.kill(203)
    for _ in ("by the search API", "by single items"):
        thread = source.thread("hn-200")
        assert [kept.id for kept in thread.comments] in (["208", "202"], ["208"])
        server.always("tree", "502")
    server.heal()
    (answer,) = [kept for kept in source.thread("hn-200").comments if kept.id == "202"]
    assert (answer.parent_id, answer.depth) == ("201", 1)


def test_the_most_engaging_recent_stories_of_a_place_are_listed(server: HackerNewsServer, source: HackerNews) -> None:
    old = int(datetime.now(UTC).timestamp()) - 5 * 86_400
    server.add(story(200, "Ask HN: A quiet one", score=2), comment(201, "Yes."))
    server.add(story(300, "Ask HN: An old one", score=9000, time=old), comment(301, "Yes."))
    server.add(story(400, "Ask HN: Nobody answers", score=9000))
    server.add(story(500, "Ask HN: NSFW kettles", score=9000), comment(501, "Yes."))
    server.add(story(600, "Show HN: A lid", url="https://example.org/"), comment(601, "Yes."))
    assert [thread.id for thread in source.listing("ask", 5)] == ["hn-100", "hn-200"]
    assert [thread.id for thread in source.listing("ask", 1)] == ["hn-100"]
    assert [(thread.id, thread.spec) for thread in source.listing("show", 5)] == [("hn-600", "hackernews:show")]
    assert {thread.spec for thread in source.listing("front", 9)} == {"hackernews:front"}


def test_a_listing_takes_one_search_and_two_requests_for_each_story(
    server: HackerNewsServer, source: HackerNews
) -> None:
    server.add(story(200), comment(201, "Yes."))
    source.listing("ask", 2)
    assert [len(server.seen(kind)) for kind in ("search", "tree", "item", "list")] == [1, 2, 2, 0]


@pytest.mark.parametrize("fault", [*OUTAGES, "403"])
def test_without_the_search_api_stories_are_listed_and_read_item_by_item(
    server: HackerNewsServer, source: HackerNews, fault: str
) -> None:
    server.always("search", fault)
    server.always("tree", fault)
    (thread,) = source.listing("ask", 5)
    assert [kept.id for kept in thread.comments] == ["101", "103", "102"]
    assert (thread.num_comments, thread.score) == (3, 120)


def test_item_by_item_few_comments_are_asked_for_and_replies_are_among_them(
    server: HackerNewsServer, source: HackerNews
) -> None:
    many = [comment(300 + number, f"Number {number}.", comment(400 + number, "Why?")) for number in range(60)]
    server.add(story(200), *many)
    server.always("tree", "502")
    thread = source.thread("hn-200")
    assert len(server.seen("item")) == 1 + module.MOST_BY_ITEMS
    assert sum(kept.depth == 1 for kept in thread.comments) == module.MOST_BY_ITEMS // 2
    assert thread.num_comments == 120


@pytest.mark.parametrize("fault", ["502", "not_json", "truncated"])
def test_with_both_apis_down_a_listing_is_an_outage(server: HackerNewsServer, source: HackerNews, fault: str) -> None:
    for kind in ("search", "tree", "item", "list"):
        server.always(kind, fault)
    with pytest.raises(TransientFailure):
        source.listing("front", 5)
    with pytest.raises(TransientFailure):
        source.thread("hn-100")


@pytest.mark.parametrize("kind", ["item", "tree"])
def test_one_api_alone_is_enough_for_a_story(server: HackerNewsServer, source: HackerNews, kind: str) -> None:
    server.always(kind, "503")
    assert len(source.thread("hn-100").comments) == 3
    server.always(kind, "null")
    assert len(source.thread("hn-100").comments) == 3


def test_a_listing_keeps_what_it_has_when_both_apis_fail_in_the_middle(
    server: HackerNewsServer, source: HackerNews
) -> None:
    server.add(story(200, score=1), comment(201, "Yes."))
    server.script("tree", "ok", "502", "502", "502")
    server.script("item", "ok", "502", "502", "502")
    assert [thread.id for thread in source.listing("ask", 5)] == ["hn-100"]


def test_an_unknown_place_is_wrong_usage(source: HackerNews) -> None:
    for place in ("", "jobs", "ask/x"):
        with pytest.raises(UsageError, match="no place of Hacker News"):
            source.listing(place, 5)
        with pytest.raises(UsageError):
            source.check(place)


ADDRESSES = [
    "https://news.ycombinator.com/item?id=100",
    "news.ycombinator.com/item?id=100#101",
    "http://www.news.ycombinator.com/item?p=2&id=100",
    "https://hn.algolia.com/api/v1/items/100",
    "https://hacker-news.firebaseio.com/v0/item/100.json?print=pretty",
    "hn-100",
    " https://news.ycombinator.com/item?id=101 ",
    "https://news.ycombinator.com/item?id=102",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_form_of_an_address_leads_to_the_story(source: HackerNews, address: str) -> None:
    assert source.recognises(address)
    assert source.thread(address).id == "hn-100"


@pytest.mark.parametrize("down", ["", "tree", "item"])
def test_the_address_of_a_comment_leads_to_its_story(server: HackerNewsServer, source: HackerNews, down: str) -> None:
    if down:
        server.always(down, "502")
    assert source.thread("https://news.ycombinator.com/item?id=102").id == "hn-100"


@pytest.mark.parametrize("down", ["", "item"])
def test_a_comment_that_the_search_api_takes_for_its_own_story_leads_to_the_one_above(
    server: HackerNewsServer, source: HackerNews, monkeypatch: pytest.MonkeyPatch, down: str
) -> None:
    whole = server._node
    monkeypatch.setattr(server, "_node", lambda number: {**whole(number), "story_id": number})
    if down:
        server.always(down, "502")
    assert source.thread("https://news.ycombinator.com/item?id=102").id == "hn-100"


def test_a_comment_without_anything_above_it_is_refused_with_a_next_step(
    server: HackerNewsServer, source: HackerNews
) -> None:
    server.items[300] = {"by": "drinker", "id": 300, "text": "A tune.", "time": 1_790_000_000, "type": "comment"}
    with pytest.raises(PermanentFailure) as raised:
        source.thread("hn-300")
    assert raised.value.next_step == "Pass the address of a story."


def test_an_address_of_the_configured_servers_is_one(server: HackerNewsServer, source: HackerNews) -> None:
    for address in (f"{server.url}/v0/item/100.json", f"{server.url}/api/v1/items/100"):
        assert source.recognises(address)
        assert source.thread(address).id == "hn-100"


@pytest.mark.parametrize(
    "address", ["https://news.ycombinator.com/newest", "https://hn.algolia.com/?q=tea", "https://news.ycombinator.com"]
)
def test_an_address_of_the_site_that_is_no_story_is_wrong_usage(source: HackerNews, address: str) -> None:
    assert source.recognises(address)
    with pytest.raises(UsageError, match="not the address of a story"):
        source.thread(address)


@pytest.mark.parametrize(
    "reference",
    ["100", "soup.json", "hn-100.json", "hn-", "https://www.reddit.com/r/x/comments/1abcde/", "./hn.algolia.com", ""],
)
def test_what_is_of_another_source_is_not_recognised(source: HackerNews, reference: str) -> None:
    assert not source.recognises(reference)


def test_an_item_that_neither_api_knows_is_not_there(source: HackerNews) -> None:
    with pytest.raises(PermanentFailure, match="has no item 999"):
        source.thread("hn-999")


def test_base_addresses_with_a_path_are_used_as_they_are(server: HackerNewsServer) -> None:
    source = HackerNews(url=f"{server.url}/v0/", search_url=f"{server.url}/api/v1")
    assert source.thread("hn-100").num_comments == 3
    assert {request.path for request in server.requests} == {"/v0/item/100.json", "/api/v1/items/100"}


def test_the_check_asks_one_question(server: HackerNewsServer, source: HackerNews) -> None:
    assert source.check("ask") == "1 stories of the last 3 days have comments."
    assert len(server.requests) == 1
    server.always("search", "502")
    with pytest.raises(TransientFailure):
        source.check("ask")


def test_deleted_and_dead_items_are_gone(server: HackerNewsServer, source: HackerNews) -> None:
    server.delete(101)
    server.kill(103)
    deletions = source.deleted(stored("101", "102", "103"))
    assert deletions == Deletions(frozenset(), frozenset({("hn-100", "101"), ("hn-100", "103")}), 4, 4)


@pytest.mark.parametrize("fault", ["deleted", "dead"])
def test_the_comments_of_a_story_that_is_gone_are_not_asked_about(
    server: HackerNewsServer, source: HackerNews, fault: str
) -> None:
    server.script("item", fault)
    assert source.deleted(stored("101", "102")) == Deletions(frozenset({"hn-100"}), frozenset(), 1, 1)
    assert len(server.seen("item")) == 1


def test_what_the_api_knows_nothing_of_is_in_doubt_and_stays(
    server: HackerNewsServer, source: HackerNews, caplog: pytest.LogCaptureFixture
) -> None:
    server.always("item", "null")
    assert source.deleted(stored("101")) == Deletions(checked=2, requests=2)
    assert "showed nothing for 2 of 2 items" in caplog.text


@pytest.mark.parametrize("fault", [*OUTAGES, "404", "403", "401"])
def test_an_outage_deletes_nothing(server: HackerNewsServer, source: HackerNews, fault: str) -> None:
    server.delete(100)
    server.always("item", fault)
    with pytest.raises(TransientFailure):
        source.deleted(stored("101", "102"))


@pytest.mark.parametrize("answer", [{"id": 5, "deleted": True}, {"deleted": True}, [], 7, 100, "100", "gone"])
def test_an_answer_about_something_else_deletes_nothing(
    server: HackerNewsServer, source: HackerNews, answer: Any
) -> None:
    server.always("item", Reply(answer))
    with pytest.raises(TransientFailure):
        source.deleted(stored("101"))


def test_a_sweep_asks_about_no_more_than_its_bound(
    server: HackerNewsServer, source: HackerNews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ASKED", 5)
    server.add(story(200), comment(201, "Yes."))
    threads = stored("101", "102") | stored("201", number=200) | {"hn-x": StoredThread("")}
    assert source.deleted(threads).requests == len(server.seen("item")) == 5
    assert source.deleted({}) == Deletions()


def test_a_pause_of_the_search_api_does_not_hold_up_deletions(server: HackerNewsServer, source: HackerNews) -> None:
    server.script("search", "429:3000")
    assert len(source.listing("ask", 5)) == 1
    assert len(server.seen("search")) == 1
    assert source.deleted(stored("101")).requests == 2


def test_no_comment_stands_twice_or_below_itself() -> None:
    circle = reply(
        8, "A spoon.", reply(9, "Two spoons.", reply(8, "A spoon."), reply(7, "The story."), reply(9, "Two."))
    )
    thread = parse_story(document(children=[circle, reply(10, "No spoon."), circle]))
    assert [(kept.id, kept.parent_id) for kept in thread.comments] == [("8", None), ("10", None), ("9", "8")]


def test_a_saved_answer_is_a_thread(server: HackerNewsServer, source: HackerNews) -> None:
    answer = json.loads(json.dumps(source.tree("100")))
    thread = source.parse(answer)
    assert thread is not None
    assert (thread.id, len(thread.comments), thread.spec) == ("hn-100", 3, "hackernews:ask")


@pytest.mark.parametrize(
    "other",
    [
        None,
        [],
        {},
        "text",
        {"id": 7},
        {"id": True, "children": []},
        {"kind": "Listing", "data": {"children": []}},
        {"items": [{"question_id": 1}]},
        {"id": 42, "title": "A topic", "post_stream": {"posts": []}},
        {"post_view": {"post": {"id": 1}}, "type": "story"},
        {"id": -1, "type": "story", "by": "x"},
    ],
)
def test_a_document_of_something_else_is_none_of_this_source(source: HackerNews, other: Any) -> None:
    assert source.parse(other) is None


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"type": "comment"}, "it is a comment"),
        ({"title": ""}, "no title"),
        ({"title": 7}, "no title"),
        ({"children": None, "kids": [8, 9]}, "only the numbers of its comments"),
    ],
)
def test_a_document_that_is_no_whole_story_says_what_is_missing(fields: Item, error: str) -> None:
    with pytest.raises(ThreadFormatError, match=error):
        parse_story(document(**fields))


@pytest.mark.parametrize("gone", [{"id": 7, "children": []}, document(author=None), document(deleted=True)])
def test_a_saved_story_that_is_gone_is_refused(gone: Item) -> None:
    with pytest.raises(Unsuitable):
        parse_story(gone)


def test_fields_of_a_wrong_type_are_missing_fields() -> None:
    hostile = [
        {"id": "9", "author": "x", "text": "Kept, though its number is a text.", "created_at_i": "soon", "type": []},
        {"id": 10, "author": ["x"], "text": "No author.", "children": {}},
        {"id": 11, "author": "x", "text": {"html": "No text."}, "children": [None, 3, "x", {}]},
        {"id": 12.5, "author": "x", "text": "No number."},
        {"id": 9, "author": "x", "text": "The same number again."},
        None,
        7,
    ]
    thread = parse_story(document(children=hostile, points=float("nan"), created_at_i=1e30, options=[3, {"text": 4}]))
    assert [kept.id for kept in thread.comments] == ["9"]
    assert (thread.score, thread.created_at.year) == (0, 1970)
    for children in (None, 7, "text", {"id": 1}):
        assert parse_story(document(children=children)).comments == ()


def test_threads_that_nest_deeper_than_the_stack_and_are_longer_than_allowed_are_read() -> None:
    deep = reply(10_000, "The deepest.")
    for number in range(9_999, 8_000, -1):
        deep = reply(number, "Deeper.", deep)
    wide = [reply(number, f"Number {number}.") for number in range(20_000, 20_400)]
    thread = parse_story(document(children=[deep, *wide], text="x" * 100_000))
    assert len(thread.comments) == 500
    assert len(thread.body) == 40_000
    assert {kept.depth for kept in thread.comments[:401]} == {0}
    assert max(kept.depth for kept in thread.comments) == 99
