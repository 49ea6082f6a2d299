"""Questions with their answers and comments from any site of Stack Exchange, by its API 2.3.

What a question's fields mean belongs in ``sources/stack_exchange_parser.py``, what the API says of quotas and errors in
``sources/stack_exchange_api.py``.
"""

import contextlib
import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.failures import (
    ConfigurationError,
    PermanentFailure,
    TransientFailure,
    Unsuitable,
    UsageError,
)
from threadjuice_dagster.resources.http import Answer
from threadjuice_dagster.sources.client import SourceClient, SourceLimiter, versioned
from threadjuice_dagster.sources.stack_exchange_api import MOST_IDS, SiteApi, batches, joined, pause_in, words_of
from threadjuice_dagster.sources.stack_exchange_parser import (
    Item,
    by_id,
    id_in,
    is_address,
    parse_question,
    parse_saved,
    reference_in,
    saved_question,
    site_of,
)
from threadjuice_dagster.sources.texts import number
from threadjuice_dagster.sources.thread_source import (
    Deletions,
    SourcePolicy,
    StoredThread,
    ThreadFormatError,
    ThreadSource,
)

# The API's terms ask for a visible source and are silent on commercial use; the licence of every text allows it. The
# network's acceptable use policy (https://stackoverflow.com/legal/acceptable-use-policy) forbids automated reading for
# a similar website, and for developing, testing or improving a language model. A newsroom does neither.
POLICY = SourcePolicy(
    terms="https://stackoverflow.com/legal/api-terms-of-use",
    terms_read=date(2026, 12, 1),
    licence="the authors', who license them under CC BY-SA: https://stackoverflow.com/help/licensing",
    licence_code="cc-by-sa-4.0",
    share_alike=True,
    credit="the site, a link to each question and answer, and their authors by name with links to their profiles",
    stores_author_names=True,
    unattended_use=True,
    deletion_hours=None,
    requests_per_minute=60,  # the API bans an address for more than 30 a second
    requests_per_day=300,
    names_per_request=MOST_IDS,
    threads_per_request=MOST_IDS,
    comments_per_request=MOST_IDS,
)

WITH_KEY = 10_000
"""Requests a day with a key: https://api.stackexchange.com/docs/throttle"""

WINDOWS = (30, 365, None)
"""Days within which a listed question was asked; the next number where the one before finds too few questions."""

MOST_READ = 50
"""Questions of a listing whose answers are read."""

MOST_ANSWERS = 200
"""Answers of a listing whose comments are read, those with the most votes."""

log = logging.getLogger(__name__)


