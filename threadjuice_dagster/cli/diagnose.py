"""`threadjuice diagnose`: what is wrong with one part of the newsroom, and what to do next.

It measures with the functions of the monitoring assets and holds the figures against the same thresholds. Each part
is looked at by itself, so that one which cannot be reached hides nothing of the others.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, date
from typing import TYPE_CHECKING, Any, cast

import typer

from threadjuice_dagster.cli.shared import AsJson, load_env_file, reporting, show_document
from threadjuice_dagster.failures import ThreadJuiceError
from threadjuice_dagster.operations.findings import Finding, in_runbook
from threadjuice_dagster.settings import Settings, read_settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from threadjuice_dagster.operations.backups.service import BackupService
    from threadjuice_dagster.operations.environment.service import EnvironmentService
    from threadjuice_dagster.operations.findings import State
    from threadjuice_dagster.operations.monitoring.thresholds import Thresholds
    from threadjuice_dagster.resources.postgres import Replica
    from threadjuice_dagster.resources.writers import Writer
    from threadjuice_dagster.site.publisher import Publisher

diagnose = typer.Typer(no_args_is_help=True, help="What is wrong with one part of the newsroom, and what to do next.")

SYSTEMS = {
    "generation": ("database", "database_pool", "openai", "threads"),
    "database": ("database", "database_pool", "database_backups", "database_replica", "dagster_database", "backups"),
    "images": ("database", "cdn", "openverse", "unsplash"),
}
"""The outside systems each subject depends on."""

RUNBOOKS = {
    "generation": "content-generation-failure",
    "database": "database-issues",
    "images": "image-loading-problems",
}
"""The section of docs/EMERGENCY.md on each subject."""

PATTERNS = 3
"""Causes of today's errors that are named."""

PAGES = 6
"""Pages of the built site that are read."""

_UNREAD = "Not looked at: the database cannot be reached."


class Systems:
    """The resources a diagnosis asks, opened as a run would open them."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        from threadjuice_dagster.wiring import build_resources

        self._resources, self._stack = build_resources(settings), stack
        self._opened: dict[str, Any] = {}
        self.settings = settings

    def __getattr__(self, name: str) -> Any:
        if name not in self._opened:
            opened = self._resources[name].process_config_and_initialize_cm()
            self._opened[name] = self._stack.enter_context(opened)
        return self._opened[name]


Part = Callable[[Systems], Iterable[Finding]]


@diagnose.command()
def generation(as_json: AsJson = False) -> None:
    """Why stories do not come: the model's API and its limits, the database, patterns of errors, the fallback."""
    _diagnose("generation", as_json, (_outages, _stories, _errors, _fallback))


@diagnose.command()
def database(as_json: AsJson = False) -> None:
    """What ails the database: connections, slow statements, locks, bloat, the replica, the newest proven backup."""
    _diagnose("database", as_json, (_health, _replica, _backup, _stored))


@diagnose.command()
def images(as_json: AsJson = False) -> None:
    """Why pictures do not load: storage and CDN, delivery, the encoder, and how the site's pages ask for them."""
    _diagnose("images", as_json, (_delivery, _encoder, _pages))


def _diagnose(subject: str, as_json: bool, parts: Iterable[Part]) -> None:
    with reporting(as_json), ExitStack() as stack:
        from threadjuice_dagster.cli.watching import close_incidents

        load_env_file()
        settings, problems = read_settings()
        systems = Systems(settings, stack)
        report = cast("EnvironmentService", systems.environment).report(settings, problems, SYSTEMS[subject])
        findings = in_runbook(report.rows, RUNBOOKS[subject])
        reachable = report.row("database").state != "failed"
        for part in parts:
            findings += _looked_at(part, systems, reachable or part in _WITHOUT_DATABASE, RUNBOOKS[subject])
        close_incidents(
            cast("EnvironmentService", systems.environment),
            report,
            lambda: [finding.name for finding in findings if finding.passed],
        )
        ok = all(finding.passed for finding in findings)
        shown = [finding.model_dump(include={"name", "state", "message", "next_step"}) for finding in findings]
        show_document({"subject": subject, "ok": ok, "findings": shown}, as_json, lambda: text(subject, findings))
        if not ok:
            raise typer.Exit(1)


def _looked_at(part: Part, systems: Systems, possible: bool, runbook: str) -> list[Finding]:
    """What one part found; what kept it from looking is a finding as well."""
    name = part.__name__.strip("_")
    if not possible:
        return [Finding(name=name, state="warning", message=_UNREAD, next_step="Mend it first.", runbook=runbook)]
    try:
        return list(part(systems))
    except Exception as error:
        from threadjuice_dagster.assets.steps import classified

        failure: ThreadJuiceError = classified(error)
        message, step = failure.message, failure.next_step
        return [Finding(name=name, state="failed", message=message, next_step=step, runbook=runbook)]


def _outages(systems: Systems) -> Iterator[Finding]:
    """Services the newsroom leaves alone for the moment."""
    from threadjuice_dagster.database.outages import Outages

    for outage in Outages(systems.database.store.engine).ongoing():
        step = (
            "Nothing needs to be done: what waits for it goes on by itself. Any story asked for by hand tries it now."
        )
        yield Finding(name=f"{outage.service}_outage", state="warning", message=str(outage), next_step=step)


def _stories(systems: Systems) -> list[Finding]:
    from threadjuice_dagster.operations.monitoring.generation_rules import generation_findings
    from threadjuice_dagster.operations.monitoring.generation_store import stories_of_day, usage_of_day

    engine, limits = _engine(systems), cast("Thresholds", systems.thresholds)
    stories, usage = stories_of_day(engine, _today()), usage_of_day(engine, _today())
    return generation_findings(stories, usage, limits.daily_budget_usd, limits.rejection_share)


