"""Writing and publishing stories by command: orders are opened, worked through and closed here.

Which stories an order waits for is decided in ``operations/orders.py``.
"""

import time
from typing import NamedTuple

import dagster as dg

from threadjuice_dagster.assets.steps import LAUNCHED_BY, ORDER_TAG, TITLE_TAG
from threadjuice_dagster.assets.threads.threads import AssignmentConfig, order_for
from threadjuice_dagster.cli.session import NewsroomSession
from threadjuice_dagster.database.assignments import order_lock
from threadjuice_dagster.database.engine import retry_lost_connection
from threadjuice_dagster.database.outages import Outages
from threadjuice_dagster.database.records import story_record, story_records
from threadjuice_dagster.database.spending import Spending
from threadjuice_dagster.database.supply import ThreadSupply
from threadjuice_dagster.domain.story.records import StoryRecord
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing.assignments import Assignment, Order
from threadjuice_dagster.domain.writing.budget import UNPRICED, Budget
from threadjuice_dagster.domain.writing.shortage import NAME_PLACES, is_short
from threadjuice_dagster.domain.writing.supply import WANTED_DAYS
from threadjuice_dagster.failures import BudgetSpent, PermanentFailure, ThreadJuiceError
from threadjuice_dagster.jobs import remaining_steps, title_of
from threadjuice_dagster.operations.orders import advance, close
from threadjuice_dagster.partitions import STORIES
from threadjuice_dagster.sources.files import lasting_reference, open_thread


class Generated(NamedTuple):
    """The stories of an order, those assigned first before the others, and why fewer were published than wanted."""

    stories: list[StoryRecord]
    problem: ThreadJuiceError | None = None


def generate_stories(session: NewsroomSession, config: AssignmentConfig) -> Generated:
    """Have stories written until as many are published as wanted, threads run out, or the order's bound is reached.

    For a thread that was published before, its story is returned. Raises ``ThreadJuiceError`` where the day's budget
    allows no story, and where a named thread cannot be read or assigned.
    """
    store = session.store
    end_dead_runs(session)
    store.close_left_orders()
    Outages(store.engine).try_now()
    if not config.thread:
        return _fulfil(session, config)
    with session.opened("threads") as sources:
        thread = open_thread(config.thread, sources)
        reference = lasting_reference(config.thread, thread, sources)
    waiting = f"Waiting for another command to finish with thread {thread.id}"
    with store.locks.waited_for(f"thread:{thread.id}", lambda: session.say(waiting)):
        published = _published_story(session, thread)
        if published:
            return Generated([published])
        named = {"thread": reference, "stored": _stored(session, thread)}
        return _fulfil(session, config.model_copy(update=named))


def publish_story(session: NewsroomSession, story_id: str, overruled: tuple[str, str] | None = None) -> StoryRecord:
    """Finish what a story still lacks and publish it; ``overruled`` is who lets it through refused gates, and why.

    Gates may refuse in turn (the thread's, then the text's, then the picture's), so they are overruled up to three
    times.
    """
    store = session.store
    assignment = store.assignment(story_id)
    Outages(store.engine).try_now()
    for _ in range(3 if overruled else 1):
        if overruled:
            store.overrule(story_id, *overruled)
        elif not all(verdict.lets_through for verdict in store.verdicts(story_id)):
            return story_record(store, story_id, session.page)
        record = write_story(session, assignment, order_tag=False)
        if record.status not in ("rejected", "held"):
            break
    return record


@retry_lost_connection
def write_story(session: NewsroomSession, assignment: Assignment, *, order_tag: bool = True) -> StoryRecord:
    """Run the story job for an assignment from its first unfinished step on, and return the story."""
    store, story_id, order_id = session.store, assignment.story_id, assignment.order_id if order_tag else None
    session.say(f"Writing {story_id} ({assignment.category}, {assignment.persona})")
    session.instance.add_dynamic_partitions(str(STORIES.name), [story_id])
    result = session.execute(
        "story_job",
        partition_key=story_id,
        asset_selection=remaining_steps(store, story_id),
        tags={TITLE_TAG: title_of(store, assignment), **({ORDER_TAG: order_id} if order_id else {})},
    )
    store.settle(story_id, result.run_id)
    record = story_record(store, story_id, session.page)
    session.say(f"{record.status}: {record.title} {record.page}".rstrip())
    return record


