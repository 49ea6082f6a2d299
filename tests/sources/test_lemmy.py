"""Lemmy against a loopback instance, and its saved answers."""

from collections.abc import Iterator
from typing import Any

import pytest
from servers.lemmy_server import LemmyServer, comment, community, person, post

from threadjuice_dagster.failures import PermanentFailure, TransientFailure, Unsuitable, UsageError
from threadjuice_dagster.sources.client import SourceLimiter
from threadjuice_dagster.sources.lemmy import Lemmy
from threadjuice_dagster.sources.thread_source import Deletions, StoredThread, ThreadFormatError

BOT = person(900, "KettleHelper", bot_account=True)
DELETED = person(901, "gone_brewer", deleted=True)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LemmyServer]:
    monkeypatch.setattr("threadjuice_dagster.sources.client._PAUSE", 0.001)
    with LemmyServer() as running:
        yield running


def lemmy() -> Lemmy:
    return Lemmy(limiter=SourceLimiter())


def place(server: LemmyServer, name: str = "kettles") -> str:
    return f"{server.url}/c/{name}"


def stored(server: LemmyServer, *numbers: int, comments: tuple[str, ...] = ()) -> dict[str, StoredThread]:
    return {f"lemmy-{number}": StoredThread(f"{server.url}/post/{number}", comments) for number in numbers}


def test_a_post_is_read_with_its_tree_in_plain_text_and_without_names(server: LemmyServer) -> None:
    thread = lemmy().thread(f"{server.url}/post/101")
    assert thread.id == f"lemmy-127.0.0.1-{server.url.rsplit(':', 1)[1]}-101"
    assert (thread.source, thread.community, thread.spec) == ("lemmy", "kettles", f"lemmy:{place(server)}")
    assert thread.body == ("It began on Monday.\n\n> Only kettles know why\n\nI wrote the tune down for another user.")
    assert (thread.score, thread.upvote_ratio, thread.num_comments) == (80, 0.9, 2)
    hum, reply = thread.comments
    assert (hum.id, hum.body, hum.parent_id, hum.depth) == ("1", "Mine only hums, but it hums in thirds.", None, 0)
    assert (reply.id, reply.parent_id, reply.depth) == ("2", "1", 1)
    assert hum.permalink == f"{server.url}/comment/1"
    assert thread.permalink == f"{server.url}/post/101"
    assert not any(name in thread.model_dump_json() for name in ("TuneKeeper77", "brass_neighbour9"))


def test_the_address_of_a_comment_leads_to_its_post(server: LemmyServer) -> None:
    assert lemmy().thread(f"{server.url}/comment/2").permalink == f"{server.url}/post/101"
    assert lemmy().thread(f"{server.url}/post/101/2").permalink == f"{server.url}/post/101"


def test_a_link_post_carries_its_address_and_a_crosspost_its_quotation_alone(server: LemmyServer) -> None:
    body = "cross-posted from: https://other.example/post/9\n\n> The lid did it."
    server.add(post(102, url="https://example.org/kettles?page=2", body=body), [])
    thread = lemmy().thread(f"{server.url}/post/102")
    assert (thread.link, thread.body) == ("https://example.org/kettles?page=2", "> The lid did it.")


@pytest.mark.parametrize(
    "left_out",
    [
        comment(11, "", deleted=True),
        comment(11, "Off with it.", removed=True),
        comment(11, "*Permanently Deleted*"),
        comment(11, "The account of this one is gone.", creator=DELETED),
        comment(11, "Kettles are described in this summary.", creator=BOT),
        comment(11, "I am a bot, and this action was performed automatically."),
        comment(11, "Please read the rules of this community.", distinguished=True),
    ],
)
def test_what_is_gone_automated_or_official_is_left_out_and_its_replies_stay(
    server: LemmyServer, left_out: dict[str, Any]
) -> None:
    server.add(post(103), [left_out, comment(12, "That was quick.", path="0.11")])
    (kept,) = lemmy().thread(f"{server.url}/post/103").comments
    assert (kept.id, kept.parent_id, kept.depth) == ("12", "11", 1)


