"""Threads from Reddit, through PRAW.

Everything fetched goes through ``sources/reddit_parser.py``, which drops names, bots and deleted texts. What is done
about deleted threads belongs to the caller of ``deleted``.
"""

import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from threadjuice_dagster.domain.story.threads import SourceName, Thread, interleaved
from threadjuice_dagster.failures import (
    ConfigurationError,
    PermanentFailure,
    TransientFailure,
    Unsuitable,
    UsageError,
)
from threadjuice_dagster.resources.http import retry_after
from threadjuice_dagster.sources.reddit_feed import is_feed, listing_of_feed
from threadjuice_dagster.sources.reddit_parser import is_gone, is_set, parse_thread
from threadjuice_dagster.sources.thread_source import (
    Deletions,
    SourcePolicy,
    StoredThread,
    ThreadFormatError,
    ThreadSource,
)

if TYPE_CHECKING:
    import praw

log = logging.getLogger(__name__)

POLICY = SourcePolicy(
    terms="https://support.reddithelp.com/hc/en-us/articles/16160319875092-Reddit-Data-API-Wiki",
    terms_read=date(2026, 11, 30),
    licence="the authors' own; commercial use takes a written agreement with Reddit",
    share_alike=False,
    credit="a link to the thread",
    stores_author_names=False,
    unattended_use=True,
    deletion_hours=48,
    names_per_request=100,  # /api/info leaves out any beyond
    threads_per_request=100,
    comments_per_request=500,
)

SAVE_IT = (
    "Open https://www.reddit.com/comments/{id}/.rss (or, logged in, the thread's address with .json at its end), "
    "save it and pass that file, or set REDDIT_CLIENT_ID and REDDIT_CLIENT_SECRET."
)

NOT_PUBLIC = ("private", "quarantined", "banned", "gold_only")
"""Reasons that Reddit gives for not showing a forum. A 403 without one concerns the app or its address."""

_TOKEN_FIELDS = ("access_token", "expires_in", "scope")

_BARE_ID = re.compile(r"(?:t3_)?([a-z0-9]{4,13})", re.IGNORECASE)
_SITE = r"(?:(?:https?://)?(?:[\w-]+\.)*reddit\.com)?"
_END = r"(?:\.json)?(?:[/?#].*)?"
_ADDRESS = re.compile(
    rf"(?:(?:{_SITE}/|(?=r/))(?:(?:r|u|user)/[\w.-]+/)?(?:comments|gallery|poll|duplicates|tb)|(?:https?://)?(?:www\.)?redd\.it)"
    rf"/(?:t3_)?([a-z0-9]{{2,13}}){_END}",
    re.IGNORECASE,
)
_SHARE_LINK = re.compile(
    rf"{_SITE}/(?:(?:r|u|user)/[\w.-]+/)?s/\w+{_END}|(?:https?://)?reddit\.app\.link/.*", re.IGNORECASE
)


_LIKE_AN_ADDRESS = re.compile(
    r"(?:https?://)?(?:[\w-]+\.)*(?:reddit\.com|redd\.it|reddit\.app\.link)/|/?r/\w+/", re.IGNORECASE
)


