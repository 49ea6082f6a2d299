"""OpenAI, or any server that speaks its API: writing, judging and moderating, with limits and metering.

What a model is told belongs in ``domain/writing/prompts.py``, what its scores mean in ``domain/judging/judge.py``, how
a request is sent in ``openai_connection.py``.
"""

import base64
import dataclasses
import functools
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel

from threadjuice_dagster.domain.judging.judge import SAMPLES, JudgeAnswer, JudgeVerdict, combine
from threadjuice_dagster.domain.judging.moderation import Verdict
from threadjuice_dagster.domain.language.text import clean, cut
from threadjuice_dagster.domain.story.stories import Category, Draft, Persona
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing import prompts
from threadjuice_dagster.domain.writing.budget import Budget, Spent
from threadjuice_dagster.domain.writing.costs import Meter, Prices, spent
from threadjuice_dagster.failures import ThreadJuiceError
from threadjuice_dagster.resources.openai_compatibility import (
    ROOMIER,
    Answer,
    BadAnswer,
    CutOff,
    Dialect,
    Messages,
    is_about_the_model,
    learned_of,
    read_answers,
    read_verdict,
    unanswered,
)
from threadjuice_dagster.resources.openai_connection import (
    BudgetOnlyLimiter,
    OpenAIConnection,
    Refused,
    Rejected,
    UnknownThing,
)

if TYPE_CHECKING:
    import openai

SPARE_ASKS = 2
"""Further requests for answers that came back unusable, per story or verdict."""

_MODERATED_CHARACTERS = 20_000
_PICTURE_MODERATOR = "omni-moderation-latest"
_HARMLESS = "The kettle is on the stove."

TOKENS = {"Draft": 8_000, "JudgeAnswer": 2_000}
"""Tokens an answer of each shape may take; a story has about 2,500, a judge's answer 600."""

_PROBE_TOKENS = 500


class ModelReport(NamedTuple):
    """What a trial of the server found: requests a minute it allows, the form of its answers, whether it moderates."""

    allowed: int | None
    form: str
    moderates: bool


class _ProbeAnswer(BaseModel):
    word: str = ""