def _errors(systems: Systems) -> Iterator[Finding]:
    from threadjuice_dagster.operations.monitoring.errors_rules import NO_FAULTS, error_finding
    from threadjuice_dagster.operations.monitoring.errors_store import errors_of_day
    from threadjuice_dagster.operations.monitoring.generation_store import stories_of_day

    engine = _engine(systems)
    errors = errors_of_day(engine, _today())
    yield error_finding(errors.kinds, len(stories_of_day(engine, _today())), errors.groups)
    for group in [group for group in errors.groups if group.kind not in NO_FAULTS][:PATTERNS]:
        times = f"{group.count} times today, last {group.last_at.astimezone(UTC):%H:%M} UTC"
        yield Finding(name=f"error in {group.asset}", state="ok", message=f"{group.message} ({group.kind}; {times})")


def _fallback(systems: Systems) -> Iterator[Finding]:
    """Who writes while the model is away."""
    from threadjuice_dagster.resources.writers import OpenAIWriter

    writer = cast("Writer", systems.writer)
    if not isinstance(writer, OpenAIWriter):
        yield Finding(name="fallback", state="stand-in", message="No model is used: the extractive writer writes.")
    elif writer.fallback:
        message = f"The {writer.fallback} writer steps in when the model's API is down."
        yield Finding(name="fallback", state="ok", message=message)
    else:
        message = "Nobody writes while the model's API is down: WRITER_FALLBACK is not set."
        step = "Set WRITER_FALLBACK=extractive, or let people write: threadjuice content import --manual FILE"
        yield Finding(name="fallback", state="ok", message=message, next_step=step)


def _health(systems: Systems) -> list[Finding]:
    from threadjuice_dagster.assets.monitoring.database_health import agreement
    from threadjuice_dagster.operations.monitoring.database_health_rules import health_findings
    from threadjuice_dagster.operations.monitoring.database_health_store import measure

    engine, slow = systems.database.store.engine, cast("Thresholds", systems.thresholds).slow_query_seconds
    return [*health_findings(measure(engine), slow), agreement(engine)]


def _replica(systems: Systems) -> Iterator[Finding]:
    replica = cast("Replica", systems.replica)
    source = replica.reads().source
    behind = bool(replica.url) and source != "replica"
    state: State = "warning" if behind else "ok"
    step = "See that the replica runs and replays what the primary writes." if behind else ""
    yield Finding(name="reads", state=state, message=f"Reports read from the {source}.", next_step=step)


def _backup(systems: Systems) -> Iterator[Finding]:
    from threadjuice_dagster.assets.monitoring.database_health import databases_put_aside, newest_backup

    yield newest_backup(systems.database.store.engine, systems.backups)
    yield databases_put_aside(systems.database.store.engine)


def _stored(systems: Systems) -> Iterator[Finding]:
    """What there is to go back to, also where the database that knows of it is gone."""
    stored = cast("BackupService", systems.backup_service).backups()
    newest = next((backup.manifest for backup in stored if not backup.problem), None)
    if newest is None:
        step = "Run: threadjuice maintenance backup"
        yield Finding(name="stored_backups", state="warning", message="There is no backup in storage.", next_step=step)
    else:
        message = f"The newest in storage is {newest.id}; to go back to it: threadjuice database restore {newest.id}"
        yield Finding(name="stored_backups", state="ok", message=message)


def _delivery(systems: Systems) -> list[Finding]:
    from threadjuice_dagster.assets.monitoring.image_delivery import seed_of
    from threadjuice_dagster.operations.monitoring.image_delivery import deliver, lacking, sampled
    from threadjuice_dagster.operations.monitoring.image_delivery_rules import delivery_findings

    samples = sampled(_engine(systems), seed_of(_today().isoformat()))
    return delivery_findings(deliver(samples, systems.cdn), lacking(samples))


def _encoder(systems: Systems) -> Iterator[Finding]:
    from threadjuice_dagster.operations.monitoring.image_delivery_rules import encoding_finding

    yield encoding_finding(systems.settings.content.image_quality)


def _pages(systems: Systems) -> Iterator[Finding]:
    from threadjuice_dagster.operations.monitoring.image_delivery_rules import page_findings

    folder = cast("Publisher", systems.publisher).current
    if not (folder / "index.html").is_file():
        step = "Build it: threadjuice deploy build"
        yield Finding(name="site", state="warning", message="No site was built on this machine.", next_step=step)
        return
    stories = sorted(folder.glob("story/*/index.html"), key=lambda path: path.stat().st_mtime, reverse=True)
    pages = [folder / "index.html", *stories[: PAGES - 1]]
    yield from page_findings([path.read_text(errors="replace") for path in pages])


_WITHOUT_DATABASE = (_fallback, _stored, _encoder, _pages)


def text(subject: str, findings: list[Finding]) -> str:
    """A diagnosis for people: what is wrong first, with the next step below it."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in sorted(findings, key=lambda finding: finding.passed):
        lines.append(f"{finding.name:<{width}}  {finding.state:<8}  {finding.message}")
        if finding.next_step:
            lines.append(f"{'':<{width + 12}}{finding.next_step}")
    wrong = sum(not finding.passed for finding in findings)
    message = f"{wrong} of {len(findings)} want looking at; see docs/EMERGENCY.md#{RUNBOOKS[subject]}."
    return "\n".join([*lines, message if wrong else f"Nothing is wrong with {subject}."])


def _engine(systems: Systems) -> "sa.Engine":
    return cast("Replica", systems.replica).reads().store.engine


def _today() -> date:
    from threadjuice_dagster.assets.steps import now

    return now().date()
