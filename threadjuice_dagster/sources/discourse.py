"""Threads from sites that run Discourse, through the addresses that its API documentation names.

What a topic or post means belongs in ``sources/discourse_parser.py``.
"""

import contextlib
import logging
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.failures import PermanentFailure, TransientFailure, Unsuitable, UsageError
from threadjuice_dagster.sources.client import SourceClient, SourceLimiter
from threadjuice_dagster.sources.discourse_parser import (
    first_post,
    is_gone,
    is_topic,
    parse_topic,
    posts_in,
    site_of,
    stream_of,
)
from threadjuice_dagster.sources.fields import Fields, digits_of, fields_of, objects_in, string_in
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
    # Each site has terms of its own; these are its makers' own forum's, which many adopt. They forbid automated access
    # other than a search engine's. Whoever names a site in THREAD_SOURCES vouches for its terms.
    terms="https://meta.discourse.org/tos",
    terms_read=date(2026, 12, 1),
    licence="the authors' own; each site has terms of its own, and whoever names it vouches for them",
    credit="a link to the topic",
    unattended_use=False,
    deletion_hours=48,  # No site states one: this is Reddit's.
    requests_per_minute=60,  # By default a site allows an address 200, and 50 in ten seconds.
    names_per_request=20,
    threads_per_request=30,
    comments_per_request=20,
)

_BATCH = 20
"""Posts that a site itself sends and its pages ask for at once."""

_TRIED = 3
"""Topics that a site lists as its latest, and that are read where it shows none of those asked for."""

_ANOTHER = "Choose another thread."

_CATEGORY = r"/c(?:/[^/\s?#]{1,100}){1,3}?/[1-9]\d{0,9}"
_TAG = r"/tag/[^/\s?#]{1,100}(?:/[1-9]\d{0,9})?"
_PLACE = re.compile(rf"(?P<site>[^?#\s]{{1,200}}?)(?P<list>{_CATEGORY}|{_TAG})?/?", re.ASCII)
_ADDRESS = re.compile(
    r"(?P<site>(?:https?://[^/\s?#@]{1,300}|[^/\s?#@.]{1,63}(?:\.[^/\s?#@.]{1,63}){1,9})(?:/[\w.-]{1,100}){0,3}?)"
    r"/t/(?:(?!\d+(?:/|$))[^/\s?#]{1,300}/)?(?P<id>[1-9]\d{0,9})(?:/\d{1,9})?(?:\.json)?/?(?:[?#].*)?",
    re.IGNORECASE | re.ASCII,
)


class _Refused(Exception):
    """A site says in its API's own words that the public cannot read something."""


class Discourse(ThreadSource):
    """Sites that run Discourse: ``discourse:https://meta.example.org``, or a part, ``…/c/SLUG/ID`` or ``…/tag/NAME``.

    An address is taken for one of Discourse's by its form alone, ``https://SITE/t/SLUG/42`` or ``…/t/42``, with the
    number of a post behind it or without. Whether the site runs Discourse shows when its API is asked.
    """

    name = "discourse"
    prefix = "discourse"
    policy = POLICY

    def __init__(self, *, limiter: SourceLimiter) -> None:
        self._limiter = limiter

    def service(self, place: str) -> str:
        """Return the name of the site in limits and alerts, such as ``discourse:meta.example.org``."""
        try:
            return f"discourse:{site_at(re.split(r'/(?:c|t|tag)/', place)[0]).name}"
        except UsageError:
            return self.name

    def listing(self, place: str, limit: int) -> list[Thread]:
        """Return the topics with the most to work with of the last week, then of the latest, with their posts.

        Pinned and unlisted topics are left out. Raises as ``ThreadSource.listing``.
        """
        site, part = _place(place)
        forum = self._forum(site)
        spec = f"discourse:{place.strip()}"

        def read(topic_id: str) -> Thread:
            topic = forum.topic(topic_id)
            return parse_topic(topic, site, spec, forum.later_posts(topic))

        return collect_threads(place, _promising(forum, part, limit), limit, read, _Refused)

    def recognises(self, reference: str) -> bool:
        """Return whether a reference has the form of the address of a topic on a Discourse site."""
        return bool(_ADDRESS.fullmatch(reference.strip()))

    def thread(self, reference: str) -> Thread:
        """Return the topic at an address. Raises as ``ThreadSource.thread``."""
        match = _ADDRESS.fullmatch(reference.strip())
        if not match:
            raise UsageError(
                "This is not the address of a topic on Discourse.", "Pass one like https://meta.example.org/t/title/42."
            )
        site = site_at(match["site"])
        forum = self._forum(site)
        try:
            topic = forum.topic(match["id"])
            thread = parse_topic(topic, site, posts=forum.later_posts(topic))
        except _Refused:
            message = f"{site.name} has no topic {match['id']} that the public can read; it may have been deleted."
            raise Unsuitable(message, _ANOTHER) from None
        except ThreadFormatError as error:
            raise forum.unreadable(f"sent a topic that is none: {error}.") from None
        if thread.over_18:
            raise Unsuitable(f"Topic {match['id']} of {site.name} is tagged as adult.", _ANOTHER)
        return thread

    def parse(self, document: Any) -> Thread | None:
        """Return the topic in a saved answer of ``/t/ID.json``, whose posts are the first 20 of the topic.

        The answer does not name its site. Where the addresses in it do not either, the thread has no address, and its
        deletion cannot be followed.
        """
        if isinstance(document, dict) and string_in(document, "error_type") and "errors" in document:
            raise ThreadFormatError(f"it holds Discourse's answer {document['error_type'][:40]} instead of a topic")
        if not is_topic(document):
            return None
        thread = parse_topic(document, site_of(document))
        if not thread.permalink:
            log.warning("The file of topic %s names no site: nothing can link it, or follow its deletion.", thread.id)
        return thread

    def deleted(self, threads: Mapping[str, StoredThread]) -> Deletions:
        """Return which of these topics and posts were deleted or hidden, or are refused in the API's own words.

        If a site shows none of them, its refusals are believed only if it shows another topic.
        """
        by_site: dict[SiteAddress, dict[str, StoredThread]] = {}
        for key, stored in threads.items():
            match = _ADDRESS.fullmatch(stored.permalink)
            if match:
                by_site.setdefault(site_at(match["site"]), {})[key] = stored
        deletions = Deletions()
        for site, stored_threads in by_site.items():
            deletions |= _TopicSweep(self._forum(site)).run(stored_threads)
        return deletions

    def check(self, place: str) -> str:
        """Ask for the latest topics of a place, and return in a sentence how many the site listed."""
        site, part = _place(place)
        return f"{site.name} lists {len(self._forum(site).latest(part))} topics."

    def _forum(self, site: SiteAddress) -> "_Forum":
        return _Forum(site, SourceClient(f"discourse:{site.name}", POLICY, self._limiter))


