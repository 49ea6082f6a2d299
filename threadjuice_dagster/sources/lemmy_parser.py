"""Parse a post of Lemmy with its comments, as version 3 of its API sends them, into a thread without user names.

Requests belong in ``sources/lemmy.py``.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from threadjuice_dagster.domain.story.threads import Comment, Thread, thread_key
from threadjuice_dagster.failures import Unsuitable, UsageError
from threadjuice_dagster.sources.fields import Fields, digits_of, fields_of, link_in, objects_in, string_in
from threadjuice_dagster.sources.markup import text_of_markdown
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

_PERMANENTLY_DELETED = re.compile(r"[\s*_]*permanently deleted[\s*_]*", re.IGNORECASE)
"""What Lemmy writes over the texts of an account that was deleted with all it wrote."""

_CROSSPOST = re.compile(r"\A\s*cross-posted from:\s*\S{1,500}\s*$", re.IGNORECASE | re.MULTILINE)
_PATH = re.compile(r"0(?:\.[1-9]\d{0,17}){1,200}")
_POST = re.compile(r"(https?://[^/\s?#]+)/post/(\d{1,18})/?")
_COMMUNITY = re.compile(r"\w{1,255}")


class SavedPost(NamedTuple):
    """A post and its comments, each with its author, community and counts beside it."""

    post: Fields
    comments: list[Fields]


def saved_post(document: Any) -> SavedPost | None:
    """Return the post and comments in saved answers of the API; None if the document is nothing of Lemmy's.

    These are: the answer of ``/api/v3/post``, alone or with the list ``comments`` added to it, as Lemmy itself sent it
    before version 0.16; an array of the answers of ``/api/v3/post`` and of ``/api/v3/comment/list``, in any order; an
    object that holds them under any two names, such as ``post`` and ``comments``; and the answer of
    ``/api/v3/comment/list`` for one post alone, whose comments each carry the post.
    """
    if isinstance(document, dict) and string_in(document, "error").startswith("couldnt_find_"):
        raise ThreadFormatError(f"it holds Lemmy's answer {document['error'][:60]} instead of a post")
    answers = document if isinstance(document, list) else [document]
    if isinstance(document, dict) and not ("post_view" in document or "comments" in document):
        answers = [document, *document.values()]
    answers = [answer for answer in answers[:10] if isinstance(answer, dict)]
    nested = [fields_of(answer, name) for answer in answers for name in ("post", "comments")]
    answers += [answer for answer in nested if "post_view" in answer or "comments" in answer]
    posts = [view for answer in answers if fields_of(view := fields_of(answer, "post_view"), "post")]
    comments = [view for answer in answers for view in objects_in(answer, "comments") if fields_of(view, "comment")]
    if not (posts or any(fields_of(view, "post") for view in comments)):
        return None
    return _one_post(posts, comments)


def _one_post(posts: list[Fields], comments: list[Fields]) -> SavedPost:
    """Return the post that is meant, with its own comments. Raises ``ThreadFormatError`` if it is not one alone."""
    post = posts[0] if posts else {name: comments[0].get(name) for name in ("post", "community")}
    number_of_post = digits_of(fields_of(post, "post").get("id"))
    others = {digits_of(fields_of(view, "comment").get("post_id")) for view in comments} - {number_of_post, ""}
    if others or len({digits_of(fields_of(view, "post").get("id")) for view in posts}) > 1:
        raise ThreadFormatError("it holds more than one post instead of one with its comments")
    return SavedPost(post, comments)


def instance_of(saved: SavedPost) -> SiteAddress:
    """Return the instance that answers were saved from: what is ``local`` in them has its own address there.

    Raises ``ThreadFormatError`` where nothing is, because the numbers of posts and comments differ between instances.
    """
    for view in (saved.post, *saved.comments):
        for name, address in (
            ("post", "ap_id"),
            ("comment", "ap_id"),
            ("creator", "actor_id"),
            ("community", "actor_id"),
        ):
            thing = fields_of(view, name)
            if thing.get("local") is True and (link := link_in(thing, address)):
                return _site("/".join(link.split("/")[:3]))
    post = fields_of(saved.post, "post")
    own = _POST.fullmatch(link_in(post, "ap_id"))
    if own and own[2] == digits_of(post.get("id")):
        return _site(own[1])
    raise ThreadFormatError("it does not say which instance it was saved from: pass the post's address instead")


def _site(address: str) -> SiteAddress:
    try:
        return site_at(address)
    except UsageError as error:
        raise ThreadFormatError(error.message.rstrip(".")) from None


def is_gone(view: Fields, kind: str) -> bool:
    """Return whether a view's ``post`` or ``comment`` was deleted or removed, or its account or community is gone.

    A ban that removes what an account wrote marks each of its posts and comments as removed. Parser and deletion sweep
    share this rule: what the sweep would take down is never read in.
    """
    is_account_gone = is_set(fields_of(view, "creator").get("deleted"))
    is_place_gone = kind == "post" and _is_marked_gone(fields_of(view, "community"))
    return is_account_gone or is_place_gone or _is_marked_gone(fields_of(view, kind))


def _is_marked_gone(thing: Fields) -> bool:
    texts = (thing.get(name) for name in ("content", "body", "name"))
    is_overwritten = any(isinstance(text, str) and _PERMANENTLY_DELETED.fullmatch(text) for text in texts)
    return is_set(thing.get("deleted")) or is_set(thing.get("removed")) or is_overwritten


def why_barred(view: Fields) -> str:
    """Return why a post may not become a story, as the end of "Post 123 …", or an empty text."""
    creator = fields_of(view, "creator")
    reasons = {
        "was deleted or removed": is_gone(view, "post"),
        "was posted by a bot": is_set(creator.get("bot_account")) or is_bots_name(string_in(creator, "name")),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def is_nsfw(view: Fields) -> bool:
    """Return whether a post or its community is marked as not safe for work."""
    return any(is_set(fields_of(view, name).get("nsfw")) for name in ("post", "community"))


def community_of(view: Fields) -> str:
    """Return the name of a post's community as its instance writes it: with its own instance if that is another."""
    community = fields_of(view, "community")
    name = string_in(community, "name")
    if not _COMMUNITY.fullmatch(name):
        return "unknown"
    home = link_in(community, "actor_id") if community.get("local") is False else ""
    return f"{name}@{home.split('/')[2]}" if home else name


