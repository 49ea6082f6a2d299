"""The environment desk: every variable looked at, every outside system asked once, all of them at the same time.

What a system's refusal means is said by its own resource; what the rows add up to, in
``operations/environment/rules.py``. Nothing here changes anything, but for one small file that storage is given and
that is removed again.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg

from threadjuice_dagster.domain.writing.budget import UNPRICED, Spent
from threadjuice_dagster.failures import BudgetSpent, ThreadJuiceError
from threadjuice_dagster.operations.alerts.rules import Trouble
from threadjuice_dagster.operations.backups.rules import NO_KEY
from threadjuice_dagster.operations.backups.service import BackupService
from threadjuice_dagster.operations.deployment.service import DeploymentService, capacity_of
from threadjuice_dagster.operations.deployment.vercel import VercelTarget
from threadjuice_dagster.operations.environment.probes import ask_database, connections, search_finding, write_and_read
from threadjuice_dagster.operations.environment.rules import EnvironmentReport, Probe
from threadjuice_dagster.operations.environment.variables import variable_rows
from threadjuice_dagster.operations.findings import Finding, State, finding
from threadjuice_dagster.resources.http import request_once
from threadjuice_dagster.resources.openai_compatibility import BadAnswer
from threadjuice_dagster.resources.picture_providers import Openverse, Unsplash
from threadjuice_dagster.resources.pictures import PictureService
from threadjuice_dagster.resources.postgres import Database, EmbeddedPostgres
from threadjuice_dagster.resources.storage import FolderStorage, Storage
from threadjuice_dagster.resources.writers import OpenAIWriter, Writer
from threadjuice_dagster.settings import CORRECT_IT, Settings
from threadjuice_dagster.site.publisher import Publisher
from threadjuice_dagster.sources.client import SourceLimiter
from threadjuice_dagster.sources.registry import ThreadSources, may_read

if TYPE_CHECKING:
    pass

START_SECONDS = 60.0
"""The embedded server may have to be created first."""

MODEL_PATIENCE = 6
"""How many times as long as other systems a model may take: it is asked four things, and may have to be loaded."""


SYSTEMS = {
    "database": "DATABASE_URL THREADJUICE_HOME",
    "database_pool": "DATABASE_URL DATABASE_POOL_SIZE DATABASE_MAX_CONNECTIONS",
    "database_backups": "DATABASE_URL",
    "database_replica": "DATABASE_REPLICA_URL",
    "dagster_database": "DAGSTER_DATABASE_URL",
    "openai": "OPENAI_API_KEY OPENAI_BASE_URL OPENAI_MODEL",
    "budget": "DAILY_BUDGET_USD OPENAI_PRICE_INPUT OPENAI_PRICE_OUTPUT",
    "threads": "THREAD_SOURCES STACK_EXCHANGE_KEY STACK_EXCHANGE_API_URL HACKER_NEWS_API_URL HACKER_NEWS_SEARCH_URL"
    " REDDIT_CLIENT_ID REDDIT_CLIENT_SECRET praw_reddit_url praw_oauth_url",
    "openverse": "OPENVERSE_API_URL IMAGE_PROVIDERS",
    "unsplash": "UNSPLASH_ACCESS_KEY UNSPLASH_API_URL",
    "cdn": "CDN_BUCKET IMAGE_CDN_URL",
    "backups": "BACKUP_BUCKET BACKUP_ENCRYPTION_KEY",
    "inbox": "INBOX_BUCKET INBOX_PREFIX",
    "vercel": "VERCEL_TOKEN VERCEL_PROJECT_ID VERCEL_API_URL",
    "vercel_capacity": "VERCEL_TOKEN CDN_BUCKET IMAGE_CDN_URL",
    "webhook": "MONITORING_WEBHOOK",
}
"""Every outside system, and the variables it goes by."""

_OPENVERSE = "https://api.openverse.org"
_VARIABLE = re.compile(r"\b[A-Z]+(?:_[A-Z0-9]+)+\b")
_STARTING = threading.Lock()
_ROOM = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS most,
    (SELECT sum(numbackends)::int FROM pg_stat_database) AS used
"""


