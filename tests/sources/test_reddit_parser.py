"""Reddit's format as strangers send it: what is gone, bots, user names, crossposts, and every shape of a listing."""

import json
import time
from typing import Any

import pytest
from servers.reddit_server import comment, listing, post

from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.story.user_names import masked, telling_names
from threadjuice_dagster.failures import Unsuitable
from threadjuice_dagster.sources.reddit_parser import (
    is_gone,
    parse_thread,
    text_of,
    why_barred,
)
from threadjuice_dagster.sources.texts import MAX_BODY
from threadjuice_dagster.sources.thread_source import ThreadFormatError

HUM = "Mine hums in the key of G on cold mornings, and nobody believes me."

GONE_FIELDS: list[dict[str, Any]] = [
    {"author": "[deleted]"},
    {"author": " [Deleted] "},
    {"author": "[removed]"},
    {"author": None},
    {"author": ""},
    {"author": "None"},
    {"author": "somebody", "author_fullname": None},
    {"removed_by_category": "moderator"},
    {"removed_by_category": "automod_filtered"},
    {"removed_by": "reddit"},
    {"removal_reason": "legal"},
    {"removed": True},
    {"banned_by": True},
    {"banned_by": "a_moderator"},
    {"banned_at_utc": 1_700_000_000},
    {"spam": True},
    {"collapsed_reason_code": "DELETED"},
]
THERE_FIELDS: list[dict[str, Any]] = [
    {"author": "deleted"},
    {"author": "None", "author_fullname": "t2_abc"},
    {"author": "somebody", "author_fullname": "t2_abc"},
    {"removed_by_category": None, "removed": False, "banned_by": None, "spam": False, "removal_reason": None},
    {"removed": "false", "banned_by": "null"},
    {"collapsed": True, "collapsed_reason_code": "LOW_SCORE"},
    {"archived": True, "locked": True, "approved_by": "somebody"},
]
GONE_TEXTS = [
    "[deleted]",
    " [Removed] ",
    "[deleted].",
    "\\[deleted\\]",
    "*[removed]*",
    "&#91;deleted&#93;",
    "[removed]&#x200B;",
    "[deleted by user]",
    "[removed by moderator]",
    "[ Removed by Reddit ]",
    "[ Removed by Reddit on account of violating the [content policy](/help/contentpolicy). ]",
    "[ Removed by reddit in response to a copyright notice. ]",
    "[unavailable]",
    "[gelöscht]",
    "[supprimé]",
    "[eliminado]",
    "Comment removed by moderator",
    "Comment deleted by user",
    "Sorry, this post has been removed by the moderators of r/choir.",
]
THERE_TEXTS = [
    "[Removed] my kettle from the hob [update]",
    "[Removed by my wife] the kettle stays away [update]",
    "It said [deleted], and nothing else.",
    "The comment was removed by moderators, so I wrote it again.",
    "deleted",
]


def thread(comments: list[dict[str, Any]] | None = None, **fields: Any) -> Thread:
    things = [comment("c1", HUM)] if comments is None else comments
    return parse_thread([listing([{"kind": "t3", "data": post("kettle", **fields)}]), listing(things)])


@pytest.mark.parametrize("fields", GONE_FIELDS)
def test_what_the_sweep_calls_gone_is_never_read_in(fields: dict[str, Any]) -> None:
    assert is_gone(comment("c2", HUM, **fields)["data"])
    kept = thread([comment("c1", HUM), comment("c2", HUM, [comment("c3", HUM)], **fields)])
    assert {one.id for one in kept.comments} == {"c1", "c3"}
    assert is_gone(post("kettle", **fields))
    with pytest.raises(Unsuitable, match="removed or deleted"):
        thread(**fields)


@pytest.mark.parametrize("fields", THERE_FIELDS)
def test_what_is_still_there_is_read(fields: dict[str, Any]) -> None:
    assert not is_gone(comment("c2", HUM, **fields)["data"])
    assert thread([comment("c2", HUM, **fields)], **fields).comments[0].id == "c2"