class StackExchange(ThreadSource):
    """Stack Exchange. ``url`` is the address of its API; ``key`` raises the requests that it allows in a day."""

    name = "stackexchange"
    prefix = "se"
    policy = POLICY

    def __init__(
        self,
        *,
        url: str = "https://api.stackexchange.com",
        key: str = "",
        limiter: SourceLimiter | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._url = versioned(url, "/2.3")
        self._key, self._now = key.strip(), now
        if self._key:
            self.policy = POLICY.model_copy(update={"requests_per_day": WITH_KEY})  # type: ignore[misc]
        self._client = SourceClient(self.name, self.policy, limiter or SourceLimiter(), self._reason)

    def listing(self, place: str, limit: int) -> list[Thread]:
        """Return a site's questions of the last weeks with the most votes; of a longer time if they are few.

        It takes at most 16 requests: 300 a day are enough for seven sites, and for four sweeps of as many.
        """
        api = self._api(site_of(place))
        threads: list[Thread] = []
        for question, answers, comments in _with_answers(api, self._promising(api, limit)):
            with contextlib.suppress(ThreadFormatError, Unsuitable):
                threads.append(parse_question(question, api.site, answers, comments))
        answered = [thread for thread in threads if thread.comments]
        return sorted(answered, key=lambda thread: (-thread.engagement, thread.id))[:limit]

    def recognises(self, reference: str) -> bool:
        """Return whether a reference is meant as an address within the network, or as the key of a question."""
        return is_address(reference)

    def thread(self, reference: str) -> Thread:
        """Return the question at an address, or the one that the answer there belongs to."""
        place = reference_in(reference)
        if not place:
            raise UsageError(
                "This is not the address of a question of Stack Exchange.",
                "Pass one like https://workplace.stackexchange.com/questions/98765.",
            )
        api, question_id = self._api(place.site), place.id
        if place.is_answer:
            question_id = id_in(api.shown("answer", [place.id]).get(place.id, {}), "question_id")
            if not question_id:
                raise api.missing("answer", place.id)
        questions = api.shown("question", [question_id], filter="withbody")
        if question_id not in questions:
            raise api.missing("question", question_id)
        ((question, answers, comments),) = _with_answers(api, list(questions.values()))
        try:
            return parse_question(question, api.site, answers, comments)
        except ThreadFormatError as error:
            raise api.doubt(f"Stack Exchange's answer for question {question_id} is no thread: {error}.") from None

    def parse(self, document: Any) -> Thread | None:
        """Return the question in saved answers of the API, with the answers and comments in it or beside it."""
        saved = saved_question(document)
        return parse_saved(saved) if saved else None

    def deleted(self, threads: Mapping[str, StoredThread]) -> Deletions:
        """Return which questions, answers and comments the API no longer shows, asked by site in batches.

        An answer takes the comments on it along. Where a batch shows nothing at all, a question that must exist is
        asked for first; where that is not shown either, it is an outage.
        """
        sites: dict[str, dict[str, StoredThread]] = {}
        for key, stored in threads.items():
            if place := reference_in(stored.permalink) or reference_in(key):
                sites.setdefault(place.site, {})[key] = stored
            else:
                log.warning("Stack Exchange cannot be asked about %s: neither address nor key names its site.", key)
        deletions, unknown = Deletions(), list[PermanentFailure]()
        for site, stored_threads in sites.items():
            try:
                deletions |= _DeletionCheck(self._api(site), stored_threads).run()
            except ConfigurationError:
                raise
            except PermanentFailure as failure:
                # A site that was closed must not keep the deletions of others from being followed.
                log.warning("The threads of %s cannot be checked: %s", site, failure.message)
                unknown.append(failure)
        if unknown and len(unknown) == len(sites):
            raise unknown[0]
        return deletions

    def check(self, place: str) -> str:
        """Ask for one question of a site, and return how much of the day's quota is left."""
        answer = self._api(site_of(place)).ask("questions", sort="activity", order="desc", pagesize=1)
        left, most = number(answer.get("quota_remaining")), number(answer.get("quota_max"))
        advice = "" if self._key else f" With STACK_EXCHANGE_KEY it would be {WITH_KEY:,}."
        return f"{left} of {most} requests of the day are left.{advice}"

    def _reason(self, answer: Answer) -> str:
        """Return what an error says that came as a 429 or 5xx, and keep the pause that it names.

        The documentation promises 400 for every error; what stands before the API does not always keep that promise.
        """
        try:
            error = json.loads(answer.body)
        except (ValueError, RecursionError):
            return ""
        if not isinstance(error, dict) or "error_id" not in error:
            return ""
        if pause := pause_in(error):
            self._client.limiter.record(self.name, pause=pause)
        return words_of(error, self._key)

    def _api(self, site: str) -> SiteApi:
        return SiteApi(self._client, self._url, self._key, site)

    def _promising(self, api: SiteApi, limit: int) -> list[Item]:
        """Return twice ``limit`` questions that may become a story, the most engaging by their own fields."""
        ranked: dict[str, tuple[float, Item]] = {}
        # Whole days, so that the requests of a day are the same: the API answers those from its cache.
        today = self._now().replace(hour=0, minute=0, second=0, microsecond=0)
        for days in WINDOWS:
            since = {"fromdate": int((today - timedelta(days=days)).timestamp())} if days else {}
            answer = api.ask("questions", sort="votes", order="desc", pagesize=MOST_IDS, filter="withbody", **since)
            questions = by_id(answer["items"], "question_id")
            for key, question in questions.items():
                with contextlib.suppress(ThreadFormatError, Unsuitable):
                    thread = parse_question(question, api.site)
                    if thread.num_comments and thread.score >= 0:
                        ranked.setdefault(key, (thread.engagement, question))
            if len(ranked) >= limit:
                break
        else:
            if not questions:
                raise api.doubt(f"Stack Exchange lists no question at all of {api.site}.")
        best = sorted(ranked.values(), key=lambda pair: -pair[0])
        return [question for _, question in best[: min(2 * max(limit, 0), MOST_READ)]]


class _StoredPost(NamedTuple):
    """A question, answer or comment of ours: its thread's key, and its id in the API and here."""

    thread: str
    id: str
    comment: str = ""


class _DeletionCheck:
    """One check of our stories' threads of a site."""

    def __init__(self, api: SiteApi, threads: Mapping[str, StoredThread]) -> None:
        self._api, self._threads = api, threads
        places = {key: reference_in(stored.permalink) or reference_in(key) for key, stored in threads.items()}
        self._kept = {key: place.id for key, place in places.items() if place}
        self._gone_answers: set[str] = set()
        self._checked, self._is_proven = 0, False

    def run(self) -> Deletions:
        questions = [_StoredPost(key, question_id) for key, question_id in self._kept.items()]
        gone_threads = frozenset(stored.thread for stored in self._gone("question", questions))
        self._kept = {key: question_id for key, question_id in self._kept.items() if key not in gone_threads}
        answers = self._gone("answer", self._stored("a"))
        self._gone_answers = {stored.id for stored in answers}
        comments = self._gone("comment", self._stored("c"))
        gone = frozenset((stored.thread, stored.comment) for stored in (*answers, *comments))
        return Deletions(gone_threads, gone, self._checked, self._api.requests)

    def _stored(self, letter: str) -> list[_StoredPost]:
        """Return the answers or comments of the threads that are still there."""
        every = ((key, comment) for key in self._kept for comment in self._threads[key].comments)
        return [_StoredPost(key, id_[1:], id_) for key, id_ in every if id_[:1] == letter and id_[1:].isdecimal()]

    def _gone(self, kind: str, asked: Sequence[_StoredPost]) -> list[_StoredPost]:
        """Return what the API does not show of these questions, answers or comments."""
        shown: set[str] = set()
        for batch in batches(dict.fromkeys(stored.id for stored in asked)):
            answer = self._api.shown(kind, batch)
            if not answer:
                self._check_doubt(kind, batch)
            shown |= {key for key, item in answer.items() if id_in(item, "post_id") not in self._gone_answers}
            self._checked += len(batch)
        return [stored for stored in asked if stored.id not in shown]

    def _check_doubt(self, kind: str, batch: Collection[str]) -> None:
        """Look whether a site that shows nothing of a batch shows anything. Raises ``TransientFailure`` if not."""
        if not self._is_proven:
            self._api.check_that_it_shows_questions()
            self._is_proven = True
        if kind != "question":
            questions = joined(islice(self._kept.values(), MOST_IDS))
            listed = by_id(self._api.pages(f"questions/{questions}/{kind}s", 3), f"{kind}_id")
            if still_there := sorted(listed.keys() & set(batch)):
                raise self._api.doubt(f"Stack Exchange left out {kind} {still_there[0]}, yet its question shows it.")


def _with_answers(api: SiteApi, questions: Sequence[Item]) -> Iterator[tuple[Item, list[Item], list[Item]]]:
    """Yield each question with its answers, and with the comments on all of them."""
    by_votes = {"sort": "votes", "order": "desc", "filter": "withbody"}
    asked = by_id(questions, "question_id")
    answers: dict[str, Item] = {}
    comments: dict[str, Item] = {}
    # Pages end with the fewest votes, so that a bound cuts off what a story needs least.
    if asked:
        answers = by_id(api.pages(f"questions/{joined(asked)}/answers", 4, **by_votes), "answer_id")
        comments = _comments(api, f"questions/{joined(asked)}", by_votes)
    if not answers and any(number(question.get("answer_count")) for question in questions):
        raise api.doubt(f"Stack Exchange shows none of the answers that it counts on {api.site}.")
    for batch in batches(islice(answers, MOST_ANSWERS)):
        comments |= _comments(api, f"answers/{joined(batch)}", by_votes)
    question_of = {key: key for key in asked} | {key: id_in(item, "question_id") for key, item in answers.items()}
    for key, question in asked.items():
        own_answers = [item for item in answers.values() if id_in(item, "question_id") == key]
        own_comments = [item for item in comments.values() if question_of.get(id_in(item, "post_id")) == key]
        yield question, own_answers, own_comments


def _comments(api: SiteApi, posts: str, by_votes: Mapping[str, str]) -> dict[str, Item]:
    """Return the comments on posts, by id. A story can do without them, so a failure leaves them out."""
    try:
        return by_id(api.pages(f"{posts}/comments", 3, **by_votes), "comment_id")
    except (PermanentFailure, TransientFailure) as failure:
        log.warning("Stack Exchange is read without the comments of %s: %s", api.site, failure.message)
        return {}
