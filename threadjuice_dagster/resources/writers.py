"""The writers: a model with the newsroom's safeguards, or the extractive writer, which needs no model.

Requests to a model belong in ``resources/openai.py``, the meaning of scores in ``domain/judging``.
"""

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence

import dagster as dg

from threadjuice_dagster.domain.judging.judge import JudgeVerdict
from threadjuice_dagster.domain.judging.moderation import Verdict, load_moderator
from threadjuice_dagster.domain.judging.screening import screen
from threadjuice_dagster.domain.story.stories import EXTRACTIVE, MANUAL, Category, Draft, Persona
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing.budget import Budget, Spent
from threadjuice_dagster.domain.writing.costs import Meter
from threadjuice_dagster.domain.writing.prompts import PROMPT_VERSION
from threadjuice_dagster.failures import TransientFailure
from threadjuice_dagster.resources.openai import OpenAIResource
from threadjuice_dagster.resources.openai_connection import SERVICE

SCREENED_CHARACTERS = 20_000
"""Characters of a thread that the moderation endpoint sees before a story is written, in one request."""

EXTRACTIVE_VERSION = "extractive-3"
"""Changes when the extractive writer composes differently."""


@dataclasses.dataclass(frozen=True)
class Material:
    """What a writer works from."""

    thread: Thread
    category: Category
    persona: Persona


@dataclasses.dataclass(frozen=True)
class Writing:
    """A draft and who wrote it. ``note`` tells the operator what was unusual."""

    draft: Draft
    writer: str
    model: str
    prompt_version: str
    note: str = ""


class Writer(dg.ConfigurableResource):
    """Writes, judges and moderates. Each call to a model is counted on the given meter."""

    def budget(self, today: Spent) -> Budget:
        """Return the day's budget; without a model there is none."""
        return Budget(daily_usd=0.0, spent_usd=today.spent)

    @property
    def needed_service(self) -> str:
        """The outside service without which no story is written, or an empty text."""
        return ""

    @abstractmethod
    def write(self, material: Material, meter: Meter) -> Writing:
        """Write a first draft."""

    @abstractmethod
    def revise(
        self, material: Material, first: Writing, findings: Sequence[str], attempt: int, meter: Meter
    ) -> Writing:
        """Write the draft again with every finding corrected. ``attempt`` counts from 1."""

    @abstractmethod
    def judge(self, draft: Draft, thread: Thread, writer: str, meter: Meter) -> JudgeVerdict | None:
        """Return a model's verdict, or None where no model judges this writer's work."""

    @abstractmethod
    def moderate(self, text: str, writer: str, meter: Meter, category: str = "") -> Verdict:
        """Return whether the text may be shown in a category (its slug). Raises where there is no verdict."""

    @abstractmethod
    def screen(self, thread: Thread, category: str, meter: Meter) -> tuple[Thread, Verdict]:
        """Return the thread without flagged comments, and whether it may become a story."""

    @abstractmethod
    def inspect(self, data: bytes, content_type: str, meter: Meter) -> Verdict | None:
        """Return whether a small picture may be shown, or None where nothing can judge pictures."""


class ExtractiveWriter(Writer):
    """Composes stories of the thread's own words, judged by the rubric and the local moderator only."""

    def write(self, material: Material, meter: Meter) -> Writing:
        """Compose a story. Raises ``PermanentFailure`` if the thread is too thin."""
        return _extract(material, seed=0)

    def revise(
        self, material: Material, first: Writing, findings: Sequence[str], attempt: int, meter: Meter
    ) -> Writing:
        """Compose the same thread differently."""
        return _extract(material, seed=attempt, note=first.note)

    def judge(self, draft: Draft, thread: Thread, writer: str, meter: Meter) -> JudgeVerdict | None:
        """Return None: no model judges what no model wrote."""
        return None

    def moderate(self, text: str, writer: str, meter: Meter, category: str = "") -> Verdict:
        """Return the local moderator's verdict."""
        return load_moderator().moderate(text, category)

    def screen(self, thread: Thread, category: str, meter: Meter) -> tuple[Thread, Verdict]:
        """Return the local moderator's verdict."""
        return screen(thread, category)

    def inspect(self, data: bytes, content_type: str, meter: Meter) -> Verdict | None:
        """Return None: nothing here can judge pictures."""
        return None


