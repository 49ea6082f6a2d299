"""Reading what an OpenAI-compatible server answered: choices, moderation results, waiting times.

Nothing here sends anything or trusts anything: each part may be missing, cut off or of the wrong kind.
"""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from threadjuice_dagster.domain.moderation import Verdict
from threadjuice_dagster.domain.text import clean, cut
from threadjuice_dagster.failures import PermanentFailure, TransientFailure, Unsuitable
from threadjuice_dagster.resources.http import retry_after

_MAX_ANSWER = 200_000

Answer = TypeVar("Answer", bound=BaseModel)


class Refused(Unsuitable):
    """The model declined to answer; the message carries its reason."""


class BadAnswer(Unsuitable):
    """The model answered, and asked again still did not answer in the agreed shape."""


def read_answers(document: Mapping[str, Any], shape: type[Answer]) -> Iterator[Answer | PermanentFailure]:
    """Every choice of a completion in its agreed shape, or why it has none."""
    choices = document.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        message = choice.get("message") if isinstance(choice, Mapping) else None
        if not isinstance(message, Mapping):
            yield BadAnswer("The model's answer holds no message.")
        elif message.get("refusal"):
            yield Refused(f"The model declined: {cut(clean(str(message['refusal'])), 200)}")
        elif choice.get("finish_reason") in ("length", "content_filter"):
            yield BadAnswer(f"The model's answer was cut off ({choice['finish_reason']}).")
        else:
            yield _parsed(str(message.get("content")), shape)


def _parsed(text: str, shape: type[Answer]) -> Answer | BadAnswer:
    # From the first brace to the last: a fence or a word around the object does no harm.
    text = text[max(text.find("{"), 0) : text.rfind("}") + 1][:_MAX_ANSWER]
    try:
        return shape.model_validate(json.loads(text, object_hook=_without_nulls))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = cut(".".join(str(part) for part in first["loc"]), 80)
        return BadAnswer(f"The model's answer misses its schema at {place or 'the top'} ({first['type']}).")
    except (ValueError, RecursionError):
        return BadAnswer("The model's answer is not complete JSON.")


def _without_nulls(pairs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in pairs.items() if value is not None}


def read_verdict(document: Mapping[str, Any], slices: int) -> Verdict:
    """The strictest reading of all results; an answer in any other shape counts as an outage."""
    results = document.get("results")
    if not isinstance(results, list) or len(results) < slices or not all(map(_is_result, results)):
        raise TransientFailure("The moderation endpoint answered without a verdict.", "Try again later.")
    scores: dict[str, float] = {}
    reasons: set[str] = set()
    for result in results:
        reasons |= {name[:60] for name, hit in (result.get("categories") or {}).items() if hit is True}
        for name, score in (result.get("category_scores") or {}).items():
            if isinstance(score, int | float) and math.isfinite(score):
                scores[name[:60]] = max(scores.get(name[:60], 0.0), min(float(score), 1.0))
    flagged = any(result["flagged"] for result in results) or bool(reasons)
    top = max(scores.values(), default=1.0 if flagged else 0.0)
    return Verdict(flagged=flagged, score=top, categories=scores, reasons=tuple(sorted(reasons)), source="openai")


def _is_result(result: Any) -> bool:
    if not isinstance(result, Mapping) or not isinstance(result.get("flagged"), bool):
        return False
    return all(isinstance(result.get(part) or {}, Mapping) for part in ("categories", "category_scores"))


def waiting(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as ``retry-after-ms`` or ``Retry-After`` tell; None if untold."""
    milliseconds = headers.get("retry-after-ms", "")
    if milliseconds.isdecimal():
        return float(milliseconds[:12]) / 1000
    return retry_after(headers.get("retry-after", ""), datetime.now(UTC))