@dataclass(frozen=True)
class Reddit(ThreadSource):
    """Reddit, read-only. ``limit`` bounds the posts of a subreddit, ``comment_limit`` the comments of a thread."""

    name: ClassVar[SourceName] = "reddit"
    prefix: ClassVar[str] = "reddit"
    policy: ClassVar[SourcePolicy] = POLICY
    joins_places: ClassVar[bool] = True

    client_id: str
    client_secret: str
    user_agent: str = "ThreadJuice/1.0"
    reddit_url: str = ""
    oauth_url: str = ""
    time_filter: Literal["hour", "day", "week", "month", "year", "all"] = "day"
    limit: int = 25
    comment_limit: int = 200

    @property
    def is_set_up(self) -> bool:
        """Whether the app's credentials are set."""
        return bool(self.client_id.strip() and self.client_secret.strip())

    def listing(self, place: str, limit: int) -> list[Thread]:
        """Return the top posts of subreddits, joined by "+", with their comments.

        Comments are fetched for twice ``limit`` posts, the most promising by their listings.
        """
        reddit = self._reddit()
        listed = _readable(place.split("+"), lambda name: self._listed(reddit, name))
        # Listings carry no comments, which the final ranking needs: hence twice as many.
        promising = [thread.id for thread in interleaved(listed)[: max(limit, 0) * 2]]
        return interleaved(_readable(promising, lambda thread_id: [self._fetched(reddit, thread_id)]))[:limit]

    def recognises(self, reference: str) -> bool:
        """Return whether a reference is meant as an address or id of a thread, and not as a file."""
        return is_reference(reference)

    def thread(self, reference: str) -> Thread:
        """Return the thread at a permalink or with an id. Raises ``PermanentFailure`` if it was taken down."""
        thread_id = thread_id_of(reference)
        return self._fetched(self._reddit(thread_id), thread_id)

    def parse(self, document: Any) -> Thread | None:
        """Return the thread in Reddit's ``.json`` or Atom format; None if the document is nothing of Reddit's."""
        if isinstance(document, str):
            return parse_thread(listing_of_feed(document)) if is_feed(document) else None
        listings = document if isinstance(document, list) else [document]
        # An error of Reddit's API has its status as a number; other sources send words.
        if isinstance(document, Mapping) and isinstance(document.get("error"), int):
            return parse_thread(document)
        if not any(isinstance(listing, Mapping) and ("kind" in listing or "data" in listing) for listing in listings):
            return None
        return parse_thread(document)

    def deleted(self, threads: Mapping[str, StoredThread]) -> Deletions:
        """Return which of these threads, and of the comments named with each, the public can no longer read.

        These are deleted and removed ones, and those of deleted accounts. What ``/api/info`` leaves out is looked up on
        its thread's page. A page that Reddit says is missing, or not public (private, quarantined, banned), is gone
        too; a refusal without such a reason is an outage. Raises ``TransientFailure`` if any answer cannot be read, or
        if one leaves out everything although some of it still exists: an outage removes nothing.
        """
        return _Recheck(self._reddit(), threads).run() if threads else Deletions()

    def check(self, place: str) -> str:
        """Ask Reddit for a token, and say that it accepts the app's credentials."""
        self._reddit()
        return f"A token was given; {len(place.split('+'))} subreddits are read."

    def _listed(self, reddit: "praw.Reddit", subreddit: str) -> list[Thread]:
        name = subreddit.strip().removeprefix("/").removeprefix("r/").strip("/")
        answer = _get(
            reddit, f"r/{name}/top", f"r/{name}", t=self.time_filter, limit=min(self.limit, POLICY.threads_per_request)
        )
        threads = []
        for post in _posts(answer):
            if not (is_set(post.get("over_18")) or is_set(post.get("stickied"))):
                with contextlib.suppress(ThreadFormatError, Unsuitable):
                    threads.append(parse_thread([_listing({"kind": "t3", "data": post}), _listing()]))
        return threads

    def _fetched(self, reddit: "praw.Reddit", thread_id: str) -> Thread:
        """Return a thread with its best comments."""
        subject = f"thread {thread_id}"
        document = _get(
            reddit,
            f"comments/{thread_id}/",
            subject,
            limit=min(self.comment_limit, POLICY.comments_per_request),
            sort="top",
        )
        try:
            if not (isinstance(document, list) and len(document) == 2):
                raise ThreadFormatError("expected two listings (the post, then its comments)")
            return parse_thread(document)
        except ThreadFormatError as error:
            raise TransientFailure(f"Reddit's answer for {subject} is no thread: {error}.") from None

    def _reddit(self, thread_id: str = "ID") -> "praw.Reddit":
        import praw

        if not self.is_set_up:
            raise ConfigurationError(
                "REDDIT_CLIENT_ID or REDDIT_CLIENT_SECRET is not set.", SAVE_IT.format(id=thread_id)
            )
        # Without the None values and the site name a praw.ini or the environment could turn this into a user's login.
        reddit = praw.Reddit(
            "DEFAULT",
            client_id=self.client_id.strip(),
            client_secret=self.client_secret.strip(),
            user_agent=self.user_agent,
            **dict.fromkeys(("username", "password", "refresh_token")),
            reddit_url=self.reddit_url.rstrip("/") or "https://www.reddit.com",
            oauth_url=self.oauth_url.rstrip("/") or "https://oauth.reddit.com",
            check_for_updates=False,
        )
        reddit.read_only = True
        # Requests the token: refused credentials fail here, so that a later refusal concerns its subject alone.
        with _failures("its API"):
            reddit.auth.scopes()
        return reddit


