"""Reddit's ``.json`` thread format: from listings to a thread, without names, bots and what is gone.

Which post or comment is gone is for ``sources/reddit_parser.py`` to say, what a bot is for
``sources/reddit_parser.py``. One reader serves saved files, the API and the bundled samples.
"""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal, NamedTuple

from threadjuice_dagster.domain.language.text import clean, head, unescaped
from threadjuice_dagster.domain.story.threads import Comment, Thread
from threadjuice_dagster.domain.story.user_names import masked, telling_names
from threadjuice_dagster.failures import Unsuitable

Thing = Mapping[str, Any]
"""A post or comment with the fields of Reddit's API."""

MAX_COMMENTS = 500
"""Comments kept per thread, highest score first; the writer never needs more."""

MAX_BODY = 40_000
"""Characters kept of a post or comment: Reddit's own bound for a post."""

_ID = re.compile(r"[a-z0-9]{2,16}", re.IGNORECASE)
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{2,}")
_MOST = 2**31 - 1
_KINDS = ("t1", "t3")


class ThreadFormatError(ValueError):
    """The text is not a thread in Reddit's ``.json`` format; the message says what is missing."""


class Entry(NamedTuple):
    """A post (``t3``) or comment (``t1``) as it was sent, and how many replies stand above it."""

    kind: str
    data: Thing
    depth: int = 0


def parse_thread(document: Any, source: Literal["reddit", "file", "sample"]) -> Thread:
    """Read a thread from Reddit's ``.json`` thread format: listings with the post and its comments, or one of both.

    What is gone and what bots wrote is left out, user names in the text are masked, and at most ``MAX_COMMENTS``
    comments are kept. Raises ``ThreadFormatError``, and ``Unsuitable`` for a post that may not become a story.
    """
    entries = list(_entries(document))
    post = _post(entries)
    thread_id = _id(post, "t3_")
    if not thread_id:
        raise ThreadFormatError("the post has no usable id")
    if why := why_barred(post):
        raise Unsuitable(f"Thread {thread_id} {why}.", "Choose another thread.")
    names = telling_names(str(entry.data.get("author") or "") for entry in entries)
    title = text_of(post.get("title"), names)
    if not title:
        raise ThreadFormatError("the post has no title")
    posters = {name for one in with_parents(post) if (name := _account(one))}
    written = (_comment(entry, posters, names) for entry in entries if entry.kind == "t1")
    comments = sorted({one.id: one for one in written if one}.values(), key=lambda comment: -comment.score)
    subreddit = _forum(post)
    return Thread(
        id=thread_id,
        source=source,
        subreddit=subreddit or "unknown",
        title=head(" ".join(title.split()), 300),
        body=_body(post, names),
        permalink=f"https://www.reddit.com{f'/r/{subreddit}' if subreddit else ''}/comments/{thread_id}/",
        score=_number(post, "score"),
        upvote_ratio=_ratio(post),
        num_comments=max(_number(post, "num_comments"), len(comments)),
        over_18=any(is_set(one.get("over_18")) for one in with_parents(post)),
        created_at=_time(post),
        comments=tuple(comments[:MAX_COMMENTS]),
    )


def text_of(value: Any, names: Set[str] = frozenset()) -> str:
    """A text as the newsroom keeps it: cleaned, bounded, user names masked; empty where it is gone.

    Entities are resolved as often as they were escaped: Reddit's JSON escapes ``&``, ``<`` and ``>``, and its editor
    leaves entities of its own in the text (``&amp;#x200B;``).
    """
    text = clean(unescaped(value)) if isinstance(value, str) else ""
    return "" if GONE.fullmatch(text) else head(masked(text, names), MAX_BODY)


