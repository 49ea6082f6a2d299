"""Deploy the site in recorded steps: stage, smoke test, promote, validate.

If validation fails, the deployment before is restored and verified. What a place does in each step belongs in
``operations/deployment/targets.py``.
"""

import fcntl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.failures import PermanentFailure, ThreadJuiceError, UsageError
from threadjuice_dagster.operations.deployment.rules import (
    PREVIOUS,
    VALIDATED,
    WINDOW_DAYS,
    Deployment,
    SmokeRequest,
    capacity_finding,
    find_problem,
    sample_files,
    sends_site_headers,
    smoke_requests,
)
from threadjuice_dagster.operations.deployment.targets import Deployer, Opened, Staged, manifest_of
from threadjuice_dagster.operations.findings import Finding
from threadjuice_dagster.resources.http import Answer, send
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.storage import FolderStorage, Storage
from threadjuice_dagster.site.layout import MARKER, Marker

if TYPE_CHECKING:
    from threadjuice_dagster.operations.deployment.store import Deployments

AT_ONCE = 8
"""Requests of a smoke test at a time."""


class DeploymentService(dg.ConfigurableResource):
    """Deployments of the site at one place. Public methods that change something wait for other processes to finish.

    ``settle_seconds`` is how long a network of servers may take to show what was promoted.
    """

    database: dg.ResourceDependency[Database]
    deployer: dg.ResourceDependency[Deployer]
    settle_seconds: float = 30.0

    @property
    def history(self) -> "Deployments":
        """The history of deployments at this place."""
        from threadjuice_dagster.operations.deployment.store import Deployments

        return Deployments(self.database.store, self.deployer.place)

    def stage(self, site: Path, run_id: str, started: datetime) -> tuple[Deployment, Staged]:
        """Upload the site built in a folder and test it there. ``started`` has to be before the build read its stories.

        Raises ``ThreadJuiceError`` for any failure; readers have seen nothing of it.
        """
        history = self.history
        with history.exclusive(), _built(site) as folder:
            marker, files = Marker.read((folder / MARKER).read_bytes()), manifest_of(folder)
            deployment, live = history.begin(marker.version, run_id, sample_files(files), started), history.live()
            record_id = partial(self._record_id, deployment)
            with self._failing(deployment):
                with history.step(deployment, run_id, "stage") as add_message:
                    self._refuse_emptiness(marker)
                    name = f"{deployment.number}-{marker.version}-{run_id[:6]}"
                    shared = live.shared if live else []
                    staged = self.deployer.stage(name, folder, files, shared, record_id)
                    deployment = history.update(deployment, platform_id=staged.id, url=staged.url)
                    add_message(f"{staged.files} of {staged.total} files were new there.")
                with (
                    history.step(deployment, run_id, "smoke_test") as add_message,
                    self.deployer.opened(staged) as opened,
                ):
                    add_message(self._tested(opened, deployment))
                return history.update(deployment, state="staged"), staged

    def promote(self, run_id: str) -> Deployment:
        """Show readers what this run staged, or else the newest staged deployment, and validate it.

        Raises ``ThreadJuiceError`` if validation fails; then the deployment before was restored.
        """
        history = self.history
        with history.exclusive():
            deployment, before = history.staged(run_id), history.live()
            if deployment is None:
                raise PermanentFailure("No deployment is staged.", "Run: threadjuice deploy production")
            # Of two runs that staged, the one that promotes last must not bring back the older site.
            if before and before.number > deployment.number:
                history.skip(deployment, run_id, "promote", f"Deployment {before.id}, which is newer, is live.")
                return deployment
            deployment = history.update(deployment, state="running")
            with self._failing(deployment):
                self._show(deployment, run_id, self._restore_point(before))
            deployment = history.update(deployment, state="live")
            self._contract(deployment, run_id)
            self._expire(deployment, run_id)
            return self.with_public_address(deployment)

    def roll_back(self, reference: str, run_id: str) -> Deployment:
        """Show an earlier deployment again, by name or the ``previous`` one, and verify it.

        Raises ``UsageError`` for a deployment that cannot be restored, ``ThreadJuiceError`` if restoring fails.
        """
        history = self.history
        with history.exclusive():
            target, live = self.restorable(reference), history.live()
            self._restore(target.platform_id, target, target, run_id)
            if live and live.number != target.number:
                history.update(live, state="rolled_back")
            return self.with_public_address(history.update(target, state="live"))

    def with_public_address(self, deployment: Deployment) -> Deployment:
        """Return a deployment as people see it: a live one with the address that readers use."""
        if deployment.state != "live":
            return deployment
        return deployment.model_copy(update={"url": self.deployer.public_address(deployment)})

    def restorable(self, reference: str) -> Deployment:
        """Return the deployment that a rollback restores, as ``Deployments.restorable`` does.

        Where the place shows another deployment than the history says, a rollback was killed: ``previous`` then is the
        shown one if it was ever valid, and else the live one of the history.
        """
        live, shown = self.history.live(), self.deployer.live()
        if reference == PREVIOUS and live and shown not in ("", live.platform_id):
            recorded = self.history.find(shown)
            reference = shown if recorded and recorded.state in VALIDATED else live.platform_id
        return self.history.restorable(reference)

    def is_restorable(self, deployment: Deployment) -> bool:
        """Return whether a rollback can restore it: it was valid, and the place still keeps it."""
        try:
            return self.deployer.keeps(self.history.restorable(deployment.id).platform_id)
        except UsageError:
            return False

    def _show(self, deployment: Deployment, run_id: str, back: tuple[str, Deployment | None]) -> None:
        """Promote and validate. After a failure, restore the deployment before, then raise."""
        history = self.history
        try:
            with history.step(deployment, run_id, "promote"):
                self.deployer.promote(deployment.platform_id)
            with history.step(deployment, run_id, "validate") as add_message:
                add_message(self._validated(deployment))
        except Exception:
            if back[0]:
                self._restore(*back, deployment, run_id)
            else:
                history.skip(deployment, run_id, "roll_back", "There is no earlier deployment that was in order.")
            raise

    def _restore(self, identity: str, target: Deployment | None, subject: Deployment, run_id: str) -> None:
        """Show a deployment again and verify that readers get it, even if the place reports a failure."""
        with self.history.step(subject, run_id, "roll_back") as add_message:
            add_message(f"Back to {identity}.")
            if not self.deployer.keeps(identity):
                message = f"Deployment {identity} is not kept any more."
                raise PermanentFailure(message, "Deploy again: threadjuice deploy production")
            try:
                self.deployer.restore(identity)
            except ThreadJuiceError as error:
                if target is None:
                    raise
                add_message(str(error))
        with self.history.step(subject, run_id, "verify_rollback") as add_message:
            add_message(self._validated(target))

    def _restore_point(self, before: Deployment | None) -> tuple[str, Deployment | None]:
        """Return what a failed promotion restores: what the place shows, or else the last valid deployment."""
        shown = self.deployer.live()
        recorded = self.history.find(shown) if shown else None
        if shown and recorded is None:
            return shown, None
        valid = recorded if recorded and recorded.state in VALIDATED else before or recorded
        return (valid.platform_id, valid) if valid else ("", None)

    def _validated(self, deployment: Deployment | None) -> str:
        """Test the site where readers see it, and return a summary. Raises for any wrong answer."""
        with self.deployer.opened() as opened:
            deadline = time.monotonic() + self.settle_seconds
            # Edges of a network show the new version one after the other, within seconds.
            while deployment and _marker(opened).version != deployment.version and time.monotonic() < deadline:
                time.sleep(0.5)
            return self._tested(opened, deployment)

    def _tested(self, opened: Opened, deployment: Deployment | None) -> str:
        """Request pages of a deployment (or of whatever is there) and return a summary. Raises for any wrong answer."""
        from threadjuice_dagster.site.headers import headers_of

        marker, requests = self._checked_marker(opened, deployment), [SmokeRequest("/")]
        front = _ask(opened, "/")
        strict = sends_site_headers(front.headers, headers_of("index.html"))
        if deployment:
            promised = (lambda path: headers_of(path, marker.origins)) if strict else (lambda _: {})
            requests = smoke_requests(deployment.probes, promised)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            problems = [text for text in pool.map(lambda request: _problem(opened, request), requests) if text]
        if problems:
            message = f"{len(problems)} of {len(requests)} answers are not in order: {'; '.join(problems[:3])}."
            raise PermanentFailure(message, f"Look at {opened.url}.")
        plain = "" if strict else " The place sends none of the headers that the site asks for."
        return f"{len(requests)} answers are as built.{plain}"

    def _checked_marker(self, opened: Opened, deployment: Deployment | None) -> Marker:
        """Return the marker of the opened site. Raises if it is not the deployment's."""
        answer = _ask(opened, f"/{MARKER}")
        marker = Marker.read(answer.body)
        if deployment is None or marker.version == deployment.version:
            return marker
        if failure := self.deployer.protection_failure(answer, opened):
            raise failure
        shown = f"shows version {marker.version}" if marker.version else f"answers {answer.status} for /{MARKER}"
        raise PermanentFailure(f"{opened.url} {shown} instead of version {deployment.version}.", "Look at it.")

    def _contract(self, deployment: Deployment, run_id: str) -> None:
        """Run the contracting migrations, which drop what the version before still needed."""
        from threadjuice_dagster.database.schema import migrate

        with self.history.step(deployment, run_id, "contract") as add_message:
            before, after = migrate(self.database.store.engine, contracting=True)
            add_message(f"From {before} to {after}." if before != after else "No migration waits for it.")

    def _expire(self, deployment: Deployment, run_id: str) -> None:
        """Delete earlier deployments that may show what was taken down since."""
        outdated = self.history.predating_takedowns(deployment)
        if not outdated:
            return
        with self.history.step(deployment, run_id, "expire") as add_message:
            for deployment in outdated:
                self.deployer.remove(deployment.platform_id)
                self.history.update(deployment, state="deleted")
            add_message(f"Deleted {len(outdated)} that may show what was taken down.")

    def _refuse_emptiness(self, marker: Marker) -> None:
        """Refuse an empty site of a database that never had a story: it is probably the wrong database."""
        if marker.stories or self.history.ever_published():
            return
        shown = 0
        with suppress(ThreadJuiceError), self.deployer.opened() as opened:
            shown = _marker(opened).stories
        if shown:
            message = f"The built site has no stories, the live one has {shown}."
            raise PermanentFailure(message, "Check DATABASE_URL: this database never published a story.")

    def _record_id(self, deployment: Deployment, platform_id: str) -> None:
        self.history.update(deployment, platform_id=platform_id)

    @contextmanager
    def _failing(self, deployment: Deployment) -> Iterator[None]:
        try:
            yield
        except Exception:
            self.history.update(deployment, state="failed")
            raise


