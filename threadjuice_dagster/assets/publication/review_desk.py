"""Review: people decide on stories that the gates hold or reject."""

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.preview import decision_list, review_list
from threadjuice_dagster.assets.stories.quality_score import quality_score
from threadjuice_dagster.domain.story.records import StoryRecord
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.site.publisher import Publisher

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store


class Ruling(Enum):
    """A person approves or rejects."""

    APPROVE = "approve"
    REJECT = "reject"


class StoryDecision(dg.Config):
    """One decision, under a name."""

    story: str = Field(description="Story id, as the list names it.")
    ruling: Ruling = Field(description="APPROVE publishes it in spite of its gates; REJECT turns it down for good.")
    by: str = Field(min_length=1, description="Who decides; stored and shown.")
    reason: str = Field(min_length=1, description="Why; stored and shown.")


class ReviewConfig(dg.Config):
    """Decisions to carry out before the stories are listed. Without one, the run only lists them."""

    decisions: list[StoryDecision] = Field(default=[], description="Decisions on held or rejected stories.")
    shown: int = Field(default=50, ge=1, le=500, description="Stories listed, newest first.")


@asset(kinds={"postgres"}, deps=[quality_score])
def review_desk(config: ReviewConfig, database: Database, publisher: Publisher) -> dg.MaterializeResult[None]:
    """List held and rejected stories with reasons and preview; this run's config approves or rejects them."""
    for decision in config.decisions:
        _carry_out(decision, database.store)
    waiting = _waiting(database.store, publisher.page, config.shown)
    counts = database.store.status_counts()
    return dg.MaterializeResult(
        metadata={
            "decided": len(config.decisions),
            "held": counts["held"],
            "rejected": counts["rejected"],
            "stories": dg.MetadataValue.md(review_list(waiting)),
            "decisions": dg.MetadataValue.md(decision_list(database.store.decisions())),
        }
    )


def _carry_out(decision: StoryDecision, store: "Store") -> None:
    if decision.ruling is Ruling.REJECT:
        store.reject(decision.story, decision.by, decision.reason)
        return
    store.overrule(decision.story, decision.by, decision.reason)
    store.reopen(decision.story)


def _waiting(store: "Store", page: Callable[[str], str], shown: int) -> list[StoryRecord]:
    from threadjuice_dagster.database.records import story_records

    held, rejected = (story_records(store, page, status=status, limit=shown) for status in ("held", "rejected"))
    return [*held, *rejected][:shown]