class OpenAIWriter(Writer):
    """A model writes, judges and moderates. In an outage the extractive writer may replace it (``fallback``)."""

    openai: dg.ResourceDependency[OpenAIResource]
    fallback: str = ""

    def budget(self, today: Spent) -> Budget:
        """Return the budget of the model's requests."""
        return self.openai.budget(today)

    @property
    def needed_service(self) -> str:
        """The model, unless the extractive writer steps in for it."""
        return "" if self.fallback else SERVICE

    def write(self, material: Material, meter: Meter) -> Writing:
        """Return the model's story, or while the API is down the extractive writer's, labelled as such."""
        try:
            draft, model = self.openai.write(material.thread, material.category, material.persona, meter)
        except TransientFailure as failure:
            if self.fallback != EXTRACTIVE:
                raise
            return _extract(material, seed=0, note=f"Written without a model: {failure.message}")
        return Writing(draft, "openai", model, PROMPT_VERSION)

    def revise(
        self, material: Material, first: Writing, findings: Sequence[str], attempt: int, meter: Meter
    ) -> Writing:
        """Let the writer of the draft revise it."""
        if first.writer == EXTRACTIVE:
            return _extract(material, seed=attempt, note=first.note)
        thread, category, persona = material.thread, material.category, material.persona
        draft, model = self.openai.revise(thread, category, persona, first.draft, findings, meter)
        return Writing(draft, "openai", model, PROMPT_VERSION)

    def judge(self, draft: Draft, thread: Thread, writer: str, meter: Meter) -> JudgeVerdict | None:
        """Return the judge model's verdict on what a model wrote."""
        return None if writer in (EXTRACTIVE, MANUAL) else self.openai.judge(draft, thread, meter)

    def moderate(self, text: str, writer: str, meter: Meter, category: str = "") -> Verdict:
        """Return the stricter of the endpoint's and the local verdict, or the local one where there is no endpoint.

        Extractive and manual stories exist because the API is down, so the endpoint is not called for them.
        """
        local = load_moderator().moderate(text, category)
        return (
            local if writer in (EXTRACTIVE, MANUAL) else _stricter(local, self.openai.moderate(text, meter), category)
        )

    def screen(self, thread: Thread, category: str, meter: Meter) -> tuple[Thread, Verdict]:
        """Return the stricter verdict, or the local one in an outage if ``fallback`` allows the extractive writer."""
        kept, local = screen(thread, category)
        if local.flagged:
            return kept, local
        try:
            # The local verdict comes first: it costs nothing, and a flagged thread needs no request.
            remote = self.openai.moderate("\n\n".join(kept.texts)[:SCREENED_CHARACTERS], meter)
        except TransientFailure as failure:
            if self.fallback != EXTRACTIVE:
                raise
            return kept, local.model_copy(update={"source": f"{local.source}, without the endpoint: {failure.message}"})
        return kept, _stricter(local, remote, category)

    def inspect(self, data: bytes, content_type: str, meter: Meter) -> Verdict | None:
        """Return the endpoint's verdict on the picture."""
        return self.openai.moderate_picture(data, content_type, meter)


def _extract(material: Material, seed: int, note: str = "") -> Writing:
    from threadjuice_dagster.domain.writing.extractive import compose

    draft = compose(material.thread, material.category, material.persona, seed)
    return Writing(draft, EXTRACTIVE, EXTRACTIVE, EXTRACTIVE_VERSION, note)


def _stricter(local: Verdict, remote: Verdict | None, category: str) -> Verdict:
    """Combine both verdicts. The endpoint's scores are compared with the thresholds of the category."""
    if remote is None:
        return local
    over = load_moderator().decide(remote.categories, category, remote.reasons)
    unexplained = remote.flagged and not remote.reasons
    return Verdict(
        flagged=local.flagged or bool(over) or unexplained,
        score=max(local.score, remote.score),
        categories={**local.categories, **remote.categories},
        reasons=tuple(dict.fromkeys((*local.reasons, *over))),
        source=f"{remote.source} and {local.source}",
    )
