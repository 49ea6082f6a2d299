"""Where threads come from: Reddit through PRAW, the bundled samples, or a saved ``.json`` file.

What a thread is, and what of it is kept, belongs in ``domain/threads.py``: everything fetched here goes
through its one reader, so names, bots and deleted text are dropped in one place.
"""

import abc
import contextlib
import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import dagster as dg
from pydantic import Field

from threadjuice_dagster.domain.threads import Thread, ThreadFormatError, parse_thread
from threadjuice_dagster.failures import (
    ConfigurationError,
    PermanentFailure,
    ThreadJuiceError,
    TransientFailure,
    UsageError,
)

if TYPE_CHECKING:
    import praw

log = logging.getLogger(__name__)

MAX_FILE = 50 * 1024 * 1024
"""Bytes of a saved thread; Reddit's own answers stay far below."""

TimeFilter = Literal["hour", "day", "week", "month", "year", "all"]

SAVE_IT = (
    "Open the thread's address with .json at its end, save it and pass that file, "
    "or set REDDIT_CLIENT_ID and REDDIT_CLIENT_SECRET."
)

_INFO_BATCH = 100
_NO_COMMENTS: Mapping[str, Any] = {"kind": "Listing", "data": {"children": []}}
_GONE = ("[deleted]", "[removed]", "[deleted by user]", "[removed by reddit]")

_TOKEN_FIELDS = ("access_token", "expires_in", "scope")

_THREAD_ID = re.compile(r"(?:t3_)?([a-z0-9]{4,13})", re.IGNORECASE)
_THREAD_PATH = re.compile(
    r"/(?:(?:r|u|user)/[\w.-]+/)?(?:comments|gallery|tb)/(?:t3_)?([a-z0-9]{2,13})(?:\.json)?(?:/.*)?", re.IGNORECASE
)
_SHORT_PATH = re.compile(r"/([a-z0-9]{2,13})(?:\.json)?/?", re.IGNORECASE)
_SHARE_PATH = re.compile(r"/(?:r|u|user)/[\w.-]+/s/\w+/?", re.IGNORECASE)


class ThreadSource(dg.ConfigurableResource, abc.ABC):
    """Where the newsroom finds its threads."""

    @abc.abstractmethod
    def candidates(self, limit: int) -> list[Thread]:
        """At most ``limit`` threads a story could be made of, most engaging first."""

    @abc.abstractmethod
    def thread(self, reference: str) -> Thread:
        """One thread by its permalink or id. Raises ``UsageError`` for what is neither."""

    @abc.abstractmethod
    def deleted(self, fullnames: Sequence[str]) -> frozenset[str]:
        """Those of ``fullnames`` (``t3_…`` posts, ``t1_…`` comments) that their author or Reddit took down."""


class SampleThreads(ThreadSource):
    """The bundled threads, written for this project; what discovery reads without a Reddit key."""

    def candidates(self, limit: int) -> list[Thread]:
        """At most ``limit`` samples, most engaging first."""
        return _ranked(_samples())[:limit]

    def thread(self, reference: str) -> Thread:
        """The sample with this id; any other thread is out of reach without a Reddit key."""
        wanted = thread_id_of(reference)
        for thread in _samples():
            if thread.id == wanted:
                return thread
        raise ConfigurationError(f"Thread {wanted} cannot be fetched: no Reddit credentials are set.", SAVE_IT)

    def deleted(self, fullnames: Sequence[str]) -> frozenset[str]:
        """None: nobody can delete a sample, and without a key nothing else can be asked after."""
        return frozenset()


