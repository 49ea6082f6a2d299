"""The assessment of a story: everything the gates on its text go by, found in one place.

The asset, the bulk validation, the trial of a writer before a deployment and ``content check`` all call ``assess``.
What the gates make of an assessment is decided in ``domain/judging/verdicts.py``. Looking up similar stories, asking a
judge and asking a moderation service belong to the callers.
"""

from collections.abc import Iterable

from threadjuice_dagster.domain.judging.grounding import Grounding, ground
from threadjuice_dagster.domain.judging.judge import JudgeVerdict
from threadjuice_dagster.domain.judging.moderation import Verdict, load_moderator
from threadjuice_dagster.domain.judging.originality import Neighbour, originality_problem
from threadjuice_dagster.domain.judging.rubric import rate
from threadjuice_dagster.domain.judging.screening import screen
from threadjuice_dagster.domain.judging.verdicts import Assessment, overall_score
from threadjuice_dagster.domain.story.stories import EXTRACTIVE, Draft
from threadjuice_dagster.domain.story.threads import Thread


def assess(
    draft: Draft,
    thread: Thread | None,
    *,
    screened: Thread | None = None,
    framing: Iterable[str] = (),
    writer: str = "",
    category: str = "",
    neighbour: Neighbour = Neighbour(),
    judge: JudgeVerdict | None = None,
    moderation: Verdict | None = None,
    earlier_grounding: Grounding | None = None,
) -> Assessment:
    """Assess a draft against its thread.

    ``thread`` is the thread as stored. ``screened`` is what ``screen`` left of it; only that counts as evidence, and it
    is found here where it is not given. ``framing`` are the persona's lines, ``neighbour`` is the most similar
    published story, ``judge`` the verdict of a model that judged. ``moderation`` is the verdict of a service; without
    one the local moderator decides. ``earlier_grounding`` is kept where the text of the thread has expired since.
    """
    expired = thread is not None and thread.expired
    evidence = None if thread is None or expired else screened or screen(thread, category)[0]
    excerpting = writer == EXTRACTIVE
    rubric = rate(draft, evidence, nearest=neighbour.similarity, excerpting=excerpting)
    grounding = earlier_grounding if expired else None
    return Assessment(
        rubric=rubric,
        judge=judge,
        moderation=moderation or load_moderator().moderate(public_text(draft), category),
        grounding=grounding or ground(draft, thread, framing, evidence),
        originality_problem=originality_problem(draft, evidence, neighbour, excerpting),
        nearest_story=neighbour.story_id,
        similarity=neighbour.similarity,
        overall=overall_score(rubric, judge),
    )


def public_text(draft: Draft) -> str:
    """Return all text of a draft that reaches a page: this is what moderation reads."""
    parts = [draft.title, draft.dek, *(f"{section.heading}\n{section.text}" for section in draft.sections)]
    parts += [quote.text for quote in draft.quotes]
    return "\n\n".join([*parts, draft.seo_title, draft.seo_description, draft.alt_text, ", ".join(draft.tags)])