def _entries(document: Any) -> Iterator[Entry]:
    """Posts and comments of a document in order; those of a second thread in it are left out."""
    if isinstance(document, Mapping) and "data" not in document and "error" in document:
        reason = str(document.get("reason") or document.get("message") or "").lower()[:60]
        raise ThreadFormatError(
            f"it holds Reddit's answer {document['error']}{reason and f' ({reason})'} instead of one"
        )
    listings = document if isinstance(document, list) else [document]
    if not listings or not all(isinstance(one, Mapping) or one in ("", None) for one in listings):
        raise ThreadFormatError("expected two listings (the post, then its comments)")
    seen = ""
    for entry in (entry for listing in listings if listing for entry in _within(listing)):
        if entry.kind == "t3" and seen == "t1":
            return
        seen = entry.kind
        yield entry


def _within(listing: Mapping[str, Any]) -> Iterator[Entry]:
    """The post or comments of a listing (or the single thing it is), each before its replies."""
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
    body, comment_id = text_of(data.get("body"), names), _id(data, "t1_")
    if not (body and comment_id) or is_gone(data) or is_automated(data, body):
        return None
    parent = str(data.get("parent_id") or "")
    parent_id = parent.removeprefix("t1_") if parent.startswith("t1_") else None
    return Comment(
        id=comment_id,
        body=body,
        score=_number(data, "score"),
        parent_id=parent_id,
        depth=max(entry.depth, 1 if parent_id else 0),
        by_poster=is_set(data.get("is_submitter")) or _account(data) in posters,
        created_at=_time(data),
    )


def _body(post: Thing, names: Set[str]) -> str:
    """What the poster wrote, or the text a crosspost repeats; then the answers of a poll and a gallery's captions."""
    told = next((text for one in with_parents(post) if (text := text_of(one.get("selftext"), names))), "")
    listed = [text_of(text, names) for one in with_parents(post) for text in _listed(one)]
    answers = "\n".join(f"* {' '.join(text.split())}" for text in dict.fromkeys(listed) if text)
    return head(f"{told}\n\n{answers}".strip(), MAX_BODY)


def _listed(post: Thing) -> Iterator[Any]:
    for field, items, text in (("poll_data", "options", "text"), ("gallery_data", "items", "caption")):
        holder = post.get(field)
        found = holder.get(items) if isinstance(holder, Mapping) else None
        yield from (one.get(text) for one in found or () if isinstance(one, Mapping)) if isinstance(found, list) else ()


def _forum(post: Thing) -> str:
    """The forum's name, or nothing; a profile is no forum, and its name is a user's."""
    name = re.sub(r"\W", "", str(post.get("subreddit") or ""))
    return "" if name.lower().startswith("u_") or post.get("subreddit_type") == "user" else name


def _account(thing: Thing) -> str:
    """The account's name in small letters; nothing where it is withheld, as in "[redacted]"."""
    name = str(thing.get("author") or "")
    return name.lower() if _ACCOUNT.fullmatch(name) else ""


def _id(thing: Thing, prefix: str) -> str:
    thing_id = str(thing.get("id") or "").removeprefix(prefix)
    return thing_id if _ID.fullmatch(thing_id) else ""


def _number(data: Thing, key: str) -> int:
    value = data.get(key)
    return int(value) if isinstance(value, int | float) and abs(value) <= _MOST else 0


def _ratio(data: Thing) -> float:
    value = data.get("upvote_ratio")
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else 1.0


def _time(data: Thing) -> datetime:
    value = data.get("created_utc")
    try:
        return datetime.fromtimestamp(float(value), UTC)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


_MARKS = r"[\s*_~`\\.]*"
_STATES = (
    r"deleted|removed|unavailable|gelöscht|entfernt|supprimée?|retirée?|eliminad[oa]|borrad[oa]|removid[oa]|apagad[oa]"
    r"|excluíd[oa]|eliminat[oa]|rimoss[oa]|verwijderd|usunięt[oaey]|удален[оа]?|удалён"
)
"""In English as Reddit sends it, and as its pages show it in other languages."""