@pytest.mark.parametrize("text", GONE_TEXTS)
def test_what_stands_in_place_of_a_deleted_text_is_no_text(text: str) -> None:
    assert thread([comment("c1", HUM), comment("c2", text)]).comments[0].id == "c1"
    for field in ("selftext", "title"):
        with pytest.raises(Unsuitable, match="removed or deleted"):
            thread(**{field: text})


@pytest.mark.parametrize("text", THERE_TEXTS)
def test_a_text_that_speaks_of_deletions_is_a_text(text: str) -> None:
    assert thread([comment("c2", text)], title=text, selftext=text).body == text


def test_comments_of_programs_are_not_kept() -> None:
    things = [comment("c1", HUM), comment("c2", "^(I'm a bot, beep boop)"), comment("c3", HUM, author="haikusbot")]
    assert [one.id for one in thread(things).comments] == ["c1"]


@pytest.mark.parametrize("fields", [{"distinguished": "moderator"}, {"distinguished": "admin"}, {"stickied": True}])
def test_official_and_pinned_notes_are_not_kept(fields: dict[str, Any]) -> None:
    kept = thread([comment("c1", HUM), comment("c2", "Please read the rules before you post.", **fields)])
    assert [one.id for one in kept.comments] == ["c1"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"promoted": True}, "advertisement"),
        ({"is_created_from_ads_ui": True}, "advertisement"),
        ({"quarantine": True}, "quarantined"),
        ({"subreddit_type": "private"}, "not public"),
        ({"author": "AutoModerator"}, "bot"),
        ({"crosspost_parent_list": [post("par001", quarantine=True)]}, "quarantined"),
    ],
)
def test_a_post_that_may_not_become_a_story_says_why(fields: dict[str, Any], reason: str) -> None:
    assert reason in why_barred(post("kettle", **fields))
    with pytest.raises(Unsuitable, match=reason):
        thread(**fields)


def test_an_ordinary_post_is_not_barred() -> None:
    ordinary = {"archived": True, "locked": True, "quarantine": False, "promoted": False, "subreddit_type": "public"}
    assert why_barred(post("kettle", **ordinary)) == ""


NAMED = [
    "u/some_body",
    "u/some\\_body",
    "U/some_body",
    "/u/some_body",
    "/user/some_body",
    "user/some_body",
    "u\\/some_body",
    "u%2Fsome_body",
    "/r/u_some_body",
    "*u/some_body*",
    "thanks/u/some_body",
    "u/some_body's",
    "@some_body",
    "@some_body@mastodon.example",
    "[him](https://www.reddit.com/user/some_body)",
    "[some_body](/u/some_body)",
    '[u/some_body](https://old.reddit.com/u/some_body "his page")',
    "https://old.reddit.com/user/some_body/",
    "https://np.reddit.com/u/some_body?utm=x",
    "www.reddit.com/user/some_body",
    "reddit.com/user/some_body/comments/abc123/some_title/",
    "https://www.reddit.com/r/u_some_body/comments/abc123/",
    "https://lemmy.example/u/some_body",
]


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("frame", ["Ask {}.", "({})", "{}, please", "I asked {} about it; see below"])
def test_user_names_in_every_spelling_leave_the_stored_text(name: str, frame: str) -> None:
    left = masked(frame.format(name))
    assert "body" not in left
    assert "another user" in left.lower()
    assert left.endswith(frame[-1])


@pytest.mark.parametrize(
    "text",
    [
        "a@b.com",
        "the menu/item list",
        "user/admin rights",
        "r/cooking",
        "24/7 and and/or",
        "at 5 km/h",
        "https://example.org/menu/items",
    ],
)
def test_what_is_no_user_name_stays(text: str) -> None:
    assert masked(text) == text


def test_the_names_of_a_thread_are_found_without_a_mark_unless_they_are_words() -> None:
    authors = ["kettle_fan", "poc", "Ada", "BigDog77", "well-known", "2023", "JaneDoe"]
    assert telling_names(authors) == {"kettle_fan", "bigdog77", "janedoe"}
    things = [
        comment("c1", "As kettle\\_fan and *BigDog77* said, ada is well-known.", author="ada"),
        comment("c2", HUM, author="kettle_fan"),
        comment("c3", "[deleted]", author="BigDog77"),
    ]
    (told,) = (one.body for one in thread(things, title="JaneDoe asked kettle_fan").comments if one.id == "c1")
    assert told == "As another user and another user said, ada is well-known."
    assert thread(things, author="JaneDoe", title="JaneDoe asked kettle_fan").title == "another user asked another user"


