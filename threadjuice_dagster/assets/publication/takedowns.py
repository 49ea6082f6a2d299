"""Takedowns: threads and comments deleted at their source, and everything here that rests on them."""

import dagster as dg

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.plots import listed
from threadjuice_dagster.assets.steps import now
from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.operations.policy import EditorialPolicy
from threadjuice_dagster.operations.takedowns.rules import Tombstone
from threadjuice_dagster.operations.takedowns.service import TakedownService
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.site.publisher import Publisher
from threadjuice_dagster.sources.registry import ThreadSources
from threadjuice_dagster.sources.thread_source import Deletions


@asset(kinds={"http", "postgres"}, pool="sources")
def takedowns(
    context: dg.AssetExecutionContext,
    database: Database,
    threads: ThreadSources,
    takedown_service: TakedownService,
    publisher: Publisher,
    policy: EditorialPolicy,
) -> dg.MaterializeResult[None]:
    """Find sources that were deleted; their stories and quotes leave database, storage, site and run history."""
    from threadjuice_dagster.database.publications import Publications
    from threadjuice_dagster.operations.clock import why_not_to_delete
    from threadjuice_dagster.operations.takedowns.store import Takedowns

    held_back = why_not_to_delete(database.store.engine, now())
    expired = 0 if held_back else Takedowns(database.store.engine).expire(policy.thread_retention_hours)
    sweep = threads.deleted(takedown_service.sources())
    deletions = sweep.deletions
    changed = takedown_service.record_deletions(_tombstones(deletions), context.instance, context.log.warning)
    if changed:
        publisher.build(Publications(database.store.engine), keep_old=False)
    for service, problem in sweep.problems.items():
        context.log.warning(f"{service} could not be asked, and is asked again by the next sweep: {problem}")
    # An outage has an incident of its own; what an operator has to correct fails the run, once the rest is done.
    if wrong := [problem for problem in sweep.problems.values() if isinstance(problem, PermanentFailure)]:
        raise wrong[0]
    return dg.MaterializeResult(
        metadata={
            "sources": deletions.checked,
            "requests": deletions.requests,
            "not asked": listed([*sweep.problems, *sweep.not_set_up], "none"),
            "deleted_threads": len(deletions.threads),
            "deleted_comments": len(deletions.comments),
            "stories": listed(changed, "none"),
            "withdrawn": len(changed),
            "expired_threads": expired,
            "held back": held_back or "nothing",
        }
    )


def _tombstones(deletions: Deletions) -> list[Tombstone]:
    threads = [Tombstone(kind="thread", id=thread) for thread in sorted(deletions.threads)]
    comments = sorted(deletions.comments)
    return threads + [Tombstone(kind="comment", id=comment, thread=thread) for thread, comment in comments]
