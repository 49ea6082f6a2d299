"""Reddit's Atom feed of a thread, as www.reddit.com serves it without a key."""

from html import escape
from typing import Any

import pytest

from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.failures import Unsuitable
from threadjuice_dagster.sources.reddit_feed import is_feed, listing_of_feed
from threadjuice_dagster.sources.reddit_parser import parse_thread
from threadjuice_dagster.sources.thread_source import ThreadFormatError

THREAD = "https://www.reddit.com/r/choir/comments/kettle1/my_kettle_sings/"
TIME = "2026-09-20T06:00:00+00:00"


def entry(thing_id: str, html: str, author: str | None = "/u/low_note", title: str = "x", link: str = THREAD) -> str:
    name = f"<author><name>{author}</name><uri>https://www.reddit.com/user/x</uri></author>" if author else ""
    return (
        f'<entry>{name}<category term="choir" label="r/choir"/><content type="html">{escape(html)}</content>'
        f'<id>{thing_id}</id><link href="{link}"/><updated>{TIME}</updated><title>{escape(title)}</title></entry>'
    )


def md(html: str) -> str:
    return f'<!-- SC_OFF --><div class="md">{html}</div><!-- SC_ON -->'


def post(html: str = md("<p>It sings at <em>six</em>.</p>"), linked: str = THREAD, **changes: Any) -> str:
    tail = (
        f' &#32; submitted by &#32; <a href="https://www.reddit.com/user/low_note"> /u/low_note </a> <br/> '
        f'<span><a href="{linked}">[link]</a></span> &#32; <span><a href="{THREAD}">[comments]</a></span>'
    )
    return entry("t3_kettle1", html + tail, **{"title": "My kettle & I, says low_note", **changes})


def comment(number: int, html: str, author: str | None = "/u/Alto") -> str:
    return entry(f"t1_c{number:03}", md(html), author, "/u/Alto on My kettle", f"{THREAD}c{number:03}/")


def feed(*entries: str) -> str:
    start = '<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom" xmlns:media="http://x/">'
    return f"{start}<title>My kettle : choir</title>{''.join(entries)}</feed>"


def read(*entries: str) -> Thread:
    text = feed(*entries)
    assert is_feed(text)
    return parse_thread(listing_of_feed(text))


def test_a_feed_becomes_a_thread_without_names_and_tails() -> None:
    thread = read(
        post(),
        comment(1, "<p>Mine in G.</p>\n<blockquote>\n<p>six</p>\n</blockquote>\n<p>Really, low_note?</p>"),
        comment(2, "<p>Ours too.</p>", "/u/low_note"),
    )
    assert (thread.id, thread.community, thread.title) == ("kettle1", "choir", "My kettle & I, says another user")
    assert (thread.body, thread.link) == ("It sings at six.", "")
    assert thread.permalink == "https://www.reddit.com/r/choir/comments/kettle1/"
    assert thread.created_at.isoformat() == TIME
    assert [(comment.id, comment.body, comment.by_poster) for comment in thread.comments] == [
        ("c001", "Mine in G.\n\n> six\n\nReally, another user?", False),
        ("c002", "Ours too.", True),
    ]
    assert "low_note" not in thread.model_dump_json()


def test_a_link_post_is_its_title_and_address() -> None:
    thumbnail = '<table><tr><td><a href="x"><img src="y" alt="My kettle"/></a></td><td>'
    thread = read(post(thumbnail, linked="https://news.example.org/kettle?a=1"), comment(1, "<p>Mine in G.</p>"))
    assert (thread.body, thread.link) == ("", "https://news.example.org/kettle?a=1")
    for own in ("https://www.reddit.com/gallery/kettle1", "https://i.redd.it/k.jpg", THREAD, "javascript:alert(1)"):
        assert read(post(linked=own), comment(1, "<p>Mine in G.</p>")).link == ""


@pytest.mark.parametrize("author", ["/u/[deleted]", "", None])
def test_what_is_deleted_is_not_read_in(author: str | None) -> None:
    kept = read(post(), comment(1, "<p>Mine in G.</p>"), comment(2, "<p>Gone.</p>", author))
    assert [comment.id for comment in kept.comments] == ["c001"]
    with pytest.raises(Unsuitable, match="removed or deleted"):
        read(post(author=author), comment(1, "<p>Mine in G.</p>"))


@pytest.mark.parametrize("text", ["[deleted]", "[removed]", "[ Removed by Reddit ]"])
def test_what_stands_for_a_deleted_text_is_not_read_in(text: str) -> None:
    kept = read(post(), comment(1, "<p>Mine in G.</p>"), comment(2, f"<p>{text}</p>"))
    assert [comment.id for comment in kept.comments] == ["c001"]
    with pytest.raises(Unsuitable, match="removed or deleted"):
        read(post(md(f"<p>{text}</p>")), comment(1, "<p>Mine in G.</p>"))


def test_programs_are_left_out() -> None:
    kept = read(post(), comment(1, "<p>Mine.</p>"), comment(2, "<p>Rules.</p>", "/u/AutoModerator"))
    assert [comment.id for comment in kept.comments] == ["c001"]


BOMB = '<!DOCTYPE feed [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (feed(), "no post and no comment of Reddit"),
        (feed(entry("https://blog.example.org/1", "x")), "no post and no comment of Reddit"),
        (feed(comment(1, "<p>x</p>")), "no post"),
        (feed(post(), post()), "lists 2 posts"),
        (feed(post())[:-9], r"not XML \(line 1\)"),
        (BOMB + feed(post()).replace("My kettle", "&b;").partition("?>")[2], "document type"),
        (BOMB.replace('"ha"', 'SYSTEM "file:///etc/passwd"') + feed(post()).partition("?>")[2], "document type"),
        (feed(post()).replace("</feed>", "<x>" * 50_000), "not XML"),
    ],
)
def test_what_is_no_feed_of_a_thread_is_told_in_a_line(text: str, message: str) -> None:
    with pytest.raises(ThreadFormatError, match=message):
        parse_thread(listing_of_feed(text))


def test_a_page_and_a_text_are_no_feed() -> None:
    assert not any(map(is_feed, ("", "<html><feed></html>", "# The kettle", "<?xml version='1.0'?><rss/>")))