class RedditThreads(ThreadSource):
    """Reddit, read-only, as an app of its own. ``limit`` counts posts per subreddit, ``comment_limit`` comments."""

    client_id: str
    client_secret: str
    user_agent: str = "ThreadJuice/1.0"
    subreddits: list[str] = Field(default_factory=list)
    reddit_url: str = ""
    oauth_url: str = ""
    time_filter: TimeFilter = "day"
    limit: int = 25
    comment_limit: int = 200
    timeout_seconds: int = 30

    def candidates(self, limit: int) -> list[Thread]:
        """The top posts of all subreddits with their comments, ranked by engagement.

        Comments are fetched for twice ``limit`` posts, the most promising by what the listings tell.
        """
        if not self.subreddits:
            raise ConfigurationError(
                "No subreddits are set to read.", "Name some, as in REDDIT_SUBREDDITS=cooking,travel."
            )
        reddit = self._reddit()
        promising = _ranked(self._listed_anywhere(reddit))[: max(limit, 0) * 2]
        fetched = (self._fetched_if_there(reddit, thread.id) for thread in promising)
        return _ranked(thread for thread in fetched if thread)[:limit]

    def thread(self, reference: str) -> Thread:
        """The thread at this permalink or with this id. Raises ``PermanentFailure`` if it was taken down."""
        thread_id = thread_id_of(reference)
        thread = self._fetched(self._reddit(), thread_id)
        if thread is None:
            raise PermanentFailure(f"Thread {thread_id} was removed or deleted on Reddit.", "Choose another thread.")
        return thread

    def deleted(self, fullnames: Sequence[str]) -> frozenset[str]:
        """Those taken down, asked 100 at a time. An answer that knows none of a batch withdraws nothing."""
        reddit, gone = self._reddit(), set[str]()
        for at in range(0, len(fullnames), _INFO_BATCH):
            batch = fullnames[at : at + _INFO_BATCH]
            answer = self._get(reddit, "api/info", f"{len(batch)} posts", id=",".join(batch))
            known = {f"{child.get('kind')}_{data.get('id')}": data for child, data in _children(answer)}
            if not known:
                raise TransientFailure(f"Reddit told nothing about {len(batch)} posts.", "Try again later.")
            gone |= {name for name in batch if name not in known or _taken_down(known[name])}
        return frozenset(gone)

    def _listed_anywhere(self, reddit: "praw.Reddit") -> list[Thread]:
        """The posts of every subreddit that can be read; raises only when none can."""
        listed: dict[str, Thread] = {}
        unread: PermanentFailure | None = None
        for name in self.subreddits:
            try:
                listed |= {thread.id: thread for thread in self._listed(reddit, name)}
            except PermanentFailure as failure:
                log.warning("%s It is passed over.", failure.message)
                unread = failure
        if unread and not listed:
            raise unread
        return list(listed.values())

    def _listed(self, reddit: "praw.Reddit", subreddit: str) -> Iterator[Thread]:
        name = subreddit.strip().removeprefix("/").removeprefix("r/").strip("/")
        answer = self._get(reddit, f"r/{name}/top", f"r/{name}", t=self.time_filter, limit=min(max(self.limit, 1), 100))
        for child, data in _children(answer):
            if data.get("over_18") or data.get("stickied") or data.get("promoted") or _taken_down(data):
                continue
            with contextlib.suppress(ThreadFormatError):
                yield parse_thread([{"data": {"children": [child]}}, _NO_COMMENTS], "reddit")

    def _fetched_if_there(self, reddit: "praw.Reddit", thread_id: str) -> Thread | None:
        """As ``_fetched``; a thread that went away since it was listed does not end the discovery of others."""
        try:
            return self._fetched(reddit, thread_id)
        except ConfigurationError:
            raise
        except PermanentFailure as failure:
            log.warning("%s It is passed over.", failure.message)
            return None

    def _fetched(self, reddit: "praw.Reddit", thread_id: str) -> Thread | None:
        """The thread with its best comments, or None if it was taken down."""
        comments = min(max(self.comment_limit, 1), 500)
        document = self._get(reddit, f"comments/{thread_id}/", f"thread {thread_id}", limit=comments, sort="top")
        try:
            thread = parse_thread(document, "reddit")
        except ThreadFormatError as error:
            raise TransientFailure(f"Reddit's answer for thread {thread_id} is no thread: {error}.") from None
        post = next((data for child, data in _children(document[0]) if child.get("kind") == "t3"), {})
        return None if _taken_down(post) else thread

    def _get(self, reddit: "praw.Reddit", path: str, subject: str, **params: str | int) -> Any:
        with _failures(subject):
            return reddit.request(method="GET", path=path, params=params)

    def _reddit(self) -> "praw.Reddit":
        import praw

        if not (self.client_id.strip() and self.client_secret.strip()):
            raise ConfigurationError("REDDIT_CLIENT_ID or REDDIT_CLIENT_SECRET is not set.", SAVE_IT)
        # The None values and the site keep a praw.ini or environment from turning this into a user's login.
        reddit = praw.Reddit(
            "DEFAULT",
            client_id=self.client_id.strip(),
            client_secret=self.client_secret.strip(),
            user_agent=self.user_agent,
            username=None,
            password=None,
            refresh_token=None,
            reddit_url=self.reddit_url.rstrip("/") or "https://www.reddit.com",
            oauth_url=self.oauth_url.rstrip("/") or "https://oauth.reddit.com",
            timeout=self.timeout_seconds,
            check_for_updates=False,
        )
        reddit.read_only = True
        # Asks for the token: refused credentials show here, and a refusal after this is about one subject.
        with _failures("its API"):
            reddit.auth.scopes()
        return reddit


def open_thread(reference: str, source: ThreadSource) -> Thread:
    """The thread an operator named: a saved ``.json`` file, or a permalink or id for ``source``."""
    is_address = "://" in reference or re.match(r"(?:[\w-]+\.)?(?:reddit\.com|redd\.it)/|/r/", reference)
    if Path(reference).is_file() or not (is_address or _THREAD_ID.fullmatch(reference)):
        return thread_from_file(Path(reference))
    return source.thread(reference)


