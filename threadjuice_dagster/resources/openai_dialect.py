"""How much of OpenAI's API a server understands, learned from what it refuses and remembered by the process.

Of each request that names what is refused, that one thing is left out or called by its other name; where nothing is
named, what compatible servers most often lack goes first. What is learned counts once a request has succeeded.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from threadjuice_dagster.domain.writing import prompts
from threadjuice_dagster.resources.openai_failures import Rejected, UnknownThing

Messages = list[dict[str, str]]

ROOMIER = 4
"""How many times the tokens a model gets that thinks before it answers, and had not enough."""

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
    """Whether a server says that it has no such model."""
    return bool(_NO_MODEL.search(hint))


@dataclasses.dataclass(frozen=True)
class Dialect:
    """Which form an answer is asked in, whether the schema is spelled out as well, and which parameters are sent."""

    form: Form = "json_schema"
    worded: bool = False
    several: bool = True
    limit: str = "max_completion_tokens"
    """What the bound of an answer's tokens is called; empty where the server takes none."""
    room: int = 1

    def request(
        self, model: str, messages: Sequence[dict[str, str]], shape: type[BaseModel] | None, wanted: int, tokens: int
    ) -> dict[str, Any]:
        """Arguments of a completion: ``wanted`` answers of this shape (None: any text) of at most so many tokens."""
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
        """How to say the refused request otherwise; None if the refusal is not about how it was said."""
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
        if "n" in sent and (_SEVERAL.search(hint) or "response_format" not in sent):
            return dataclasses.replace(self, several=False)
        if "response_format" in sent:
            return dataclasses.replace(self, form=_WEAKER[self.form])
        return dataclasses.replace(self, limit=_OTHER_NAME[self.limit]) if self.limit else None


@dataclasses.dataclass
class Learned:
    """What this process knows of one server: the dialect for each model, and whether it moderates."""

    dialects: dict[str, Dialect] = dataclasses.field(default_factory=dict)
    moderates: bool = True


@functools.cache
def learned_of(base_url: str) -> Learned:
    """What was learned of the server at this address, to be added to."""
    return Learned()
