"""What OpenAI-compatible servers do differently: the dialect of requests that each understands, and reading answers.

A server's dialect is learned from its refusals and kept for the process: what a refusal names is left out or renamed,
and where it names nothing, what compatible servers most often lack goes first. Answers are read without trust: each
part may be missing, truncated, wrapped or of the wrong type.
"""

import dataclasses
import functools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from threadjuice_dagster.domain.judging.moderation import Verdict
from threadjuice_dagster.domain.language.text import clean, cut
from threadjuice_dagster.domain.writing import prompts
from threadjuice_dagster.failures import ThreadJuiceError, TransientFailure, Unsuitable
from threadjuice_dagster.resources.openai_connection import (
    Complaint,
    ModelRefused,
    Rejected,
    UnknownThing,
    complaint_in,
)

_MAX_ANSWER = 200_000
_MOST_STARTS = 50
"""Most braces that are tried as the start of an object. Each costs a pass over the whole answer."""
_DEEPEST = 4

_CUT_OFF = ("length", "max_tokens", "model_length")
_FILTERED = ("content_filter", "safety", "recitation", "blocklist", "prohibited_content")
_BROKEN = ("error", "network_error")
_THINKING = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_THOUGHT = re.compile(r".*</(?:think|thinking|reasoning)>", re.DOTALL | re.IGNORECASE)
_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)

Answer = TypeVar("Answer", bound=BaseModel)


class BadAnswer(Unsuitable):
    """The model did not answer in the agreed shape, even when asked again."""


class CutOff(TransientFailure):
    """The answer was cut off at a limit of tokens."""

    def __init__(self) -> None:
        super().__init__(
            "The model's answer was cut off at its limit of tokens.",
            "Raise the server's limit of tokens or its context, or set OPENAI_MODEL to a model with more room.",
            exhausted=True,
        )


def unanswered(document: Any) -> Complaint | None:
    """Return the error of a completion without a readable answer, or None if it has one."""
    fields = document if isinstance(document, Mapping) else {}
    choices = [choice for choice in _listed(fields.get("choices")) if isinstance(choice, Mapping)]
    if any(_is_answered(choice) for choice in choices):
        return None
    complaints = [complaint_in(document), *map(complaint_in, choices)]
    return next(filter(None, complaints), Complaint(200, "", ""))


def read_answers(document: Mapping[str, Any], shape: type[Answer]) -> Iterator[Answer | ThreadJuiceError]:
    """Yield each choice of a completion in the agreed shape, or the failure to read it."""
    for choice in _listed(document.get("choices")):
        if not isinstance(choice, Mapping) or _reason(choice) in _BROKEN:
            yield BadAnswer("One of the model's answers broke off.")
            continue
        message = _message(choice)
        outcome: Answer | ThreadJuiceError = BadAnswer("The model's answer holds no text.")
        for text in _texts(message):
            outcome = _parsed(text, shape)
            if not isinstance(outcome, BadAnswer):
                break
        if message.get("refusal"):
            yield ModelRefused(f"The model declined: {cut(clean(str(message['refusal'])), 200)}")
        elif _reason(choice) in _FILTERED:
            yield ModelRefused(f"The server's content filter stopped the answer ({_reason(choice)}).")
        elif isinstance(outcome, BadAnswer) and _reason(choice) in _CUT_OFF:
            yield CutOff()
        else:
            yield outcome


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _reason(choice: Mapping[str, Any]) -> str:
    return str(choice.get("finish_reason") or "").lower()


