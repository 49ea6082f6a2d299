"""Parse Reddit's ``.json`` thread format into a thread without user names, bots and deleted texts.

One parser serves saved files, the API and the bundled samples. The words that stand for what is gone are data in
``editorial/reddit.yaml``; what all sources share is in ``sources/texts.py``.
"""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import islice
from typing import Any, Literal, NamedTuple

from threadjuice_dagster.domain.editorial import table
from threadjuice_dagster.domain.language.text import clean, head, unescaped
from threadjuice_dagster.domain.story.threads import Comment, Thread
from threadjuice_dagster.domain.story.user_names import masked, telling_names
from threadjuice_dagster.failures import Unsuitable
from threadjuice_dagster.sources.markup import text_of_html, text_of_markdown
from threadjuice_dagster.sources.texts import (
    MAX_BODY,
    MAX_COMMENTS,
    cleaned,
    cleaned_title,
    is_bots_name,
    moment,
    number,
    says_it_is_a_bot,
)
from threadjuice_dagster.sources.thread_source import ThreadFormatError

Thing = Mapping[str, Any]
"""A post or comment with the fields of Reddit's API."""

_ID = re.compile(r"[a-z0-9]{2,16}", re.IGNORECASE)
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{2,}")
_ELSEWHERE = re.compile(
    r"https?://(?!(?:[\w.]+\.)?(?:reddit\.com|redd\.it)(?:[:/]|$))[\w.-]+(?:[/?#:][^\s<>\"]{0,1900})?", re.IGNORECASE
)
_KINDS = ("t1", "t3")
_MOST_PARENTS = 10
_MARKS = r"[\s*_~`\\.]*"


class Entry(NamedTuple):
    """A post (``t3``) or comment (``t1``) as received, and its depth in the tree of replies."""

    kind: str
    data: Thing
    depth: int = 0


def parse_thread(document: Any, source: Literal["reddit", "sample"] = "reddit") -> Thread:
    """Parse a thread: listings with the post and its comments, or one listing with both.

    Deleted texts and those of bots are left out, user names in texts are masked, and at most ``MAX_COMMENTS`` comments
    are kept. Raises ``ThreadFormatError``, and ``Unsuitable`` for a post that may not become a story.
    """
    entries = list(_entries(document))
    post = _post(entries)
    thread_id = _id(post, "t3_")
    if not thread_id:
        raise ThreadFormatError("the post has no usable id")
    if why := why_barred(post):
        raise Unsuitable(f"Thread {thread_id} {why}.", "Choose another thread.")
    names = telling_names(str(entry.data.get("author") or "") for entry in entries)
    title = title_of(post.get("title"), names)
    if not title:
        raise ThreadFormatError("the post has no title")
    posters = {name for each in with_parents(post) if (name := _account(each))}
    written = (_comment(entry, posters, names) for entry in entries if entry.kind == "t1")
    distinct = {comment.id: comment for comment in written if comment}
    comments = sorted(distinct.values(), key=lambda comment: -comment.score)
    subreddit = _forum(post)
    return Thread(
        id=thread_id,
        source=source,
        spec="samples" if source == "sample" else f"reddit:{subreddit.lower()}" if subreddit else "",
        community=subreddit or "unknown",
        title=title,
        body=_body(post, names),
        permalink=f"https://www.reddit.com{f'/r/{subreddit}' if subreddit else ''}/comments/{thread_id}/",
        score=number(post.get("score")),
        upvote_ratio=_ratio(post),
        num_comments=max(number(post.get("num_comments")), len(comments)),
        over_18=any(is_set(each.get("over_18")) for each in with_parents(post)),
        created_at=moment(post.get("created_utc")),
        link=_link(post),
        comments=tuple(comments[:MAX_COMMENTS]),
    )


def text_of(value: Any, names: Set[str] = frozenset()) -> str:
    """Return the plain text of Reddit's Markdown as the newsroom keeps it, and an empty one if it was deleted.

    Entities are resolved repeatedly: Reddit's JSON escapes ``&``, ``<`` and ``>``, and its editor leaves
    entities of its own in the text (``&amp;#x200B;``).
    """
    text = unescaped(value) if isinstance(value, str) else ""
    # Names are masked before the marks are read as well: a link's address tells that its words are a name.
    return "" if _rules().gone.fullmatch(clean(text)) else cleaned(text_of_markdown(masked(text, names)), names)


def _written(thing: Thing, field: str, names: Set[str]) -> str:
    """Return the text of a field, which feeds hold rendered as HTML."""
    if not _is_rendered(thing, field):
        return text_of(thing.get(field), names)
    text = cleaned(_raw(thing, field), names)
    return "" if _rules().gone.fullmatch(text) else text