def test_all_comments_of_a_long_thread_are_read_page_by_page(server: LemmyServer) -> None:
    server.add(post(104), [comment(1000 + number, f"Tune number {number}.", score=number) for number in range(420)])
    thread = lemmy().thread(f"{server.url}/post/104")
    assert len(thread.comments) == 420
    assert [asked.query.get("page") for asked in server.seen("comments")] == [None, *map(str, range(1, 10))]
    assert all(asked.query["type_"] == "All" for asked in server.seen("comments"))


def test_at_most_500_comments_are_kept_the_best_first(server: LemmyServer) -> None:
    server.add(post(105), [comment(2000 + number, f"Tune number {number}.", score=number) for number in range(700)])
    thread = lemmy().thread(f"{server.url}/post/105")
    assert (len(thread.comments), thread.comments[0].score, thread.num_comments) == (500, 699, 700)


def test_a_listing_holds_the_most_engaging_posts_with_their_comments(server: LemmyServer) -> None:
    server.add(post(110, counts={"score": 4000}), [comment(20 + n, f"Tune {n}, in G.") for n in range(6)])
    server.add(post(111, published="2026-08-01T08:00:00Z", counts={"score": 9000}), [comment(30, "An old tune.")])
    loudest, old, ordinary = lemmy().listing(place(server), 5)
    assert [each.permalink.rsplit("/", 1)[1] for each in (loudest, old, ordinary)] == ["110", "111", "101"]
    assert len(loudest.comments) == 6
    assert loudest.spec == f"lemmy:{place(server)}"
    assert [asked.query["sort"] for asked in server.seen("posts")] == ["TopWeek", "TopMonth", "TopYear"]
    assert [thread.permalink for thread in lemmy().listing(place(server), 1)] == [f"{server.url}/post/110"]


def test_a_listing_keeps_what_it_has_when_the_instance_fails_in_the_middle(server: LemmyServer) -> None:
    server.add(post(109, counts={"score": 4000}), [comment(19, "A tune, in G.")])
    server.script("comments", "ok", "503", "503", "503")
    assert [thread.permalink for thread in lemmy().listing(place(server), 5)] == [f"{server.url}/post/109"]


def test_the_names_that_people_give_themselves_are_masked_as_a_whole(server: LemmyServer) -> None:
    account = person(503, "ada", display_name="Ada Reuter")
    server.add(post(108, body="Ada Reuter says so."), [comment(18, "I am Ada Reuter's tune.", creator=account)])
    thread = lemmy().thread(f"{server.url}/post/108")
    assert (thread.body, thread.comments[0].body) == ("Another user says so.", "I am another user's tune.")


@pytest.mark.parametrize(
    "fields",
    [
        {"nsfw": True},
        {"locked": True},
        {"featured_community": True},
        {"featured_local": True},
        {"creator": BOT},
        {"place": community(nsfw=True)},
    ],
)
def test_posts_that_may_not_be_used_are_not_listed(server: LemmyServer, fields: dict[str, Any]) -> None:
    server.add(post(112, counts={"score": 9000}, **fields), [comment(40, "A tune.")])
    server.add(post(113), [])
    assert [thread.permalink for thread in lemmy().listing(place(server), 5)] == [f"{server.url}/post/101"]


def test_a_community_of_another_instance_keeps_its_own_instance_in_its_name(server: LemmyServer) -> None:
    away = community("tea", local=False, actor_id="https://tea.example/c/tea")
    server.add(post(114, place=away), [comment(41, "A tune.")])
    (thread,) = lemmy().listing(place(server, "tea@tea.example"), 5)
    assert (thread.community, thread.spec) == ("tea@tea.example", f"lemmy:{place(server, 'tea@tea.example')}")


def test_a_community_that_is_not_there_is_permanent(server: LemmyServer) -> None:
    with pytest.raises(PermanentFailure, match="no community nothing"):
        lemmy().listing(place(server, "nothing"), 5)
    assert lemmy().check(place(server)) == f"{server.url.removeprefix('http://')} shows posts of kettles."


