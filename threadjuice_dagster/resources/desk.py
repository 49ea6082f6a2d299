"""Who writes, judges and moderates a story: a model with the newsroom's safeguards, or nobody but the newsroom.

What a model is asked belongs in ``resources/openai.py``; what the numbers mean in ``domain/``.
"""

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence

import dagster as dg

from threadjuice_dagster.domain.judging import JudgeVerdict
from threadjuice_dagster.domain.moderation import Verdict
from threadjuice_dagster.domain.prompts import PROMPT_VERSION
from threadjuice_dagster.domain.stories import Category, Draft, Persona
from threadjuice_dagster.domain.threads import Thread
from threadjuice_dagster.failures import TransientFailure
from threadjuice_dagster.resources.openai import Meter, OpenAIResource

EXTRACTIVE = "extractive"
"""The writer's name under which stories composed from the thread's own words are stored and labelled."""

EXTRACTIVE_VERSION = "extractive-1"
"""Changes when the extractive writer composes differently."""


@dataclasses.dataclass(frozen=True)
class Material:
    """What a writer works from."""

    thread: Thread
    category: Category
    persona: Persona


@dataclasses.dataclass(frozen=True)
class Writing:
    """A draft and who wrote it; ``note`` tells the operator what was unusual about it."""

    draft: Draft
    writer: str
    model: str
    prompt_version: str
    note: str = ""


class Desk(dg.ConfigurableResource):
    """Writes and judges. Every call to a model is counted on the meter it is given."""

    @abstractmethod
    def write(self, material: Material, meter: Meter) -> Writing:
        """A first draft."""

    @abstractmethod
    def revise(
        self, material: Material, first: Writing, findings: Sequence[str], attempt: int, meter: Meter
    ) -> Writing:
        """The draft written again with every finding put right; ``attempt`` counts from 1."""

    @abstractmethod
    def judge(self, draft: Draft, thread: Thread, writer: str, meter: Meter) -> JudgeVerdict | None:
        """A model's verdict, or None where no model judges this writer's work."""

    @abstractmethod
    def moderate(self, text: str, writer: str, meter: Meter) -> Verdict:
        """Whether the text may be shown. Raises rather than guess."""


class ExtractiveDesk(Desk):
    """Composes from the thread's own words; judged by the rubric and the local moderator alone."""

    def write(self, material: Material, meter: Meter) -> Writing:
        """The extractive writer's story. Raises ``PermanentFailure`` if the thread is too thin."""
        return _extract(material, seed=0)

    def revise(
        self, material: Material, first: Writing, findings: Sequence[str], attempt: int, meter: Meter
    ) -> Writing:
        """Another composition of the same thread."""
        return _extract(material, seed=attempt, note=first.note)

    def judge(self, draft: Draft, thread: Thread, writer: str, meter: Meter) -> JudgeVerdict | None:
        """No model judges what no model wrote."""
        return None

    def moderate(self, text: str, writer: str, meter: Meter) -> Verdict:
        """The local moderator's verdict."""
        return _moderate_locally(text)


class ModelDesk(Desk):
    """A model writes, judges and moderates; the extractive writer steps in for an outage where that is allowed."""

    openai: dg.ResourceDependency[OpenAIResource]
    fallback: str = ""

    def write(self, material: Material, meter: Meter) -> Writing:
        """The model's story, or the extractive writer's, labelled as such, while the API is down."""
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
        """The draft revised by whoever wrote it."""
        if first.writer == EXTRACTIVE:
            return _extract(material, seed=attempt, note=first.note)
        thread, category, persona = material.thread, material.category, material.persona
        draft, model = self.openai.revise(thread, category, persona, first.draft, findings, meter)
        return Writing(draft, "openai", model, PROMPT_VERSION)

    def judge(self, draft: Draft, thread: Thread, writer: str, meter: Meter) -> JudgeVerdict | None:
        """The judge model's verdict on what a model wrote."""
        return None if writer == EXTRACTIVE else self.openai.judge(draft, thread, meter)

    def moderate(self, text: str, writer: str, meter: Meter) -> Verdict:
        """The stricter of the endpoint's and the local verdict; the local one where there is no endpoint.

        An extractive story was written because the API is down, so the API is not asked about it.
        """
        local = _moderate_locally(text)
        remote = None if writer == EXTRACTIVE else self.openai.moderate(text, meter)
        if remote is None:
            return local
        return Verdict(
            flagged=local.flagged or remote.flagged,
            score=max(local.score, remote.score),
            categories={**local.categories, **remote.categories},
            reasons=tuple(dict.fromkeys(local.reasons + remote.reasons)),
            source=f"{remote.source} and {local.source}",
        )


def _extract(material: Material, seed: int, note: str = "") -> Writing:
    from threadjuice_dagster.domain.extractive import compose

    draft = compose(material.thread, material.category, material.persona, seed)
    return Writing(draft, EXTRACTIVE, EXTRACTIVE, EXTRACTIVE_VERSION, note)


def _moderate_locally(text: str) -> Verdict:
    from threadjuice_dagster.domain.moderation import load_moderator

    return load_moderator().moderate(text)
