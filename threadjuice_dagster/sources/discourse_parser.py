"""Parse a topic of a Discourse site, as its API sends it, into a thread without user names.

Requests belong in ``sources/discourse.py``.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from threadjuice_dagster.domain.story.threads import Comment, Thread, digest, thread_key
from threadjuice_dagster.failures import Unsuitable, UsageError
from threadjuice_dagster.sources.fields import Fields, digits_of, fields_of, link_in, objects_in, string_in
from threadjuice_dagster.sources.markup import text_of_html
from threadjuice_dagster.sources.names import ThreadNames
from threadjuice_dagster.sources.reddit_parser import is_set
from threadjuice_dagster.sources.sites import SiteAddress, site_at
from threadjuice_dagster.sources.texts import (
    MAX_COMMENTS,
    is_bots_name,
    moment,
    number,
    says_it_is_a_bot,
)
from threadjuice_dagster.sources.thread_source import ThreadFormatError

_LIKE = 2
"""The kind of action that is a like, in ``actions_summary``."""

_REGULAR = "1"
"""The kind of a post that a person wrote. 2 and 3 are notes that moderators' actions leave behind, 4 whispers."""

_ADULT_TAGS = frozenset({"nsfw", "adult", "18plus"})
_AVATAR = re.compile(r"/user_avatar/([^/\s]{4,253})/")
# A title holds the codes of emoji, where a text has pictures.
_EMOJI = re.compile(r"(?<![\w:/]):[a-z0-9_+-]{1,60}:(?:t[2-6]:)?(?![\w/])")
_DELETED_BY_AUTHOR = re.compile(
    r"\((?:post|topic) (?:deleted|withdrawn) by (?:the )?author[^()]{0,120}\)", re.IGNORECASE
)


def is_topic(document: Any) -> bool:
    """Return whether a document is an answer of ``/t/ID.json``."""
    return isinstance(fields_of(document, "post_stream").get("posts"), list)


def is_gone(thing: Fields) -> bool:
    """Return whether a post or topic was deleted, by its author too, or is hidden because users flagged it.

    Parser and deletion sweep share this rule: what the sweep would take down is never read in.
    """
    marks = ("deleted_at", "user_deleted", "hidden", "cooked_hidden")
    text = re.sub(r"<[^>]{0,200}>", "", string_in(thing, "cooked")[:1000]).strip()
    return any(is_set(thing.get(mark)) for mark in marks) or bool(_DELETED_BY_AUTHOR.fullmatch(text))


def posts_in(answer: Any) -> list[Fields]:
    """Return the posts in an answer of ``/t/ID.json`` or ``/t/ID/posts.json``."""
    return objects_in(fields_of(answer, "post_stream"), "posts")


def stream_of(topic: Fields) -> list[str]:
    """Return the ids of all posts of a topic that the public can read, in order. Of a huge topic none are listed."""
    stream = fields_of(topic, "post_stream").get("stream")
    return [digits for value in stream if (digits := digits_of(value))] if isinstance(stream, list) else []


def first_post(posts: Iterable[Fields]) -> Fields:
    """Return the post that opens the topic, or an empty object."""
    return next((post for post in posts if digits_of(post.get("post_number")) == "1"), {})


