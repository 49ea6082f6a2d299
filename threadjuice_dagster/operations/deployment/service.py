"""The deployment desk: brings the site to readers in steps, each recorded, and back again when one fails.

Stage, smoke test, promote, validate; where that fails, the deployment before is restored and verified. What a
place does for each step belongs in ``operations/deployment/targets.py``.
"""

import fcntl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.failures import PermanentFailure, ThreadJuiceError, UsageError
from threadjuice_dagster.operations.deployment.rules import (
    PREVIOUS,
    VALIDATED,
    WINDOW_DAYS,
    Deployment,
    Question,
    capacity_finding,
    keeps_promises,
    problem,
    questions,
    sample,
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
"""Pages a smoke test asks for at a time."""


class DeploymentService(dg.ConfigurableResource):
    """Deployments of the site at one place. Each public method that changes something waits for its turn.

    ``settle_seconds`` is how long the edges of a network may take to show what was promoted.
    """

    database: dg.ResourceDependency[Database]
    deployer: dg.ResourceDependency[Deployer]
    settle_seconds: float = 30.0

    @property
    def book(self) -> "Deployments":
        """The history at this place."""
        from threadjuice_dagster.operations.deployment.store import Deployments

        return Deployments(self.database.store, self.deployer.place)

    def stage(self, site: Path, run_id: str, started: datetime) -> tuple[Deployment, Staged]:
        """Bring the site built in a folder to the place and test it there. ``started`` is before its stories were read.

        Raises ``ThreadJuiceError`` for what fails; readers have seen nothing of it.
        """
        book = self.book
        with book.turn(), _built(site) as folder:
            marker, files = Marker.read((folder / MARKER).read_bytes()), manifest_of(folder)
            deployment, live = book.begin(marker.version, run_id, sample(files), started), book.live()
            with self._failing(deployment):
                with book.step(deployment, run_id, "stage") as say:
                    self._refuse_emptiness(marker)
                    name = f"{deployment.number}-{marker.version}-{run_id[:6]}"
                    shared = live.shared if live else []
                    staged = self.deployer.stage(name, folder, files, shared, book.naming(deployment))
                    deployment = book.change(deployment, platform_id=staged.id, url=staged.url)
                    say(f"{staged.files} of {staged.total} files were new there.")
                with book.step(deployment, run_id, "smoke_test") as say, self.deployer.opened(staged) as opened:
                    say(self._tested(opened, deployment))
                return book.change(deployment, state="staged"), staged

    def promote(self, run_id: str) -> Deployment:
        """Show readers what this run staged, or else the newest staged; validate it there, or go back at once.

        Raises ``ThreadJuiceError`` when readers do not see it in order; then they see what they saw before.
        """
        book = self.book
        with book.turn():
            deployment, before = book.staged(run_id), book.live()
            if deployment is None:
                raise PermanentFailure("No deployment is staged.", "Run: threadjuice deploy production")
            if before and before.number > deployment.number:
                book.skip(deployment, run_id, "promote", f"Deployment {before.id}, which is newer, is live.")
                return deployment
            deployment = book.change(deployment, state="running")
            with self._failing(deployment):
                self._show(deployment, run_id, self._restore_point(before))
            deployment = book.change(deployment, state="live")
            self._contract(deployment, run_id)
            self._expire(deployment, run_id)
            return self.shown(deployment)

    def roll_back(self, reference: str, run_id: str) -> Deployment:
        """Show an earlier deployment again, by name or the ``previous`` one, and verify it.

        Raises ``UsageError`` if that cannot be, ``ThreadJuiceError`` if it fails.
        """
        book = self.book
        with book.turn():
            target, live = self.restorable(reference), book.live()
            self._restore(target.platform_id, target, target, run_id)
            if live and live.number != target.number:
                book.change(live, state="rolled_back")
            return self.shown(book.change(target, state="live"))

    def shown(self, deployment: Deployment) -> Deployment:
        """A deployment as people are told of it: one that is live with the address where readers are."""
        if deployment.state != "live":
            return deployment
        return deployment.model_copy(update={"url": self.deployer.shown_at(deployment)})

    def restorable(self, reference: str) -> Deployment:
        """The deployment a rollback is to, as ``Deployments.restorable``.

        Where the place shows another than we know of, ``previous`` is that one if it was ever found in order, because
        a rollback to it was killed, and else the last that was.
        """
        live, shown = self.book.live(), self.deployer.live()
        if reference == PREVIOUS and live and shown not in ("", live.platform_id):
            known = self.book.find(shown)
            reference = shown if known and known.state in VALIDATED else live.platform_id
        return self.book.restorable(reference)

    def is_restorable(self, deployment: Deployment) -> bool:
        """Whether a rollback can go to it: it was in order, and is still kept."""
        try:
            return self.deployer.keeps(self.book.restorable(deployment.id).platform_id)
        except UsageError:
            return False

    def _show(self, deployment: Deployment, run_id: str, back: tuple[str, Deployment | None]) -> None:
        """Promote and validate; a failure is raised after readers see the deployment before again."""
        book = self.book
        try:
            with book.step(deployment, run_id, "promote"):
                self.deployer.promote(deployment.platform_id)
            with book.step(deployment, run_id, "validate") as say:
                say(self._validated(deployment))
        except Exception:
            if back[0]:
                self._restore(*back, deployment, run_id)
            else:
                book.skip(deployment, run_id, "roll_back", "There is no earlier deployment that was in order.")
            raise

    def _restore(self, identity: str, target: Deployment | None, subject: Deployment, run_id: str) -> None:
        """Show a deployment again and see that readers get it, which counts for more than what the place says of it."""
        with self.book.step(subject, run_id, "roll_back") as say:
            say(f"Back to {identity}.")
            if not self.deployer.keeps(identity):
                message = f"Deployment {identity} is not kept any more."
                raise PermanentFailure(message, "Deploy again: threadjuice deploy production")
            try:
                self.deployer.restore(identity)
            except ThreadJuiceError as error:
                if target is None:
                    raise
                say(str(error))
        with self.book.step(subject, run_id, "verify_rollback") as say:
            say(self._validated(target))

    def _restore_point(self, before: Deployment | None) -> tuple[str, Deployment | None]:
        """What to go back to: what the place shows, unless we know that it was not in order; then the last that was."""
        shown = self.deployer.live()
        known = self.book.find(shown) if shown else None
        if shown and known is None:
            return shown, None
        good = known if known and known.state in VALIDATED else before or known
        return (good.platform_id, good) if good else ("", None)

    def _validated(self, deployment: Deployment | None) -> str:
        """What was found where readers are; raises for what is not in order."""
        with self.deployer.opened() as opened:
            deadline = time.monotonic() + self.settle_seconds
            while deployment and _marker(opened).version != deployment.version and time.monotonic() < deadline:
                time.sleep(0.5)
            return self._tested(opened, deployment)

    def _tested(self, opened: Opened, deployment: Deployment | None) -> str:
        """Ask a deployment (or whatever is there) for its pages and compare them; raises for what is not in order."""
        from threadjuice_dagster.site.headers import headers_of

        marker, asked = self._found(opened, deployment), [Question("/")]
        front = _ask(opened, "/")
        strict = keeps_promises(front.headers, headers_of("index.html"))
        if deployment:
            promised = (lambda path: headers_of(path, marker.origins)) if strict else (lambda _: {})
            asked = questions(deployment.probes, promised)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            problems = [found for found in pool.map(lambda question: _problem(opened, question), asked) if found]
        if problems:
            message = f"{len(problems)} of {len(asked)} answers are not in order: {'; '.join(problems[:3])}."
            raise PermanentFailure(message, f"Look at {opened.url}.")
        plain = "" if strict else " The place sends none of the headers that the site asks for."
        return f"{len(asked)} answers are as built.{plain}"

    def _found(self, opened: Opened, deployment: Deployment | None) -> Marker:
        """What is seen says of itself; raises where that is not the deployment."""
        answer = _ask(opened, f"/{MARKER}")
        marker = Marker.read(answer.body)
        if deployment is None or marker.version == deployment.version:
            return marker
        if locked := self.deployer.locked_out(answer, opened):
            raise locked
        shown = f"shows version {marker.version}" if marker.version else f"answers {answer.status} for /{MARKER}"
        raise PermanentFailure(f"{opened.url} {shown} instead of version {deployment.version}.", "Look at it.")

    def _contract(self, deployment: Deployment, run_id: str) -> None:
        """Run the migrations that take away what the version before still needed."""
        from threadjuice_dagster.database.schema import migrate

        with self.book.step(deployment, run_id, "contract") as say:
            before, after = migrate(self.database.store.engine, contracting=True)
            say(f"From {before} to {after}." if before != after else "No migration waits for it.")

    def _expire(self, deployment: Deployment, run_id: str) -> None:
        """Delete earlier deployments that may show what was taken down since; the new one does not need them."""
        doomed = self.book.tainted(deployment)
        if not doomed:
            return
        with self.book.step(deployment, run_id, "expire") as say:
            for one in doomed:
                self.deployer.remove(one.platform_id)
                self.book.change(one, state="deleted")
            say(f"Deleted {len(doomed)} that may show what was taken down.")

    def _refuse_emptiness(self, marker: Marker) -> None:
        """An empty site of a database that never had a story takes no live one's place: it is the wrong database."""
        if marker.stories or self.book.ever_published():
            return
        shown = 0
        with suppress(ThreadJuiceError), self.deployer.opened() as opened:
            shown = _marker(opened).stories
        if shown:
            message = f"The built site has no stories, the live one has {shown}."
            raise PermanentFailure(message, "Check DATABASE_URL: this database never published a story.")

    @contextmanager
    def _failing(self, deployment: Deployment) -> Iterator[None]:
        try:
            yield
        except Exception:
            self.book.change(deployment, state="failed")
            raise


@contextmanager
def _built(site: Path) -> Iterator[Path]:
    """The folder of the site's finished version; no build changes it while the block lasts."""
    if not Marker.read(
        (site / "current" / MARKER).read_bytes() if (site / "current" / MARKER).exists() else b""
    ).version:
        raise PermanentFailure(f"There is no finished site in {site}.", "Materialize site, then deploy again.")
    with (site / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield (site / "current").resolve()


def _problem(opened: Opened, question: Question) -> str:
    try:
        return problem(question, *_ask(opened, question.path)[:3])
    except ThreadJuiceError as error:
        return error.message.rstrip(".")


def _marker(opened: Opened) -> Marker:
    """What is seen says of itself; nothing where there is no site, or nothing that names its version."""
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
