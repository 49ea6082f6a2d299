"""The production checklist: six lines before a deployment goes live, and six after it did.

Of the first six, those that would make the deployment itself bad stop it; an outage elsewhere is a warning, so that
a takedown can be deployed whatever else is broken. What a line looks at belongs in the layers below.
"""

import dataclasses
import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import dagster as dg

from threadjuice_dagster.assets.deployment.trial import try_writer
from threadjuice_dagster.assets.preview import described
from threadjuice_dagster.assets.steps import classified, now
from threadjuice_dagster.domain.writing.costs import Meter
from threadjuice_dagster.failures import ThreadJuiceError
from threadjuice_dagster.operations.backups.service import BackupService
from threadjuice_dagster.operations.deployment.reader import read, read_page
from threadjuice_dagster.operations.deployment.service import DeploymentService
from threadjuice_dagster.operations.deployment.targets import Opened
from threadjuice_dagster.operations.environment.rules import EnvironmentReport, Probe
from threadjuice_dagster.operations.environment.service import EnvironmentService
from threadjuice_dagster.operations.findings import Finding, finding
from threadjuice_dagster.operations.limits import SharedRateLimit
from threadjuice_dagster.operations.monitoring.database_health_rules import backup_finding
from threadjuice_dagster.operations.monitoring.errors_rules import error_finding
from threadjuice_dagster.operations.monitoring.image_delivery_rules import encoding_finding, page_findings, sniffed
from threadjuice_dagster.resources.pictures import PictureService
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.writers import ExtractiveWriter
from threadjuice_dagster.settings import read_settings
from threadjuice_dagster.site.markup import Page, PagePicture
from threadjuice_dagster.sources.samples import Samples

HEARTBEAT = 300.0
"""Seconds after which a silent daemon counts as stopped."""

SLOWEST_PAGE, SLOWEST_QUERY = 2.0, 1.0
"""Seconds until a page is read in full, and until the database answers."""

HEAVIEST_PAGE, HEAVIEST_PICTURE = 300_000, 600_000
"""Bytes."""

CACHED_A_DAY = 86_400
"""Seconds."""

PICTURES = 4
"""Pictures of the front page that are fetched, each as the newest browser does and as the oldest."""

_MAX_AGE = re.compile(r"max-age=(\d+)")


def line_finding(passed: bool, message: str, *, severe: bool = False) -> Finding:
    """Return the finding on a line of the checklist.

    A severe line that did not pass has failed: before a deployment that stops it. Any other line warns; after a
    deployment in production a warning is an error, too.
    """
    return finding("ok" if passed else "failed" if severe else "warning", message)


@dataclasses.dataclass(frozen=True)
class CheckContext:
    """What the lines look at."""

    instance: dg.DagsterInstance
    database: Database
    environment: EnvironmentService
    deployment_service: DeploymentService
    pictures: PictureService
    backup_service: BackupService

    @functools.cached_property
    def report(self) -> EnvironmentReport:
        """Every variable and system, asked once for all lines."""
        return self.environment.report(*read_settings())

    @property
    def production(self) -> bool:
        """Whether readers depend on this."""
        return self.report.environment == "production"


def environment_variables(checks: CheckContext) -> Finding:
    """Every variable is valid and every outside system answers."""
    wrong, away = checks.report.failed("variable"), checks.report.failed("system")
    if wrong or away:
        return line_finding(False, _told([*wrong, *away]), severe=bool(wrong))
    return line_finding(True, ", ".join(f"{count} {state}" for state, count in checks.report.counts.items() if count))


def migrations(checks: CheckContext) -> Finding:
    """Every migration runs, runs back and runs again in a scratch database."""
    import sqlalchemy as sa

    from threadjuice_dagster.database.schema import head_revision, rehearse
    from threadjuice_dagster.operations.backups.restore_server import RestoreServer

    with RestoreServer(checks.database.address()) as server, server.scratch() as url:
        try:
            reached = rehearse(url)
        except sa.exc.DBAPIError as error:
            return line_finding(False, f"One failed: {str(error.orig).splitlines()[0][:200]}", severe=True)
    revisions = " and ".join(dict.fromkeys(reached))
    return line_finding(
        set(reached) == {head_revision()}, f"In a scratch database they led to {revisions}.", severe=True
    )


def pipeline(checks: CheckContext) -> Finding:
    """A sample thread becomes a story that the gates on the text let through."""
    refused: dict[str, str] = {}
    for thread in Samples().listing("", 3):
        problem = try_writer(ExtractiveWriter(), thread, Meter()).problem
        if not problem:
            return line_finding(True, f"Sample {thread.id} became a story that passes every gate on the text.")
        refused[thread.id] = problem
    return line_finding(False, "; ".join(f"{name}: {problem}" for name, problem in refused.items()), severe=True)