def thread_from_file(path: Path | str) -> Thread:
    """A thread saved in Reddit's ``.json`` thread format. Raises ``UsageError`` with one clear line."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE:
            raise UsageError(f"{path.name} is larger than {MAX_FILE // 1024 // 1024} MB.", "Pass a single thread.")
        text = path.read_bytes().decode("utf-8-sig")
        return parse_thread(json.loads(text), "file")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Pass a thread's .json file.") from None
    except ThreadFormatError as error:
        raise UsageError(f"{path.name} is not a Reddit thread: {error}.", "Save the thread's .json address.") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path.name} is not JSON text.", "Save the thread's address with .json at its end.") from None


def thread_id_of(reference: str) -> str:
    """The id of the thread a permalink in any of Reddit's forms, a ``t3_`` name or a bare id points to."""
    reference = reference.strip()
    if bare := _THREAD_ID.fullmatch(reference):
        return bare[1].lower()
    if not reference.startswith("/"):
        reference = reference if "://" in reference else f"https://{reference}"
    try:
        address = urlsplit(reference)
        host, path = (address.hostname or "").lower(), address.path
    except ValueError:
        host, path = "", ""
    if host in ("", "reddit.com") or host.endswith(".reddit.com"):
        if _SHARE_PATH.fullmatch(path):
            raise UsageError("A share link does not name its thread.", "Open it and pass the address it leads to.")
        match = _THREAD_PATH.fullmatch(path)
    else:
        match = _SHORT_PATH.fullmatch(path) if host in ("redd.it", "www.redd.it") else None
    if match is None:
        raise UsageError("This is not the address of a Reddit thread.", "Pass one like https://redd.it/1abcde.")
    return match[1].lower()


def _samples() -> list[Thread]:
    folder = resources.files("threadjuice_dagster") / "editorial" / "threads"
    names = sorted((item for item in folder.iterdir() if item.name.endswith(".json")), key=lambda item: item.name)
    return [parse_thread(json.loads(item.read_text(encoding="utf-8")), "sample") for item in names]


def _ranked(threads: Iterable[Thread]) -> list[Thread]:
    return sorted(threads, key=lambda thread: (-thread.engagement, thread.id))


def _children(listing: Any) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The things of a listing with their data; whatever is not one is left out."""
    data = listing.get("data") if isinstance(listing, Mapping) else None
    children = data.get("children") if isinstance(data, Mapping) else None
    found = [child for child in children or [] if isinstance(child, Mapping)] if isinstance(children, list) else []
    return [(child, child["data"]) for child in found if isinstance(child.get("data"), Mapping)]


def _taken_down(data: Mapping[str, Any]) -> bool:
    """Whether a post or comment was deleted or removed; a deleted author counts, as its traces have to go."""
    texts = (data.get("selftext"), data.get("body"), data.get("title"), data.get("author"))
    told = any(str(text or "").strip().lower() in _GONE for text in texts)
    return told or bool(data.get("removed_by_category")) or ("author" in data and data["author"] is None)


@contextlib.contextmanager
def _failures(subject: str) -> Iterator[None]:
    """PRAW's errors as ours, raised outside the handler so that no credential travels in a chained error."""
    import prawcore

    failure: ThreadJuiceError | None = None
    try:
        yield
    except prawcore.exceptions.Redirect:
        failure = PermanentFailure(f"Reddit knows no {subject}.", "Correct or remove it.")
    except prawcore.PrawcoreException as error:
        failure = _failure(error, subject)
    except KeyError as error:
        # prawcore trips so over a 401 whose WWW-Authenticate header is missing or new to it.
        failure = _unreadable() if error.args[0] in _TOKEN_FIELDS else _refusal(subject, 401)
    except (ValueError, IndexError, TypeError):
        failure = _unreadable()
    if failure:
        raise failure


def _failure(error: Exception, subject: str) -> ThreadJuiceError:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status in (401, 403) or type(error).__name__ == "OAuthException":
        return _refusal(subject, status)
    if status == 429:
        return TransientFailure("Reddit limits requests (429).", "Try again later.", retry_after=_wait(response))
    if isinstance(status, int) and 400 <= status < 500 and status != 408:
        return PermanentFailure(f"Reddit has no {subject} ({status}).", "Correct or remove it.")
    told = f"fails ({status})" if status and status != 200 else "cannot be reached or sent no usable answer"
    return TransientFailure(f"Reddit {told}.", "Try again later.")


def _refusal(subject: str, status: int | None) -> ConfigurationError:
    told = f" ({status})" if status and status != 200 else ""
    return ConfigurationError(
        f"Reddit refused access to {subject}{told}.",
        "Check REDDIT_CLIENT_ID, REDDIT_CLIENT_SECRET and the app's approval, and that it is not private.",
    )


def _unreadable() -> TransientFailure:
    return TransientFailure("Reddit sent an answer that cannot be read.", "Try again later.")


def _wait(response: Any) -> float | None:
    for name in ("retry-after", "x-ratelimit-reset"):
        with contextlib.suppress(TypeError, ValueError):
            seconds = float(response.headers.get(name))
            if math.isfinite(seconds) and seconds >= 0:
                return seconds
    return None
