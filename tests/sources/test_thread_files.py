"""Threads as an operator names them: every kind of saved file, and addresses, through ``content generate --thread``."""

import gzip
import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import threadjuice
from makers import make_thread
from servers.reddit_server import CLIENT_ID, CLIENT_SECRET, RedditServer, comment, listing, post

from threadjuice_dagster.failures import ConfigurationError, Unsuitable, UsageError
from threadjuice_dagster.sources import files as module
from threadjuice_dagster.sources.files import lasting_reference, open_thread, thread_from_file
from threadjuice_dagster.sources.reddit import Reddit
from threadjuice_dagster.sources.registry import ThreadSources

CASES = Path(__file__).parents[1] / "cases"
SAMPLES = Path(__file__).parents[2] / "threadjuice_dagster" / "editorial" / "threads"
HUM = "Mine hums in the key of G on cold mornings, and nobody believes me."


@pytest.mark.parametrize(
    "reference",
    ["https://www.reddit.com/r/cooking/s/AbCdEf123", "https://reddit.com/s/abc", "https://reddit.app.link/AbCd"],
)
def test_a_share_link_is_refused_with_a_hint(reference: str) -> None:
    with pytest.raises(UsageError, match="Open it"):
        open_thread(reference, ThreadSources())


@pytest.mark.parametrize(
    "reference", ["https://news.ycombinator.com/newest", "https://v.redd.it/abc", "r/cooking/", "ftp://x/y.json"]
)
def test_an_address_of_something_else_is_told_from_a_file(reference: str) -> None:
    with pytest.raises(UsageError, match="address of a"):
        open_thread(reference, ThreadSources())


def saved(path: Path, **fields: Any) -> Path:
    document = [
        listing([{"kind": "t3", "data": post("saved1", **fields)}]),
        listing([comment("c1", "A lid is a lid.")]),
    ]
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_a_saved_thread_is_read_and_its_escapes_resolved(tmp_path: Path) -> None:
    path = saved(tmp_path / "thread.json", selftext="Salt &amp; pepper, 3 &lt; 4.&amp;#x200B;")
    thread = thread_from_file(path, ThreadSources())
    assert (thread.id, thread.source) == ("saved1", "reddit")
    assert thread.body == "Salt & pepper, 3 < 4."


def test_a_file_or_an_address_is_opened_as_what_it_is(tmp_path: Path) -> None:
    path = saved(tmp_path / "thread.json")
    assert open_thread(str(path), ThreadSources()).id == "saved1"
    with pytest.raises(UsageError, match="cannot be read"):
        open_thread(str(tmp_path / "none.json"), ThreadSources())
    for address in ("https://redd.it/1abcde", " <https://old.reddit.com/r/x/comments/1abcde/> ", "1abcde"):
        with pytest.raises(ConfigurationError, match=r"\.json"):
            open_thread(address, ThreadSources())
    with pytest.raises(Unsuitable, match="adult"):
        open_thread(str(saved(tmp_path / "adult.json", over_18=True)), ThreadSources())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "is empty"),
        (b"<html></html>", "a web page"),
        (b"<?xml version='1.0'?><feed/>", "a web page"),
        (b"<html><pre>not json</pre></html>", "no thread of a known source"),
        (b"\xff\xfe\x00", "is no text"),
        (b'{"title": "caf\xe9"}', "neither UTF-8 nor UTF-16"),
        (b'[{"kind": "Listing", "data": {"chi', r"not JSON text \(line 1"),
        (b"\x1f\x8b\x08nothing of the kind", "broken gzip"),
        (b"PK\x03\x04\x14\x00\x00\x00", "no thread of a known source"),
        (b'{"message": "Forbidden", "error": 403, "reason": "private"}', r"answer 403 \(private\)"),
        (b"[" * 100_000, "not JSON"),
        (b"# The kettle\nIt sings.\n## A\n## B\nNo.", "line 3: this comment has no text"),
        (b"---\ntitle: A story\ncategory: food\n---\nIt sings.", "line 3: .category. is no field"),
        (b"<?xml version='1.0'?><feed xmlns='http://www.w3.org/2005/Atom'/>", "no post and no comment of Reddit"),
        (b"{}", "no thread of a known source"),
        (
            b'[{"data": {"children": []}}, {"data": {"children": []}}]',
            "cannot be read as a thread: the first listing holds no post",
        ),
    ],
)
def test_a_file_that_is_no_thread_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "thread.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        thread_from_file(path, ThreadSources())
    assert "\n" not in str(caught.value)