@pytest.mark.parametrize(
    "fields", [{"deleted": True}, {"removed": True}, {"creator": BOT}, {"creator": DELETED}, {"nsfw": True}]
)
def test_a_post_that_may_not_become_a_story_is_refused(server: LemmyServer, fields: dict[str, Any]) -> None:
    server.add(post(115, **fields), [comment(42, "A tune.")])
    with pytest.raises(Unsuitable):
        lemmy().thread(f"{server.url}/post/115")


@pytest.mark.parametrize(
    "fault", ["429:0", "502", "503", "reset", "html", "truncated", "limited", "private", "unknown"]
)
@pytest.mark.parametrize("kind", ["posts", "post", "comments"])
def test_an_outage_is_a_transient_failure_that_names_the_instance(server: LemmyServer, kind: str, fault: str) -> None:
    server.always(kind, fault)
    with pytest.raises(TransientFailure) as raised:
        lemmy().listing(place(server), 5) if kind == "posts" else lemmy().thread(f"{server.url}/post/101")
    assert raised.value.service == f"lemmy:{server.url.removeprefix('http://')}"
    assert "community_name" not in str(raised.value)


def test_a_limit_that_lemmy_tells_of_with_status_400_pauses_all_requests(server: LemmyServer) -> None:
    source = lemmy()
    server.script("post", "limited")
    with pytest.raises(TransientFailure) as raised:
        source.thread(f"{server.url}/post/101")
    assert raised.value.retry_after == 60
    assert source._limiter._paused_until[f"lemmy:{server.url.removeprefix('http://')}"] > 0


def test_a_fault_that_passes_is_tried_again(server: LemmyServer) -> None:
    server.script("post", "502", "429:0")
    assert lemmy().thread(f"{server.url}/post/101").comments


def test_deleted_posts_and_comments_are_found_in_few_requests(server: LemmyServer) -> None:
    server.add(post(120, deleted=True), [])
    server.add(post(121), [comment(51, "", deleted=True), comment(52, "", removed=True), comment(53, "A tune.")])
    server.add(post(122), [comment(54, "A tune."), comment(55, "Another.")])
    server.purge(55)
    asked = {
        **stored(server, 101, 120, 999),
        **stored(server, 121, comments=("51", "52", "53")),
        **stored(server, 122, comments=("54", "55")),
    }
    deletions = lemmy().deleted(asked)
    assert deletions.threads == {"lemmy-120", "lemmy-999"}
    assert deletions.comments == {("lemmy-121", "51"), ("lemmy-121", "52"), ("lemmy-122", "55")}
    assert (deletions.checked, deletions.requests) == (10, len(server.requests))
    # Five posts, two trees, the comment that is not in its tree, and another one to see whether comments are shown.
    assert deletions.requests == 9


def test_what_an_account_wrote_is_gone_with_the_account(server: LemmyServer) -> None:
    tree = [comment(56, "A tune.", creator=DELETED), comment(57, "Another.")]
    server.add(post(125), tree)
    server.add(post(126, creator=DELETED), [comment(58, "A third.")])
    deletions = lemmy().deleted({**stored(server, 125, comments=("56", "57")), **stored(server, 126)})
    assert deletions.threads == {"lemmy-126"}
    assert deletions.comments == {("lemmy-125", "56")}
    with pytest.raises(Unsuitable):
        lemmy().thread(f"{server.url}/post/126")
    assert [kept.id for kept in lemmy().thread(f"{server.url}/post/125").comments] == ["57"]


def test_a_post_in_a_removed_community_is_gone(server: LemmyServer) -> None:
    server.posts[101]["community"]["removed"] = True
    server.add(post(123), [])
    assert lemmy().deleted(stored(server, 101)).threads == {"lemmy-101"}


def test_an_instance_that_shows_nothing_is_believed_only_if_it_shows_what_it_lists(server: LemmyServer) -> None:
    server.add(post(124), [])
    server.posts.pop(101)
    assert lemmy().deleted(stored(server, 101)).threads == {"lemmy-101"}
    server.always("post", "missing")
    with pytest.raises(TransientFailure, match="nor one that it lists itself"):
        lemmy().deleted(stored(server, 101))
    server.always("posts", "empty")
    with pytest.raises(TransientFailure):
        lemmy().deleted(stored(server, 101))


