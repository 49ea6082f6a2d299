"""Threads from instances of Lemmy, through version 3 of its API.

What a post or comment means belongs in ``sources/lemmy_parser.py``.
"""

import contextlib
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Any

from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.failures import PermanentFailure, TransientFailure, Unsuitable, UsageError
from threadjuice_dagster.sources.client import SourceClient, SourceLimiter
from threadjuice_dagster.sources.fields import Fields, digits_of, fields_of, objects_in, string_in
from threadjuice_dagster.sources.lemmy_parser import (
    SavedPost,
    instance_of,
    is_gone,
    parse_post,
    saved_post,
)
from threadjuice_dagster.sources.reddit_parser import is_set
from threadjuice_dagster.sources.sites import SiteAddress, site_at
from threadjuice_dagster.sources.texts import MAX_COMMENTS, number
from threadjuice_dagster.sources.thread_source import (
    Deletions,
    SourcePolicy,
    StoredThread,
    ThreadFormatError,
    ThreadSource,
    collect_threads,
)

log = logging.getLogger(__name__)

POLICY = SourcePolicy(
    # Each instance has terms of its own, where it has any; these are the largest one's. They bind its users and grant
    # others nothing. Whoever names an instance in THREAD_SOURCES vouches for its terms.
    terms="https://legal.lemmy.world/tos/",
    terms_read=date(2026, 12, 1),
    licence="the authors' own; each instance has terms of its own, and whoever names it vouches for them",
    credit="a link to the post",
    unattended_use=False,
    deletion_hours=48,  # No instance states one: this is Reddit's.
    requests_per_minute=60,  # By default an instance allows an address 180.
    names_per_request=1,
    threads_per_request=50,
    comments_per_request=300,
)

SORTS = ("TopWeek", "TopMonth", "TopYear")
"""Lists that are asked for one after the other, until there are enough posts."""

RATE_PAUSE = 60.0
"""Seconds that an instance's own limit lasts. It names none, and up to version 0.19 its status is 400."""

_PAGE = 50
_MAX_DEPTH = 50
"""Levels of replies that Lemmy allows. A request that names it is sent up to 300 comments, whatever its ``limit``."""

_TRIED = 3
"""Posts or comments that an instance lists as its newest, and that are read where it shows none of those asked for."""

_MISSING = ("couldnt_find_post", "couldnt_find_comment", "couldnt_find_community", "not_found")
_LIMITED = ("rate_limit_error", "too_many_requests")

_PLACE = re.compile(r"(?P<site>[^?#]{1,200}?)/c/(?P<community>\w{1,255}(?:@[\w.-]{1,253}(?::\d{1,5})?)?)/?")
_ADDRESS = re.compile(
    r"(?P<site>https?://[^/\s?#@]{1,300}|[^/\s?#@.]{1,63}(?:\.[^/\s?#@.]{1,63}){1,9})/(?P<kind>post|comment)/(?P<id>[1-9]\d{0,17})"
    r"(?:/(?P<comment>[1-9]\d{0,17}))?/?(?:[?#].*)?",
    re.IGNORECASE | re.ASCII,
)


_ANOTHER = "Choose another thread."


class _Missing(Exception):
    """Lemmy says in its own words that there is no such post, comment or community."""


