"""A loopback server that speaks the Stack Exchange API 2.3, by https://api.stackexchange.com/docs.

Kinds of request: ``listing`` (/questions), ``questions``, ``answers``, ``comments`` (each by ids), and what hangs on
ids: ``question_answers``, ``question_comments``, ``answer_comments``. Faults beside those of every loopback server:
``backoff:N``, ``quota:N``, ``throttle_violation:N``, ``temporarily_unavailable``, ``internal_error``, ``html``,
``truncated``, ``cut_gzip``, ``not_gzip``, ``empty`` and ``no_wrapper``.
"""

import dataclasses
import gzip
import json
import re
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from servers.loopback import LoopbackServer, Reply, Request, main

KEY = "a-key-of-an-app"
HOST = "workplace.stackexchange.com"
NOW = 1_796_083_200
"""The first of December 2026."""

DAY = 24 * 3600

_IDS = {"questions": "question_id", "answers": "answer_id", "comments": "comment_id"}
_SORTS = {
    "questions": {"activity", "creation", "votes", "hot", "week", "month"},
    "answers": {"activity", "creation", "votes"},
    "comments": {"creation", "votes"},
}
_ERRORS = {400: "bad_parameter", 404: "no_method", 500: "internal_error"}
_ERRORS |= {502: "throttle_violation", 503: "temporarily_unavailable"}


def user(user_id: int, name: str, **fields: Any) -> dict[str, Any]:
    """A ``shallow_user``; names arrive with their special characters as entities, as in every safe filter."""
    link = f"https://{HOST}/users/{user_id}/{re.sub('[^a-z0-9]+', '-', name.lower())}"
    return {
        "user_id": user_id,
        "user_type": "registered",
        "display_name": name,
        "reputation": 9,
        "link": link,
        **fields,
    }


def gone_user(name: str) -> dict[str, Any]:
    """The owner of a post whose account was deleted."""
    return {"user_type": "does_not_exist", "display_name": name}


def question(question_id: int, title: str = "", **fields: Any) -> dict[str, Any]:
    """A question; the defaults are an ordinary one of last week."""
    return {
        "question_id": question_id,
        "title": title or f"My manager waters the plastic fern on my desk ({question_id})",
        "body": "<p>Every day at nine she waters it.</p>\n<blockquote><p>It looks thirsty, she says.</p></blockquote>",
        "link": f"https://{HOST}/questions/{question_id}/my-manager-waters-the-plastic-fern",
        "owner": user(11, "Fern Keeper"),
        "score": 40,
        "answer_count": 2,
        "view_count": 4000,
        "is_answered": True,
        "tags": ["managers", "office-layout"],
        "content_license": "CC BY-SA 4.0",
        "creation_date": NOW - 7 * DAY,
        "last_activity_date": NOW - DAY,
        **fields,
    }


def answer(answer_id: int, question_id: int, body: str = "<p>Water hers back.</p>", **fields: Any) -> dict[str, Any]:
    """An answer to a question."""
    return {
        "answer_id": answer_id,
        "question_id": question_id,
        "body": body,
        "owner": user(12, "Desk Gardener"),
        "score": 25,
        "is_accepted": False,
        "content_license": "CC BY-SA 4.0",
        "creation_date": NOW - 6 * DAY,
        "last_activity_date": NOW - 6 * DAY,
        **fields,
    }


def comment(comment_id: int, post_id: int, body: str = "Does it grow?", **fields: Any) -> dict[str, Any]:
    """A comment on a question or answer."""
    return {
        "comment_id": comment_id,
        "post_id": post_id,
        "body": body,
        "owner": user(13, "Passer By"),
        "score": 3,
        "edited": False,
        "content_license": "CC BY-SA 4.0",
        "creation_date": NOW - 5 * DAY,
        **fields,
    }