def test_a_name_that_begins_a_sentence_leaves_the_sentence_before_it_whole() -> None:
    text = "It was the rowers. u/some_body knows.\n\nu/some_body asked. And u/some_body?"
    assert masked(text) == "It was the rowers. Another user knows.\n\nAnother user asked. And another user?"


def test_a_profile_is_no_forum_and_its_name_is_not_stored() -> None:
    stored = thread(subreddit="u_some_body", subreddit_type="user", permalink="/user/some_body/comments/kettle/")
    assert "some_body" not in stored.model_dump_json()
    assert (stored.community, stored.permalink) == ("unknown", "https://www.reddit.com/comments/kettle/")


def test_the_poster_is_known_by_name_where_the_thread_does_not_say_so() -> None:
    things = [
        comment("c1", HUM, author="POSTER_name", is_submitter=None),
        comment("c2", HUM, author="commenter_name"),
        comment("c3", HUM, author="commenter_name", is_submitter=True),
        comment("c4", HUM, author="commenter_name", is_submitter="false"),
    ]
    for one in things[:1]:
        del one["data"]["is_submitter"]
    kept = thread(things)
    assert {one.id for one in kept.comments if one.by_poster} == {"c1", "c3"}
    assert "oster_name" not in kept.model_dump_json()


def test_withheld_names_make_nobody_the_poster() -> None:
    kept = thread([comment("c1", HUM, author="[redacted]")], author="[redacted]")
    assert not kept.comments[0].by_poster


def test_a_crosspost_is_told_by_the_text_it_repeats_also_of_one_that_repeats_another() -> None:
    root = post("root01", selftext="The text of the first post.", author="root_name")
    middle = post("mid001", selftext="", crosspost_parent="t3_root01", crosspost_parent_list=[root])
    fields = {"selftext": "", "crosspost_parent": "t3_mid001", "crosspost_parent_list": [middle]}
    found = thread([comment("c1", HUM, author="root_name")], **fields)
    assert (found.id, found.body) == ("kettle", "The text of the first post.")
    assert found.comments[0].by_poster
    assert thread(**{**fields, "selftext": "Its own text."}).body == "Its own text."


@pytest.mark.parametrize(
    "lost", [{"author": "[deleted]"}, {"selftext": "[removed]"}, {"removed_by_category": "reddit"}]
)
def test_a_crosspost_goes_with_what_it_repeats(lost: dict[str, Any]) -> None:
    fields = {"selftext": "", "crosspost_parent": "t3_par001", "crosspost_parent_list": [post("par001", **lost)]}
    assert is_gone(post("kettle", **fields))
    assert is_gone(post("kettle", **{**fields, "crosspost_parent_list": []}))
    with pytest.raises(Unsuitable, match="removed or deleted"):
        thread(**fields)


def test_a_crosspost_of_an_adult_post_is_adult() -> None:
    assert thread(crosspost_parent_list=[post("par001", over_18=True)]).over_18


def test_answers_of_a_poll_and_captions_of_a_gallery_are_the_posters_words() -> None:
    poll = {"options": [{"id": "1", "text": "The kettle &amp; the lid"}, {"text": "[deleted]"}, {"id": "3"}, "odd"]}
    gallery = {"items": [{"media_id": "x", "caption": "The lid by u/some_body"}, {"media_id": "y"}]}
    found = thread(selftext="Which one sings?", poll_data=poll, gallery_data=gallery)
    assert found.body == "Which one sings?\n\n* The kettle & the lid\n* The lid by another user"
    assert thread(selftext="", poll_data=None, gallery_data={"items": None}).body == ""


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("salt &amp; pepper &lt;3 &amp;#x200B;", "salt & pepper <3"),
        ("Mum&#x27;s &amp;#39;lid&amp;#39; &amp;amp;amp; mine", "Mum's 'lid' & mine"),
        ("two&nbsp;words and&#8239;more", "two words and more"),
        ("a ? b&copy=2 &unknown; &amp", "a ? b&copy=2 &unknown; &amp"),
    ],
)
def test_entities_are_resolved_as_often_as_they_were_escaped(sent: str, kept: str) -> None:
    assert text_of(sent) == kept
    assert thread(title=sent, selftext=sent).title == kept