def why_barred(topic: Fields) -> str:
    """Return why a topic may not become a story, as the end of "Topic 42 …", or an empty text."""
    archetype, first = string_in(topic, "archetype") or "regular", first_post(posts_in(topic))
    reasons = {
        "was deleted or hidden": is_gone(topic) or is_gone(first),
        "is no public discussion": archetype != "regular",
        "is unlisted": topic.get("visible") is False,
        "was posted by a program": bool(first) and _is_program(first),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def is_adult(topic: Fields) -> bool:
    """Return whether a topic is tagged as adult. Discourse itself has no such mark."""
    tags = topic.get("tags")
    names = (tag.get("name") if isinstance(tag, Mapping) else tag for tag in (tags if isinstance(tags, list) else ()))
    return any(isinstance(name, str) and name.lower() in _ADULT_TAGS for name in names)


def likes_of(post: Fields) -> int:
    """Return the likes of a post, or all its reactions where a plugin counts those."""
    summary = (number(each.get("count")) for each in objects_in(post, "actions_summary") if each.get("id") == _LIKE)
    reactions = sum(number(each.get("count")) for each in objects_in(post, "reactions"))
    return max(number(post.get("like_count")), number(post.get("reaction_users_count")), reactions, *summary)


def site_of(topic: Fields) -> SiteAddress | None:
    """Return the site that a saved topic is of, as the addresses of its users' pictures and its own links tell.

    The answer itself does not name the site. None where nothing in it does.
    """
    pictures = [string_in(post, "avatar_template") for post in posts_in(topic)]
    named = Counter(match[1] for picture in pictures if (match := _AVATAR.search(picture)))
    links = [link for post in posts_in(topic) for link in objects_in(post, "link_counts")]
    links += objects_in(fields_of(topic, "details"), "links")
    internal = (urlsplit(link_in(link, "url")).netloc for link in links if is_set(link.get("internal")))
    named.update(host for host in internal if host)
    for host, _ in named.most_common():
        try:
            return site_at(host)
        except UsageError:
            continue
    return None


def parse_topic(topic: Fields, site: SiteAddress | None, spec: str = "", posts: Sequence[Fields] = ()) -> Thread:
    """Parse a topic with the best of its replies; ``posts`` are those that its own answer does not hold.

    ``spec`` is the place it was found in. A topic of an unknown ``site`` has no address. Notes that actions of
    moderators leave behind, whispers, hidden and deleted posts and those of programs are left out; what moderators
    write as people is kept. Raises ``ThreadFormatError``, and ``Unsuitable`` for a topic that may not become a story.
    """
    posts, topic_id = [*posts_in(topic), *posts], digits_of(topic.get("id"))
    first = first_post(posts)
    if not (topic_id and digits_of(first.get("id"))):
        raise ThreadFormatError("the topic has no usable id" if first else "its first post is missing")
    if why := why_barred(topic):
        raise Unsuitable(f"Topic {topic_id} of {site.name if site else 'the file'} {why}.", "Choose another thread.")
    names = _names(posts)
    title = names.masked_title(_EMOJI.sub("", string_in(topic, "title")))
    if not title:
        raise ThreadFormatError("the topic has no title")
    address = f"{site.url}/t/{topic_id}" if site else ""
    comments = _best(posts, first, names, address)
    mark = digest(f"{title}{topic.get('created_at')}")[:8]
    return Thread(
        id=thread_key("discourse", site.name if site else mark, topic_id),
        source="discourse",
        spec=spec or (f"discourse:{site.url}" if site else ""),
        community=site.host if site else "unknown",
        title=title,
        body=_text(first, names),
        permalink=address,
        link=link_in(topic, "featured_link"),
        score=likes_of(first),
        num_comments=max(number(topic.get("posts_count")) - 1, len(comments)),
        over_18=is_adult(topic),
        created_at=moment(first.get("created_at") or topic.get("created_at")),
        comments=tuple(comments),
    )


class _Tree:
    """What each post of a topic answers, and how deep below the first it stands, as the numbers of posts tell."""

    def __init__(self, posts: Sequence[Fields]) -> None:
        self._ids = {digits_of(post.get("post_number")): digits_of(post.get("id")) for post in posts}
        self._answered: dict[str, str] = {}
        self._depths: dict[str, int] = {}
        for post in sorted(posts, key=lambda post: int(digits_of(post.get("post_number")) or 0)):
            own, other = digits_of(post.get("post_number")), digits_of(post.get("reply_to_post_number"))
            # A post answers an earlier one: this also rules out circles. The first is the topic itself.
            if other not in ("", "1") and self._ids.get(other) and int(other) < int(own or 0):
                self._answered[own] = other
                self._depths[own] = self._depths.get(other, 0) + 1

    def parent_of(self, post: Fields) -> str | None:
        other = self._answered.get(digits_of(post.get("post_number")))
        return self._ids[other] if other else None

    def depth_of(self, post: Fields) -> int:
        return self._depths.get(digits_of(post.get("post_number")), 0)


def _names(posts: Sequence[Fields]) -> ThreadNames:
    users = [*posts, *(fields_of(post, "reply_to_user") for post in posts)]
    return ThreadNames(string_in(user, name) for user in users for name in ("username", "name", "display_username"))


def _text(post: Fields, names: ThreadNames) -> str:
    return names.masked_text(text_of_html(string_in(post, "cooked")))


def _best(posts: Sequence[Fields], first: Fields, names: ThreadNames, address: str) -> list[Comment]:
    """Return the accepted answer, then the posts with the most likes. Only as many texts are read as are kept."""
    tree, kept = _Tree(posts), dict[str, Comment]()
    for post in sorted(posts, key=lambda post: (not is_set(post.get("accepted_answer")), -likes_of(post))):
        if len(kept) == MAX_COMMENTS:
            break
        if post is not first and (comment := _comment(post, first, tree, names, address)):
            kept.setdefault(comment.id, comment)
    return list(kept.values())


def _comment(post: Fields, first: Fields, tree: _Tree, names: ThreadNames, address: str) -> Comment | None:
    post_id, place = digits_of(post.get("id")), digits_of(post.get("post_number"))
    if not post_id or is_gone(post) or digits_of(post.get("post_type")) not in ("", _REGULAR) or _is_program(post):
        return None
    body = _text(post, names)
    if not body or says_it_is_a_bot(body):
        return None
    is_accepted = is_set(post.get("accepted_answer"))
    return Comment(
        id=post_id,
        body=body,
        kind="answer" if is_accepted else "comment",
        accepted=is_accepted,
        score=likes_of(post),
        parent_id=tree.parent_of(post),
        depth=tree.depth_of(post),
        by_poster=bool(_account(post)) and _account(post) == _account(first),
        created_at=moment(post.get("created_at")),
        permalink=f"{address}/{place}" if address and place else "",
    )


def _is_program(post: Fields) -> bool:
    """Return whether a program wrote a post: accounts of the system and of assistants have numbers below zero."""
    user = post.get("user_id")
    is_system = isinstance(user, int) and user < 0
    return is_system or is_set(post.get("action_code")) or is_bots_name(string_in(post, "username"))


def _account(post: Fields) -> str:
    return digits_of(post.get("user_id")) or string_in(post, "username").lower()
