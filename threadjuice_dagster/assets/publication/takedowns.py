"""Takedowns: threads and comments deleted at their source, and everything here that rests on them."""

from collections.abc import Mapping

import dagster as dg

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.plots import listed
from threadjuice_dagster.assets.steps import now
from threadjuice_dagster.operations.policy import EditorialPolicy
from threadjuice_dagster.operations.takedowns.rules import Tombstone
from threadjuice_dagster.operations.takedowns.service import TakedownService
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.site.publisher import Publisher
from threadjuice_dagster.sources.thread_source import Deletions, ThreadSource


@asset(kinds={"reddit", "postgres"}, pool="reddit")
def takedowns(
    context: dg.AssetExecutionContext,
    database: Database,
    threads: ThreadSource,
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
    sources = takedown_service.sources()
    deletions = threads.deleted(sources)
    changed = takedown_service.record_deletions(_tombstones(deletions, sources), context.instance, context.log.warning)
    if changed:
        publisher.build(Publications(database.store.engine), keep_old=False)
    return dg.MaterializeResult(
        metadata={
            "sources": deletions.checked,
            "requests": deletions.requests,
            "deleted_threads": len(deletions.threads),
            "deleted_comments": len(deletions.comments),
            "stories": listed(changed, "none"),
            "withdrawn": len(changed),
            "expired_threads": expired,
            "held back": held_back or "nothing",
        }
    )


def _tombstones(deletions: Deletions, sources: Mapping[str, set[str]]) -> list[Tombstone]:
    gone = [Tombstone(kind="thread", id=thread) for thread in sorted(deletions.threads)]
    for thread, comments in sources.items():
        gone += [
            Tombstone(kind="comment", id=comment, thread=thread) for comment in sorted(comments & deletions.comments)
        ]
    return gone
