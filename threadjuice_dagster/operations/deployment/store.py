"""The history of deployments with their steps, and the lock that lets only one process deploy.

What a state means belongs in ``operations/deployment/rules.py``, what a step does in
``operations/deployment/targets.py``.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.failures import ThreadJuiceError, UsageError
from threadjuice_dagster.operations.deployment.rules import (
    KILLED,
    PREVIOUS,
    VALIDATED,
    Deployment,
    DeploymentStep,
    State,
    interrupted,
)
from threadjuice_dagster.site.layout import File

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store

log = logging.getLogger(__name__)

LOCK = "deployment"
"""Name of the lock that a process holds while it deploys."""

_TAKEN_DOWN = ("story_taken_down", "quote_withdrawn")


class Deployments:
    """Deployments at one ``place``. One method, one transaction."""

    def __init__(self, store: "Store", place: str) -> None:
        self._engine, self._locks, self._lives = store.engine, store.locks, store.run_lives
        self._place = place

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until no other process deploys, then keep others waiting. Mark what a killed one left as interrupted."""
        message = "Another deployment is under way; this one waits until it has ended."
        with self._locks.waited_for(LOCK, lambda: log.warning(message)):
            with self._engine.begin() as connection:
                deployments, steps = t.deployments, t.deployment_steps
                running = deployments.c.state == "running"
                # Whoever holds the lock is alone: a step that still runs belongs to a process that was killed.
                connection.execute(deployments.update().where(running).values(state="interrupted"))
                values = {"state": "interrupted", "message": KILLED}
                connection.execute(steps.update().where(steps.c.state == "running").values(values))
            yield

    def begin(self, version: str, run_id: str, probes: tuple[File, ...], built_at: datetime) -> Deployment:
        """Start a deployment."""
        row = {"place": self._place, "version": version, "run_id": run_id, "probes": probes, "built_at": built_at}
        with self._engine.begin() as connection:
            statement = t.deployments.insert().values(row).returning(*t.deployments.c)
            return _deployment(connection.execute(statement).one())

    def update(self, deployment: Deployment, **values: Any) -> Deployment:
        """Change columns of a deployment. One that becomes ``live`` supersedes the one that was."""
        columns = t.deployments.c
        with self._engine.begin() as connection:
            if values.get("state") == "live":
                others = (columns.place == self._place) & (columns.state == "live")
                left: State = "superseded"
                connection.execute(t.deployments.update().where(others).values(state=left))
            this = t.deployments.update().where(columns.number == deployment.number).values(values)
            return _deployment(connection.execute(this.returning(*columns)).one())

    @contextmanager
    def step(self, deployment: Deployment, run_id: str, name: str) -> Iterator[Callable[[str], None]]:
        """Record a step while it happens. The block is given a function that adds to its message."""
        row = {"deployment": deployment.number, "run_id": run_id, "name": name}
        with self._engine.begin() as connection:
            number = connection.scalar(t.deployment_steps.insert().values(row).returning(t.deployment_steps.c.id))
        messages: list[str] = []
        began, state = time.monotonic(), "failed"
        try:
            yield messages.append
            state = "done"
        except Exception as error:
            messages.append(
                str(error) if isinstance(error, ThreadJuiceError) else f"{type(error).__name__}: {error}"[:300]
            )
            raise
        finally:
            values = {"state": state, "seconds": round(time.monotonic() - began, 3), "message": " ".join(messages)}
            with self._engine.begin() as connection:
                this = t.deployment_steps.c.id == number
                connection.execute(t.deployment_steps.update().where(this).values(values))
            log.info("%s: %s %s", name, state, values["message"])

    def skip(self, deployment: Deployment, run_id: str, name: str, message: str) -> None:
        """Record a step that had nothing to do."""
        row = {"deployment": deployment.number, "run_id": run_id, "name": name, "state": "skipped", "message": message}
        with self._engine.begin() as connection:
            connection.execute(t.deployment_steps.insert().values(row))

    def steps(self, run_id: str) -> list[DeploymentStep]:
        """Return the steps of a run in order."""
        columns = t.deployment_steps.c
        query = sa.select(columns.name, columns.state, columns.seconds, columns.message)
        with self._engine.connect() as connection:
            rows = connection.execute(query.where(columns.run_id == run_id).order_by(columns.id))
            steps = [DeploymentStep.model_validate(dict(row._mapping)) for row in rows]
        return interrupted(steps, alive=not any(step.state == "running" for step in steps) or self._lives(run_id))

    def of_run(self, run_id: str) -> Deployment | None:
        """Return the deployment that a run made or restored, or None."""
        steps = sa.select(t.deployment_steps.c.deployment).where(t.deployment_steps.c.run_id == run_id)
        return next(iter(self._find((t.deployments.c.run_id == run_id) | t.deployments.c.number.in_(steps))), None)

    def staged(self, run_id: str) -> Deployment | None:
        """Return the deployment to promote: the one that this run staged, else the newest staged one."""
        staged = self._find(t.deployments.c.state == "staged")
        return next((deployment for deployment in staged if deployment.run_id == run_id), next(iter(staged), None))

    def live(self) -> Deployment | None:
        """Return the deployment that readers see: the newest that was validated and not replaced since."""
        return next(iter(self._find(t.deployments.c.state == "live")), None)

    def find(self, platform_id: str) -> Deployment | None:
        """Return the deployment with this name at the platform, or None."""
        return next(iter(self._find(t.deployments.c.platform_id == platform_id)), None)

    def newest(self, limit: int = 20) -> list[Deployment]:
        """Return the newest deployments, newest first."""
        return self._find(sa.true(), limit)

    def restorable(self, reference: str) -> Deployment:
        """Return the deployment that a rollback restores: by name, or as ``previous`` the last valid one before.

        Raises ``UsageError`` if there is none, or if something on it may have been taken down since.
        """
        live, named = self.live(), reference != PREVIOUS
        valid = [deployment for deployment in self.newest(1000) if deployment.state in VALIDATED]
        earlier = (deployment for deployment in valid if live and deployment.number < live.number)
        target = self.find(reference) if named else next(earlier, None)
        if target is None:
            names = ", ".join(deployment.id for deployment in valid[:20]) or "none yet"
            what = f"no deployment {reference[:60]!r}" if named else "no earlier deployment"
            raise UsageError(f"There is {what} to go back to.", f"Deployments that were live: {names}.")
        if target.state not in VALIDATED:
            raise UsageError(f"Deployment {target.id} was never live and in order, or is deleted.", "Name another.")
        if self._predates_takedowns(target):
            raise UsageError(
                f"Something was taken down since deployment {target.id} was built, which may still show it.",
                "Deploy the site as it is now: threadjuice deploy production",
            )
        return target

    def predating_takedowns(self, before: Deployment | None = None) -> list[Deployment]:
        """Return the deployments (before this one, or all) that may show what was taken down since they were built."""
        columns = t.deployments.c
        kept = (columns.platform_id != "") & (columns.state != "deleted") & _taken_down_since()
        return self._find(kept & (columns.number < before.number) if before else kept)

    def _predates_takedowns(self, deployment: Deployment) -> bool:
        return bool(self._find((t.deployments.c.number == deployment.number) & _taken_down_since()))

    def ever_published(self) -> bool:
        """Return whether any story was ever published, even if all are withdrawn now."""
        with self._engine.connect() as connection:
            return bool(connection.scalar(sa.select(sa.exists().where(t.events.c.kind == "story_published"))))

    def _find(self, condition: "sa.ColumnElement[bool]", limit: int = 100) -> list[Deployment]:
        query = sa.select(t.deployments).where(condition, t.deployments.c.place == self._place)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(t.deployments.c.number.desc()).limit(limit))
            return [_deployment(row) for row in rows]


def _taken_down_since() -> "sa.ColumnElement[bool]":
    """The condition that something was taken down after a deployment was built."""
    events = t.events.c
    return sa.exists().where(events.kind.in_(_TAKEN_DOWN) & (events.at >= t.deployments.c.built_at))


def _deployment(row: "sa.Row[Any]") -> Deployment:
    return Deployment.model_validate(dict(row._mapping))
