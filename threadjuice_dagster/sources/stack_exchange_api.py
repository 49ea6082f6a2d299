"""Ask the Stack Exchange API 2.3 about one site, and tell what its answers say of quotas, pauses and errors.

Which questions are asked, and what is made of the answers, belongs in ``sources/stack_exchange.py``.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, TransientFailure, Unsuitable
from threadjuice_dagster.sources.client import SourceClient
from threadjuice_dagster.sources.stack_exchange_parser import Item, by_id
from threadjuice_dagster.sources.texts import number

MOST_IDS = 100
"""Ids that one request may name, and items of one page: https://api.stackexchange.com/docs/vectors and /docs/paging"""

LONGEST_PAUSE = 24 * 3600.0
"""Longest pause that an answer is believed, in seconds."""

USED_UP_PAUSE = 3600.0
"""Pause after an answer that says that no request is left. The next answer says when the quota begins anew."""

REFUSAL_PAUSE = 60.0
"""Pause after a refusal for too many requests that names none."""

_METHODS = {"question": "questions", "answer": "answers", "comment": "comments"}
_OF_THE_KEY = frozenset({401, 402, 403, 405, 406})


class SiteApi:
    """The API for one site. ``requests`` counts what was asked."""

    def __init__(self, client: SourceClient, url: str, key: str, site: str) -> None:
        self._client, self._url, self._key, self.site = client, url, key, site
        self.requests = 0

    def ask(self, method: str, **params: Any) -> Mapping[str, Any]:
        """Return the API's answer, whose ``items`` is a list. Raises for every other answer."""
        self.requests += 1
        params = {"site": self.site, **params, **({"key": self._key} if self._key else {})}
        status, answer = self._client.get_json(f"{self._url}/{method}", params)
        if not isinstance(answer, Mapping):
            raise self.doubt(f"Stack Exchange sent an answer that is no object ({status}).")
        self._record(answer)
        if "error_id" in answer:
            raise self._refusal(answer)
        if status != 200 or not isinstance(answer.get("items"), list) or not isinstance(answer.get("has_more"), bool):
            raise self.doubt(f"Stack Exchange sent an answer without items ({status}).")
        return answer

    def pages(self, method: str, most: int, **params: Any) -> list[Any]:
        """Return the items of all pages, or of the first ``most``."""
        items: list[Any] = []
        for page in range(1, most + 1):
            answer = self.ask(method, page=page, pagesize=MOST_IDS, **params)
            items += answer["items"]
            if not answer["has_more"]:
                break
        return items

    def shown(self, kind: str, ids: Collection[str], **params: Any) -> dict[str, Item]:
        """Return those of at most ``MOST_IDS`` questions, answers or comments that the API shows, by id."""
        answer = self.ask(f"{_METHODS[kind]}/{joined(ids)}", pagesize=MOST_IDS, **params)
        if answer["has_more"]:
            raise self.doubt(f"Stack Exchange did not show all {kind}s that it was asked about.")
        shown = by_id(answer["items"], f"{kind}_id")
        if answer["items"] and not shown:
            raise self.doubt(f"Stack Exchange sent {kind}s without their ids.")
        return {key: item for key, item in shown.items() if key in ids}

    def check_that_it_shows_questions(self) -> None:
        """Ask for a question that must exist. Raises ``TransientFailure`` if the site does not show it."""
        listed = by_id(self.ask("questions", sort="activity", order="desc", pagesize=1)["items"], "question_id")
        if not listed or not self.shown("question", list(listed)):
            raise self.doubt(f"Stack Exchange shows no question of {self.site} at all.")

    def missing(self, kind: str, post_id: str) -> Unsuitable:
        """Return the failure of a question or answer that is not shown although the site shows others."""
        self.check_that_it_shows_questions()
        message = f"{self.site} shows no {kind} {post_id}: it was deleted, or never was there."
        return Unsuitable(message, "Check the address, or choose another question.")

    def doubt(self, message: str, wait: float | None = None) -> TransientFailure:
        """Return the failure of an answer that may come from an outage."""
        next_step = "Nothing was removed because of it. Try again later."
        return TransientFailure(message, next_step, retry_after=wait, exhausted=True, service=self._client.service)

    def _record(self, answer: Mapping[str, Any]) -> None:
        """Record what an answer says of the quota, and the pause that it asks for.

        The pause is meant for one method; all are paused. A second more: some who waited exactly as long were refused.
        """
        backoff, told = number(answer.get("backoff")), answer.get("quota_remaining")
        left = max(number(told), 0) if isinstance(told, int) else None
        pause = min(backoff + 1.0, LONGEST_PAUSE) if backoff > 0 else 0.0
        pause = max(pause, USED_UP_PAUSE) if left == 0 else pause
        if pause or left is not None:
            most = number(answer.get("quota_max")) or None
            self._client.limiter.record(self._client.service, pause=pause, left=left, most=most)

    def _refusal(self, answer: Mapping[str, Any]) -> PermanentFailure | TransientFailure:
        """Return the failure that an error of the API means: https://api.stackexchange.com/docs/error-handling."""
        code, words = number(answer.get("error_id")), words_of(answer, self._key)
        message = f"Stack Exchange refused a request for {self.site} ({code} {words})."
        if wait := pause_in(answer):
            self._client.limiter.record(self._client.service, pause=wait)
            return self.doubt(message, wait)
        if code in _OF_THE_KEY or (code == 400 and re.search(r"\bkey\b", words)):
            return ConfigurationError(message, "Correct or remove STACK_EXCHANGE_KEY.")
        if code == 404:
            return ConfigurationError(message, "Check that STACK_EXCHANGE_API_URL is the address of the API 2.3.")
        if code == 400:
            return PermanentFailure(message, "Check the site in THREAD_SOURCES, or the address of the question.")
        return self.doubt(message)


def words_of(error: Mapping[str, Any], key: str) -> str:
    """Return an error of the API in its own words, without the key, which it could repeat."""
    words = " ".join(f"{error.get('error_name')}: {error.get('error_message') or ''}".split())
    return (words.replace(key, "…") if key else words)[:200]


def pause_in(error: Mapping[str, Any]) -> float:
    """Return the seconds that an error for too many requests asks to wait for; 0 for every other error."""
    if error.get("error_name") != "throttle_violation" and error.get("error_id") != 502:
        return 0.0
    seconds = re.search(r"available in (\d{1,9}) seconds", str(error.get("error_message")))
    return min(float(seconds[1]), LONGEST_PAUSE) if seconds else REFUSAL_PAUSE


def joined(ids: Iterable[str]) -> str:
    """Return ids as a request names them."""
    return ";".join(ids)


def batches(ids: Iterable[str]) -> Iterator[list[str]]:
    """Yield ids in lists of at most as many as one request may name."""
    waiting = iter(ids)
    while batch := list(islice(waiting, MOST_IDS)):
        yield batch