GONE = re.compile(
    rf"{_MARKS}\[{_MARKS}(?:(?:this )?(?:comment|post|content) )?(?:{_STATES})"
    rf"(?:\s+(?:by|on|in|for|due|from)\b(?:[^\[\]]|\[[^\[\]]*\])*)?{_MARKS}\]{_MARKS}"
    r"|\s*(?:this )?(?:comment|post) (?:was |has been )?(?:removed|deleted) by"
    r" (?:(?:an? |the |its )?(?:moderators?|users?|authors?|poster)|reddit)\.?\s*"
    r"|\s*sorry, this post (?:was|has been) (?:removed|deleted) by [^\n]{0,160}",
    re.IGNORECASE,
)
"""What stands in place of a text that is gone, such as "[deleted]" or "[ Removed by Reddit on account of … ]"."""

_FLAGS = ("removed_by_category", "removed_by", "removal_reason", "removed", "banned_by", "banned_at_utc", "spam")
_COLLAPSED = ("DELETED", "REMOVED")
_NOT_SET = ("", "0", "false", "none", "null")
_NO_AUTHOR = ("", "none", "null", "nan")
"""Names that are no account's where Reddit names no account beside them: how programs write a missing author."""

_ADS = ("promoted", "is_created_from_ads_ui")
_NOT_PUBLIC = ("private", "employees_only", "gold_only", "gold_restricted")
_MOST_PARENTS = 10


def is_gone(thing: Thing) -> bool:
    """Whether a post or comment was deleted or removed, or its account was; a crosspost goes with what it repeats."""
    return any(map(_is_gone_itself, with_parents(thing))) or (
        is_set(thing.get("crosspost_parent")) and not thing.get("crosspost_parent_list") and not thing.get("selftext")
    )