class _Recheck:
    """One check of our stories' sources. Names are Reddit's: ``t3_`` and a post's id, ``t1_`` and a comment's."""

    def __init__(self, reddit: "praw.Reddit", threads: Mapping[str, StoredThread]) -> None:
        self._reddit = reddit
        # A post comes before its comments: they are skipped if it is gone.
        self._thread_of: dict[str, str] = {}
        for thread_id, stored in threads.items():
            names = [f"t3_{thread_id}", *(f"t1_{comment_id}" for comment_id in stored.comments)]
            self._thread_of.update(dict.fromkeys(names, thread_id))
        self._gone: set[str] = set()
        self._shown: set[str] = set()
        self._requests = 0

    def run(self) -> Deletions:
        names = list(self._thread_of)
        for start in range(0, len(names), POLICY.names_per_request):
            self._check(names[start : start + POLICY.names_per_request])
        threads = {self._thread_of[name] for name in self._gone if name.startswith("t3_")}
        comments = {(self._thread_of[name], name[3:]) for name in self._gone if self._thread_of[name] not in threads}
        return Deletions(frozenset(threads), frozenset(comments), len(names), self._requests)

    def _check(self, names: Sequence[str]) -> None:
        self._requests += 1
        answer = _get(self._reddit, "api/info", "the posts and comments of our stories", id=",".join(names))
        listed = {name: data for name, data in _named([answer]).items() if name in names}
        self._gone |= {name for name, data in listed.items() if is_gone(data)}
        self._shown |= listed.keys()
        for name in names:
            if name in listed or f"t3_{self._thread_of[name]}" in self._gone:
                continue
            if not self._is_public(name):
                self._gone.add(name)
            elif not listed:
                raise _in_doubt(
                    f"Reddit left out all {len(names)} posts and comments asked about, yet {name} is there."
                )

    def _is_public(self, name: str) -> bool:
        """Return whether the page of its thread shows this post or comment."""
        import prawcore

        thread_id = self._thread_of[name]
        # One comment and its parents, or the post with one comment: the smallest page that answers.
        focus: dict[str, str | int] = {"comment": name[3:]} if name.startswith("t1_") else {"limit": 1}
        self._requests += 1
        with _failures(f"thread {thread_id}"):
            try:
                page = self._reddit.request(method="GET", path=f"comments/{thread_id}/", params=focus)
            except (prawcore.Forbidden, prawcore.NotFound, prawcore.UnavailableForLegalReasons) as refusal:
                if f"t3_{thread_id}" not in self._shown and _says_it_is_gone(refusal.response):
                    return False
                if isinstance(refusal, prawcore.Forbidden):
                    raise
                raise _in_doubt(f"Reddit's word on thread {thread_id} is in doubt ({refusal}).") from None
        shown = _named(page)
        if f"t3_{thread_id}" not in shown:
            raise TransientFailure(f"Reddit's answer for thread {thread_id} does not show it.", "Try again later.")
        return name in shown and not is_gone(shown[name])


def is_reference(reference: str) -> bool:
    """Return whether a reference is meant as an address or id of a thread of Reddit's, and not as a file."""
    return bool(_BARE_ID.fullmatch(reference) or _LIKE_AN_ADDRESS.match(reference))


def thread_id_of(reference: str) -> str:
    """Return the thread id in a permalink of any of Reddit's forms, a ``t3_`` name or a bare id."""
    reference = reference.strip()
    if match := _BARE_ID.fullmatch(reference) or _ADDRESS.fullmatch(reference):
        return match[1].lower()
    if _SHARE_LINK.fullmatch(reference):
        raise UsageError("A share link does not name its thread.", "Open it and pass the address it leads to.")
    raise UsageError("This is not the address of a Reddit thread.", "Pass one like https://redd.it/1abcde.")