class Question(NamedTuple):
    """What one system is asked. It is not asked while one of the ``variables`` it goes by is invalid."""

    name: str
    variables: tuple[str, ...]
    ask: Callable[[], Finding]
    seconds: float


class EnvironmentService(dg.ConfigurableResource):
    """Looks at everything the newsroom depends on, through the resources that the newsroom uses.

    A system that has not answered after ``seconds`` has failed, whatever becomes of its answer.
    """

    database: dg.ResourceDependency[Database]
    threads: dg.ResourceDependency[ThreadSources]
    writer: dg.ResourceDependency[Writer]
    pictures: dg.ResourceDependency[PictureService]
    cdn: dg.ResourceDependency[Storage]
    backup_service: dg.ResourceDependency[BackupService]
    inbox: dg.ResourceDependency[Storage]
    deployment_service: dg.ResourceDependency[DeploymentService]
    publisher: dg.ResourceDependency[Publisher]
    daily_stories: int = 3
    dagster_url: str = ""
    replica_url: str = ""
    webhook: str = ""
    seconds: float = 10.0

    def report(self, settings: Settings, problems: Mapping[str, str], names: Sequence[str] = ()) -> EnvironmentReport:
        """A row for each variable of ``read_settings``' answer and each system, or only for the systems named."""
        asked = [question for question in self._questions() if not names or question.name in names]
        rows = [] if names else list(variable_rows(settings, problems))
        return EnvironmentReport(environment=settings.deployment.environment, rows=(*rows, *ask_all(asked, problems)))

    def close_incidents(self, report: EnvironmentReport) -> None:
        """End the incidents of what a report has just proven well: outages, refused keys, runs that a variable failed.

        Nothing has to be written for an incident to be over, and none is while the database is away.
        """
        from threadjuice_dagster.database.outages import Outages
        from threadjuice_dagster.operations.alerts.store import Incidents

        systems = {row.name: row.state for row in report.rows if row.kind == "system"}
        if systems.get("database") != "ok":
            return
        answering = [name for name, state in systems.items() if state != "failed"]
        incidents, now = Incidents(self.database.store.engine), datetime.now(UTC)
        for name in answering:
            Outages(self.database.store.engine).over(name)
            incidents.end(f"outage:{name}", now)
        if "openai" in answering and not (isinstance(self.writer, OpenAIWriter) and self.writer.openai.uses_next_key):
            incidents.end("key:OPENAI_API_KEY", now)
        mended = {variable for name, state in systems.items() if state == "ok" for variable in SYSTEMS[name].split()}

        def is_mended(trouble: Trouble) -> bool:
            named = _VARIABLE.findall(f"{trouble.message} {trouble.next_step}")
            return trouble.kind == "configuration" and not mended.isdisjoint(named)

        incidents.end_where("run", is_mended, now)

    def _questions(self) -> Iterator[Question]:
        starting = START_SECONDS if isinstance(self.database, EmbeddedPostgres) else self.seconds
        for name, variables in SYSTEMS.items():
            seconds = starting if name.startswith("database") else self.seconds
            seconds *= MODEL_PATIENCE if name == "openai" else 1
            yield Question(name, tuple(variables.split()), getattr(self, f"_{name}"), seconds)

    def _database(self) -> Finding:
        """Whether it answers, which migration it is at, and whether all stories' signatures can be compared."""
        from threadjuice_dagster.database.schema import current_revision, head_revision
        from threadjuice_dagster.database.signatures import RESIGN, other_versions

        with connections(self._address(), 1) as (connection,):
            version = connection.exec_driver_sql("SHOW server_version").scalar()
            revision, head = current_revision(connection), head_revision()
            outdated = other_versions(connection) if revision == head else []
        embedded = isinstance(self.database, EmbeddedPostgres)
        message = f"{'Embedded ' if embedded else ''}PostgreSQL {version}, migration {revision or 'none'} of {head}."
        if revision and revision > head:
            return finding("failed", message, "Install the ThreadJuice version that migrated it, or restore a backup.")
        if revision != head and not self.database.migrates_itself:
            return finding("warning", message, "Run: threadjuice deploy migrate")
        if outdated:
            message = (
                f"{message} Originality signatures of version {outdated[0]} are stored: copies of them are not noticed."
            )
            return finding("warning", message, RESIGN)
        return finding("stand-in" if embedded else "ok", message)

    def _database_pool(self) -> Finding:
        """Whether the server has room for all processes together, and now for one more."""
        database = self.database
        with connections(self._address(), 1) as (connection,):
            most, used = connection.exec_driver_sql(_ROOM).one()
        message = f"The server takes {most} connections, of which {used - 1} are in use."
        if database.max_connections > most:
            message = f"{message} DATABASE_MAX_CONNECTIONS is {database.max_connections}."
            return finding("warning", message, f"Set DATABASE_MAX_CONNECTIONS={most}, or raise the server's limit.")
        if database.largest_pool < (database.pool_size or 0):
            message = (
                f"A process may open {database.largest_pool}, not DATABASE_POOL_SIZE={database.pool_size}. {message}"
            )
            step = f"Raise DATABASE_MAX_CONNECTIONS (it is {database.max_connections}), or lower DATABASE_POOL_SIZE."
            return finding("warning", message, step)
        if database.largest_pool > most - used + 1:
            message = f"{message} A process may open {database.largest_pool}."
            return finding("warning", message, "Find out who holds them, lower DATABASE_POOL_SIZE, or raise the limit.")
        with connections(self._address(), database.largest_pool) as opened:
            return finding("ok", f"{message} {len(opened)} were opened at once, as many as a process may.")

    def _database_backups(self) -> Finding:
        """Whether a backup could be taken and proven: by the programs there are, in a database the user may create."""
        from threadjuice_dagster.database.suitability import may_create_databases, over_tls
        from threadjuice_dagster.database.tools import find_tool, server_version

        with connections(self._address(), 1) as (connection,):
            tool = find_tool("pg_dump", server_version(connection), tls=over_tls(connection))
            user = connection.exec_driver_sql("SELECT current_user").scalar()
            if may_create_databases(connection):
                return finding("ok", f"pg_dump {tool.version} fits, and {user} may create databases for the proof.")
        message = f"The user {user} may not create databases: no backup can be proven, no restore made."
        return finding("failed", message, f"Run: ALTER ROLE {user} CREATEDB")

    def _database_replica(self) -> Finding:
        return ask_database(self.replica_url, "DATABASE_REPLICA_URL", "Reports read from the newsroom's database.")

    def _dagster_database(self) -> Finding:
        instead = "A second database on the newsroom's server."
        return ask_database(self.dagster_url, "DAGSTER_DATABASE_URL", instead)

    def _address(self) -> str:
        with _STARTING:  # two threads must not start the embedded server
            return self.database.address()

    def _openai(self) -> Finding:
        if not isinstance(self.writer, OpenAIWriter):
            return finding("stand-in", "The extractive writer composes from the thread's own words; the rubric judges.")
        openai = self.writer.openai
        try:
            trial = openai.check()
        except BudgetSpent as problem:
            return finding("warning", f"It was not tried: {problem.message}", problem.next_step)
        except BadAnswer as problem:
            message = f"It answers, but not in the form it is asked for: {problem.message}"
            return finding("warning", message, "Set OPENAI_MODEL to a model that can answer in JSON.")
        limit = getattr(openai.limiter, "per_minute", 0)
        if trial.allowed is not None and trial.allowed < limit:
            message = f"It allows {trial.allowed} requests a minute, CONTENT_GENERATION_RATE_LIMIT is {limit}."
            return finding("warning", message, f"Set CONTENT_GENERATION_RATE_LIMIT={trial.allowed}.")
        models = " and ".join(dict.fromkeys((openai.model, openai.judge_model or openai.model)))
        moderation = "it moderates" if trial.moderates else "it has no moderation: the local moderator decides alone"
        return finding("ok", f"The key is taken, {models} answers by {trial.form}, and {moderation}.")

    def _budget(self) -> Finding:
        """Whether a story can be paid for today, and whether anybody knows what one costs."""
        from threadjuice_dagster.database.spending import Spending

        if not isinstance(self.writer, OpenAIWriter):
            return finding("stand-in", "No model is asked: nothing costs anything.")
        bounded = bool(getattr(self.writer.openai.limiter, "daily_budget_usd", 0.0))
        budget = self.writer.budget(Spending(self.database.store.engine).today() if bounded else Spent())
        if budget.state == "unpriced":
            return finding("failed" if bounded else "warning", budget.message, UNPRICED)
        if budget.problem:
            return finding("warning", budget.message, budget.problem.next_step)
        message = (
            f"Before its thread is counted, a request to {budget.model} costs at most {budget.request_usd:.4f} USD."
        )
        return finding(
            "ok", f"{budget.message} {message}" if bounded else f"DAILY_BUDGET_USD sets no budget. {message}"
        )

    def _threads(self) -> Finding:
        """Whether each service that threads are read from answers, and what is left of its quota."""
        # Nothing here needs the database, so these few questions are not counted there.
        sources = self.threads.model_copy(update={"limiter": SourceLimiter()})
        if sources.specs == ["samples"]:
            return finding("stand-in", "The bundled sample threads.", "Name places in THREAD_SOURCES.")
        answers: list[str] = []
        failures: dict[str, ThreadJuiceError] = {}
        checks = sources.checks()
        for service, check in checks.items():
            try:
                answers.append(f"{service}: {check()}")
            except ThreadJuiceError as failure:
                failures[service] = failure
        if failures and len(checks) == 1:
            raise next(iter(failures.values()))
        if vouched := [spec for spec in sources.specs if not may_read(spec)]:
            answers.append(f"Whoever named {', '.join(vouched)} in THREAD_SOURCES vouches for its terms.")
        message = " ".join([*(f"{service}: {failure.message}" for service, failure in failures.items()), *answers])
        if not failures:
            return finding("ok", message)
        steps = " ".join(dict.fromkeys(failure.next_step for failure in failures.values()))
        state: State = "failed" if len(failures) == len(checks) else "warning"
        return finding(state, message, f"{steps} Or take it out of THREAD_SOURCES.")

    def _openverse(self) -> Finding:
        pictures = self.pictures
        if "openverse" not in pictures.providers and pictures.openverse_url == _OPENVERSE:
            return finding("stand-in", f"Not asked for pictures: IMAGE_PROVIDERS is {','.join(pictures.providers)}.")
        return search_finding(Openverse(pictures.openverse_url).ask("garden", attempts=1))

    def _unsplash(self) -> Finding:
        pictures = self.pictures
        if not pictures.unsplash_key:
            return finding("stand-in", "No key: the other providers' pictures, or title cards.")
        answer = search_finding(Unsplash(pictures.unsplash_url, pictures.unsplash_key).ask("garden", attempts=1))
        if not pictures.unsplash_unattended:
            message = "The key is taken, but its pictures are not chosen unattended."
            return finding("warning", message, "Set UNSPLASH_UNATTENDED=true once Unsplash has agreed.")
        return answer

    def _cdn(self) -> Finding:
        return write_and_read(self.cdn, public=bool(getattr(self.cdn, "public_url", "")))

    def _backups(self) -> Finding:
        from threadjuice_dagster.resources.encryption import Encryptor

        answer = write_and_read(self.backup_service.storage)
        signs = Encryptor(self.backup_service.encryption_key).recipient
        return answer if signs else finding(answer.state, f"{answer.message} {NO_KEY}.", answer.next_step)

    def _inbox(self) -> Finding:
        if isinstance(self.inbox, FolderStorage):
            self.inbox.list()
            return finding("stand-in", f"The folder {self.inbox.root}.")
        return write_and_read(self.inbox)

    def _vercel(self) -> Finding:
        """Whether the project is there, and leaves it to us when a build goes live."""
        target = self.deployment_service.deployer
        if not isinstance(target, VercelTarget):
            return finding("stand-in", "The site is deployed to a folder.")
        name, promoted = target.check()
        if promoted:
            return finding("ok", f"Project {name}; domains are given by promotion.")
        message = (
            f"Project {name} gives its domains to any production build that does not say otherwise; ours do say so."
        )
        return finding("warning", message, "Turn off Auto-assign Custom Production Domains in the project's settings.")

    def _vercel_capacity(self) -> Finding:
        """When the site will not fit into a deployment any more, and what to do."""
        site, deployer = Path(self.publisher.folder), self.deployment_service.deployer
        return capacity_of(site, deployer, self.cdn, self.daily_stories, datetime.now(UTC))

    def _webhook(self) -> Finding:
        """Whether something answers there. OPTIONS asks for nothing to be done, and some servers do not know it."""
        if not self.webhook:
            return finding("stand-in", "Alerts are kept in the log and the database.")
        status = request_once(self.webhook, method="OPTIONS", timeout=self.seconds).status
        if status >= 500 and status != 501:
            return finding("failed", f"It answers {status}.", "Check the service behind MONITORING_WEBHOOK.")
        if status in (401, 403, 404, 410):
            message = f"It answers {status} without a message, as one that was deleted does."
            return finding("warning", message, "See that MONITORING_WEBHOOK is current.")
        if problem := self._undelivered():
            return finding("warning", problem, "Mend MONITORING_WEBHOOK, then: threadjuice alerts test")
        return finding("ok", "It was reached; no message was posted.")

    def _undelivered(self) -> str:
        """What the webhook said of messages that wait or were given up; empty where nobody can look that up now."""
        import sqlalchemy as sa

        from threadjuice_dagster.operations.alerts.store import Incidents

        try:
            incidents = Incidents(self.database.store.engine)
            problem = incidents.problem()
            message = f"{incidents.waiting()} alerts wait, {incidents.given_up()} were refused for good. {problem}"
        except (ThreadJuiceError, sa.exc.SQLAlchemyError):
            return ""
        return message if problem else ""


