"""OpenAI, or any server with its API, as writer, judge and moderator.

The prompts belong in ``domain/writing/prompts.py``, the meaning of scores in ``domain/judging/judge.py``, sending a
request in ``openai_connection.py``, and what servers do differently in ``openai_compatibility.py``.
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
from threadjuice_dagster.domain.writing.costs import Meter, Prices, usage_of
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
    ModelRefused,
    OpenAIConnection,
    Rejected,
    UnknownThing,
)

if TYPE_CHECKING:
    import openai

SPARE_ASKS = 2
"""Further requests for unusable answers, for each story or verdict."""

_MODERATED_CHARACTERS = 20_000
_PICTURE_MODERATOR = "omni-moderation-latest"
_HARMLESS = "The kettle is on the stove."

TOKENS = {"Draft": 8_000, "JudgeAnswer": 2_000}
"""Most tokens of an answer of each shape. A story has about 2,500, a judge's answer 600."""

_PROBE_TOKENS = 500


class ModelReport(NamedTuple):
    """The result of a trial of the server: its requests a minute, the form of its answers, whether it moderates."""

    allowed: int | None
    form: str
    moderates: bool


class _ProbeAnswer(BaseModel):
    word: str = ""


class OpenAIResource(OpenAIConnection):
    """Writer, judge and moderator behind one key. Without a ``judge_model`` the writer's model judges."""

    judge_model: str = ""

    def write(self, thread: Thread, category: Category, persona: Persona, meter: Meter) -> tuple[Draft, str]:
        """Write a draft of the thread's story. Return it, and the model that wrote it.

        Raises ``ModelRefused``, ``BadAnswer``, ``ConfigurationError`` or, after its own retries, ``TransientFailure``.
        """
        return self._draft(prompts.write_messages(thread, category, persona), meter)

    def revise(
        self, thread: Thread, category: Category, persona: Persona, draft: Draft, findings: Sequence[str], meter: Meter
    ) -> tuple[Draft, str]:
        """Write ``draft`` again with every finding corrected. Returns and raises as ``write`` does."""
        return self._draft(prompts.revise_messages(thread, category, persona, draft, findings), meter)

    def judge(self, draft: Draft, thread: Thread, meter: Meter) -> JudgeVerdict:
        """Return the combined verdict of ``SAMPLES`` answers of the judge model."""
        model = self.judge_model or self.model
        return combine(*self._answers(prompts.judge_messages(draft, thread), JudgeAnswer, model, SAMPLES, meter))

    def moderate(self, text: str, meter: Meter) -> Verdict | None:
        """Return the moderation endpoint's verdict on a text, or None where the server has no such endpoint.

        Raises ``TransientFailure`` if there is no verdict: no text counts as clean unread.
        """
        slices = [text[at : at + _MODERATED_CHARACTERS] for at in range(0, len(text), _MODERATED_CHARACTERS)] or [" "]
        verdict = self._moderated(slices[0] if len(slices) == 1 else slices, meter)
        return None if verdict is None else read_verdict(verdict, len(slices))

    def moderate_picture(self, data: bytes, content_type: str, meter: Meter) -> Verdict | None:
        """Return the endpoint's verdict on a small picture, or None where the server takes no pictures."""
        if not learned_of(self.base_url).moderates:
            return None
        url = f"data:{content_type};base64,{base64.b64encode(data).decode()}"
        content: Any = [{"type": "image_url", "image_url": {"url": url}}]
        try:
            document = self._send(
                lambda api: api.moderations.with_raw_response.create(model=_PICTURE_MODERATOR, input=content), meter
            )
        except (UnknownThing, Rejected):
            return None
        return read_verdict(document, 1)

    @property
    def uses_next_key(self) -> bool:
        """Whether the current key was refused, so that the next one is used."""
        return bool(self._on_next)

    def check(self) -> ModelReport:
        """Try the server with small requests: its models, a completion, an answer by schema, a moderation.

        Requests are repeated only in another dialect. Raises as ``write`` does.
        """
        meter, once = (
            Meter(),
            self.model_copy(update={"attempts": 1, "limiter": BudgetOnlyLimiter(self.limiter)}),
        )
        allowed = once._models_are_there()
        messages = [{"role": "user", "content": 'Answer with the word "ready" and nothing else.'}]
        forms = []
        for model in dict.fromkeys((self.model, self.judge_model or self.model)):
            once._complete(messages, None, model, 1, _PROBE_TOKENS, meter)
            once._answers(messages, _ProbeAnswer, model, 1, meter)
            forms.append(learned_of(self.base_url).dialects[model].form)
        moderates = once.moderate(_HARMLESS, meter) is not None
        self._on_next = self._on_next or once._on_next
        return ModelReport(allowed, " and ".join(dict.fromkeys(forms)), moderates)

    def budget(self, today: Spent) -> Budget:
        """Return the day's budget. ``request_usd`` is the price of a story's dearest request without its thread."""
        judge, prices = self.judge_model or self.model, Prices(self.price_input, self.price_output)
        least = ((self.model, TOKENS["Draft"]), (judge, TOKENS["JudgeAnswer"] * SAMPLES))
        costs = [(model, prices.cost(model, self.base_url, 0, tokens)) for model, tokens in least]
        model, cost = max(costs, key=lambda priced: math.inf if priced[1] is None else priced[1])
        return Budget(
            daily_usd=getattr(self.limiter, "daily_budget_usd", 0.0),
            spent_usd=round(today.spent, 6),
            reserved_usd=round(today.reserved, 6),
            model=model,
            request_usd=cost,
        )

    def _models_are_there(self) -> int | None:
        """Return the requests a minute that the server allows, if it says so. Raises for a model that it lacks."""
        headers: dict[str, str] = {}
        for model in dict.fromkeys((self.model, self.judge_model or self.model)):

            def ask(api: "openai.OpenAI", model: str = model) -> Any:
                answer = api.models.with_raw_response.retrieve(model)
                headers.update(answer.headers)
                return answer

            outcome = self._attempt(ask)
            if isinstance(outcome, UnknownThing) and self._lacks(model, outcome):
                raise UnknownThing(f"{self._host} knows no model {model!r} (404).", outcome.next_step)
            if isinstance(outcome, ThreadJuiceError) and not isinstance(outcome, UnknownThing):
                raise outcome
        limit = headers.get("x-ratelimit-limit-requests", "")
        return int(limit) if limit.isdecimal() else None

    def _lacks(self, model: str, refusal: UnknownThing) -> bool:
        """Return whether the server lists other models but not this one. Some compatible servers list none."""
        answer = self._attempt(lambda api: api.models.with_raw_response.list())
        listed = answer.get("data") if isinstance(answer, dict) else None
        names = (
            [str(entry.get("id")) for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        )
        return model not in names if names else is_about_the_model(refusal.hint)

    def _moderated(self, text_or_slices: str | list[str], meter: Meter) -> dict[str, Any] | None:
        """Return the endpoint's answer, or None where there is none: then it refuses a harmless text as well."""
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
        """Return ``wanted`` usable answers and the model that gave them. Request unusable ones again, one by one."""
        answers: list[Answer] = []
        tokens = TOKENS.get(shape.__name__, _PROBE_TOKENS)
        problem: ThreadJuiceError = BadAnswer(f"{model} gave no answer.")
        for ask in range(wanted + SPARE_ASKS):
            document = self._complete(messages, shape, model, 1 if ask else wanted, tokens, meter)
            for outcome in read_answers(document, shape):
                if isinstance(outcome, ThreadJuiceError):
                    problem = outcome
                else:
                    answers.append(outcome)
            if len(answers) >= wanted:
                return answers[:wanted], cut(clean(str(document.get("model") or model)), 100)
            if not answers and (isinstance(problem, ModelRefused) or not self._speaks_otherwise(model, problem)):
                break
        raise problem

    def _speaks_otherwise(self, model: str, problem: ThreadJuiceError) -> bool:
        """Return whether to repeat a request after an unusable answer, with more tokens or the schema in the prompt."""
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
        """Return a completion with an answer in it, requested in a dialect that the server understands."""
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
                meter.add(usage_of(document, model, self.base_url, self._prices))
                return document


def _create(request: dict[str, Any], api: "openai.OpenAI") -> Any:
    return api.chat.completions.with_raw_response.create(**request)