def image_optimization(checks: CheckContext) -> Finding:
    """A card is drawn and encoded, and every file is read back as a picture of its size."""
    encoding = encoding_finding(checks.pictures.quality)
    return line_finding(encoding.passed, encoding.message, severe=not encoding.passed)


def rate_limits(checks: CheckContext) -> Finding:
    """The limit that all processes share is counted, and is no higher than the server's own."""
    SharedRateLimit(database=checks.database, per_minute=1000).acquire("deployment check")
    limit, openai = checks.report.row("CONTENT_GENERATION_RATE_LIMIT"), checks.report.row("openai")
    if openai.state == "warning":
        return line_finding(False, _told([openai]))
    return line_finding(limit.state == "ok", f"Requests to the model in any 60 seconds: {limit.message}")


def monitoring(checks: CheckContext) -> Finding:
    """Alerts have somewhere to go, and outside a developer's machine the daemon that sends them runs."""
    webhook = checks.report.row("webhook")
    if webhook.state == "failed" or (checks.production and webhook.state == "stand-in"):
        return line_finding(False, _told([webhook]))
    beats = [beat.timestamp for beat in checks.instance.get_daemon_heartbeats().values()]
    running = bool(beats) and time.time() - max(beats) < HEARTBEAT
    message = f"{webhook.message} The Dagster daemon {'runs' if running else 'does not run'}."
    return line_finding(running or checks.report.environment == "local", message)


def database_connections(checks: CheckContext) -> Finding:
    """The database and a pool of connections answer quickly, three times in a row."""
    names = ("database", "database_pool")
    rows: list[Probe] = []
    for _ in range(3):
        rows += checks.environment.report(*read_settings(), names).rows
    slowest = max(row.latency_ms or 0.0 for row in rows) / 1000
    failed = [row for row in rows if row.state in ("failed", "warning")]
    message = _told(failed) or f"The slowest of {len(rows)} answers took {slowest:.2f} s. {rows[-1].message}"
    return line_finding(not failed and slowest < SLOWEST_QUERY, message)


def content_generation(checks: CheckContext) -> Finding:
    """The writer answers, and most of the day's stories did not fail."""
    openai = checks.report.row("openai")
    failed, stories = _of_the_day(checks)
    message = f"{openai.message} {failed} of {stories} stories of the last 24 hours failed."
    return line_finding(openai.state != "failed" and failed * 2 <= stories, message)


def image_loading(checks: CheckContext) -> Finding:
    """Pictures of the live front page are pictures, light, and cached for a day; they have a size and load lazily."""
    with checks.deployment_service.deployer.opened() as site:
        front = read_page(site, "/").text
        pictures = Page(front).pictures()
        files = [_fetched(site, address) for picture in pictures[:PICTURES] for address in _tried(picture)]
    broken = [one.problem for one in files if one.problem]
    if broken:
        return line_finding(False, f"{len(broken)} of {len(files)} files fail: {'; '.join(broken[:3])}.", severe=True)
    heaviest, shortest = max((one.bytes for one in files), default=0), min((one.kept for one in files), default=0)
    message = f"{len(files)} files of {len(pictures)} pictures came, the heaviest with {heaviest:,} bytes"
    message = f"{message}, cached for {shortest:,} s." if files else "The front page shows no picture yet."
    untidy = [finding.message for finding in page_findings([front]) if not finding.passed]
    fine = not files or (heaviest <= HEAVIEST_PICTURE and shortest >= CACHED_A_DAY)
    return line_finding(fine and not untidy, " ".join([message, *untidy]))


def performance(checks: CheckContext) -> Finding:
    """The live front page and its first story are there, quick and light."""
    with checks.deployment_service.deployer.opened() as site:
        pages = [read_page(site, "/")]
        stories = [link for link in Page(pages[0].text).links() if "story/" in link]
        pages += [read_page(site, link) for link in stories[:1]]
    slowest, heaviest = max(page.seconds for page in pages), max(len(page.text) for page in pages)
    message = f"The slowest of {len(pages)} pages took {slowest:.2f} s, the heaviest has {heaviest:,} characters."
    return line_finding(slowest <= SLOWEST_PAGE and heaviest <= HEAVIEST_PAGE, message)