def parse_post(saved: SavedPost, site: SiteAddress, spec: str = "") -> Thread:
    """Parse a post with the best of its comments; ``spec`` is the place it was found in.

    Deleted and removed comments, those of bots and those that moderators wrote as such are left out. Raises
    ``ThreadFormatError``, and ``Unsuitable`` for a post that may not become a story.
    """
    view = saved.post
    post, counts, post_id = (
        fields_of(view, "post"),
        fields_of(view, "counts"),
        digits_of(fields_of(view, "post").get("id")),
    )
    if not post_id:
        raise ThreadFormatError("the post has no usable id")
    if why := why_barred(view):
        raise Unsuitable(f"Post {post_id} of {site.name} {why}.", "Choose another thread.")
    names = _names((view, *saved.comments))
    title = names.masked_title(post.get("name"))
    if not title:
        raise ThreadFormatError("the post has no name, which is its title")
    comments = _best(saved.comments, post, site, names)
    community = community_of(view)
    return Thread(
        id=thread_key("lemmy", site.name, post_id),
        source="lemmy",
        spec=spec or f"lemmy:{site.url.removeprefix('https://')}/c/{community}",
        community=community,
        title=title,
        body=_text(_CROSSPOST.sub("", string_in(post, "body")), names),
        permalink=f"{site.url}/post/{post_id}",
        link=link_in(post, "url"),
        score=number(counts.get("score")),
        upvote_ratio=_ratio(counts),
        num_comments=max(number(counts.get("comments")), len(comments)),
        over_18=is_nsfw(view),
        created_at=moment(post.get("published")),
        comments=tuple(comments),
    )


def _best(views: Sequence[Fields], post: Fields, site: SiteAddress, names: ThreadNames) -> list[Comment]:
    """Return the comments with the most points. Only as many texts are read as are kept: a file may hold any number."""
    kept: dict[str, Comment] = {}
    paths = {digits_of(fields_of(view, "comment").get("id")): _path(view) for view in views}
    for view in sorted(views, key=lambda view: -number(fields_of(view, "counts").get("score"))):
        if len(kept) == MAX_COMMENTS:
            break
        # Where the comment above has another path than this one says, one of them is wrong, and might lead in a circle.
        *above, _ = _path(view) or ("",)
        is_true = not above or paths.get(above[-1], above) == above
        if comment := _comment(view, above if is_true else [], post, site, names):
            kept.setdefault(comment.id, comment)
    return list(kept.values())


def _comment(view: Fields, above: Sequence[str], post: Fields, site: SiteAddress, names: ThreadNames) -> Comment | None:
    comment, creator = fields_of(view, "comment"), fields_of(view, "creator")
    comment_id, body = digits_of(comment.get("id")), _text(string_in(comment, "content"), names)
    is_automated = (
        is_set(creator.get("bot_account")) or is_bots_name(string_in(creator, "name")) or says_it_is_a_bot(body)
    )
    # A comment is distinguished where a moderator speaks as one.
    if not (body and comment_id) or is_gone(view, "comment") or is_automated or is_set(comment.get("distinguished")):
        return None
    author = digits_of(comment.get("creator_id"))
    return Comment(
        id=comment_id,
        body=body,
        score=number(fields_of(view, "counts").get("score")),
        parent_id=above[-1] if above else None,
        depth=len(above),
        by_poster=bool(author) and author == digits_of(post.get("creator_id")),
        created_at=moment(comment.get("published")),
        permalink=f"{site.url}/comment/{comment_id}",
    )


def _path(view: Fields) -> list[str]:
    """Return the ids of the comments above one and its own, as in ``0.1.5``; none for a path that cannot be one."""
    comment = fields_of(view, "comment")
    path = string_in(comment, "path")
    numbers = path.split(".")[1:] if _PATH.fullmatch(path) else []
    is_path = len(set(numbers)) == len(numbers) and numbers[-1:] == [digits_of(comment.get("id"))]
    return numbers if is_path else []


def _text(markdown: str, names: ThreadNames) -> str:
    return names.masked_text(text_of_markdown(markdown))


def _names(views: Iterable[Fields]) -> ThreadNames:
    creators = [fields_of(view, "creator") for view in views]
    return ThreadNames(string_in(creator, name) for creator in creators for name in ("name", "display_name"))


def _ratio(counts: Fields) -> float:
    up, down = number(counts.get("upvotes")), number(counts.get("downvotes"))
    return up / (up + down) if up >= 0 and down > 0 else 1.0