def why_barred(post: Thing) -> str:
    """Why a post may not become a story, as what follows "Thread 1abcde …", or nothing."""
    posts = list(with_parents(post))
    reasons = {
        "was removed or deleted": is_gone(post),
        "is an advertisement": any(is_set(one.get(field)) for one in posts for field in _ADS),
        "stands in a quarantined forum": any(is_set(one.get("quarantine")) for one in posts),
        "stands in a forum that is not public": any(one.get("subreddit_type") in _NOT_PUBLIC for one in posts),
        "was posted by a bot": any(is_bots_name(str(one.get("author") or "")) for one in posts),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def with_parents(post: Thing) -> Iterator[Thing]:
    """A post, then what it repeats as a crosspost, nearest first."""
    waiting = [post]
    for _ in range(_MOST_PARENTS):
        if not waiting:
            return
        yield (current := waiting.pop(0))
        parents = current.get("crosspost_parent_list")
        if isinstance(parents, list):
            waiting += [parent for parent in islice(parents, _MOST_PARENTS) if isinstance(parent, Mapping)]


def is_set(value: object) -> bool:
    """Whether a field says yes; some programs save ``false`` and ``null`` as words."""
    return str(value if value is not None else "").strip().lower() not in _NOT_SET


def _has_author(thing: Thing) -> bool:
    """Whether the account that wrote it is still there, as far as is told."""
    if "author_fullname" in thing and not is_set(thing["author_fullname"]):
        return False
    name = str(thing.get("author", "unknown") or "").strip()
    return not GONE.fullmatch(name) and (name.lower() not in _NO_AUTHOR or is_set(thing.get("author_fullname")))


def _is_gone_itself(thing: Thing) -> bool:
    texts = [thing.get(field) for field in ("selftext", "title", "body")]
    return (
        not _has_author(thing)
        or any(is_set(thing.get(flag)) for flag in _FLAGS)
        or str(thing.get("collapsed_reason_code")).upper() in _COLLAPSED
        or any(GONE.fullmatch(clean(unescaped(text))) for text in texts if isinstance(text, str))
    )


_NAMES = """
alternate-link-bot amputatorbot autotldr b0trank botdefense botrank decronym duplicatesbot fatfingerhelperbot
gfycat_details_fixer gifreversingbot hearing-echoes image_linker_bot imguralbumbot limbretrieval-bot linkifybot
mentioned_videos modcodeofconduct of-patrol-bot profanitycounter redditsilverrobot remindmebot repostsleuthbot
savevideo savevideobot sneakpeekbot snapshillbot the-paranoid-android timestamp_bot totesmessenger tweetposter
twitterlinkbot updatemebot userleansbot uwutranslator video_descriptionbot vredditdownloader vreddit_bot
wikisummarizerbot wikitextbot good_goodbot goodbot_badbot commonmisspellingbot boocmb magic_eye_bot locationbot
"""
_KNOWN = frozenset(_NAMES.split())
_OFFICIAL = re.compile(r"auto[-_]?mod(?:erator)?[-_\d]*|.*-?modteam", re.IGNORECASE)
_ENDS_IN_BOT = re.compile(r"b[o0]t[-_]*(?:v?\d+)?[-_]*$", re.IGNORECASE)
_PEOPLE = re.compile(
    r"(?:(?:tal|ab|ca|ro)|(?:^|[-_\d]|(?-i:(?<=[a-z])(?=[A-Z])))(?:cha|ri|tur|sa|bar|ra|her|gui|lam|thi|cor|har|mar|du))"
    r"bot[-_]*(?:v?\d+)?[-_]*$",
    re.IGNORECASE,
)
"""Surnames and words; a robot may be anybody's nickname."""

_SAYS_SO = re.compile(
    r"""(?:^|[.!?,;:()\[\]|—–-]\s*|\bboop\W+|\bbloop\W+|\b(?:hi|hello|hey)\W+)
        i(?:['’]?m|\ am)\ (?:just\ |only\ |also\ |actually\ |but\ )?an?\ (?:[\w-]+\ ){0,3}?
        (?:ro)?bot\b(?:\ account)?(?=\W*$|\ ?[.,;:!|()\[\]—–-]|\ (?:and|that|which|who|made|created|built|written|run
          |operated|here|beep|bleep|designed|programmed|by|for|from|trying)\b)
      | \b(?:ich\ bin\ ein|soy\ un|je\ suis\ un|sono\ un|(?:eu\ )?sou\ um|ik\ ben\ een)\ (?:ro)?bot\b
      | \bthis\ (?:action|message|comment|reply|post)\ (?:was|is|has\ been)\ (?:performed|posted|generated|made|sent
          |created|written)\ (?:automatically|by\ an?\ (?:[\w-]+\ ){0,2}bot)\b
      | \bthis\ is\ an\ automated\ (?:message|comment|reply|response|action|reminder)\b
      | \bbeep\W{0,3}boop\b | \bbleep\W{0,3}bloop\b | \bi\ will\ be\ messaging\ you\ (?:in|on)\b
      | \bthis\ thread\ has\ been\ linked\ to\ from\b | \bhere['’]?s\ a\ sneak\ peek\ of\b
      | \bcontact\ the\ moderators\ of\ this\ subreddit\b""",
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
_FORMATTING = re.compile(r"[\^*_~\\>#]+")


def is_automated(comment: Mapping[str, Any], text: str) -> bool:
    """Whether a comment, whose ``text`` it is, is a bot's, or an official or pinned note."""
    official = comment.get("distinguished") in ("moderator", "admin") or comment.get("stickied") is True
    return official or is_bots_name(str(comment.get("author") or "")) or says_it_is_a_bot(text)


def is_bots_name(name: str) -> bool:
    """Whether an account is a program's by its name: a known one, or one that ends in "bot" and is no surname."""
    name = name.strip()
    if name.lower() in _KNOWN or _OFFICIAL.fullmatch(name):
        return True
    return bool(_ENDS_IN_BOT.search(name)) and not _PEOPLE.search(name)


def says_it_is_a_bot(text: str) -> bool:
    """Whether a comment calls itself a program's, in any of the usual phrases and small print."""
    return bool(_SAYS_SO.search(_FORMATTING.sub("", text)))
