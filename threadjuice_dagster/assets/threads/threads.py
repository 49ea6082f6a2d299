"""Threads: candidates found, and what is assigned to be written."""

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.findings import results, specs
from threadjuice_dagster.assets.plots import listed
from threadjuice_dagster.assets.preview import escape
from threadjuice_dagster.domain.language.text import cut
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing.assignments import Assignment, Order, find_by_slug
from threadjuice_dagster.domain.writing.supply import Supply
from threadjuice_dagster.failures import OrderUnfilled, TransientFailure
from threadjuice_dagster.operations.monitoring.freshness import FRESH
from threadjuice_dagster.operations.orders import close
from threadjuice_dagster.operations.policy import EditorialPolicy
from threadjuice_dagster.operations.supply import readings, supply_finding
from threadjuice_dagster.partitions import STORIES
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.sources.files import open_thread
from threadjuice_dagster.sources.registry import ThreadSources

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store


class AssignmentConfig(dg.Config):
    """What to write. Everything may be left as it is."""

    count: int = Field(default=0, ge=0, le=1000, description="Stories wanted; 0 is DAILY_STORY_COUNT.")
    category: str = Field(default="", description="Only threads of this category (slug); empty is any.")
    persona: str = Field(default="", description="Written in this persona's voice (slug); empty is the best match.")
    source: str = Field(default="", description="Only threads of this source or place, such as hackernews:ask.")
    thread: str = Field(default="", description="A thread's address or a saved file; empty picks unused threads.")
    stored: str = Field(default="", description="Id of that thread, where it is stored already and not read again.")
    order: str = Field(default="", description="Continue this order; empty opens a new one.")


class DiscoveryConfig(dg.Config):
    """Where to look for threads. Everything may be left as it is."""

    source: str = Field(default="", description="Read only this place, such as hackernews:ask; empty reads all.")


CHECKS = specs("threads", supply_lasts_a_week="The unused threads that suit a story last for a week.")


@asset(name="threads", kinds={"http", "postgres"}, pool="sources", check_specs=CHECKS)
def discovered_threads(
    config: DiscoveryConfig, database: Database, threads: ThreadSources, policy: EditorialPolicy
) -> dg.MaterializeResult:
    """Candidate threads of every source with their comments, the best of each place first, and what is left of them.

    While every place is down, stories are made of unused threads; this fails only without one that suits a story.
    """
    from threadjuice_dagster.database.supply import ThreadSupply

    found, stored = threads.candidates(policy.candidates, config.source), ThreadSupply(database.store.engine)
    stored.note_places(readings(found), everything=not config.source)
    changed = database.store.save_threads(found.threads)
    stored.assess()
    supply = stored.supply(policy.daily_story_count)
    if found.failure and not (isinstance(found.failure, TransientFailure) and supply.suitable):
        raise found.failure
    return dg.MaterializeResult(
        metadata={
            "threads": len(found.threads),
            "new_or_changed": changed,
            "suitable": supply.suitable,
            "days": supply.days,
            "unused threads that suit a story": dg.MetadataValue.md(_by_place(supply)),
            "passed over": listed([f"{spec}: {problem}" for spec, problem in found.problems.items()], "none"),
            "ranking": dg.MetadataValue.md(_ranking(found.threads)),
        },
        check_results=list(results([supply_finding(supply, stored.places(), policy.supply_days)])),
    )


@asset(
    kinds={"postgres"},
    deps=[discovered_threads],
    freshness_policy=FRESH["story_assignments"].policy,
)
def story_assignments(
    context: dg.AssetExecutionContext,
    config: AssignmentConfig,
    database: Database,
    threads: ThreadSources,
    policy: EditorialPolicy,
) -> dg.MaterializeResult[None]:
    """Thread, category and persona of the stories to write next; adds one `stories` partition for each."""
    order = order_for(config, database.store, policy)
    assigned = _assign(order, config, database, threads)
    context.instance.add_dynamic_partitions(str(STORIES.name), [one.story_id for one in assigned])
    unfilled = _close(order, database.store) if not assigned else None
    if unfilled:
        context.log.warning(str(unfilled))
    return dg.MaterializeResult(
        metadata={
            "assigned": len(assigned),
            "order": order.id,
            "stories": dg.MetadataValue.md(_assignments(assigned) or "Nothing is left to be assigned."),
            **({"cause": unfilled.message, "next step": unfilled.next_step} if unfilled else {}),
        }
    )


def order_for(config: AssignmentConfig, store: "Store", policy: EditorialPolicy, *, by_command: bool = False) -> Order:
    """The order named in the config, or a new one. Raises ``UsageError`` for an unknown category or persona."""
    from threadjuice_dagster.database.catalogue import Catalogue

    if config.order:
        return store.order(config.order)
    catalogue = Catalogue(store.engine)
    category = find_by_slug(config.category, catalogue.categories(), "category")
    persona = find_by_slug(config.persona, catalogue.personas(), "persona")
    count = 1 if config.thread else config.count or policy.daily_story_count
    return store.open_order(
        count=count,
        category=category.slug if category else None,
        persona=persona.slug if persona else None,
        source=config.source,
        max_attempts=1 if config.thread else count * policy.attempts_per_story,
        by_command=by_command,
    )


def _close(order: Order, store: "Store") -> OrderUnfilled | None:
    """Close an order that nothing could be assigned for, unless a story of it is being written; return why."""
    if store.order_counts(order.id)["running"]:
        return None
    return close(store, order, alerts=not store.is_driven(order.id))


def _assign(order: Order, config: AssignmentConfig, database: Database, threads: ThreadSources) -> list[Assignment]:
    if not config.thread:
        return database.store.assign(order)
    if config.stored:
        thread = database.store.thread(config.stored)
    else:
        thread = open_thread(config.thread, threads)
        database.store.save_threads([thread])
    existing = database.store.assignment_of(thread.id)
    if existing and _starts_over(existing, order):
        database.store.forget(existing[0].story_id)
    return database.store.assign(order, only=thread)


def _starts_over(existing: tuple[Assignment, str], order: Order) -> bool:
    """A rejected story is written anew when asked for again; a failed one goes on, unless it is wanted otherwise."""
    assignment, status = existing
    as_wished = order.category in (None, assignment.category) and order.persona in (None, assignment.persona)
    return status in ("rejected", "held") or not as_wished


def _by_place(supply: Supply) -> str:
    rows = [f"| {escape(place)} | {threads} |" for place, threads in supply.by_place.items()]
    return "\n".join(["| place | threads |", "|---|---|", *rows]) if rows else "None is left."


def _ranking(threads: list[Thread]) -> str:
    rows = ["| place | title | comments | engagement |", "|---|---|---|---|"]
    for thread in threads[:25]:
        title = escape(cut(thread.title, 120))
        rows.append(f"| {escape(thread.spec)} | {title} | {thread.num_comments} | {thread.engagement:.1f} |")
    return "\n".join(rows)


def _assignments(assigned: list[Assignment]) -> str:
    return "\n".join(f"* `{one.story_id}`: {one.category}, by {one.persona}" for one in assigned)