class Lemmy(ThreadSource):
    """Communities of any instance of Lemmy: ``lemmy:lemmy.world/c/technology``, or ``…/c/NAME@other.instance``.

    An address is taken for one of Lemmy's by its form alone, ``https://INSTANCE/post/123`` or ``…/comment/123``: no
    list of instances would be complete. Whether the site runs Lemmy shows when its API is asked.
    """

    name = "lemmy"
    prefix = "lemmy"
    policy = POLICY

    def __init__(self, *, limiter: SourceLimiter) -> None:
        self._limiter = limiter

    def service(self, place: str) -> str:
        """Return the name of the instance in limits and alerts, such as ``lemmy:lemmy.world``."""
        try:
            return f"lemmy:{site_at(re.split(r'/(?:c|post|comment)/', place)[0]).name}"
        except UsageError:
            return self.name

    def listing(self, place: str, limit: int) -> list[Thread]:
        """Return the posts of a community with the most to work with, from the last week on, with their comments.

        Pinned and locked posts and those of bots are left out. Raises as ``ThreadSource.listing``.
        """
        site, community = _place(place)
        instance = self._instance(site)
        spec = f"lemmy:{place.strip()}"

        def read(view: Fields) -> Thread:
            return parse_post(SavedPost(view, instance.comments_of(view)), site, spec)

        return collect_threads(place, _promising(instance, community, limit), limit, read)

    def recognises(self, reference: str) -> bool:
        """Return whether a reference has the form of the address of a post or comment on an instance of Lemmy."""
        return bool(_ADDRESS.fullmatch(reference.strip()))

    def thread(self, reference: str) -> Thread:
        """Return the post at an address; a comment's address leads to its post. Raises as ``ThreadSource.thread``."""
        match = _ADDRESS.fullmatch(reference.strip())
        if not match:
            raise UsageError(
                "This is not the address of a post on Lemmy.", "Pass one like https://lemmy.world/post/123."
            )
        site, post_id = site_at(match["site"]), match["id"]
        instance = self._instance(site)
        try:
            if match["kind"].lower() == "comment":
                post_id = instance.post_of(post_id)
            view = instance.post(post_id)
            saved = SavedPost(view, instance.comments_of(view))
        except _Missing:
            raise Unsuitable(
                f"{site.name} has no {match['kind']} {match['id']}, or it was deleted.", _ANOTHER
            ) from None
        try:
            thread = parse_post(saved, site)
        except ThreadFormatError as error:
            raise instance.unreadable(f"sent a post that is none: {error}.") from None
        if thread.over_18:
            raise Unsuitable(f"Post {post_id} of {site.name} is marked as not safe for work.", _ANOTHER)
        return thread

    def parse(self, document: Any) -> Thread | None:
        """Return the post in saved answers of the API, in one of the forms that ``saved_post`` names."""
        saved = saved_post(document)
        return parse_post(saved, instance_of(saved)) if saved else None

    def deleted(self, threads: Mapping[str, StoredThread]) -> Deletions:
        """Return which of these posts and comments were deleted or removed, by their flags or Lemmy's own error.

        An instance that shows none of the posts is believed only if it shows another one; so it is with comments.
        """
        by_site: dict[SiteAddress, dict[str, StoredThread]] = {}
        for key, stored in threads.items():
            match = _ADDRESS.fullmatch(stored.permalink)
            if match:
                by_site.setdefault(site_at(match["site"]), {})[key] = stored
        deletions = Deletions()
        for site, stored_threads in by_site.items():
            deletions |= _Sweep(self._instance(site)).run(stored_threads)
        return deletions

    def check(self, place: str) -> str:
        """Ask for one post of a community, and return in a sentence that the instance answered."""
        site, community = _place(place)
        posts = self._instance(site).posts(community, "TopYear", 1)
        return f"{site.name} shows {'posts' if posts else 'no post'} of {community}."

    def _instance(self, site: SiteAddress) -> "_Instance":
        return _Instance(site, SourceClient(f"lemmy:{site.name}", POLICY, self._limiter), self._limiter)


