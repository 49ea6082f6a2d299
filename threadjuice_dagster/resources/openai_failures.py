"""What a server complains of, in whatever shape it says so, and which failure that is.

Servers that call themselves compatible disagree most where something is wrong: an ``error`` may be an object, a text,
a list's first entry or the whole body, with status 200 as well as with the right one. Shapes seen of OpenAI, Azure,
OpenRouter, Mistral, Gemini, vLLM, LiteLLM, Ollama and LM Studio. What a request looks like belongs in
``openai_dialect.py``.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from threadjuice_dagster.domain.language.text import clean, cut
from threadjuice_dagster.failures import (
    ConfigurationError,
    PermanentFailure,
    ThreadJuiceError,
    TransientFailure,
    Unsuitable,
)

_LONGEST = 20_000
_KEY_LIKE = re.compile(r"\b(?:sk|pk|key)-[\w*.…-]+", re.IGNORECASE)
_QUOTA = re.compile(
    r"insufficient_quota|billing_hard_limit|billing_not_active|budget.{0,20}exceeded"
    r"|insufficient (?:credit|funds|balance)|key limit exceeded"
)
_POLICY = re.compile(r"content_?filter|content[ _](?:management[ _])?policy|responsibleaipolicy|prompt_blocked|flagged")
_SHAPE = re.compile(r"response_format|json_schema|json_object|grammar|structured output")
_LOADING = re.compile(r"(?:is|still|currently) loading|loading model")
_NOT_LOADED = re.compile(
    r"no models? (?:is |are )?loaded|model (?:(?:is|was|has|has been) )?(?:crashed|unloaded)"
    r"|failed to load (?:the )?model"
)

# What an answer of status 200 complains of, where it gives no number: the first that fits.
_STATUSES = (
    (404, r"unexpected endpoint|unknown (?:request )?(?:url|endpoint|path|route)|invalid url|not[ _]found|no such"),
    (404, r"does not exist|not[ _]implemented|endpoint.{0,40}(?:not|un)[ -]?(?:supported|available)"),
    (429, r"rate.?limit|too many requests|overloaded|resource.?exhausted|capacity"),
    (401, r"unauthori[sz]ed|(?:invalid|incorrect).{0,8}api.?key|authentication"),
    (400, r"context.length|unsupported_(?:parameter|value)|invalid_request|response_format"),
)


class Complaint(NamedTuple):
    """Its HTTP status (200 where none is told), its own words, and all of it in small letters to look through."""

    status: int
    message: str
    hint: str


class UnknownThing(ConfigurationError):
    """The server has no such model or endpoint."""

    hint = ""


class RefusedKey(ConfigurationError):
    """The server does not take the key."""


class Rejected(PermanentFailure):
    """The server found the request itself wrong; ``hint`` is all it said, in small letters."""

    hint = ""


class Refused(Unsuitable):
    """The model, or the filter before it, declined to answer; the message carries its reason."""


def read_complaint(status: int, text: str) -> Complaint:
    """The complaint in the body of an answer of this HTTP status, which may be none of JSON."""
    try:
        document = json.loads(text[:_LONGEST])
    except (ValueError, RecursionError):
        document = None
    return complaint_in(document, status) or Complaint(status, "", text[:_LONGEST].lower())


def complaint_in(document: Any, status: int = 200) -> Complaint | None:
    """What a document complains of, or None if it does not."""
    if isinstance(document, list):
        document = document[0] if document else None
    if not isinstance(document, Mapping):
        return None
    whole = document if status >= 400 or document.get("object") == "error" else None
    error = document.get("error") or whole
    if not error:
        return None
    fields = error if isinstance(error, Mapping) else {"message": error}
    said = fields.get("message") or fields.get("detail") or fields.get("msg") or ""
    message = said if isinstance(said, str) else json.dumps(said)
    hint = f"{message} {json.dumps(fields, default=str)}"[:_LONGEST].lower()
    return Complaint(_status(status, str(fields.get("code") or ""), hint), message[:2000], hint)


def failure_of(
    complaint: Complaint, host: str, model: str, key: tuple[str, str], retry_after: float | None = None
) -> ThreadJuiceError:
    """The failure that a complaint of ``host`` is. ``key`` is the variable of the key in use, and the key."""
    status, hint = complaint.status, complaint.hint
    if status == 402 or _QUOTA.search(hint):
        told = f"The quota of {host} is used up."
        return TransientFailure(told, "Add credit or raise the account's limit, then run it again.", exhausted=True)
    if status in (400, 403, 422) and _POLICY.search(hint):
        return Refused(f"{host} refused the request by its content policy.")
    if status in (401, 403):
        return RefusedKey(
            f"{host} refused the key in {key[0]} ({status}).",
            "Set OPENAI_API_KEY to a current key with access to the chat and moderation endpoints.",
        )
    if status < 500 and _NOT_LOADED.search(complaint.message[:300].lower()):
        told = f"{host} has not loaded its model, or has lost it."
        return TransientFailure(told, "Load it there, then run it again.", retry_after=retry_after)
    if status in (404, 405, 501):
        unknown = UnknownThing(
            f"{host} knows no model {model!r}, or has no such endpoint ({status}).",
            "Set OPENAI_MODEL (and OPENAI_JUDGE_MODEL) to a model it has, such as gpt-4o, or mend OPENAI_BASE_URL.",
        )
        unknown.hint = hint
        return unknown
    if status < 400 or status in (408, 409, 425, 429) or (status >= 500 and not _SHAPE.search(hint)):
        return _outage(status, host, retry_after)
    if _LOADING.search(hint):
        return TransientFailure(f"{host} is loading its model.", "Try again later.", retry_after=retry_after)
    said = cut(_KEY_LIKE.sub("[key]", clean(complaint.message).replace(key[1], "[key]")), 200)
    rejected = Rejected(f"{host} rejected the request ({status}): {said}", "Check OPENAI_MODEL.")
    rejected.hint = hint
    return rejected


def _outage(status: int, host: str, retry_after: float | None) -> TransientFailure:
    if status == 429:
        message = f"{host} limits requests (429)."
    else:
        message = f"{host} fails ({status})." if status >= 400 else f"{host} answered without an answer."
    return TransientFailure(message, "Try again later.", retry_after=retry_after)


def _status(status: int, code: str, hint: str) -> int:
    """The status that a complaint stands for: an HTTP error's own, else its code, else what its words say."""
    if status >= 400:
        return status
    if code.isdecimal() and 400 <= int(code) < 600:
        return int(code)
    return next((number for number, words in _STATUSES if re.search(words, hint)), status)
