"""Append-only records: newsroom events, errors of runs, decisions, and what calls to a model cost."""

import hashlib
import re
from collections import Counter
from typing import Any

import sqlalchemy as sa

from threadjuice_dagster.database import tables
from threadjuice_dagster.domain.story.stories import Usage
from threadjuice_dagster.failures import ThreadJuiceError


class Ledger:
    """Writes and reads errors of runs and the cost of calls; no row is ever updated."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add_usage(self, purpose: str, model: str, usage: Usage, story_id: str | None, run_id: str) -> None:
        """Record what the calls for one purpose (write, judge, moderate) took, if there were any."""
        if not usage.requests:
            return
        row = {"purpose": purpose, "model": model, "story_id": story_id, "run_id": run_id, **usage.model_dump()}
        with self._engine.begin() as connection:
            connection.execute(tables.model_usage.insert().values(row))

    def spent(self, story_id: str) -> Usage:
        """Return what all calls for a story took so far."""
        columns = tables.model_usage.c
        names = ("requests", "input_tokens", "output_tokens", "cost_usd")
        sums = [sa.func.coalesce(sa.func.sum(columns[name]), 0).label(name) for name in names]
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(*sums).where(columns.story_id == story_id)).one()
        return Usage.model_validate(dict(row._mapping))

    def add_error(self, error: ThreadJuiceError, asset: str, story_id: str | None, run_id: str) -> None:
        """Record a failure of a run."""
        with self._engine.begin() as connection:
            connection.execute(tables.pipeline_errors.insert().values(error_row(error, asset, story_id, run_id)))

    def errors(self, run_id: str | None = None, limit: int = 20) -> list[dict[str, Any]]:
        """Return errors of one run or of all, the newest first."""
        query = sa.select(tables.pipeline_errors).order_by(tables.pipeline_errors.c.id.desc()).limit(limit)
        if run_id is not None:
            query = query.where(tables.pipeline_errors.c.run_id == run_id)
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def errors_of_day(self) -> Counter[str]:
        """Count the errors of the last 24 hours by kind, without editorial outcomes and mistakes of operators."""
        columns = tables.pipeline_errors.c
        ours = columns.kind.not_in(("unsuitable", "usage"))
        return self._of_day(columns.kind, columns.at, ours)

    def stories_of_day(self) -> Counter[str]:
        """Count the stories that changed in the last 24 hours by status."""
        columns = tables.assignments.c
        return self._of_day(columns.status, columns.updated_at, columns.status != "imported")

    def _of_day(self, kind: "sa.Column[Any]", at: "sa.Column[Any]", wanted: "sa.ColumnElement[bool]") -> Counter[str]:
        recent = at > sa.func.now() - sa.text("interval '24 hours'")
        query = sa.select(kind, sa.func.count()).where(wanted, recent).group_by(kind)
        with self._engine.connect() as connection:
            return Counter(dict(connection.execute(query).tuples().all()))


def error_row(error: ThreadJuiceError, asset: str, story_id: str | None, run_id: str) -> dict[str, Any]:
    """Return a failure of a run as a row. Errors of one cause have the same fingerprint."""
    cause = re.sub(r"[0-9]+", "#", f"{error.kind}:{asset}:{error.message}")
    return {
        "run_id": run_id,
        "asset": asset,
        "story_id": story_id,
        "kind": error.kind,
        "message": error.message,
        "next_step": error.next_step,
        "fingerprint": hashlib.sha256(cause.encode()).hexdigest()[:16],
    }


def add_decision(connection: sa.Connection, action: str, story_id: str, actor: str, reason: str, **detail: Any) -> None:
    """Record a decision on a story in the audit, in the caller's transaction."""
    row = {"action": action, "story_id": story_id, "actor": actor, "reason": reason, "detail": detail}
    connection.execute(tables.audit.insert().values(row))


def add_event(connection: sa.Connection, kind: str, story_id: str, actor: str = "newsroom", **detail: Any) -> None:
    """Record a newsroom event in the caller's transaction."""
    connection.execute(tables.events.insert().values(kind=kind, story_id=story_id, actor=actor, detail=detail))
