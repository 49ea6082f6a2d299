"""What the newsroom's operations cost with 1,000,000 stories and 50,000 partitions, against 10,000 and 500.

Two newsrooms with embedded servers of their own are filled with generated rows; then each operation takes turns
between them, so that a busy machine is unkind to both. Goal: at most twice. ``python -m benchmarks.scale 200000`` sets
the larger number of stories; a million take six minutes to fill and 16 GB of disk.
"""

import contextlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from threadjuice_dagster.cli.app import newsroom_status
from threadjuice_dagster.cli.writing import end_dead_runs, generate_stories, write_story
from threadjuice_dagster.database.ledger import Ledger
from threadjuice_dagster.operations.takedowns.store import Takedowns

if TYPE_CHECKING:
    from threadjuice_dagster.cli.session import NewsroomSession

TESTS = Path(__file__).parents[1] / "tests"
SIZES = (10_000, 1_000_000)
STORIES_PER_PARTITION = 20
DISK = 16_000
"""Bytes of a story and its share of Dagster's history."""

MEASURED = 1.5
"""Seconds each operation is called for, at least five times and at most a hundred."""

GOAL = 2.0
Operation = Callable[[], object]

RUNS = (
    """
INSERT INTO dynamic_partitions (partitions_def_name, partition, create_timestamp)
SELECT 'stories', 'g' || lpad(i::text, 7, '0') || '-a-fence', now() FROM generate_series(1, :count) i
""",
    """
INSERT INTO runs (run_id, snapshot_id, pipeline_name, mode, status, run_body, partition, partition_set,
    create_timestamp, update_timestamp, start_time, end_time)
SELECT md5(i::text)::uuid, snapshot_id, pipeline_name, mode, status,
    replace(replace(run_body, :run, md5(i::text)::uuid::text), :real, 'g' || lpad(i::text, 7, '0') || '-a-fence'),
    'g' || lpad(i::text, 7, '0') || '-a-fence', partition_set, create_timestamp, update_timestamp, start_time, end_time
FROM runs, generate_series(1, :count) i WHERE run_id = :run
""",
    """
INSERT INTO run_tags (run_id, key, value)
SELECT md5(i::text)::uuid, key, replace(value, :real, 'g' || lpad(i::text, 7, '0') || '-a-fence')
FROM run_tags, generate_series(1, :count) i WHERE run_id = :run
""",
    """
INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
SELECT md5(i::text)::uuid, event, dagster_event_type, timestamp, step_key, asset_key,
    CASE WHEN partition IS NOT NULL THEN 'g' || lpad(i::text, 7, '0') || '-a-fence' END
FROM event_logs, generate_series(1, :count) i WHERE run_id = :run AND dagster_event_type LIKE 'ASSET%'
""",
    """
INSERT INTO asset_check_executions (asset_key, check_name, partition, run_id, execution_status, evaluation_event,
    evaluation_event_timestamp, evaluation_event_storage_id, materialization_event_storage_id)
SELECT asset_key, check_name, partition, md5(i::text)::uuid, execution_status, evaluation_event,
    evaluation_event_timestamp, evaluation_event_storage_id, materialization_event_storage_id
FROM asset_check_executions, generate_series(1, :count) i WHERE run_id = :run
""",
)
"""Runs of as many stories, multiplied from a real one."""


def main() -> None:
    sys.path.insert(0, str(TESTS))
    sizes = (SIZES[0], int(next(filter(str.isdigit, sys.argv[1:]), SIZES[1])))
    if shutil.disk_usage(tempfile.gettempdir()).free < 1.2 * DISK * sizes[1]:
        print(
            f"scale: not measured, {1.2 * DISK * sizes[1] / 1e9:.0f} GB of disk are needed; "
            "try: python -m benchmarks.scale 100000"
        )
        return
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="tj-bench-", ignore_cleanup_errors=True))
        newsrooms = [stack.enter_context(_newsroom(Path(name), size)) for size in sizes]
        timed = [_operations(newsroom, size) for newsroom, size in zip(newsrooms, sizes, strict=True)]
        ratios = [_compare(operation, [one[operation] for one in timed]) for operation in timed[0]]
    print(f"scale: {sizes[0]:,} against {sizes[1]:,} stories, highest ratio {max(ratios):.2f} (goal at most {GOAL})")


def _compare(name: str, operations: list[Operation]) -> float:
    """Print and return the second's cost over the first's: medians of calls in turns, the first calls not counted."""
    began = time.perf_counter()
    for operation in operations:
        operation()
    seconds: list[list[float]] = [[] for _ in operations]
    for _ in range(max(5, min(100, int(MEASURED / (time.perf_counter() - began))))):
        for found, operation in zip(seconds, operations, strict=True):
            began = time.perf_counter()
            operation()
            found.append(time.perf_counter() - began)
    small, large = (statistics.median(found) * 1000 for found in seconds)
    print(f"scale: {name:<34} {small:8.2f} ms {large:9.2f} ms, ratio {large / small:.2f}", flush=True)
    return large / small


