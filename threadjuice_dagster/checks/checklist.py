"""The production checklist: six lines before a deployment goes live, and six after it did.

Of the first six, those that would make the deployment itself bad stop it; an outage elsewhere is a warning, so that
a takedown can be deployed whatever else is broken. What a line looks at belongs in the layers below.
"""

import dataclasses
import functools
import html
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

import dagster as dg

from threadjuice_dagster.assets.steps import classified, now
from threadjuice_dagster.domain.database_health import backup_finding
from threadjuice_dagster.domain.environment import EnvironmentReport, Probe
from threadjuice_dagster.domain.errors import error_finding
from threadjuice_dagster.domain.grounding import ground
from threadjuice_dagster.domain.image_delivery import encoding_finding
from threadjuice_dagster.domain.injection import for_people
from threadjuice_dagster.domain.moderation import load_moderator
from threadjuice_dagster.domain.originality import originality_problem
from threadjuice_dagster.domain.quality import rate
from threadjuice_dagster.domain.verdicts import QualityScore, gate_findings, overall_score
from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.resources.backups import BackupDesk
from threadjuice_dagster.resources.deployer import Opened
from threadjuice_dagster.resources.deployments import DeploymentDesk
from threadjuice_dagster.resources.http import Answer, look
from threadjuice_dagster.resources.limits import SharedRateLimit
from threadjuice_dagster.resources.pictures import PictureDesk
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.probes import EnvironmentDesk
from threadjuice_dagster.resources.reddit import SampleThreads
from threadjuice_dagster.settings import read_settings

if TYPE_CHECKING:
    from threadjuice_dagster.domain.threads import Thread

HEARTBEAT = 300.0
"""Seconds after which a silent daemon counts as stopped."""

SLOWEST_PAGE, SLOWEST_QUERY = 2.0, 1.0
"""Seconds until a page is read in full, and until the database answers."""

HEAVIEST_PAGE, HEAVIEST_PICTURE = 300_000, 600_000
"""Bytes."""

_PICTURE = re.compile(r'<(?:img|source)\b[^>]*?\ssrc(?:set)?="([^"\s]+)')
_STORY = re.compile(r'href="((?:[^"]*/)?story/[^"]+)"')
_MAX_AGE = re.compile(r"max-age=(\d+)")


class Line(NamedTuple):
    """What became of a line; one that is ``severe`` and did not pass stops a deployment, or wants mending at once."""

    passed: bool
    message: str
    severe: bool = False


@dataclasses.dataclass(frozen=True)
class Scene:
    """What the lines look at."""

    instance: dg.DagsterInstance
    database: Database
    environment: EnvironmentDesk
    deployment_desk: DeploymentDesk
    pictures: PictureDesk
    backup_desk: BackupDesk

    @functools.cached_property
    def report(self) -> EnvironmentReport:
        """Every variable and system, asked once for all lines."""
        return self.environment.report(*read_settings())

    @property
    def production(self) -> bool:
        """Whether readers depend on this."""
        return self.report.environment == "production"


def environment_variables(scene: Scene) -> Line:
    """Every variable is valid and every outside system answers."""
    wrong, away = scene.report.failed("variable"), scene.report.failed("system")
    if wrong or away:
        return Line(False, _told([*wrong, *away]), severe=bool(wrong))
    return Line(True, ", ".join(f"{count} {state}" for state, count in scene.report.counts.items() if count))


def migrations(scene: Scene) -> Line:
    """Every migration runs, runs back and runs again in a scratch database."""
    import sqlalchemy as sa

    from threadjuice_dagster.database.restore import Server
    from threadjuice_dagster.database.schema import head_revision, rehearse

    with Server(scene.database.address()) as server, server.scratch() as url:
        try:
            reached = rehearse(url)
        except sa.exc.DBAPIError as error:
            return Line(False, f"One failed: {str(error.orig).splitlines()[0][:200]}", severe=True)
    told = " and ".join(dict.fromkeys(reached))
    return Line(set(reached) == {head_revision()}, f"In a scratch database they led to {told}.", severe=True)


def pipeline(scene: Scene) -> Line:
    """A sample thread becomes a story that the gates on the text let through."""
    refused: dict[str, str] = {}
    for thread in SampleThreads().candidates(3):
        problem = _sample_problem(for_people(thread))
        if not problem:
            return Line(True, f"Sample {thread.id} became a story that passes every gate on the text.")
        refused[thread.id] = problem
    return Line(False, "; ".join(f"{name}: {problem}" for name, problem in refused.items()), severe=True)