def error_rates(checks: CheckContext) -> Finding:
    """Few runs of the last 24 hours ended in an error that was no editorial outcome."""
    from threadjuice_dagster.database.ledger import Ledger

    errors = Ledger(checks.database.store.engine).errors_of_day()
    errors_finding = error_finding(errors, _of_the_day(checks)[1])
    return line_finding(errors_finding.passed, f"In the last 24 hours: {errors_finding.message}")


def backup_systems(checks: CheckContext) -> Finding:
    """The newest backup that a restore has proven is of the last 26 hours."""
    proven = [backup.manifest.taken_at for backup in checks.backup_service.backups() if backup.proven_at]
    newest = backup_finding(max(proven, default=None), now())
    return line_finding(newest.passed, f"{newest.message} {newest.next_step}".strip())


BEFORE: Mapping[str, Callable[[CheckContext], Finding]] = {
    "environment_variables_configured": environment_variables,
    "database_migrations_tested": migrations,
    "content_generation_pipeline_tested": pipeline,
    "image_optimization_works": image_optimization,
    "api_rate_limits_configured": rate_limits,
    "monitoring_systems_active": monitoring,
}
AFTER: Mapping[str, Callable[[CheckContext], Finding]] = {
    "database_connections_stable": database_connections,
    "content_generation_works": content_generation,
    "image_loading_optimized": image_loading,
    "performance_metrics_green": performance,
    "error_rates_within_threshold": error_rates,
    "backup_systems_operational": backup_systems,
}


def _checks(
    name: str, asset: str, lines: Mapping[str, Callable[[CheckContext], Finding]], *, blocking: bool
) -> dg.AssetChecksDefinition:
    """The lines as checks of one step. Whatever is unforeseen in one is its own failure; the others go on."""
    specs = [
        dg.AssetCheckSpec(check_name, asset=asset, description=evaluate.__doc__, blocking=blocking)
        for check_name, evaluate in lines.items()
    ]

    @dg.multi_asset_check(name=name, specs=specs)
    def checklist(
        context: dg.AssetCheckExecutionContext,
        database: Database,
        environment: EnvironmentService,
        deployment_service: DeploymentService,
        pictures: PictureService,
        backup_service: BackupService,
    ) -> Iterator[dg.AssetCheckResult]:
        checks = CheckContext(context.instance, database, environment, deployment_service, pictures, backup_service)
        for check_name, evaluate in lines.items():
            began = time.monotonic()
            result = _evaluated(evaluate, checks)
            severe = result.state == "failed" or (not blocking and checks.production)
            yield dg.AssetCheckResult(
                passed=result.passed,
                check_name=check_name,
                asset_key=asset,
                severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
                description=described(result.message),
                metadata={"seconds": round(time.monotonic() - began, 3)},
            )

    return checklist


def _evaluated(evaluate: Callable[[CheckContext], Finding], checks: CheckContext) -> Finding:
    try:
        return evaluate(checks)
    except Exception as error:
        return line_finding(False, str(classified(error)), severe=evaluate not in (rate_limits, monitoring))


def _told(rows: list[Probe]) -> str:
    return " ".join(f"{row.name}: {row.message} {row.next_step}".strip() for row in rows)


def _of_the_day(checks: CheckContext) -> tuple[int, int]:
    """How many stories of the last 24 hours failed, and how many there were."""
    from threadjuice_dagster.database.ledger import Ledger

    counts = Ledger(checks.database.store.engine).stories_of_day()
    return counts["failed"], counts.total()


class _Fetched(NamedTuple):
    """A picture's file: what is wrong with it, its bytes, and the seconds it may be cached."""

    problem: str
    bytes: int = 0
    kept: int = 0


def _tried(picture: PagePicture) -> Iterable[str]:
    """What the newest browser loads on the widest screen, and what the oldest loads."""
    return dict.fromkeys((picture.choices[0], picture.choices[-1]))


def _fetched(site: Opened, address: str) -> _Fetched:
    try:
        answer = read(site, address).answer
    except ThreadJuiceError as failure:
        return _Fetched(f"{address}: {failure.message.rstrip('.')}")
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    if answer.status != 200 or not kind.startswith("image/"):
        return _Fetched(f"{address} answers {answer.status}, {kind or 'no type'}")
    if kind.removeprefix("image/") in ("avif", "webp", "jpeg") and sniffed(answer.body) != kind.removeprefix("image/"):
        return _Fetched(f"{address} is called {kind} and is none")
    age = _MAX_AGE.search(answer.headers.get("cache-control", ""))
    return _Fetched("", len(answer.body), int(age[1]) if age else 0)


deployment_preconditions = _checks("before_deployment", "staged_deployment", BEFORE, blocking=True)
deployment_results = _checks("after_deployment", "production_deployment", AFTER, blocking=False)