def shapes() -> dict[str, Any]:
    first, second = {"kind": "t3", "data": post("kettle")}, comment("c1", HUM, [comment("c2", HUM)])
    more = {"kind": "more", "data": {"children": ["c9"], "count": 40}}
    flat = [second, {"kind": "t1", "data": {**comment("c2", HUM)["data"], "parent_id": "t1_c1"}}]
    flat[0] = {"kind": "t1", "data": {**second["data"], "replies": ""}}
    return {
        "two listings": [listing([first]), listing([second, more])],
        "one listing": listing([first, second]),
        "one listing in a list": [listing([first, second])],
        "things in a list": [first, second],
        "the comments flat": [listing([first]), listing(flat)],
        "a comment twice": [listing([first]), listing([second, second])],
        "a third listing": [listing([first]), listing([]), listing([second])],
        "another thread behind it": [
            *(listing([first]), listing([second])),
            *(listing([{"kind": "t3", "data": post("other1")}]), listing([comment("x1", HUM)])),
        ],
    }


@pytest.mark.parametrize("shape", shapes())
def test_every_shape_of_a_listing_gives_the_same_thread(shape: str) -> None:
    found = parse_thread(shapes()[shape])
    assert [(one.id, one.depth) for one in found.comments] == [("c1", 0), ("c2", 1)]
    assert found.id == "kettle"


@pytest.mark.parametrize(
    "shape", [[listing([{"kind": "t3", "data": post("kettle")}]), ""], {"kind": "t3", "data": post("kettle")}]
)
def test_a_post_alone_is_a_thread_without_comments(shape: Any) -> None:
    assert parse_thread(shape).comments == ()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"message": "Forbidden", "error": 403, "reason": "private"}, r"answer 403 \(private\)"),
        ({"message": "Not Found", "error": 404}, r"answer 404 \(not found\)"),
        (listing([{"kind": "t3", "data": post(f"post{number}")} for number in range(25)]), "lists 25 posts"),
        (listing([comment("c1", HUM)]), "no post"),
        ([], "two listings"),
        (None, "no post"),
        ("text", "two listings"),
        ({"by": "pg", "id": 1, "type": "story", "kids": [2]}, "children"),
        ({"items": [{"question_id": 1}], "has_more": False}, "children"),
        ([{"id": 1}], "children"),
        ([listing([{"kind": "t3", "data": {"title": "x"}}]), listing([])], "usable id"),
        ([listing([{"kind": "t3", "data": post("kettle", title=None)}]), listing([])], "no title"),
    ],
)
def test_what_is_no_thread_is_told_in_a_line(document: Any, message: str) -> None:
    with pytest.raises(ThreadFormatError, match=message):
        parse_thread(document)


def test_odd_values_do_not_break_the_reading() -> None:
    odd: list[Any] = [None, True, [], {}, 10**400, -1e308, float("nan"), "x"]
    for value in odd:
        fields = ("score", "num_comments", "upvote_ratio", "created_utc", "over_18", "author", "crosspost_parent_list")
        try:
            found = thread([comment("c1", HUM, score=value, created_utc=value)], **dict.fromkeys(fields, value))
        except Unsuitable:
            continue
        assert json.loads(found.model_dump_json())


@pytest.mark.parametrize(
    "filling",
    ["a-", "[", "u/", "@a", "/user/", "a.b.", "&amp;", ". ", "\n", "[deleted ", "i am a ", "hi ", "*", "http://"],
)
def test_a_hostile_text_at_the_size_limit_is_read_at_once(filling: str) -> None:
    body = filling * (MAX_BODY // len(filling))
    start = time.process_time()
    thread([comment(f"c{number}", body, author=f"name_{number}") for number in range(3)], selftext=f"{body} @")
    assert time.process_time() - start < 2