class _Instance:
    """The questions that an instance is asked. Each raises ``_Missing`` if the instance says there is no such thing."""

    def __init__(self, site: SiteAddress, client: SourceClient, limiter: SourceLimiter) -> None:
        self.site, self._client, self._limiter = site, client, limiter
        self.requests = 0

    def posts(self, community: str, sort: str, limit: int) -> list[Fields]:
        """Return posts of a community; a community that is not there is a ``PermanentFailure``."""
        try:
            # Without type_ the answer holds local communities only, or what else the instance has set.
            answer = self._ask(
                "post/list",
                {"community_name": community, "sort": sort, "type_": "All", "limit": limit},
                (*_MISSING, "unknown"),
            )
        except _Missing:
            message = f"{self.site.name} has no community {community}."
            raise PermanentFailure(message, "Correct or remove it in THREAD_SOURCES.") from None
        return self._listed(answer, "posts", "post")

    def newest(self, kind: str) -> list[str]:
        """Return the ids of the newest posts or comments of the whole instance."""
        answer = self._ask(f"{kind}/list", {"sort": "New", "type_": "All", "limit": _TRIED})
        return [digits_of(fields_of(view, kind).get("id")) for view in self._listed(answer, f"{kind}s", kind)]

    def is_empty(self) -> bool:
        """Return whether the instance says of itself that it has no posts at all."""
        site = fields_of(self._ask("site", {}), "site_view")
        return bool(site) and not number(fields_of(site, "counts").get("posts"))

    def post(self, post_id: str) -> Fields:
        """Return a post with its author, community and counts."""
        view = fields_of(self._ask("post", {"id": post_id}, _MISSING), "post_view")
        if digits_of(fields_of(view, "post").get("id")) != post_id:
            raise self.unreadable(f"sent another answer than post {post_id}.")
        return view

    def comment(self, comment_id: str) -> Fields:
        """Return a comment with its author and post."""
        view = fields_of(self._ask("comment", {"id": comment_id}, _MISSING), "comment_view")
        if digits_of(fields_of(view, "comment").get("id")) != comment_id:
            raise self.unreadable(f"sent another answer than comment {comment_id}.")
        return view

    def post_of(self, comment_id: str) -> str:
        """Return the id of the post that a comment is on."""
        post_id = digits_of(fields_of(self.comment(comment_id), "comment").get("post_id"))
        if not post_id:
            raise self.unreadable(f"does not say which post comment {comment_id} is on.")
        return post_id

    def tree(self, post_id: str) -> list[Fields]:
        """Return up to 300 comments of a post, those on the post itself first; deleted ones are marked as such."""
        query = {"post_id": post_id, "sort": "Top", "type_": "All", "max_depth": _MAX_DEPTH, "limit": _PAGE}
        return self._listed(self._ask("comment/list", query), "comments", "comment")

    def comments_of(self, view: Fields) -> list[Fields]:
        """Return the best comments of a post: of a longer thread than one answer holds, the pages by points too."""
        post_id = digits_of(fields_of(view, "post").get("id"))
        comments = self.tree(post_id)
        if not _PAGE <= len(comments) < number(fields_of(view, "counts").get("comments")):
            return comments
        for page in range(1, MAX_COMMENTS // _PAGE + 1):
            query = {"post_id": post_id, "sort": "Top", "type_": "All", "limit": _PAGE, "page": page}
            found = self._listed(self._ask("comment/list", query), "comments", "comment")
            comments += found
            if len(found) < _PAGE:
                break
        return comments

    def unreadable(self, what: str) -> TransientFailure:
        """Return the failure of an answer that is not what was asked for."""
        message = f"{self.site.name} {what}"
        return TransientFailure(message, "Try again later.", exhausted=True, service=f"lemmy:{self.site.name}")

    def _listed(self, answer: Fields, name: str, inner: str) -> list[Fields]:
        if not isinstance(answer.get(name), list):
            raise self.unreadable(f"sent an answer without {name}.")
        return [view for view in objects_in(answer, name) if fields_of(view, inner)]

    def _ask(self, question: str, query: Mapping[str, Any], missing: Collection[str] = ()) -> Fields:
        """Return the answer; ``missing`` names the errors by which Lemmy says that there is no such thing."""
        self.requests += 1
        status, answer = self._client.get_json(f"{self.site.url}/api/v3/{question}", query)
        if status == 200 and isinstance(answer, dict):
            return answer
        error = string_in(answer, "error")[:60] if isinstance(answer, dict) else ""
        if error in missing and status in ((404,) if error == "unknown" else (400, 404)):
            raise _Missing
        if error in _LIMITED:
            self._limiter.record(f"lemmy:{self.site.name}", pause=RATE_PAUSE)
            raise TransientFailure(
                f"{self.site.name} limits requests.",
                "Nothing needs to be done: it is tried again by itself.",
                retry_after=RATE_PAUSE,
                exhausted=True,
                service=f"lemmy:{self.site.name}",
            )
        reason = error if re.fullmatch(r"\w+", error) else "no reason of Lemmy's"
        raise self.unreadable(f"answered {status} ({reason}).")


class _Sweep:
    """One check of our stories' posts on one instance."""

    def __init__(self, instance: _Instance) -> None:
        self._instance = instance
        self._shown: set[str] = set()
        self._missing: set[str] = set()
        self._listed: list[str] = []

    def run(self, threads: Mapping[str, StoredThread]) -> Deletions:
        gone: set[str] = set()
        comments: set[tuple[str, str]] = set()
        for key, stored in threads.items():
            post_id = _ADDRESS.fullmatch(stored.permalink)["id"]  # type: ignore[index]
            if self._is_gone("post", post_id):
                gone.add(key)
            elif stored.comments:
                comments |= {(key, comment_id) for comment_id in self._gone_comments(post_id, stored.comments)}
        for kind in sorted(self._missing - self._shown):
            self._control(kind)
        checked = sum(1 + len(stored.comments) for stored in threads.values())
        return Deletions(frozenset(gone), frozenset(comments), checked, self._instance.requests)

    def _gone_comments(self, post_id: str, wanted: Collection[str]) -> Iterator[str]:
        """Yield the comments that are gone. One answer tells of up to 300, each of the others is asked about alone."""
        listed = {digits_of(fields_of(view, "comment").get("id")): view for view in self._instance.tree(post_id)}
        self._listed += list(listed)[:1]
        for comment_id in wanted:
            if comment_id not in listed:
                if self._is_gone("comment", comment_id):
                    yield comment_id
            elif is_gone(listed[comment_id], "comment"):
                yield comment_id

    def _is_gone(self, kind: str, thing_id: str) -> bool:
        try:
            view = self._instance.post(thing_id) if kind == "post" else self._instance.comment(thing_id)
        except _Missing:
            self._missing.add(kind)
            return True
        self._shown.add(kind)
        return is_gone(view, kind)

    def _control(self, kind: str) -> None:
        """Raise ``TransientFailure`` unless the instance shows a post or comment that it lists itself.

        Up to version 0.19 a comment is said to be missing also where the database did not answer.
        """
        listed = self._listed if kind == "comment" and self._listed else self._instance.newest(kind)
        for thing_id in listed[:_TRIED]:
            if kind not in self._shown:
                self._is_gone(kind, thing_id)
        if kind not in self._shown and (listed or not self._instance.is_empty()):
            raise self._instance.unreadable(f"shows neither the {kind}s asked for nor one that it lists itself.")


def _place(place: str) -> tuple[SiteAddress, str]:
    """Return the instance and the community that a place names. Raises ``UsageError``."""
    match = _PLACE.fullmatch(place.strip())
    if not match:
        raise UsageError(f"{place[:100]!r} is no community of Lemmy.", "Name one like lemmy:lemmy.world/c/technology.")
    return site_at(match["site"]), match["community"]


def _promising(instance: _Instance, community: str, limit: int) -> list[Fields]:
    """Return the posts of a community that may become a story, by what their lists tell, the most engaging first."""
    found: dict[str, tuple[float, Fields]] = {}
    for sort in SORTS:
        for view in instance.posts(community, sort, _PAGE):
            with contextlib.suppress(Unsuitable, ThreadFormatError):
                thread = parse_post(SavedPost(view, []), instance.site)
                if thread.num_comments and not (thread.over_18 or _is_set_apart(view)):
                    found[thread.id] = (thread.engagement, view)
        if len(found) >= 2 * limit:
            break
    return [view for _, view in sorted(found.values(), key=lambda item: -item[0])]


def _is_set_apart(view: Fields) -> bool:
    """Return whether moderators pinned a post, or closed its discussion."""
    post = fields_of(view, "post")
    return any(is_set(post.get(name)) for name in ("featured_community", "featured_local", "locked"))