def test_a_missing_file_a_folder_and_an_oversized_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, message in ((tmp_path / "none.json", "cannot be read"), (tmp_path, "is a folder")):
        with pytest.raises(UsageError, match=message):
            open_thread(str(path), ThreadSources())
    monkeypatch.setattr(module, "MAX_FILE", 5000)
    packed = tmp_path / "bomb.json.gz"
    packed.write_bytes(gzip.compress(b"[" + b" " * 1_000_000))
    for path in (saved(tmp_path / "thread.json", selftext="long " * 2000), packed):
        with pytest.raises(UsageError, match="larger than"):
            thread_from_file(path, ThreadSources())


PACKINGS: dict[str, Callable[[str], bytes]] = {
    "BOM": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "gzip of UTF-16": lambda text: gzip.compress(text.encode("utf-16")),
    "pretty-printed": lambda text: json.dumps(json.loads(text), indent=4).encode(),
    "escaped": lambda text: json.dumps(json.loads(text), ensure_ascii=True).encode(),
    "blank lines first": lambda text: b"\r\n\r\n  " + text.encode(),
    "as a browser shows it": lambda text: f"<html><body><pre>{html.escape(text)}</pre></body></html>".encode(),
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_saved_thread_is_read_however_it_was_saved(tmp_path: Path, packing: str) -> None:
    plain = saved(tmp_path / "thread.json", title="Der Kessel sagte „nein“ & <b>ging</b>")
    other = tmp_path / "other.json"
    other.write_bytes(PACKINGS[packing](plain.read_text("utf-8")))
    assert thread_from_file(other, ThreadSources()) == thread_from_file(plain, ThreadSources())


@pytest.mark.parametrize("packing", ["BOM", "UTF-16", "gzip", "blank lines first"])
def test_a_feed_and_a_submission_are_told_by_their_content(tmp_path: Path, packing: str) -> None:
    pack = PACKINGS[packing]
    path = tmp_path / "saved"
    path.write_bytes(pack("# The kettle\r\n\r\nIt sings.\r\n\r\n## 3 points\r\n\r\nMine too.\r\n"))
    thread = open_thread(str(path), ThreadSources())
    assert (thread.source, thread.title, thread.comments[0].score) == ("submission", "The kettle", 3)
    things = (("t3_kettle", "It sings."), ("t1_c1", "Mine too."))
    entries = "".join(
        f'<entry><author><name>/u/x</name></author><id>{name}</id><title>The kettle</title><content type="html">'
        f"&lt;div class=&quot;md&quot;&gt;&lt;p&gt;{text}&lt;/p&gt;&lt;/div&gt;</content></entry>"
        for name, text in things
    )
    feed = f'<feed xmlns="http://www.w3.org/2005/Atom">{entries}</feed>'
    for shown in (feed, f"<?xml version='1.0'?>{feed}", f'<html><body><div id="source">{feed}</div></body></html>'):
        path.write_bytes(pack(shown))
        thread = open_thread(str(path), ThreadSources())
        assert (thread.source, thread.title, thread.comments[0].body) == ("reddit", "The kettle", "Mine too.")


def test_a_file_and_the_api_give_the_same_thread(tmp_path: Path) -> None:
    sent = post("same01", title="Salt &amp; pepper", selftext="It's 3 &lt; 4, says u/some\\_body.&amp;#x200B;")
    raw = {**sent, "title": "Salt & pepper", "selftext": "It's 3 < 4, says u/some\\_body.&#x200B;"}
    reply = comment("c2", "Thanks, &amp;quot;all&amp;quot; of you.", author="poster_name", is_submitter=True)
    things = [
        comment("c1", "A lid is a lid.", [reply]),
        comment("c3", HUM, author="[deleted]"),
        comment("c4", HUM, stickied=True),
        {"kind": "more", "data": {"children": ["c9"], "count": 40}},
    ]
    path = tmp_path / "same.json"
    path.write_text(json.dumps([listing([{"kind": "t3", "data": sent}]), listing(things)]))
    with RedditServer() as server:
        server.add(raw, things)
        source = Reddit(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, reddit_url=server.url, oauth_url=server.url)
        assert source.thread("same01") == thread_from_file(path, ThreadSources())


def sample_text(number: int) -> str:
    document = json.loads(sorted(SAMPLES.glob("*.json"))[number].read_text())
    return str(document[0]["data"]["children"][0]["data"]["selftext"])


def retold(case: Path, folder: Path, number: int) -> Path:
    """A case that tells another story where it tells the one of others, which would be its copy."""
    document = json.loads(case.read_text())
    post = document[0]["data"]["children"][0]["data"]
    for one in (post, *post.get("crosspost_parent_list", ())):
        if one["selftext"].startswith("The choir I sing in") and number and "13" not in case.name:
            one["selftext"] = sample_text(number)
    (folder / case.name).write_text(json.dumps(document))
    return folder / case.name


def generated(path: Path) -> dict[str, Any]:
    """The story made of a thread's file."""
    _, document, _ = threadjuice("content", "generate", "--thread", str(path))
    (story,) = document["stories"]
    return story


def test_threads_as_people_save_them_become_the_right_stories(
    newsroom_environment: dict[str, str], tmp_path: Path
) -> None:
    refused = CASES / "06-deleted-poster.json"
    code, document, _ = threadjuice("content", "generate", "--thread", str(refused))
    assert (code, document["error"]["kind"]) == (1, "unsuitable")
    assert "removed or deleted" in document["error"]["message"]

    stories = {}
    for number, name in enumerate(
        ("06-deleted-accounts", "10-headline-title", "13-own-bridge", "14-bots", "20-crosspost")
    ):
        stories[name] = generated(retold(CASES / f"{name}.json", tmp_path, number))
        assert (stories[name]["status"], stories[name]["reasons"]) == ("published", []), name
    quoted = {name: {quote["comment_id"] for quote in story["quotes"]} for name, story in stories.items()}
    assert quoted["06-deleted-accounts"] <= {"cpi40", "cpi43", "cpi44", "cpi46", "cpi47"}
    assert quoted["14-bots"] == {"cbt05", "cbt06", "cbt07", "cbt08", "cbt09"}
    excerpts = [part["text"] for part in stories["20-crosspost"]["sections"] if part["kind"] == "excerpt"]
    assert sample_text(4)[:60] in excerpts[0]
    assert "My uncle cleaned a school" not in json.dumps(stories["06-deleted-accounts"])

    alone = tmp_path / "alone.json"
    alone.write_text(json.dumps([listing([{"kind": "t3", "data": post("alone1", locked=True)}]), listing([])]))
    story = generated(alone)
    assert story["status"] == "rejected"
    assert "0 quotable comments" in story["reasons"][0]["message"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!doctype html><title>Reddit</title>", "is a web page"),
        (b'{"hits": [{"objectID": "1"}]}', "is no thread of a known source"),
        (None, "is a folder"),
    ],
)
def test_a_file_that_is_no_thread_ends_the_command_with_one_line(
    newsroom_environment: dict[str, str], tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "thread.json"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    code, document, _ = threadjuice("content", "generate", "--thread", str(path))
    assert (code, document["error"]["kind"]) == (2, "usage")
    assert said in document["error"]["message"]


@pytest.mark.parametrize(
    ("shared", "own"),
    [
        ("https://meta.example.org/t/soup/7?u=ada#reply", "https://meta.example.org/t/soup/7"),
        ("<https://lemmy.example/post/130?share=ada>", "https://lemmy.example/post/130"),
    ],
)
def test_an_address_is_kept_without_what_tells_who_shared_it(shared: str, own: str) -> None:
    thread = make_thread(permalink=own)
    assert lasting_reference(shared, thread, ThreadSources()) == own


def test_a_file_and_an_id_are_kept_as_they_were_passed(tmp_path: Path) -> None:
    path, sources = saved(tmp_path / "saved.json"), ThreadSources()
    thread = open_thread(str(path), sources)
    assert sources.recognises(thread.permalink)
    assert [lasting_reference(kept, thread, sources) for kept in (str(path), "hn-100")] == [str(path), "hn-100"]