class _Forum:
    """The questions that a site is asked."""

    def __init__(self, site: SiteAddress, client: SourceClient) -> None:
        self.site, self._client = site, client
        self.requests = 0

    def topic(self, topic_id: str) -> Fields:
        """Return a topic with its first posts. Raises ``_Refused``."""
        topic = self._ask(f"/t/{topic_id}.json")
        if not posts_in(topic) or digits_of(topic.get("id")) != topic_id:
            raise self.unreadable(f"sent another answer than topic {topic_id}.")
        return topic

    def posts(self, topic_id: str, post_ids: Sequence[str]) -> list[Fields]:
        """Return the posts with these ids that a topic has and the public can read. Raises ``_Refused``."""
        answer = self._ask(f"/t/{topic_id}/posts.json", {"post_ids[]": list(post_ids)})
        if not is_topic(answer):
            raise self.unreadable(f"sent no posts of topic {topic_id}.")
        return posts_in(answer)

    def later_posts(self, topic: Fields) -> list[Fields]:
        """Return the posts that an answer about a topic only names, up to ``MAX_COMMENTS`` with those it holds."""
        held = {digits_of(post.get("id")) for post in posts_in(topic)}
        named = [post_id for post_id in stream_of(topic)[: MAX_COMMENTS + 1] if post_id not in held]
        batches = (named[start : start + _BATCH] for start in range(0, len(named), _BATCH))
        return [post for batch in batches for post in self.posts(digits_of(topic.get("id")), batch)]

    def post(self, post_id: str) -> Fields:
        """Return one post. Raises ``_Refused``."""
        post = self._ask(f"/posts/{post_id}.json")
        if digits_of(post.get("id")) != post_id:
            raise self.unreadable(f"sent another answer than post {post_id}.")
        return post

    def top(self, part: str) -> list[Fields]:
        """Return the topics of the last week with the most posts, likes and views. Raises ``_Refused``."""
        return self._topics(self._ask(f"{part}/l/top.json" if part else "/top.json", {"period": "weekly"}))

    def latest(self, part: str) -> list[Fields]:
        """Return the topics that were last written in; a part that is not there is a ``PermanentFailure``."""
        try:
            return self._topics(self._ask(f"{part}.json" if part else "/latest.json"))
        except _Refused:
            message = f"{self.site.name} shows the public no {part or 'topics'}."
            raise PermanentFailure(message, "Correct or remove it in THREAD_SOURCES.") from None

    def unreadable(self, what: str) -> TransientFailure:
        """Return the failure of an answer that is not what was asked for."""
        message = f"{self.site.name} {what}"
        return TransientFailure(message, "Try again later.", exhausted=True, service=f"discourse:{self.site.name}")

    def _topics(self, answer: Fields) -> list[Fields]:
        topics = fields_of(answer, "topic_list")
        if not isinstance(topics.get("topics"), list):
            raise self.unreadable("sent an answer without a list of topics.")
        return [topic for topic in objects_in(topics, "topics") if digits_of(topic.get("id"))]

    def _ask(self, path: str, query: Mapping[str, Any] | None = None) -> Fields:
        self.requests += 1
        status, answer = self._client.get_json(f"{self.site.url}{path}", query)
        if status == 200 and isinstance(answer, dict):
            return answer
        error = string_in(answer, "error_type") if isinstance(answer, dict) else ""
        if (status, error) in _REFUSALS:
            raise _Refused
        reason = error if re.fullmatch(r"\w{1,60}", error) else "no reason of Discourse's"
        raise self.unreadable(f"answered {status} ({reason}).")