def image_optimization(scene: Scene) -> Line:
    """A card is drawn and encoded, and every file is read back as a picture of its size."""
    found = encoding_finding(scene.pictures.quality)
    return Line(found.passed, found.message, severe=not found.passed)


def rate_limits(scene: Scene) -> Line:
    """The limit that all processes share is counted, and is no higher than the server's own."""
    SharedRateLimit(database=scene.database, per_minute=1000).acquire("deployment check")
    limit, openai = scene.report.row("CONTENT_GENERATION_RATE_LIMIT"), scene.report.row("openai")
    if openai.state == "warning":
        return Line(False, _told([openai]))
    return Line(limit.state == "ok", f"Requests to the model in any 60 seconds: {limit.message}")


def monitoring(scene: Scene) -> Line:
    """Alerts have somewhere to go, and outside a developer's machine the daemon that sends them runs."""
    webhook = scene.report.row("webhook")
    if webhook.state == "failed" or (scene.production and webhook.state == "stand-in"):
        return Line(False, _told([webhook]))
    beats = [beat.timestamp for beat in scene.instance.get_daemon_heartbeats().values()]
    running = bool(beats) and time.time() - max(beats) < HEARTBEAT
    told = f"{webhook.message} The Dagster daemon {'runs' if running else 'does not run'}."
    return Line(running or scene.report.environment == "local", told)


def database_connections(scene: Scene) -> Line:
    """The database and a pool of connections answer quickly, three times in a row."""
    names = ("database", "database_pool")
    rows: list[Probe] = []
    for _ in range(3):
        rows += scene.environment.report(*read_settings(), names).rows
    slowest = max(row.latency_ms or 0.0 for row in rows) / 1000
    failed = [row for row in rows if row.state in ("failed", "warning")]
    told = _told(failed) or f"The slowest of {len(rows)} answers took {slowest:.2f} s. {rows[-1].message}"
    return Line(not failed and slowest < SLOWEST_QUERY, told, severe=scene.production)


def content_generation(scene: Scene) -> Line:
    """The writer answers, and most of the day's stories did not fail."""
    openai = scene.report.row("openai")
    failed, stories = _of_the_day(scene)
    told = f"{openai.message} {failed} of {stories} stories of the last 24 hours failed."
    return Line(openai.state != "failed" and failed * 2 <= stories, told)


def image_loading(scene: Scene) -> Line:
    """A picture of the live front page is one, is light enough, and may be cached for a day or longer."""
    with scene.deployment_desk.deployer.opened() as site:
        found = _PICTURE.search(_page(site, "/")[0])
        if found is None:
            return Line(True, "The front page shows no picture yet.")
        status, headers, data, _ = _asked(site, found[1])
    kind, age = headers.get("content-type", ""), _MAX_AGE.search(headers.get("cache-control", ""))
    kept = int(age[1]) if age else 0
    fine = status == 200 and kind.startswith("image/") and kept >= 86_400 and len(data) <= HEAVIEST_PICTURE
    return Line(fine, f"It answers {status}, {kind or 'no type'}, {len(data):,} bytes, cached for {kept:,} s.")


def performance(scene: Scene) -> Line:
    """The live front page and its first story are there, quick and light."""
    with scene.deployment_desk.deployer.opened() as site:
        pages = [_page(site, "/")]
        if found := _STORY.search(pages[0][0]):
            pages.append(_page(site, found[1]))
    slowest, heaviest = max(taken for _, taken in pages), max(len(page) for page, _ in pages)
    told = f"The slowest of {len(pages)} pages took {slowest:.2f} s, the heaviest has {heaviest:,} characters."
    return Line(slowest <= SLOWEST_PAGE and heaviest <= HEAVIEST_PAGE, told)


def error_rates(scene: Scene) -> Line:
    """Few runs of the last 24 hours ended in an error that was no editorial outcome."""
    errors = scene.database.store.ledger.errors_of_day()
    found = error_finding(errors, _of_the_day(scene)[1])
    return Line(found.passed, f"In the last 24 hours: {found.message}")


def backup_systems(scene: Scene) -> Line:
    """The newest backup that a restore has proven is of the last 26 hours."""
    proven = [backup.manifest.taken_at for backup in scene.backup_desk.backups() if backup.proven_at]
    found = backup_finding(max(proven, default=None), now())
    return Line(found.passed, f"{found.message} {found.next_step}".strip(), severe=scene.production)