def test_an_instance_without_any_post_has_no_post_of_ours(server: LemmyServer) -> None:
    server.posts.clear()
    assert lemmy().deleted(stored(server, 101)).threads == {"lemmy-101"}


def test_missing_comments_are_doubted_where_no_comment_is_shown(server: LemmyServer) -> None:
    server.always("comments", "empty")
    assert lemmy().deleted(stored(server, 101, comments=("1", "2"))) == Deletions(checked=3, requests=4)
    server.heal()
    server.always("comment", "missing_comment")
    with pytest.raises(TransientFailure):
        lemmy().deleted(stored(server, 101, comments=("1", "77")))


@pytest.mark.parametrize(
    "fault", ["429:0", "502", "html", "truncated", "limited", "private", "unknown", "403", "empty"]
)
@pytest.mark.parametrize("kind", ["post", "comments"])
def test_an_outage_is_no_deletion(server: LemmyServer, kind: str, fault: str) -> None:
    server.always(kind, fault)
    asked = stored(server, 101, comments=("1",))
    if (kind, fault) == ("comments", "empty"):
        assert lemmy().deleted(asked).comments == frozenset()
        return
    with pytest.raises(TransientFailure):
        lemmy().deleted(asked)


def test_an_instance_that_is_gone_is_an_outage() -> None:
    with LemmyServer() as server:
        asked = stored(server, 101)
    with pytest.raises(TransientFailure):
        lemmy().deleted(asked)


@pytest.mark.parametrize(
    ("reference", "is_lemmys"),
    [
        ("https://lemmy.world/post/123", True),
        ("lemmy.world/post/123/", True),
        ("https://lemmy.world/comment/456?scrollTo=1", True),
        ("https://lemmy.world/post/123/456", True),
        ("http://127.0.0.1:8536/post/1", True),
        ("https://lemmy.world/c/technology", False),
        ("https://news.ycombinator.com/item?id=1", False),
        ("https://www.reddit.com/r/tea/comments/1abcde/", False),
        ("post/123", False),
        ("soup.json", False),
    ],
)
def test_an_address_is_known_by_its_form(reference: str, is_lemmys: bool) -> None:
    assert lemmy().recognises(reference) is is_lemmys


@pytest.mark.timeout(20)
def test_a_long_text_that_is_no_address_is_known_at_once() -> None:
    assert not any(
        lemmy().recognises(text) for text in ("a." * 30_000 + "/t/x", "." * 50_000 + "/post/", "a/" * 30_000)
    )


@pytest.mark.parametrize(
    "wrong",
    ["lemmy.world", "lemmy.world/c/", "http://lemmy.world/c/tea", "https://10.0.0.1/c/tea", "me@x.example/c/tea", ""],
)
def test_a_place_that_is_none_is_wrong_usage(wrong: str) -> None:
    with pytest.raises(UsageError):
        lemmy().listing(wrong, 5)


def test_plain_http_is_for_loopback_alone() -> None:
    with pytest.raises(UsageError):
        lemmy().thread("http://lemmy.world/post/123")


def test_a_service_is_an_instance() -> None:
    source = lemmy()
    assert source.service("lemmy.world/c/tea@tea.example") == "lemmy:lemmy.world"
    assert source.service("https://lemmy.world/post/123") == "lemmy:lemmy.world"
    assert source.service("http://127.0.0.1:99/c/tea") == "lemmy:127.0.0.1:99"
    assert source.service("?") == "lemmy"


def saved() -> tuple[dict[str, Any], dict[str, Any]]:
    view = post(130, counts={"comments": 2})
    listed = [comment(61, "Mine hums."), comment(62, "In which key?", path="0.61")]
    for each in listed:
        each |= {"post": view["post"], "community": view["community"]}
        each["comment"]["post_id"] = 130
    return {"post_view": view, "cross_posts": []}, {"comments": listed}


