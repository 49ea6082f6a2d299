"""What surrounds the body of every asset: it claims the story, and tells Dagster what to do about a failure.

``assets/decorators.py`` puts it around each body. No asset is defined here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg

from threadjuice_dagster.domain.judging.gates import GateVerdict
from threadjuice_dagster.failures import (
    BudgetSpent,
    Interrupted,
    ThreadJuiceError,
    TransientFailure,
    UnexpectedFailure,
    Unsuitable,
)
from threadjuice_dagster.interruption import received
from threadjuice_dagster.resources.postgres import Database

ORDER_TAG = "threadjuice/order"
"""Run tag that names the order a story's run was started for."""

TITLE_TAG = "threadjuice/title"
"""Run tag with the title of the thread that a story's run writes from; the partition key does not tell it."""

LAUNCHED_BY = "threadjuice/launched_by"
"""Run tag of a run that a command executes."""

OUTCOME_TAG = "threadjuice/outcome"
"""Run tag that says why a run published nothing, such as ``held`` or ``rejected``."""

RETRIES = dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""Retries of a step whose failure is transient and was not retried by a client before."""

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext


@contextmanager
def reported(context: Context, database: Database, story_id: str | None = None) -> Iterator[None]:
    """Run the block; if it fails, record the failure, mark its story as failed and tell Dagster whether to retry."""
    if received():
        raise dg.Failure(description=str(Interrupted()), allow_retries=False)
    try:
        yield
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as stopped:
        _let_go(context, database, story_id)
        if context.op_execution_context.op_def.retry_policy is None:
            raise
        # Dagster would try the step again, after a pause in which it hears no signal.
        raise dg.Failure(description=str(Interrupted()), allow_retries=False) from stopped
    except Exception as error:
        if isinstance(error, dg.Failure | dg.RetryRequested | dg.DagsterError):
            raise
        failure = classified(error)
        if isinstance(failure, BudgetSpent):
            _put_off(context, database, story_id, failure)
            raise dg.Failure(description=str(failure), allow_retries=False) from error
        if isinstance(failure, TransientFailure) and not failure.exhausted and context.retry_number < 2:
            raise dg.RetryRequested(max_retries=2, seconds_to_wait=failure.retry_after or 2.0) from error
        _record(context, database, story_id, failure)
        raise dg.Failure(
            description=str(failure),
            metadata={"kind": failure.kind, "next step": failure.next_step or "See the run's log."} | _down(failure),
            allow_retries=False,
        ) from error


@contextmanager
def story_step(context: Context, database: Database) -> Iterator[None]:
    """Claim the partition's story for this run, then run the block as ``reported`` does."""
    story_id = context.partition_key
    with reported(context, database):  # a story that another run works on is not failed by this one
        database.store.claim(story_id, context.run.run_id, context.run.tags.get(ORDER_TAG))
    with reported(context, database, story_id):
        yield


def mark_outcome(context: Context, verdicts: Sequence[GateVerdict] = ()) -> None:
    """Tag a run whose story the gates hold or reject, so that lists of runs tell it from an outage."""
    refused = [verdict for verdict in verdicts if not verdict.lets_through]
    if refused or not verdicts:
        outcome = "held" if refused and all(verdict.held for verdict in refused) else "rejected"
        context.instance.add_run_tags(context.run.run_id, {OUTCOME_TAG: outcome})


def now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)


def classified(error: Exception) -> ThreadJuiceError:
    """Return an exception as one of our failures; an unforeseen one is permanent and named by its type."""
    import sqlalchemy as sa

    from threadjuice_dagster.database.refusals import means_something

    if isinstance(error, ThreadJuiceError):
        return error
    is_lost = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError)
    is_outage = isinstance(error, sa.exc.DBAPIError) and means_something(error)
    if (
        is_lost or is_outage or type(error).__name__ == "DagsterPostgresException"
    ):  # Dagster has tried for a while itself
        from threadjuice_dagster.database.server import unreachable

        return unreachable(error)
    if isinstance(error, OSError) and error.errno == 28:
        return TransientFailure("The disk is full.", "Free space where THREADJUICE_HOME is.", exhausted=True)
    return UnexpectedFailure(f"{type(error).__name__}: {str(error)[:300]}", "See the run's log, and report it.")


def _put_off(context: Context, database: Database, story_id: str | None, reason: BudgetSpent) -> None:
    """Release a story that waits for the budget, and tag its run so that it alerts nobody."""
    if story_id:
        database.store.release(story_id, context.run.run_id, reason)
    context.instance.add_run_tags(context.run.run_id, {OUTCOME_TAG: "waiting"})


def _let_go(context: Context, database: Database, story_id: str | None) -> None:
    """Release the story of an interrupted run, and let a command's run end as canceled instead of failed.

    Another run takes the story up, so this one is tagged: a failed run without an outcome raises an alert.
    """
    if story_id:
        database.store.release(story_id, context.run.run_id, Interrupted())
    if LAUNCHED_BY in context.run.tags:
        context.instance.report_run_canceling(context.run, "The command was stopped.")
    elif story_id:
        context.instance.add_run_tags(context.run.run_id, {OUTCOME_TAG: "interrupted"})


def _down(failure: ThreadJuiceError) -> dict[str, str]:
    """Return the outside service that is down, if the failure names one."""
    return {"service": service} if (service := getattr(failure, "service", "")) else {}


def _record(context: Context, database: Database, story_id: str | None, failure: ThreadJuiceError) -> None:
    from threadjuice_dagster.database.ledger import Ledger

    try:
        asset = context.op_execution_context.op.name
        Ledger(database.store.engine).add_error(failure, asset, story_id, context.run.run_id)
        if story_id:
            database.store.fail(story_id, failure, rejected=isinstance(failure, Unsuitable))
            if isinstance(failure, Unsuitable):
                mark_outcome(context)
    except Exception as error:
        context.log.warning(f"The failure could not be written to the database: {type(error).__name__}")