class OpenAIResource(OpenAIConnection):
    """Writer, judge and moderator behind one key."""

    judge_model: str = ""

    def write(self, thread: Thread, category: Category, persona: Persona, meter: Meter) -> tuple[Draft, str]:
        """A draft of the thread's story and the model that wrote it.

        Raises ``Refused``, ``BadAnswer``, ``ConfigurationError`` or, after its own retries, ``TransientFailure``.
        """
        return self._draft(prompts.write_messages(thread, category, persona), meter)

    def revise(
        self, thread: Thread, category: Category, persona: Persona, draft: Draft, findings: Sequence[str], meter: Meter
    ) -> tuple[Draft, str]:
        """``draft`` written again with every finding put right; otherwise as ``write``."""
        return self._draft(prompts.revise_messages(thread, category, persona, draft, findings), meter)

    def judge(self, draft: Draft, thread: Thread, meter: Meter) -> JudgeVerdict:
        """The verdict of ``SAMPLES`` answers of the judge model (the writer's, if none is named)."""
        model = self.judge_model or self.model
        return combine(*self._answers(prompts.judge_messages(draft, thread), JudgeAnswer, model, SAMPLES, meter))

    def moderate(self, text: str, meter: Meter) -> Verdict | None:
        """The moderation endpoint's verdict on ``text``, or None where the server has no such endpoint.

        Raises ``TransientFailure`` when no verdict can be had: nothing counts as clean unread.
        """
        slices = [text[at : at + _MODERATED_CHARACTERS] for at in range(0, len(text), _MODERATED_CHARACTERS)] or [" "]
        verdict = self._moderated(slices[0] if len(slices) == 1 else slices, meter)
        return None if verdict is None else read_verdict(verdict, len(slices))

    def moderate_picture(self, data: bytes, content_type: str, meter: Meter) -> Verdict | None:
        """The endpoint's verdict on a small picture, or None where the server does not look at pictures."""
        if not learned_of(self.base_url).moderates:
            return None
        url = f"data:{content_type};base64,{base64.b64encode(data).decode()}"
        asked: Any = [{"type": "image_url", "image_url": {"url": url}}]
        try:
            document = self._send(
                lambda api: api.moderations.with_raw_response.create(model=_PICTURE_MODERATOR, input=asked), meter
            )
        except (UnknownThing, Rejected):
            return None
        return read_verdict(document, 1)

    @property
    def uses_next_key(self) -> bool:
        """Whether the key in use was refused, and the one to come is used instead."""
        return bool(self._on_next)

    def check(self) -> ModelReport:
        """Try the server with one small request each: its models, a completion, an answer by schema, a moderation.

        Nothing is tried again but in another dialect. Raises as ``write`` does.
        """
        meter, once = (
            Meter(),
            self.model_copy(update={"attempts": 1, "limiter": BudgetOnlyLimiter(self.limiter)}),
        )
        allowed = once._models_are_there()
        asked = [{"role": "user", "content": 'Answer with the word "ready" and nothing else.'}]
        forms = []
        for model in dict.fromkeys((self.model, self.judge_model or self.model)):
            once._complete(asked, None, model, 1, _PROBE_TOKENS, meter)
            once._answers(asked, _ProbeAnswer, model, 1, meter)
            forms.append(learned_of(self.base_url).dialects[model].form)
        moderates = once.moderate(_HARMLESS, meter) is not None
        self._on_next = self._on_next or once._on_next
        return ModelReport(allowed, " and ".join(dict.fromkeys(forms)), moderates)

    def budget(self, today: Spent) -> Budget:
        """The day's budget, with what a story's dearest request costs before a word of its thread is counted."""
        judge, prices = self.judge_model or self.model, Prices(self.price_input, self.price_output)
        least = ((self.model, TOKENS["Draft"]), (judge, TOKENS["JudgeAnswer"] * SAMPLES))
        costs = [(model, prices.cost(model, self.base_url, 0, tokens)) for model, tokens in least]
        model, cost = max(costs, key=lambda one: math.inf if one[1] is None else one[1])
        return Budget(
            daily_usd=getattr(self.limiter, "daily_budget_usd", 0.0),
            spent_usd=round(today.spent, 6),
            reserved_usd=round(today.reserved, 6),
            model=model,
            request_usd=cost,
        )

    def _models_are_there(self) -> int | None:
        """The requests a minute the server allows, where it tells. Raises for a model it does not have."""
        headers: dict[str, str] = {}
        for model in dict.fromkeys((self.model, self.judge_model or self.model)):

            def ask(api: "openai.OpenAI", model: str = model) -> Any:
                answer = api.models.with_raw_response.retrieve(model)
                headers.update(answer.headers)
                return answer

            found = self._attempt(ask)
            if isinstance(found, UnknownThing) and self._lacks(model, found):
                raise UnknownThing(f"{self._host} knows no model {model!r} (404).", found.next_step)
            if isinstance(found, ThreadJuiceError) and not isinstance(found, UnknownThing):
                raise found
        told = headers.get("x-ratelimit-limit-requests", "")
        return int(told) if told.isdecimal() else None

    def _lacks(self, model: str, refusal: UnknownThing) -> bool:
        """Whether a server that could not be asked for a model lists others; some compatible ones list none."""
        found = self._attempt(lambda api: api.models.with_raw_response.list())
        listed = found.get("data") if isinstance(found, dict) else None
        names = [str(one.get("id")) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        return model not in names if names else is_about_the_model(refusal.hint)

    def _moderated(self, text_or_slices: str | list[str], meter: Meter) -> dict[str, Any] | None:
        """The endpoint's answer; None where there is no endpoint, which is told by its refusing a harmless text too."""
        learned = learned_of(self.base_url)
        if not learned.moderates:
            return None
        try:
            return self._send(lambda api: api.moderations.with_raw_response.create(input=text_or_slices), meter)
        except UnknownThing:
            learned.moderates = False
        except Rejected:
            if text_or_slices != _HARMLESS and self._moderated(_HARMLESS, meter) is not None:
                raise
            learned.moderates = False
        return None

    def _draft(self, messages: Messages, meter: Meter) -> tuple[Draft, str]:
        (draft,), model = self._answers(messages, Draft, self.model, 1, meter)
        return draft, model

    def _answers(
        self, messages: Messages, shape: type[Answer], model: str, wanted: int, meter: Meter
    ) -> tuple[list[Answer], str]:
        """So many usable answers and the model that gave them; unusable ones are asked for again, one at a time."""
        found: list[Answer] = []
        tokens = TOKENS.get(shape.__name__, _PROBE_TOKENS)
        problem: ThreadJuiceError = BadAnswer(f"{model} gave no answer.")
        for ask in range(wanted + SPARE_ASKS):
            document = self._complete(messages, shape, model, 1 if ask else wanted, tokens, meter)
            for outcome in read_answers(document, shape):
                if isinstance(outcome, ThreadJuiceError):
                    problem = outcome
                else:
                    found.append(outcome)
            if len(found) >= wanted:
                return found[:wanted], cut(clean(str(document.get("model") or model)), 100)
            if not found and (isinstance(problem, Refused) or not self._speaks_otherwise(model, problem)):
                break
        raise problem

    def _speaks_otherwise(self, model: str, problem: ThreadJuiceError) -> bool:
        """Whether to ask again after an unusable answer: with more room, or with the schema spelled out."""
        dialects = learned_of(self.base_url).dialects
        if isinstance(problem, CutOff):
            if dialects[model].room > 1:
                return False
            dialects[model] = dataclasses.replace(dialects[model], room=ROOMIER)
        elif isinstance(problem, BadAnswer):
            dialects[model] = dataclasses.replace(dialects[model], worded=True)
        return True

    def _complete(
        self, messages: Messages, shape: type[BaseModel] | None, model: str, wanted: int, tokens: int, meter: Meter
    ) -> dict[str, Any]:
        """A completion with an answer in it, asked for in whatever dialect the server understands."""
        dialects = learned_of(self.base_url).dialects
        dialect = dialects.get(model, Dialect())
        while True:
            request = dialect.request(model, messages, shape, wanted, tokens)
            try:
                bounds = (model, len(json.dumps(request).encode()), tokens * dialect.room * request.get("n", 1))
                document = self._send(functools.partial(_create, request), meter, unanswered, bounds)
            except (Rejected, UnknownThing) as refusal:
                other = dialect.without(refusal, request)
                if other is None:
                    raise
                dialect = other
            else:
                if len(document["choices"]) < request.get("n", 1):
                    dialect = dataclasses.replace(dialect, several=False)
                dialects[model] = dialect
                meter.add(spent(document, model, self.base_url, self._prices))
                return document


def _create(request: dict[str, Any], api: "openai.OpenAI") -> Any:
    return api.chat.completions.with_raw_response.create(**request)