BEFORE: Mapping[str, Callable[[Scene], Line]] = {
    "environment_variables_configured": environment_variables,
    "database_migrations_tested": migrations,
    "content_generation_pipeline_tested": pipeline,
    "image_optimization_works": image_optimization,
    "api_rate_limits_configured": rate_limits,
    "monitoring_systems_active": monitoring,
}
AFTER: Mapping[str, Callable[[Scene], Line]] = {
    "database_connections_stable": database_connections,
    "content_generation_works": content_generation,
    "image_loading_optimized": image_loading,
    "performance_metrics_green": performance,
    "error_rates_within_threshold": error_rates,
    "backup_systems_operational": backup_systems,
}


def _checks(
    name: str, asset: str, lines: Mapping[str, Callable[[Scene], Line]], *, blocking: bool
) -> dg.AssetChecksDefinition:
    """The lines as checks of one step. Whatever is unforeseen in one is its own failure; the others go on."""
    specs = [
        dg.AssetCheckSpec(line, asset=asset, description=evaluate.__doc__, blocking=blocking)
        for line, evaluate in lines.items()
    ]

    @dg.multi_asset_check(name=name, specs=specs)
    def checklist(
        context: dg.AssetCheckExecutionContext,
        database: Database,
        environment: EnvironmentDesk,
        deployment_desk: DeploymentDesk,
        pictures: PictureDesk,
        backup_desk: BackupDesk,
    ) -> Iterator[dg.AssetCheckResult]:
        scene = Scene(context.instance, database, environment, deployment_desk, pictures, backup_desk)
        for line, evaluate in lines.items():
            began = time.monotonic()
            found = _evaluated(evaluate, scene)
            yield dg.AssetCheckResult(
                passed=found.passed,
                check_name=line,
                asset_key=asset,
                severity=dg.AssetCheckSeverity.ERROR if found.severe else dg.AssetCheckSeverity.WARN,
                description=found.message,
                metadata={"seconds": round(time.monotonic() - began, 3)},
            )

    return checklist


def _evaluated(evaluate: Callable[[Scene], Line], scene: Scene) -> Line:
    try:
        return evaluate(scene)
    except Exception as error:
        return Line(False, str(classified(error)), severe=evaluate not in (rate_limits, monitoring))


def _told(rows: list[Probe]) -> str:
    return " ".join(f"{row.name}: {row.message} {row.next_step}".strip() for row in rows)


def _sample_problem(thread: "Thread") -> str:
    """Why a sample's story would not be published; empty if it would."""
    from threadjuice_dagster.database.catalogue import read_catalogue
    from threadjuice_dagster.domain.extractive import compose

    (category, *_), (persona, *_) = read_catalogue()
    draft = compose(thread, category, persona)
    rubric = rate(draft, thread, excerpting=True)
    score = QualityScore(
        story_id=thread.id,
        rubric=rubric,
        moderation=load_moderator().moderate(f"{draft.title}\n\n{draft.text}", category.slug),
        grounding=ground(draft, thread, persona.lines),
        originality_problem=originality_problem(draft, thread, "", 0.0, excerpting=True),
        overall=overall_score(rubric, None),
        scored_at=now(),
    )
    return "; ".join(found.message for found in gate_findings(score).values() if not found.passed)


def _of_the_day(scene: Scene) -> tuple[int, int]:
    """How many stories of the last 24 hours failed, and how many there were."""
    counts = scene.database.store.ledger.stories_of_day()
    return counts["failed"], counts.total()


def _page(site: Opened, link: str) -> tuple[str, float]:
    """A page as readers get it, and the seconds it took. Raises ``PermanentFailure`` if it is not there."""
    began = time.monotonic()
    answer = _asked(site, link)
    if answer.status != 200:
        message = f"{link} answers {answer.status} on the live site."
        raise PermanentFailure(message, "Deploy again, or: threadjuice deploy rollback")
    return answer.body.decode(errors="replace"), time.monotonic() - began


def _asked(site: Opened, link: str) -> Answer:
    """What a link of the front page leads to; what opens the site is told to nobody else."""
    address = urljoin(f"{site.url.rstrip('/')}/", html.unescape(link))
    own = urlsplit(address).netloc == urlsplit(site.url).netloc
    return look(address, site.headers if own else None)


deployment_preconditions = _checks("before_deployment", "staged_deployment", BEFORE, blocking=True)
deployment_results = _checks("after_deployment", "production_deployment", AFTER, blocking=False)