def budget_today(session: NewsroomSession) -> Budget:
    """Return the day's budget and what is spent of it."""
    budget: Budget = session.resources["writer"].budget(Spending(session.store.engine).today())
    return budget


def end_dead_runs(session: NewsroomSession) -> int:
    """Report runs of killed commands as failed, so that the UI does not show them as running; return how many."""
    ours = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={LAUNCHED_BY: "command line"})
    runs = session.instance.get_runs(ours, limit=100)
    dead_runs = [run for run in runs if not session.store.run_lives(run.run_id)]
    for run in dead_runs:
        session.instance.report_run_failed(run, "The command that executed this run was killed.")
        session.instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return len(dead_runs)


def _fulfil(session: NewsroomSession, config: AssignmentConfig) -> Generated:
    """Open an order and work through it; its lock keeps the sensor from doing the same."""
    _require_budget(session)
    store = session.store
    order = order_for(config, store, session.resources["policy"], by_command=True)
    with store.locks.held(order_lock(order.id)):
        try:
            problem = _assign(session, config, order)
            if problem is None:
                _work_through(session, order)
                problem = close(store, order, alerts=False)
        finally:
            store.close_order(order.id)
    stories = story_records(store, session.page, order=order.id)[::-1]
    if stories:
        session.build_site()
    if not problem and not config.thread:
        _warn_beforehand(session)
    return Generated(stories, problem)


def _stored(session: NewsroomSession, thread: Thread) -> str:
    """Store a thread and return its id; empty for one that was taken down, whose text is not stored again."""
    session.store.save_threads([thread])
    try:
        return "" if session.store.thread(thread.id, text=False).expired else thread.id
    except PermanentFailure:
        return ""


def _assign(session: NewsroomSession, config: AssignmentConfig, order: Order) -> ThreadJuiceError | None:
    """Look for threads and assign them to an order; returns why that could not be done. Raises it of a named thread."""
    if config.thread:
        session.say("Reading the thread")
        session.run("assign_stories_job", {"story_assignments": {**config.model_dump(), "order": order.id}})
        if not session.store.order_counts(order.id):
            raise PermanentFailure("The thread cannot be assigned.", "Pass another one, or loosen --category.")
        return None
    session.say("Looking for threads")
    assignment = {**config.model_dump(), "order": order.id}
    try:
        session.run("discover_stories_job", {"threads": {"source": config.source}, "story_assignments": assignment})
    except ThreadJuiceError as failure:
        return failure
    return None


@retry_lost_connection
def _work_through(session: NewsroomSession, order: Order) -> None:
    """Write the order's stories, and others in place of those that were not published, until it waits for nothing."""
    while True:
        progress = advance(session.store, order, session.resources["writer"].budget)
        if not progress.ready:
            if progress.problem:
                session.say(str(progress.problem))
            return
        if write_story(session, progress.ready[0]).status == "waiting":
            session.store.hold_back(order.id, BudgetSpent("The day's budget is spent."))
            session.say("The story waits for the next day, or for a higher budget.")
            return


def _warn_beforehand(session: NewsroomSession) -> None:
    """Say in one line that the unused threads last for less than a week."""
    supply = ThreadSupply(session.store.engine).supply(session.settings.content.daily_story_count)
    if is_short(supply, WANTED_DAYS):
        session.say(f"{supply}. {NAME_PLACES}")


def _require_budget(session: NewsroomSession) -> None:
    """Raise where the day's budget allows no story, and warn where the price of a story is not known."""
    budget = budget_today(session)
    if budget.problem:
        raise budget.problem
    if budget.state == "unpriced":
        session.say(f"{budget.message} {UNPRICED}")


def _published_story(session: NewsroomSession, thread: Thread) -> StoryRecord | None:
    """Return the story that was published of a thread; waits for a run that writes it right now."""
    store = session.store
    existing = store.assignment_of(thread.id)
    while existing and existing[1] == "running" and store.is_busy(existing[0].story_id):
        session.say(f"Waiting for the run that writes {existing[0].story_id}")
        time.sleep(1)
        existing = store.assignment_of(thread.id)
    if existing and existing[1] in ("published", "withdrawn"):
        return story_record(store, existing[0].story_id, session.page)
    return None