def test_saved_answers_are_read_in_every_form_that_holds_a_post() -> None:
    one, other = saved()
    forms: list[Any] = [
        [one, other],
        [other, one],
        {**one, **other},
        {"post": one, "comments": other},
        {"thread": one, "replies": other},
        other,
    ]
    for document in forms:
        thread = lemmy().parse(document)
        assert thread is not None
        assert (thread.id, thread.permalink) == ("lemmy-lemmy.example-130", "https://lemmy.example/post/130")
        assert [kept.parent_id for kept in thread.comments] == [None, "61"]
        assert thread.spec == "lemmy:lemmy.example/c/kettles"
    alone = lemmy().parse(one)
    assert alone is not None
    assert alone.comments == ()


def test_a_saved_post_of_another_instance_is_read_if_it_says_where_it_was_saved() -> None:
    one, other = saved()
    one["post_view"]["post"] |= {"local": False, "ap_id": "https://tea.example/post/9"}
    one["post_view"]["creator"]["local"] = one["post_view"]["community"]["local"] = False
    thread = lemmy().parse([one, other])
    assert thread is not None
    assert thread.permalink == "https://lemmy.example/post/130"
    with pytest.raises(ThreadFormatError, match="which instance"):
        lemmy().parse(one)


def test_documents_of_other_sources_are_none_of_lemmys() -> None:
    others: list[Any] = [
        {"kind": "Listing", "data": {"children": []}},
        [{"kind": "Listing", "data": {}}, {"kind": "Listing"}],
        {"items": [{"question_id": 1}]},
        {"post_stream": {"posts": []}, "id": 1},
        {"id": 1, "children": []},
        {"comments": [{"id": "1", "body": "x"}]},
        {"comments": "none"},
        [],
        [[]],
        None,
        7,
        "post_view",
    ]
    for document in others:
        assert lemmy().parse(document) is None


def test_a_document_of_lemmys_that_is_no_whole_thread_says_why() -> None:
    one, _ = saved()
    with pytest.raises(ThreadFormatError, match="couldnt_find_post"):
        lemmy().parse({"error": "couldnt_find_post"})
    with pytest.raises(ThreadFormatError, match="more than one post"):
        lemmy().parse([one, {"post_view": post(131)}])
    with pytest.raises(ThreadFormatError, match="no name"):
        lemmy().parse({"post_view": post(131, name=7)})


@pytest.mark.parametrize("path", ["0.5.5", "0.5", "5.5", "0..5", "0.1.6", "0.-1.5", "0.1.5.", ""])
def test_a_path_that_cannot_be_one_leads_to_no_comment(path: str) -> None:
    view = post(150)
    odd = comment(5, "A tune.")
    odd["comment"]["path"] = path
    thread = lemmy().parse({"post_view": view, "comments": [odd]})
    assert thread is not None
    assert (thread.comments[0].parent_id, thread.comments[0].depth) == (None, 0)


def test_paths_that_contradict_each_other_lead_in_no_circle() -> None:
    one, other = comment(5, "A tune.", path="0.9"), comment(9, "A lid.", path="0.5")
    thread = lemmy().parse({"post_view": post(151), "comments": [one, other, comment(4, "A spoon.", path="0.77")]})
    assert thread is not None
    assert {kept.id: kept.parent_id for kept in thread.comments} == {"5": None, "9": None, "4": "77"}


def test_fields_of_wrong_types_are_missing_fields() -> None:
    view = post(
        140, body=["x"], url={"a": 1}, published=5, nsfw=[], creator="x", counts={"score": "many", "comments": 1e400}
    )
    view["creator"], view["community"] = "x", None
    odd = comment(70, "A tune.", path="0." * 5000 + "70", published="yesterday", creator_id=[1])
    odd["counts"], odd["creator"] = {"score": True}, ["x"]
    thread = lemmy().parse({"post_view": view, "comments": [odd, 5, None, {"comment": []}, {"comment": {"id": "x"}}]})
    assert thread is not None
    assert (thread.body, thread.link, thread.score, thread.community) == ("", "", 0, "unknown")
    (kept,) = thread.comments
    assert (kept.depth, kept.parent_id, kept.created_at.year) == (0, None, 1970)