def _is_rendered(thing: Thing, field: str) -> bool:
    return thing.get(field) is None and isinstance(thing.get(f"{field}_html"), str)


def _raw(thing: Thing, field: str) -> Any:
    return text_of_html(thing[f"{field}_html"]) if _is_rendered(thing, field) else thing.get(field)


def title_of(value: Any, names: Set[str] = frozenset()) -> str:
    """Return a title, which is no Markdown, as one line, and an empty one if it was deleted."""
    title = cleaned_title(value, names)
    return "" if _rules().gone.fullmatch(title) else title


def _entries(document: Any) -> Iterator[Entry]:
    """Yield the posts and comments of a document in order, without those of a second thread."""
    if isinstance(document, Mapping) and "data" not in document and "error" in document:
        reason = str(document.get("reason") or document.get("message") or "").lower()[:60]
        raise ThreadFormatError(
            f"it holds Reddit's answer {document['error']}{reason and f' ({reason})'} instead of one"
        )
    listings = document if isinstance(document, list) else [document]
    if not listings or not all(isinstance(each, Mapping) or each in ("", None) for each in listings):
        raise ThreadFormatError("expected two listings (the post, then its comments)")
    seen = ""
    for entry in (entry for listing in listings if listing for entry in _within(listing)):
        if entry.kind == "t3" and seen == "t1":
            return
        seen = entry.kind
        yield entry