def _message(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    message = choice.get("message")
    return message if isinstance(message, Mapping) else {"content": choice.get("text")}


def _is_answered(choice: Mapping[str, Any]) -> bool:
    if _reason(choice) in _BROKEN or choice.get("error"):
        return False
    message = _message(choice)
    ended_early = _reason(choice) in (*_CUT_OFF, *_FILTERED)
    return ended_early or bool(message.get("refusal")) or any(text.strip() for text in _texts(message))


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts that may hold the answer, the likeliest first. Reasoning models may leave the content empty."""
    yield _text(message.get("content"))
    for call in _listed(message.get("tool_calls")):
        function = call.get("function") if isinstance(call, Mapping) else None
        yield _text(function.get("arguments")) if isinstance(function, Mapping) else ""
    for name in ("reasoning_content", "reasoning"):
        yield _text(message.get(name))


def _text(content: Any) -> str:
    """Return content as one text. It may be a text, an object, or a list of parts, some of which are thoughts."""
    if isinstance(content, Mapping):
        return json.dumps(content)
    parts = [part for part in _listed(content) if isinstance(part, Mapping) and part.get("text")]
    texts = [str(part["text"]) for part in parts if part.get("type") in (None, "text", "output_text")]
    return content if isinstance(content, str) else "".join(texts)


def _parsed(text: str, shape: type[Answer]) -> Answer | BadAnswer:
    """Return the last object in a text that fits the shape: a model may draft one while it thinks aloud."""
    problem: BadAnswer | None = None
    answer: Answer | None = None
    for document in _documents(text[:_MAX_ANSWER]):
        for candidate in _unwrapped(document):
            try:
                answer = shape.model_validate(candidate)
                break
            except ValidationError as error:
                first = error.errors(include_input=False, include_url=False)[0]
                place = cut(".".join(str(part) for part in first["loc"]), 80) or "the top"
                problem = problem or BadAnswer(f"The model's answer misses its schema at {place} ({first['type']}).")
    return answer or problem or BadAnswer("The model's answer is not complete JSON.")


def _documents(text: str) -> Iterator[Any]:
    """Yield each JSON object in a text, or the one value that the text is. Other text is skipped."""
    # Some servers put a byte order mark before the JSON.
    text = text.replace("\ufeff", "").strip()
    if not text.startswith("{"):
        text = _THOUGHT.sub("", _THINKING.sub("", text)).strip()
    if text.startswith(('"', "[")) and (whole := _decoded(text, 0)):
        yield whole[0]
        return
    start, tries = text.find("{"), 0
    while start >= 0 and tries < _MOST_STARTS:
        tries += 1
        decoded = _decoded(text, start) or _decoded(f"{' ' * start}{_COMMA.sub(_keep_strings, text[start:])}", start)
        if decoded:
            yield decoded[0]
        start = text.find("{", decoded[1] if decoded else start + 1)


def _keep_strings(match: "re.Match[str]") -> str:
    return match[1] or " "


def _decoded(text: str, start: int) -> tuple[Any, int] | None:
    """Return the JSON value that begins at ``start``, and its end. Strings may contain line breaks."""
    try:
        return _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None


def _without_nulls(pairs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in pairs.items() if value is not None}


_DECODER = json.JSONDecoder(strict=False, object_hook=_without_nulls)


def _unwrapped(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield an object, then the objects inside it: under a key, in a list, or in a text that holds JSON."""
    if isinstance(value, dict):
        yield value
    if depth == _DEEPEST:
        return
    if isinstance(value, str) and "{" in value:
        inner: list[Any] = list(_documents(value))
    else:
        inner = list(value.values()) if isinstance(value, dict) else _listed(value)
    for value in inner[:20]:
        if isinstance(value, dict | list) or (isinstance(value, str) and value.lstrip()[:1] in ("{", '"', "[")):
            yield from _unwrapped(value, depth + 1)


def read_verdict(document: Mapping[str, Any], slices: int) -> Verdict:
    """Return the strictest reading of all results. Raises ``TransientFailure`` for an answer of another shape."""
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
    flagged = any(result.get("flagged") for result in results) or bool(reasons)
    top = max(scores.values(), default=1.0 if flagged else 0.0)
    return Verdict(flagged=flagged, score=top, categories=scores, reasons=tuple(sorted(reasons)), source="openai")


def _is_result(result: Any) -> bool:
    """Return whether this is a verdict. Mistral's has no ``flagged``, but categories with scores."""
    if not isinstance(result, Mapping):
        return False
    parts = [result.get("categories") or {}, result.get("category_scores") or {}]
    has_verdict = isinstance(result.get("flagged"), bool) or ("flagged" not in result and all(parts))
    return has_verdict and all(isinstance(part, Mapping) for part in parts)


Messages = list[dict[str, str]]

ROOMIER = 4
"""How many times the tokens a reasoning model gets after its answer was cut off."""

_CONTEXT = re.compile(r"context.?length|context.?window|string_above_max|prompt is too long")
_LIMIT = re.compile(r"max_(?:completion_)?tokens|in the completion|completion tokens")
_SHAPE = re.compile(r"response.?format|json_schema|json_object|structured|grammar|\bschema\b")
_SEVERAL = re.compile(
    r"(?:^|['\"`\[( ])n(?:['\"`\])]| must| should| is | > | = )|best_of|number of (?:choices|completions)"
)
_NO_MODEL = re.compile(r"model_not_found|no models? loaded|model.{0,100}(?:not found|not exist|not loaded)")
_NO_ENDPOINT = re.compile(r"unexpected endpoint|invalid url")

Form = Literal["json_schema", "json_object", "text"]
_WEAKER: dict[Form, Form] = {"json_schema": "json_object", "json_object": "text"}
_OTHER_NAME = {"max_completion_tokens": "max_tokens", "max_tokens": ""}


def is_about_the_model(hint: str) -> bool:
    """Return whether a server says that it has no such model."""
    return bool(_NO_MODEL.search(hint))


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a server takes requests: the form of answers, whether the prompt repeats the schema, and the parameters."""

    form: Form = "json_schema"
    worded: bool = False
    several: bool = True
    limit: str = "max_completion_tokens"
    """The name of the parameter that bounds an answer's tokens, or empty where the server takes none."""
    room: int = 1

    def request(
        self, model: str, messages: Sequence[dict[str, str]], shape: type[BaseModel] | None, wanted: int, tokens: int
    ) -> dict[str, Any]:
        """Return the arguments of a completion: ``wanted`` answers of a shape (None: any text) within ``tokens``."""
        request: dict[str, Any] = {"model": model, "messages": list(messages)}
        if shape:
            schema = prompts.strict_schema(shape)
            if self.form == "json_schema":
                named = {"name": shape.__name__, "strict": True, "schema": schema}
                request["response_format"] = {"type": "json_schema", "json_schema": named}
            elif self.form == "json_object":
                request["response_format"] = {"type": "json_object"}
            if self.worded or self.form != "json_schema":
                request["messages"] = prompts.with_schema(messages, schema)
        if wanted > 1 and self.several:
            request["n"] = wanted
        if self.limit:
            request[self.limit] = tokens * self.room
        return request

    def without(self, refusal: Rejected | UnknownThing, request: dict[str, Any]) -> "Dialect | None":
        """Return the dialect to try after a refusal, or None if the refusal is not about the dialect."""
        hint, sent = refusal.hint, request.keys()
        if is_about_the_model(hint) or _NO_ENDPOINT.search(hint):
            return None
        if self.limit and _LIMIT.search(hint):
            other = _OTHER_NAME[self.limit] if "too large" not in hint and not _CONTEXT.search(hint) else ""
            return dataclasses.replace(self, limit=other)
        if _CONTEXT.search(hint):
            return None
        if "response_format" in sent and _SHAPE.search(hint):
            return dataclasses.replace(self, form=_WEAKER[self.form])
        # A refusal that names nothing: several answers at once are what servers most often lack.
        if "n" in sent and (_SEVERAL.search(hint) or "response_format" not in sent):
            return dataclasses.replace(self, several=False)
        if "response_format" in sent:
            return dataclasses.replace(self, form=_WEAKER[self.form])
        return dataclasses.replace(self, limit=_OTHER_NAME[self.limit]) if self.limit else None


@dataclasses.dataclass
class Learned:
    """What this process has learned of one server: the dialect for each model, and whether it moderates."""

    dialects: dict[str, Dialect] = dataclasses.field(default_factory=dict)
    moderates: bool = True


@functools.cache
def learned_of(base_url: str) -> Learned:
    """Return what was learned of the server at this address. Callers add to it."""
    return Learned()