class StackExchangeServer(LoopbackServer):
    """Serves the questions, answers and comments of sites by the rules of the documentation.

    ``quota`` counts down. ``posts[site]`` holds what exists; ``delete`` removes something with what hangs on it. Every
    answer is compressed unless the request refuses it. A method that asked for a pause is refused until it is over.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.posts: dict[str, dict[str, dict[int, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
        self.quota = self.quota_max = 300
        self._not_before: dict[str, float] = {}
        self.add(question(98765), answer(98770, 98765), answer(98771, 98765, score=2), comment(112233, 98765))
        self.add(comment(112244, 98770, "And if her fern is real?"))

    def add(self, *items: dict[str, Any], site: str = "workplace") -> None:
        for item in items:
            method = next(method for method in ("comments", "answers", "questions") if _IDS[method] in item)
            self.posts[site][method][item[_IDS[method]]] = item

    def delete(self, method: str, item_id: int, site: str = "workplace") -> None:
        """Delete something with what hangs on it: answers of a question, comments of a post."""
        posts = self.posts[site]
        del posts[method][item_id]
        for answer_id, item in list(posts["answers"].items()) if method == "questions" else ():
            if item["question_id"] == item_id:
                self.delete("answers", answer_id, site)
        for comment_id, item in list(posts["comments"].items()) if method != "comments" else ():
            if item["post_id"] == item_id:
                del posts["comments"][comment_id]

    def kind_of(self, method: str, path: str, body: bytes) -> str:
        match = re.fullmatch(r"/2\.3/(questions|answers|comments)(/[^/]+)?(?:/(answers|comments))?", path)
        if not match or (match[1] != "questions" and not match[2]) or (match[1] == "comments" and match[3]):
            return "unknown"
        if match[3]:
            return f"{match[1][:-1]}_{match[3]}"
        return match[1] if match[2] else "listing"

    def problem(self, status: int) -> Any:
        return _error(status, f"scripted {status}")

    def reply_to(self, request: Request) -> Reply:
        reply = super().reply_to(request)
        if (
            reply.reset
            or "gzip" not in request.headers.get("accept-encoding", "")
            or "Content-Encoding" in reply.headers
        ):
            return reply
        body = json.dumps(reply.document).encode() if reply.raw is None else reply.raw
        return dataclasses.replace(
            reply, raw=gzip.compress(body), headers={**reply.headers, "Content-Encoding": "gzip"}
        )

    def fault(self, name: str, request: Request) -> Reply:
        fault, _, value = name.partition(":")
        if fault == "backoff":
            self._not_before[request.kind] = time.monotonic() + float(value)
            return self._served(request, backoff=int(value))
        if fault == "quota":
            self.quota = int(value)
            return self._served(request)
        if fault == "throttle_violation":
            words = f"too many requests from this IP, more requests available in {value} seconds"
            return Reply(_error(502, words if value else "Violation of backoff parameter"), 400)
        if fault == "temporarily_unavailable":
            return Reply(_error(503, "the API is down for maintenance"), 400)
        if fault == "internal_error":
            return Reply(_error(500, "an unexpected error"), 400)
        if fault == "html":
            return Reply(raw=b"<!DOCTYPE html><title>Just a moment...</title>", headers={"Content-Type": "text/html"})
        if fault == "no_wrapper":
            return Reply({"ok": True})
        if fault == "empty":
            return Reply(self._wrapper([], False))
        if fault in ("truncated", "cut_gzip", "not_gzip"):
            whole = json.dumps(self.answer(request).document).encode()
            raw = {"truncated": whole[: len(whole) // 2], "cut_gzip": gzip.compress(whole)[:-20], "not_gzip": whole}
            return Reply(raw=raw[fault], headers={} if fault == "truncated" else {"Content-Encoding": "gzip"})
        return super().fault(name, request)

    def answer(self, request: Request) -> Reply:
        if time.monotonic() < self._not_before.get(request.kind, 0.0):
            return Reply(_error(502, "Violation of backoff parameter"), 400)
        return self._served(request)

    def _served(self, request: Request, **extra: Any) -> Reply:
        if self.quota <= 0:
            return Reply(_error(502, "too many requests from this IP, more requests available in 3600 seconds"), 400)
        if why := self._refusal(request):
            return Reply(why, 400)
        self.quota = max(self.quota - 1, 0)
        posts, query = self.posts[request.query["site"].removesuffix(".stackexchange.com")], request.query
        method, _, rest = request.path.removeprefix("/2.3/").partition("/")
        ids, _, hanging = rest.partition("/")
        wanted = {int(number) for number in ids.split(";") if number}
        parent = {"answers": "question_id", "comments": "post_id"}.get(hanging, _IDS[method])
        found = [item for item in posts[hanging or method].values() if not wanted or item[parent] in wanted]
        found = [item for item in found if item["creation_date"] >= int(query.get("fromdate", 0))]
        field = {"votes": "score", "creation": "creation_date"}.get(query.get("sort", ""), "last_activity_date")
        found.sort(key=lambda item: item.get(field, item["creation_date"]), reverse=query.get("order") != "asc")
        size, page = int(query.get("pagesize", 30)), int(query.get("page", 1))
        items = found[(page - 1) * size : page * size]
        if query.get("filter", "default") != "withbody":
            items = [{name: value for name, value in item.items() if name != "body"} for item in items]
        return Reply({**self._wrapper(items, len(found) > page * size), **extra})

    def _wrapper(self, items: list[dict[str, Any]], has_more: bool) -> dict[str, Any]:
        return {"items": items, "has_more": has_more, "quota_max": self.quota_max, "quota_remaining": self.quota}

    def _refusal(self, request: Request) -> dict[str, Any] | None:
        """Return the error that the documentation promises for a request, or None."""
        query, (method, _, rest) = request.query, request.path.removeprefix("/2.3/").partition("/")
        ids, _, hanging = rest.partition("/")
        numbers = ids.split(";") if ids else []
        sorts = _SORTS.get(hanging or method, set())
        if request.kind == "unknown" or not all(number.isdecimal() for number in numbers):
            return _error(404, "no method found with this name")
        if "site" not in query:
            return _error(400, "site is required")
        if query["site"].removesuffix(".stackexchange.com") not in self.posts:
            return _error(400, f"No site found for name `{query['site']}`")
        if query.get("key", KEY) != KEY:
            return _error(400, "`key` doesn't match a known application")
        if len(numbers) > 100 or any(int(number) >= 2**31 for number in numbers):
            return _error(400, "ids")
        if not 0 <= int(query.get("pagesize", 30)) <= 100 or int(query.get("page", 1)) < 1:
            return _error(400, "pagesize")
        if query.get("filter", "default") not in ("default", "withbody", "none", "total"):
            return _error(400, "Invalid filter specified")
        return None if query.get("sort", "creation") in sorts else _error(400, "sort")


def _error(error_id: int, message: str) -> dict[str, Any]:
    return {"error_id": error_id, "error_name": _ERRORS.get(error_id, "internal_error"), "error_message": message}


if __name__ == "__main__":
    main(StackExchangeServer)
