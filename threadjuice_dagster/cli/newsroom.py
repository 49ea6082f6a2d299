"""The newsroom as the command line drives it: the same jobs on the same Dagster instance as the UI's.

What a command prints belongs in ``cli/app.py``.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from threadjuice_dagster.assets.steps import LAUNCHED_BY, ORDER_TAG, OUTCOME_TAG, now
from threadjuice_dagster.assets.threads.threads import AssignmentConfig, order_for
from threadjuice_dagster.cli.watching import incident_record, incidents_document, send_test
from threadjuice_dagster.database.assignments import order_lock
from threadjuice_dagster.database.engine import retry_lost_connection
from threadjuice_dagster.database.records import story_record, story_records
from threadjuice_dagster.database.schema import current_revision
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.definitions import build_definitions
from threadjuice_dagster.domain.story.records import StoryRecord
from threadjuice_dagster.domain.writing.assignments import Assignment, Order
from threadjuice_dagster.domain.writing.budget import UNPRICED, Budget
from threadjuice_dagster.failures import BudgetSpent, PermanentFailure, ThreadJuiceError, TransientFailure
from threadjuice_dagster.instance import open_instance
from threadjuice_dagster.interruption import check, received
from threadjuice_dagster.jobs import MAINTENANCE
from threadjuice_dagster.operations.policy import EditorialPolicy
from threadjuice_dagster.operations.takedowns.service import TakedownService
from threadjuice_dagster.partitions import STORIES
from threadjuice_dagster.resources.writers import Writer
from threadjuice_dagster.sensors.assignments import remaining_steps
from threadjuice_dagster.settings import Settings
from threadjuice_dagster.site.publisher import Publisher
from threadjuice_dagster.sources.files import open_thread
from threadjuice_dagster.sources.thread_source import ThreadSource
from threadjuice_dagster.wiring import build_resources

if TYPE_CHECKING:
    from threadjuice_dagster.domain.story.threads import Thread

Progress = Callable[[str], None]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@contextlib.contextmanager
def open_newsroom(
    settings: Settings, progress: Progress = lambda _: None, *, prepare: bool = False
) -> "Iterator[Newsroom]":
    """The newsroom of these settings, on its Dagster instance; ``prepare`` brings its database up to date first."""
    resources = build_resources(settings)
    with (
        open_instance(settings) as instance,
        resources["takedown_service"].process_config_and_initialize_cm() as writer,
    ):
        newsroom = Newsroom(settings, instance, resources, writer, progress)
        if prepare:
            newsroom.prepare_database()
        yield newsroom


class Newsroom:
    """Runs jobs and reads their results."""

    def __init__(
        self,
        settings: Settings,
        instance: dg.DagsterInstance,
        resources: dict[str, Any],
        takedown_service: TakedownService,
        progress: Progress,
    ) -> None:
        self.settings, self.resources = settings, resources
        self.instance = instance
        self.tell = progress
        self._definitions = build_definitions(settings, resources)
        self._takedown_service, self._database = takedown_service, takedown_service.database
        self._threads: ThreadSource = resources["threads"].process_config_and_initialize()
        self._policy: EditorialPolicy = resources["policy"]
        self.publisher: Publisher = resources["publisher"]
        self.page: Callable[[str], str] = self.publisher.page

    @property
    def store(self) -> Store:
        """The newsroom's tables."""
        return self._database.store

    @property
    def revision(self) -> str:
        """The migration the database is at."""
        with self.store.engine.connect() as connection:
            return current_revision(connection) or ""

    @property
    def budget(self) -> Budget:
        """The day's budget as it stands now."""
        from threadjuice_dagster.database.spending import Spending

        writer: Writer = self.resources["writer"]
        return writer.budget(Spending(self.store.engine).today())

    def generate(self, config: AssignmentConfig) -> list[StoryRecord]:
        """Have stories written until as many are published as wanted, or the order's bound is reached.

        A thread that is public already is answered with its story. Raises ``ThreadJuiceError`` when nothing
        could be assigned.
        """
        from threadjuice_dagster.database.outages import Outages

        self.end_dead_runs()
        self.store.close_left_orders()
        Outages(self.store.engine).try_now()
        if not config.thread:
            return self._fulfil(config)
        thread = open_thread(config.thread, self._threads)
        waiting = f"Waiting for another command to finish with thread {thread.id}"
        with self.store.locks.waited_for(f"thread:{thread.id}", lambda: self.tell(waiting)):
            public = self._public_story(thread)
            return [public] if public else self._fulfil(config)

    def _fulfil(self, config: AssignmentConfig) -> list[StoryRecord]:
        """Open an order and work through it, holding its lock so that no sensor does the same."""
        self._require_budget()
        order = order_for(config, self.store, self._policy, by_command=True)
        with self.store.locks.held(order_lock(order.id)):
            try:
                self._discover(config, order)
                stories = self._work_off(order)
            finally:
                self.store.close_order(order.id)
        if not stories:
            raise PermanentFailure(
                "No unused thread suits this order.",
                "Pass one with --thread, set the REDDIT_ variables, or loosen --category.",
            )
        self.build_site()
        return stories

    @retry_lost_connection
    def _work_off(self, order: Order) -> list[StoryRecord]:
        """Write what the order waits for, and more in place of what was not published; goes on from where it is."""
        while waiting := self.store.waiting(order.id) or self._make_up(order):
            for assignment in waiting:
                status = self.write(assignment).status
                if (problem := self.budget.problem) or status == "waiting":
                    self.store.hold_back(order.id, problem or BudgetSpent("The day's budget is spent."))
                    self.tell(str(problem or "The story waits for the next day, or for a higher budget."))
                    return story_records(self.store, self.page, order=order.id)[::-1]
        return story_records(self.store, self.page, order=order.id)[::-1]

    def publish(self, story_id: str, overruled: tuple[str, str] | None = None) -> StoryRecord:
        """Finish what a story still lacks and publish it; ``overruled`` is who lets it through refused gates, and why.

        Gates that refuse only after the override (the thread's, then the text's, then the picture's) are overruled in
        turn.
        """
        from threadjuice_dagster.database.outages import Outages

        assignment = self.store.assignment(story_id)
        Outages(self.store.engine).try_now()
        for _ in range(3 if overruled else 1):
            if overruled:
                self.store.overrule(story_id, *overruled)
            elif not all(verdict.lets_through for verdict in self.store.verdicts(story_id)):
                return story_record(self.store, story_id, self.page)
            self.write(assignment, order_tag=False)
            record = story_record(self.store, story_id, self.page)
            if record.status not in ("rejected", "held"):
                break
        return record

    def validate(self, stories: Sequence[str] | None, *, everything: bool) -> dict[str, Any]:
        """Check stored stories (without names, imported ones not checked yet), and hand over imports that passed."""
        from threadjuice_dagster.operations.imports.validation import Validation

        validation = Validation(self.store, self.tell)
        report = dataclasses.asdict(validation.check(stories, everything=everything))
        validation.release()
        return report

    def take_down(self, references: Sequence[str], reason: str) -> list[str]:
        """Remove stories, threads (``t3_…``) or quoted comments (``t1_…``) for good; returns the stories concerned."""
        from threadjuice_dagster.database.publications import Publications
        from threadjuice_dagster.operations.takedowns.store import Takedowns

        find, sources = Takedowns(self.store.engine).find, self._takedown_service.sources
        tombstones = [find(one, sources).model_copy(update={"reason": reason}) for one in references]
        changed = self._takedown_service.bury(tombstones, self.instance)
        self.publisher.build(Publications(self.store.engine), keep_old=False)
        return changed

    def status(self) -> dict[str, Any]:
        """What this newsroom runs on, its stories by status, unused threads, the site, and the newest errors."""
        from threadjuice_dagster.database.ledger import Ledger

        with self.resources["replica"].process_config_and_initialize_cm() as replica:
            reads = replica.reads()
        errors = Ledger(reads.store.engine).errors(limit=5)
        page = self.publisher.current / "index.html"
        shown = ("asset", "story_id", "kind", "message", "next_step")
        return {
            "environment": self.settings.deployment.environment,
            "runs_on": self.settings.stand_ins,
            "migration": self.revision,
            "reads_from": reads.source,
            "stories": dict(reads.store.status_counts()),
            "budget": self.budget.record,
            "threads": {"unused": reads.store.unused_threads()},
            "site": self.settings.deployment.production_url or (str(page) if page.exists() else ""),
            "errors": [{**{key: e[key] for key in shown}, "at": e["at"].isoformat()} for e in errors],
        }

    def incidents(self, *, everything: bool) -> dict[str, Any]:
        """What is wrong, or also what was: those seen last, how many more, and how many messages on them wait."""
        from threadjuice_dagster.operations.alerts.store import Incidents

        return incidents_document(Incidents(self.store.engine), everything=everything)

    def mute(self, cause: str, until: datetime | None, by: str) -> dict[str, Any]:
        """Keep quiet about a cause until then, or speak of it again. Raises ``UsageError`` for an unknown one."""
        from threadjuice_dagster.operations.alerts.store import Incidents

        return incident_record(Incidents(self.store.engine).mute(cause, until, by, now()))

    def send_test_alert(self) -> dict[str, Any]:
        """Deliver a message that says it is a test. Raises ``TransientFailure`` if it does not arrive."""
        with self.resources["alerts"].process_config_and_initialize_cm() as alerts:
            return send_test(alerts)

    def candidates(self) -> "list[Thread]":
        """Threads a story could be made of, from wherever the settings say."""
        return self._threads.candidates(self._policy.candidates)

    def build_site(self) -> None:
        """Rebuild the static site."""
        self.tell("Building the site")
        self._run("site_job")

    def sweep_images(self) -> dict[str, Any]:
        """Mend pictures whose files are gone, elsewhere or of another quality, and rebuild the site, as printed."""
        result = self._run("image_sweep_job")
        told = result.asset_materializations_for_node("image_library")[-1].metadata
        swept = {name: told[name].value for name in ("lacking", "files", "outdated", "renewed", "redrawn", "left")}
        if swept["redrawn"] or swept["renewed"]:
            self.build_site()
        return {**swept, "stories": told["stories"].value}

    def clean_up(self, *, dry_run: bool, force: bool) -> dict[str, Any]:
        """Archive and remove what the rules say, or in a dry run find it; as the command prints it."""
        self.tell("Looking for what has served its time")
        result = self._run("cleanup_job", {"content_cleanup": {"dry_run": dry_run, "force": force}})
        told: Any = result.asset_materializations_for_node("content_cleanup")[-1].metadata["report"]
        return dict(told.value)

    def backup(self) -> dict[str, Any]:
        """Take today's backup, prove it and expire old ones; as the command prints it. It may turn out not proven."""
        today = now().strftime("%Y-%m-%d")
        result = self.execute("backup_job", partition_key=today)
        taken = result.asset_materializations_for_node("database_backup")
        if not taken:
            raise self.failure(result)
        told = {name: taken[-1].metadata[name].value for name in ("location", "sha256", "bytes", "rows", "seconds")}
        proofs = result.get_asset_check_evaluations()
        proven = bool(proofs) and proofs[-1].passed
        if proven and not result.success:
            raise self.failure(result)
        problem = "" if proven else (proofs[-1].description if proofs else "It was not compared.")
        encrypted = taken[-1].metadata["encrypted"].value == "yes"
        identity = taken[-1].metadata["backup"].value
        return {"id": identity, **told, "encrypted": encrypted, "proven": proven, "problem": problem}

    def maintain(self, job: str) -> dict[str, Any]:
        """Run the upkeep or the monitoring of today: each asset's state, and the checks that do not pass.

        Nothing is raised for a step that fails: it is in the answer, and what depends on it was left out.
        """
        self.tell(f"Running {job}")
        config = MAINTENANCE if job == "maintenance_job" else {}
        result = self.execute(job, partition_key=now().strftime("%Y-%m-%d"), run_config={**config, **QUIET})
        made = {event.asset_key.path[-1] for event in result.get_asset_materialization_events() if event.asset_key}
        failed = {event.step_key: _said(event) for event in result.all_events if event.is_step_failure}
        wanted = [key.path[-1] for key in self._definitions.resolve_job_def(job).asset_layer.executable_asset_keys]
        state = {name: "done" if name in made else "failed" if name in failed else "left out" for name in wanted}
        return {
            "run_id": result.run_id,
            "ok": result.success,
            "assets": [{"name": one, "state": state[one], "message": failed.get(one, "")} for one in sorted(wanted)],
            "checks": [
                {"name": one.check_name, "asset": one.asset_key.path[-1], "message": one.description or ""}
                for one in result.get_asset_check_evaluations()
                if not one.passed
            ],
        }

    def prepare_database(self) -> None:
        """Migrate to this version's tables and seed the catalogue."""
        self._run("prepare_database_job")

    def end_dead_runs(self) -> int:
        """Report runs of killed commands as failed, so that the UI shows them as they are; returns how many."""
        ours = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={LAUNCHED_BY: "command line"})
        dead = 0
        for run in self.instance.get_runs(ours, limit=100):
            if not self.store.run_lives(run.run_id):
                self.instance.report_run_failed(run, "The command that executed this run was killed.")
                self.instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
                dead += 1
        return dead

    def _require_budget(self) -> None:
        """Raise where the day's budget allows no story, and say where nobody knows what one costs."""
        budget = self.budget
        if budget.problem:
            raise budget.problem
        if budget.state == "unpriced":
            self.tell(f"{budget.message} {UNPRICED}")

    def _public_story(self, thread: "Thread") -> StoryRecord | None:
        """The story a thread has already, waited for if it is being written right now."""
        existing = self.store.assignment_of(thread.id)
        while existing and existing[1] == "running" and self.store.is_busy(existing[0].story_id):
            self.tell(f"Waiting for the run that writes {existing[0].story_id}")
            time.sleep(1)
            existing = self.store.assignment_of(thread.id)
        if existing and existing[1] in ("published", "withdrawn"):
            return story_record(self.store, existing[0].story_id, self.page)
        return None

    def _discover(self, config: AssignmentConfig, order: Order) -> None:
        self.tell("Looking for threads" if not config.thread else "Reading the thread")
        job = "assign_stories_job" if config.thread else "discover_stories_job"
        self._run(job, {"story_assignments": {**config.model_dump(), "order": order.id}})

    def _make_up(self, order: Order) -> list[Assignment]:
        """Assign further threads in place of stories that were not published."""
        if not self.store.order_counts(order.id).total() or not self.store.lacks(order):
            return []
        self.tell("Assigning another thread for a story that was not published")
        self._run("assign_stories_job", {"story_assignments": {"order": order.id}})
        return self.store.waiting(order.id)

    @retry_lost_connection
    def write(self, assignment: Assignment, *, order_tag: bool = True) -> StoryRecord:
        """Run the story job for an assignment, from the first step that is not done; what the story is then."""
        story_id, order = assignment.story_id, assignment.order_id if order_tag else None
        self.tell(f"Writing {story_id} ({assignment.category}, {assignment.persona})")
        self.instance.add_dynamic_partitions(str(STORIES.name), [story_id])
        result = self.execute(
            "story_job",
            partition_key=story_id,
            asset_selection=remaining_steps(self.store, story_id),
            tags={ORDER_TAG: order} if order else {},
        )
        self.store.settle(story_id, result.run_id)
        record = story_record(self.store, story_id, self.page)
        self.tell(f"{record.status}: {record.title} {record.page}".rstrip())
        return record

    def _run(self, job: str, config: dict[str, dict[str, Any]] | None = None) -> dg.ExecuteInProcessResult:
        ops = {"ops": {name: {"config": values} for name, values in (config or {}).items()}}
        result = self.execute(job, run_config={**ops, **QUIET})
        if not result.success:
            raise self.failure(result)
        return result

    def execute(self, job: str, **options: Any) -> dg.ExecuteInProcessResult:
        """Run a job in this process; the arguments are ``execute_in_process``'s."""
        given = {"run_config": QUIET, **options, "tags": {LAUNCHED_BY: "command line", **options.get("tags", {})}}
        job_def = self._definitions.resolve_job_def(job)
        result = job_def.execute_in_process(instance=self.instance, raise_on_error=False, **given)
        if received():
            self.instance.add_run_tags(result.run_id, {OUTCOME_TAG: "interrupted"})
            check()
        return result

    def failure(self, result: dg.ExecuteInProcessResult) -> ThreadJuiceError:
        """Why a run failed: what its step said, or the check that stopped it."""
        said = [event.step_failure_data.user_failure_data for event in result.all_events if event.is_step_failure]
        for failed in filter(None, said):
            kind, next_step = (str(failed.metadata[name].value or "") for name in ("kind", "next step"))
            message = (failed.description or "").removesuffix(next_step)
            return (TransientFailure if kind == "transient" else PermanentFailure)(message, next_step)
        stopped = [check for check in result.get_asset_check_evaluations() if not check.passed and check.blocking]
        if stopped:
            told = "; ".join(f"{check.check_name}: {check.description}" for check in stopped)
            return PermanentFailure(told, "Mend it, then run the command again.")
        return PermanentFailure(f"Run {result.run_id} failed.", "Open it in the Dagster UI for its log.")


def _said(event: dg.DagsterEvent) -> str:
    """What a failed step said."""
    told = event.step_failure_data.user_failure_data
    return (told.description if told else "") or "See the run's log."