def _within(listing: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the post or comments of a listing (or of a single thing), each before its replies."""
    # A stack instead of recursion: threads nest deeper than Python's recursion limit.
    waiting = [(child, 0) for child in reversed(_children(listing))]
    while waiting:
        child, depth = waiting.pop()
        kind, data = str(child.get("kind")), child.get("data")
        if kind in _KINDS and isinstance(data, Mapping):
            yield Entry(kind, data, depth)
            if isinstance(data.get("replies"), Mapping):
                waiting += [(reply, depth + 1) for reply in reversed(_children(data["replies"]))]


def _children(listing: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    if listing.get("kind") in _KINDS:
        return [listing]
    data = listing.get("data")
    children = data.get("children") if isinstance(data, Mapping) else None
    if not isinstance(children, list):
        raise ThreadFormatError("a listing has no data.children")
    return [child for child in children if isinstance(child, Mapping)]


def _post(entries: Sequence[Entry]) -> Thing:
    posts = [entry.data for entry in entries if entry.kind == "t3"]
    if len(posts) > 1:
        raise ThreadFormatError(f"it lists {len(posts)} posts instead of one with its comments")
    if not posts:
        raise ThreadFormatError("the first listing holds no post (kind t3)")
    return posts[0]


def _comment(entry: Entry, posters: Set[str], names: Set[str]) -> Comment | None:
    data = entry.data
    body, comment_id = _written(data, "body", names), _id(data, "t1_")
    if not (body and comment_id) or is_gone(data) or is_automated(data, body):
        return None
    parent = str(data.get("parent_id") or "")
    parent_id = parent.removeprefix("t1_") if parent.startswith("t1_") else None
    return Comment(
        id=comment_id,
        body=body,
        score=number(data.get("score")),
        parent_id=parent_id,
        depth=max(entry.depth, 1 if parent_id else 0),
        by_poster=is_set(data.get("is_submitter")) or _account(data) in posters,
        created_at=moment(data.get("created_utc")),
    )


def _body(post: Thing, names: Set[str]) -> str:
    """Return the text of the post or of the one it crossposts, then a poll's options and a gallery's captions."""
    body = next((text for each in with_parents(post) if (text := _written(each, "selftext", names))), "")
    listed = [text_of(text, names) for each in with_parents(post) for text in _listed(each)]
    options = "\n".join(f"* {' '.join(text.split())}" for text in dict.fromkeys(listed) if text)
    return head(f"{body}\n\n{options}".strip(), MAX_BODY)


def _link(post: Thing) -> str:
    """Return the address that a link post points to, empty for a text and for what Reddit itself shows."""
    address = unescaped(str(post.get("url") or ""))
    return "" if is_set(post.get("is_self", True)) or not _ELSEWHERE.fullmatch(address) else address


def _listed(post: Thing) -> Iterator[Any]:
    for field, items, text in (("poll_data", "options", "text"), ("gallery_data", "items", "caption")):
        holder = post.get(field)
        entries = holder.get(items) if isinstance(holder, Mapping) else None
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, Mapping):
                yield entry.get(text)


def _forum(post: Thing) -> str:
    """Return the forum's name, or an empty text for a profile, whose name is a user's."""
    name = re.sub(r"\W", "", str(post.get("subreddit") or ""))
    return "" if name.lower().startswith("u_") or post.get("subreddit_type") == "user" else name


def _account(thing: Thing) -> str:
    """Return the account's name in lower case, or an empty text where it is withheld, as in "[redacted]"."""
    name = str(thing.get("author") or "")
    return name.lower() if _ACCOUNT.fullmatch(name) else ""


def _id(thing: Thing, prefix: str) -> str:
    thing_id = str(thing.get("id") or "").removeprefix(prefix)
    return thing_id if _ID.fullmatch(thing_id) else ""


def _ratio(data: Thing) -> float:
    value = data.get("upvote_ratio")
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else 1.0


class _Rules(NamedTuple):
    """The tables of ``editorial/reddit.yaml``, with compiled patterns."""

    gone: re.Pattern[str]
    tables: Mapping[str, Any]


@functools.cache
def _rules() -> _Rules:
    tables = table("reddit")
    words = tables["gone_words"].replace(" ", "")
    in_brackets = (
        rf"{_MARKS}\[{_MARKS}(?:(?:this )?(?:comment|post|content) )?(?:{words})"
        rf"(?:\s+(?:by|on|in|for|due|from)\b(?:[^\[\]]|\[[^\[\]]*\])*)?{_MARKS}\]{_MARKS}"
    )
    return _Rules(
        gone=re.compile("|".join([in_brackets, *(rf"\s*{text}" for text in tables["gone_sentences"])]), re.IGNORECASE),
        tables=tables,
    )


def is_gone(thing: Thing) -> bool:
    """Return whether a post or comment was deleted or removed, or its account was, or the post that it crossposts.

    Parser and takedown sweep share this rule: what the sweep would take down is never read in.
    """
    return any(map(_is_gone_itself, with_parents(thing))) or (
        is_set(thing.get("crosspost_parent")) and not thing.get("crosspost_parent_list") and not thing.get("selftext")
    )


def why_barred(post: Thing) -> str:
    """Return why a post may not become a story, as the end of "Thread 1abcde …", or an empty text."""
    posts, tables = list(with_parents(post)), _rules().tables
    private, ads = tables["private_forum_types"], tables["advertisement_fields"]
    reasons = {
        "was removed or deleted": is_gone(post),
        "is an advertisement": any(is_set(each.get(field)) for each in posts for field in ads),
        "stands in a quarantined forum": any(is_set(each.get("quarantine")) for each in posts),
        "stands in a forum that is not public": any(each.get("subreddit_type") in private for each in posts),
        "was posted by a bot": any(is_bots_name(str(each.get("author") or "")) for each in posts),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def with_parents(post: Thing) -> Iterator[Thing]:
    """Yield a post, then the posts that it crossposts, nearest first."""
    waiting = [post]
    # Bounded: a forged document could nest crossposts without end.
    for _ in range(_MOST_PARENTS):
        if not waiting:
            return
        yield (current := waiting.pop(0))
        parents = current.get("crosspost_parent_list")
        if isinstance(parents, list):
            waiting += [parent for parent in islice(parents, _MOST_PARENTS) if isinstance(parent, Mapping)]


def is_set(value: object) -> bool:
    """Return whether a field is true. Some programs save ``false`` and ``null`` as texts."""
    return str(value if value is not None else "").strip().lower() not in ("", "0", "false", "none", "null")


def _has_author(thing: Thing) -> bool:
    """Return whether the account that wrote it still exists, as far as the fields say."""
    if "author_fullname" in thing and not is_set(thing["author_fullname"]):
        return False
    name = str(thing.get("author", "unknown") or "").strip()
    is_missing = name.lower() in _rules().tables["missing_authors"] and not is_set(thing.get("author_fullname"))
    return not is_missing and not _rules().gone.fullmatch(name)


def _is_gone_itself(thing: Thing) -> bool:
    texts = [_raw(thing, field) for field in ("selftext", "title", "body")]
    return (
        not _has_author(thing)
        or any(is_set(thing.get(field)) for field in _rules().tables["removal_fields"])
        or str(thing.get("collapsed_reason_code")).upper() in ("DELETED", "REMOVED")
        or any(_rules().gone.fullmatch(clean(unescaped(text))) for text in texts if isinstance(text, str))
    )


def is_automated(comment: Thing, text: str) -> bool:
    """Return whether a comment with this text is a bot's, or an official or pinned note."""
    official = comment.get("distinguished") in ("moderator", "admin") or comment.get("stickied") is True
    return official or is_bots_name(str(comment.get("author") or "")) or says_it_is_a_bot(text)