def _readable(names: Iterable[str], read: Callable[[str], list[Thread]]) -> list[Thread]:
    """Return what ``read`` returns for each name. Names that cannot be read are skipped, unless all fail."""
    threads: list[Thread] = []
    unread: PermanentFailure | None = None
    for name in names:
        try:
            threads += read(name)
        except PermanentFailure as failure:
            log.warning("%s It is passed over.", failure.message)
            unread = failure
    if unread and not threads:
        raise unread
    return threads


def _listing(*things: Mapping[str, Any]) -> dict[str, Any]:
    return {"data": {"children": list(things)}}


def _posts(listing: Any) -> list[Mapping[str, Any]]:
    return [data for name, data in _named([listing]).items() if name.startswith("t3_")]


def _named(listings: Any) -> dict[str, Mapping[str, Any]]:
    """Return the posts and comments of listings by name, including replies."""
    things: dict[str, Mapping[str, Any]] = {}
    try:
        waiting = list(listings)
        while waiting:
            for thing in waiting.pop()["data"]["children"]:
                if thing["kind"] in ("t1", "t3"):
                    things[f"{thing['kind']}_{thing['data'].get('id')}"] = thing["data"]
                    waiting += filter(None, [thing["data"].get("replies")])
    except (KeyError, TypeError, AttributeError):
        raise TransientFailure("Reddit sent an answer that is no listing.", "Try again later.") from None
    return things


def _in_doubt(message: str) -> TransientFailure:
    return TransientFailure(message, "This is an outage: nothing was taken down. Try again later.")


def _says_it_is_gone(response: Any) -> bool:
    """Return whether a refusal comes from Reddit and concerns the requested thing, not a proxy in between."""
    if response.status_code == 403:
        return _reason(response) in NOT_PUBLIC
    return response.status_code == 451 or _document(response).get("error") == response.status_code


def _reason(response: Any) -> str:
    return str(_document(response).get("reason") or "")


def _document(response: Any) -> Mapping[str, Any]:
    """Return the JSON document of an error, or an empty one."""
    try:
        document = response.json()
    except (ValueError, AttributeError):
        return {}
    return document if isinstance(document, Mapping) else {}


def _get(reddit: "praw.Reddit", path: str, subject: str, **params: str | int) -> Any:
    with _failures(subject):
        return reddit.request(method="GET", path=path, params=params)


@contextlib.contextmanager
def _failures(subject: str) -> Iterator[None]:
    """Turn PRAW's errors into ours, raised outside the handler, so that no chained error carries a credential."""
    import prawcore
    from praw.exceptions import PRAWException

    try:
        yield
        return
    except (prawcore.PrawcoreException, PRAWException, LookupError, ValueError, TypeError) as error:
        failure = _failure(error, subject)
    raise failure


def _failure(error: Exception, subject: str) -> PermanentFailure | TransientFailure:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", 0)
    # prawcore raises KeyError for a 401 whose WWW-Authenticate header is missing or unknown to it.
    if isinstance(error, KeyError) and error.args[0] not in _TOKEN_FIELDS:
        status = 401
    if status == 403 and (reason := _reason(response)) in NOT_PUBLIC:
        return PermanentFailure(f"Reddit does not show {subject} to the public ({reason}).", "Choose another.")
    if status in (401, 403) or type(error).__name__ == "OAuthException":
        return ConfigurationError(
            f"Reddit refused access to {subject} ({status}).",
            "Check REDDIT_CLIENT_ID, REDDIT_CLIENT_SECRET and the app's approval, and that it is not private.",
        )
    if response is not None and status == 429:
        header = response.headers.get("retry-after") or response.headers.get("x-ratelimit-reset") or ""
        wait = retry_after(header, datetime.now(UTC))
        return TransientFailure("Reddit limits requests (429).", "Try again later.", retry_after=wait)
    # An unknown subreddit redirects to a search.
    if 300 <= status < 500 and status != 408:
        return PermanentFailure(f"Reddit has no {subject} ({status}).", "Correct or remove it.")
    problem = f"fails ({status})" if status >= 500 else "cannot be reached or sent no usable answer"
    return TransientFailure(f"Reddit {problem}.", "Try again later.")