@contextlib.contextmanager
def _newsroom(folder: Path, size: int) -> "Iterator[NewsroomSession]":
    """A newsroom with so many stories, one of them real."""
    from many import fill

    from threadjuice_dagster.assets.threads.threads import AssignmentConfig
    from threadjuice_dagster.cli.session import open_session
    from threadjuice_dagster.database.engine import lone_engine
    from threadjuice_dagster.database.server import app_url
    from threadjuice_dagster.instance import database_addresses
    from threadjuice_dagster.settings import load_settings

    began = time.perf_counter()
    settings = load_settings({"THREADJUICE_HOME": str(folder / str(size))})
    with open_session(settings, prepare=True) as newsroom:
        (real,) = generate_stories(newsroom, AssignmentConfig(count=1))
        fill(newsroom.store.engine, size)
        partitions = size // STORIES_PER_PARTITION
        with lone_engine(app_url(database_addresses(settings).dagster)).begin() as connection:
            for statement in RUNS:
                values = {"count": partitions, "run": real.run_id, "real": real.id}
                text = sa.text(statement)
                connection.execute(text, {name: values[name] for name in values if f":{name}" in statement})
            connection.execute(sa.text("ANALYZE"))
        seconds = time.perf_counter() - began
        print(f"scale: {size:,} stories, {partitions:,} partitions and runs filled in {seconds:.0f} s", flush=True)
        yield newsroom


def _operations(newsroom: "NewsroomSession", size: int) -> dict[str, Operation]:
    """What is measured, by name. Each leaves things as it found them, or nearly."""
    return {**_writing(newsroom, size), **_reading(newsroom, size), **_waking(newsroom), **_upkeep(newsroom)}


def _writing(newsroom: "NewsroomSession", size: int) -> dict[str, Operation]:
    """What stories' runs ask of the database and of Dagster."""
    from many import made, made_bands

    from threadjuice_dagster.domain.judging.gates import GateFinding

    store, middle = newsroom.store, size // 200 * 100
    story, rejected = made(middle + 1), made(middle + 80)
    numbers = iter(range(10**9))
    refusals = {gate: GateFinding(False, "Measured.") for gate in ("is_original", "is_appropriate")}
    bands = [*made_bands(middle + 1)[:48], *made_bands(size + 10)[48:]]

    def assign() -> None:
        order = store.open_order(3, None, None, 9)
        for one in store.assign(order):
            store.forget(one.story_id)
        store.close_order(order.id)

    def claim_and_settle() -> None:
        run = f"run-{next(numbers)}"
        store.claim(rejected, run)
        store.settle(rejected, run)

    def look_up() -> None:
        store.thread(store.assignment(story).thread_id or "", text=False)
        store.draft(story), store.score(story), store.image(story), store.finished_steps(story)
        store.first_published(story), Ledger(store.engine).spent(story), store.lacks(store.order("order-7"))

    def pictures() -> list[bool]:
        used = store.used_pictures(excluding=story)
        return [f"picture-{number}" in used for number in range(20)]

    thread = newsroom.resources["threads"].process_config_and_initialize().candidates(2)[1]
    store.save_threads([thread])

    def whole_run() -> None:
        order = store.open_order(1, None, None, 1)
        (one,) = store.assign(order, only=thread)
        write_story(newsroom, one)
        assert store.publication(one.story_id)
        with store.engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM assignments WHERE story_id = :id"), {"id": one.story_id})

    return {
        "assign three threads": assign,
        "claim a story and settle its run": claim_and_settle,
        "judge a story": lambda: store.record_verdicts(rejected, refusals),
        "look-ups of a story's run": look_up,
        "which of 20 pictures are used": pictures,
        "a free slug": lambda: store.free_slug("a-fence", story),
        "stories alike": lambda: store.stories_alike(bands, excluding=story),
        "add a partition": lambda: newsroom.instance.add_dynamic_partitions("stories", [f"one-{next(numbers)}"]),
        "the whole run of a story": whole_run,
    }


def _reading(newsroom: "NewsroomSession", size: int) -> dict[str, Operation]:
    """What people ask for."""
    from many import made

    from threadjuice_dagster.database.records import story_record, story_records

    store, page = newsroom.store, newsroom.page

    def listing(status: str | None) -> Operation:
        return lambda: story_records(store, page, status=status, limit=50)

    statuses = ("published", "rejected", "held", "failed", "running")
    return {
        "status": lambda: newsroom_status(newsroom),
        "content list": listing(None),
        **{f"content list --status {status}": listing(status) for status in statuses},
        "content show": lambda: story_record(store, made(size // 2), page),
        "errors of a run": lambda: Ledger(store.engine).errors(run_id="none", limit=1),
        "newest decisions": store.decisions,
    }


def _waking(newsroom: "NewsroomSession") -> dict[str, Operation]:
    """A tick of each sensor, with an order of two stories to start runs for."""
    import dagster as dg

    definitions = newsroom.definitions
    newsroom.store.assign(newsroom.store.open_order(2, None, None, 6))

    def tick(sensor: dg.SensorDefinition) -> Operation:
        needed = {name: definitions.resources[name] for name in sensor.required_resource_keys}

        def evaluate() -> None:
            repository = definitions.get_repository_def()
            with dg.build_sensor_context(
                newsroom.instance, resources=needed, repository_def=repository, instance_ref=newsroom.instance.get_ref()
            ) as context:
                sensor.evaluate_tick(context)

        return evaluate

    sensors = [one for one in definitions.sensors or () if isinstance(one, dg.SensorDefinition)]
    return {f"tick of {sensor.name}": tick(sensor) for sensor in sensors}


def _upkeep(newsroom: "NewsroomSession") -> dict[str, Operation]:
    from threadjuice_dagster.operations.imports.validation import Validation

    takedowns, validation = Takedowns(newsroom.store.engine), Validation(newsroom.store)
    return {
        "runs of killed commands": lambda: end_dead_runs(newsroom),
        "imports: anything to do": validation.has_work,
        "imports: hand over": lambda: validation.release(0),
        "imports: next batch": lambda: validation.check(limit=1),
        "takedowns: not cleared": takedowns.uncleared,
        "takedowns: expire threads": lambda: takedowns.expire(24 * 3650),
    }


if __name__ == "__main__":
    main()