@contextmanager
def _built(site: Path) -> Iterator[Path]:
    """Yield the folder of the finished site. No build changes it while the block lasts."""
    if not Marker.read(
        (site / "current" / MARKER).read_bytes() if (site / "current" / MARKER).exists() else b""
    ).version:
        raise PermanentFailure(f"There is no finished site in {site}.", "Materialize site, then deploy again.")
    with (site / ".lock").open("a") as lock:
        # Builds take this lock exclusively; several deployments may read at once.
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield (site / "current").resolve()


def _problem(opened: Opened, request: SmokeRequest) -> str:
    try:
        return find_problem(request, *_ask(opened, request.path)[:3])
    except ThreadJuiceError as error:
        return error.message.rstrip(".")


def _marker(opened: Opened) -> Marker:
    """Return the marker of the opened site, or an empty one where there is none."""
    try:
        return Marker.read(_ask(opened, f"/{MARKER}", attempts=1).body)
    except ThreadJuiceError:
        return Marker()


def _ask(opened: Opened, path: str, attempts: int = 3) -> Answer:
    return send("GET", opened.url + path, headers=opened.headers, timeout=20.0, attempts=attempts)


def capacity_of(site: Path, deployer: Deployer, cdn: Storage, daily: int, moment: datetime) -> Finding:
    """Say when the site built in a folder will no longer fit into a deployment."""
    from threadjuice_dagster.site.build_state import read_size

    if not deployer.has_limits:
        return Finding(name="vercel_capacity", state="stand-in", message="A folder takes any number of files.")
    size = read_size(site, moment - timedelta(days=WINDOW_DAYS))
    if size is None:
        return Finding(name="vercel_capacity", state="ok", message="Nothing is built yet.")
    has_cdn = not isinstance(cdn, FolderStorage) or bool(cdn.public_url)
    return capacity_finding(size, daily, has_cdn=has_cdn)
