"""Reading what an OpenAI-compatible server answered: choices, moderation results, waiting times.

Nothing here sends anything or trusts anything: each part may be missing, cut off or of the wrong kind.
"""

import email.utils
import json
import math
import time
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from threadjuice_dagster.domain.moderation import Verdict
from threadjuice_dagster.domain.text import clean, cut
from threadjuice_dagster.failures import PermanentFailure, TransientFailure, Unsuitable

_MAX_ANSWER = 200_000

Answer = TypeVar("Answer", bound=BaseModel)


class Refused(Unsuitable):
    """The model declined to answer; the message carries its reason."""


class BadAnswer(Unsuitable):
    """The model answered, and asked again still did not answer in the agreed shape."""


def choices_of(document: Mapping[str, Any]) -> list[Any]:
    """The choices of a completion; none where the server sent something else."""
    return _list(document.get("choices"))


def read_answer(choice: Any, shape: type[Answer]) -> Answer | PermanentFailure:
    """One choice of a completion in its agreed shape, or why it has none."""
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(message, Mapping):
        return BadAnswer("The model's answer holds no message.")
    if message.get("refusal"):
        return Refused(f"The model declined: {cut(clean(str(message['refusal'])), 200)}")
    finish = choice.get("finish_reason")
    if finish in ("length", "content_filter"):
        return BadAnswer(f"The model's answer was cut off ({finish}).")
    text = _content(message.get("content"))
    # From the first brace to the last: a fence or a word around the object does no harm.
    text = text[max(text.find("{"), 0) : text.rfind("}") + 1 or len(text)][:_MAX_ANSWER]
    try:
        return shape.model_validate(json.loads(text, object_hook=_without_nulls))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = cut(".".join(str(part) for part in first["loc"]), 80)
        return BadAnswer(f"The model's answer misses its schema at {place or 'the top'} ({first['type']}).")
    except (ValueError, RecursionError):
        return BadAnswer("The model's answer is not complete JSON.")


def _content(content: Any) -> str:
    """A message's text; some servers send it in parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""


def _without_nulls(pairs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in pairs.items() if value is not None}


def read_verdict(document: Mapping[str, Any], slices: int) -> Verdict:
    """The strictest reading of all results; an answer in any other shape counts as an outage."""
    results = [item for item in _list(document.get("results")) if isinstance(item, Mapping)]
    if len(results) < slices or not all(isinstance(item.get("flagged"), bool) for item in results):
        raise TransientFailure("The moderation endpoint answered without a verdict.", "Try again later.")
    scores: dict[str, float] = {}
    reasons: set[str] = set()
    for item in results:
        reasons |= {str(name)[:60] for name, hit in _mapping(item.get("categories")).items() if hit is True}
        for name, score in _mapping(item.get("category_scores")).items():
            if isinstance(score, int | float) and math.isfinite(score):
                scores[str(name)[:60]] = max(scores.get(str(name)[:60], 0.0), min(float(score), 1.0))
    flagged = any(item["flagged"] for item in results) or bool(reasons)
    top = max(scores.values(), default=1.0 if flagged else 0.0)
    return Verdict(flagged=flagged, score=top, categories=scores, reasons=tuple(sorted(reasons)), source="openai")


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as ``retry-after-ms`` or ``Retry-After`` (RFC 9110, seconds or a date) tell; None if untold."""
    for name, divisor in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers.get(name, "")) / divisor
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    try:
        return max(email.utils.parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None


def model_of(document: Mapping[str, Any], asked: str) -> str:
    """The model the server says it used, or the one asked for."""
    told = document.get("model")
    return cut(clean(told), 100) if isinstance(told, str) and told.strip() else asked


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