_REFUSALS = frozenset({(404, "not_found"), (410, "not_found"), (403, "invalid_access"), (403, "not_logged_in")})
"""Statuses and ``error_type`` of what is deleted, not there or not public. A site behind a login answers the last."""


class _TopicSweep:
    """One check of our stories' topics on one site."""

    def __init__(self, forum: _Forum) -> None:
        self._forum = forum
        self._is_answering = False

    def run(self, threads: Mapping[str, StoredThread]) -> Deletions:
        gone: set[str] = set()
        comments: set[tuple[str, str]] = set()
        is_refused = False
        for key, stored in threads.items():
            topic_id = _ADDRESS.fullmatch(stored.permalink)["id"]  # type: ignore[index]
            try:
                topic = self._forum.topic(topic_id)
            except _Refused:
                is_refused = True
                gone.add(key)
                continue
            self._is_answering = True
            if is_gone(topic) or is_gone(first_post(posts_in(topic))):
                gone.add(key)
            else:
                comments |= {(key, post_id) for post_id in self._gone_posts(topic, stored.comments)}
        if is_refused and not self._is_answering:
            self._control()
        checked = sum(1 + len(stored.comments) for stored in threads.values())
        return Deletions(frozenset(gone), frozenset(comments), checked, self._forum.requests)

    def _gone_posts(self, topic: Fields, wanted: Collection[str]) -> Iterator[str]:
        """Yield the posts that are gone. One that its topic lacks may have been moved: it is asked for alone."""
        topic_id, listed = digits_of(topic.get("id")), stream_of(topic)
        shown = {digits_of(post.get("id")): post for post in posts_in(topic)}
        unseen = [post_id for post_id in wanted if post_id not in shown]
        try:
            for start in range(0, len(unseen), _BATCH):
                found = self._forum.posts(topic_id, unseen[start : start + _BATCH])
                shown.update({digits_of(post.get("id")): post for post in found})
        except _Refused:
            raise self._forum.unreadable(f"shows topic {topic_id} and refuses its posts.") from None
        for post_id in wanted:
            try:
                is_there = not is_gone(shown.get(post_id) or self._forum.post(post_id))
            except _Refused:
                is_there = False
                if post_id in listed:
                    raise self._forum.unreadable(f"lists post {post_id} and refuses it.") from None
            if not is_there:
                yield post_id

    def _control(self) -> None:
        """Raise ``TransientFailure`` unless the site shows a topic that it lists itself, or lists none."""
        try:
            listed = self._forum.latest("")[:_TRIED]
        except PermanentFailure:
            raise self._forum.unreadable("shows the public nothing at all any more.") from None
        for topic in listed:
            with contextlib.suppress(_Refused):
                self._forum.topic(digits_of(topic.get("id")))
                return
        if listed:
            raise self._forum.unreadable("shows neither the topics asked for nor one that it lists itself.")


def _place(place: str) -> tuple[SiteAddress, str]:
    """Return the site and the path of its part, such as ``/c/support/6``, that a place names. Raises ``UsageError``."""
    match = _PLACE.fullmatch(place.strip())
    if not match or re.search(r"/(?:c|t|tag)(?:/|$)", match["site"]):
        example = (
            "https://meta.example.org, or a part of it with its number, as in https://meta.example.org/c/support/6"
        )
        raise UsageError(f"{place[:100]!r} is no site of Discourse, and no part of one.", f"Name one like {example}.")
    return site_at(match["site"]), match["list"] or ""


def _promising(forum: _Forum, part: str, limit: int) -> list[str]:
    """Return the ids of topics that may become a story, by what lists tell: the most engaging of the week first.

    Where a site has no list of the week's top topics (for its parts none is documented), or a short one, the latest
    topics make up for it. Whether the site is down shows when it is asked for these.
    """
    top: list[str] = []
    with contextlib.suppress(_Refused, TransientFailure):
        top = _suitable(forum.top(part))
    return top if len(top) >= 2 * limit else list(dict.fromkeys([*top, *_suitable(forum.latest(part))]))


def _suitable(topics: Sequence[Fields]) -> list[str]:
    suitable = [topic for topic in topics if _may_be_told(topic)]
    return [digits_of(topic.get("id")) for topic in sorted(suitable, key=_interest, reverse=True)]


def _may_be_told(topic: Fields) -> bool:
    is_regular = string_in(topic, "archetype") in ("", "regular") and topic.get("visible") is not False
    is_pinned = any(is_set(topic.get(name)) for name in ("pinned", "pinned_globally"))
    return is_regular and not is_pinned and not is_gone(topic) and number(topic.get("posts_count")) > 1


def _interest(topic: Fields) -> float:
    """Return how much a topic promises, weighted as ``Thread.engagement``."""
    posts, likes = number(topic.get("posts_count")), number(topic.get("like_count"))
    return math.log1p(max(likes, 0)) + 2 * math.log1p(max(posts - 1, 0))