def ask_all(questions: Sequence[Question], problems: Mapping[str, str]) -> list[Probe]:
    """The row of each question, in order. All are asked at once; threads that hang are left behind."""
    answers: dict[str, Probe] = {}

    def ask(question: Question) -> None:
        answers[question.name] = _asked(question, problems)

    began = time.monotonic()
    threads = [threading.Thread(target=ask, args=(one,), name=f"probe {one.name}", daemon=True) for one in questions]
    for thread in threads:
        thread.start()
    for thread, question in zip(threads, questions, strict=True):
        thread.join(max(0.0, began + question.seconds - time.monotonic()))
    return [answers.get(one.name) or _late(one) for one in questions]


def _asked(question: Question, problems: Mapping[str, str]) -> Probe:
    began = time.monotonic()
    invalid = [name for name in question.variables if name in problems]
    try:
        answer = finding("failed", f"Not asked: {invalid[0]} is invalid.", CORRECT_IT) if invalid else question.ask()
    except ThreadJuiceError as failure:
        answer = finding("failed", failure.message, _mend(failure.next_step, question))
    except Exception as error:  # of which only a file's name is sure to hold no secret
        where = f", {error.filename}" if isinstance(error, OSError) and error.filename else ""
        answer = finding("failed", f"It could not be asked ({type(error).__name__}{where}).", _mend("", question))
    latency = None if invalid else round((time.monotonic() - began) * 1000, 1)
    return Probe.of(answer, question.name, "system", latency)


def _late(question: Question) -> Probe:
    message = f"No answer within {question.seconds:g} s."
    latency = question.seconds * 1000
    step = _mend("See that its server runs and can be reached from here.", question)
    return Probe.of(finding("failed", message, step), question.name, "system", latency)


def _mend(next_step: str, question: Question) -> str:
    """A next step that names the variables it is about."""
    if any(name in next_step for name in question.variables):
        return next_step
    return f"{next_step} The variables are {', '.join(question.variables)}.".strip()
