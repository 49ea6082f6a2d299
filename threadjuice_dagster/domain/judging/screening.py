"""Screening: what of a thread may reach a writer and count as evidence.

Orders to machines are found in ``domain/judging/injection.py``, inappropriate text in ``domain/judging/moderation.py``.
"""

from threadjuice_dagster.domain.judging.injection import for_people
from threadjuice_dagster.domain.judging.moderation import Verdict, load_moderator
from threadjuice_dagster.domain.story.threads import Thread

FEW_COMMENTS = 6
"""A thread with fewer comments is not refused for the share of them that is inappropriate."""


def screen(thread: Thread, category: str = "") -> tuple[Thread, Verdict]:
    """Return the thread without orders to machines and inappropriate comments, and the local verdict on the rest.

    ``category`` is the slug whose thresholds apply. A thread with more than a third of its comments left out as
    inappropriate is flagged.
    """
    moderator, thread = load_moderator(), for_people(thread)
    verdict = moderator.moderate(f"{thread.title}\n\n{thread.body}", category)
    kept = tuple(comment for comment in thread.comments if not moderator.moderate(comment.body, category).flagged)
    count = len(thread.comments)
    removed = count - len(kept)
    if count >= FEW_COMMENTS and removed > count / 3:
        reason = f"{removed} of {count} comments are inappropriate"
        verdict = verdict.model_copy(update={"flagged": True, "reasons": (*verdict.reasons, reason)})
    return thread.model_copy(update={"comments": kept}), verdict
