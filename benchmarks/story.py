"""What one story costs in CPU: the whole graph with a model that answers at once.

The peer is the same graph on Dagster's default executor, one process for each step. Both run in a warm process
on one database; the CPU counted is that of the process and its children, not that of PostgreSQL or the model.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dagster as dg

from threadjuice_dagster.assets.steps import ORDER_TAG
from threadjuice_dagster.cli.session import QUIET, open_session
from threadjuice_dagster.cli.writing import write_story
from threadjuice_dagster.definitions import build_definitions
from threadjuice_dagster.domain.writing.assignments import Assignment
from threadjuice_dagster.jobs import story_job
from threadjuice_dagster.partitions import STORIES
from threadjuice_dagster.settings import load_settings

SERVER = Path(__file__).parents[1] / "tests" / "servers" / "openai_server.py"
WARM, PEER = 6, 2


def multiprocess_story_job() -> dg.JobDefinition:
    """The story job on the default executor, as its step processes find it again by name."""
    found = build_definitions(load_settings())
    definitions = dg.Definitions(
        assets=found.assets, asset_checks=found.asset_checks, jobs=[story_job], resources=found.resources
    )
    return definitions.resolve_job_def("story_job")


def cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def model_server() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, str(SERVER), "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.kill()


def main() -> None:
    with tempfile.TemporaryDirectory() as home, model_server() as url:
        os.environ.update(
            THREADJUICE_HOME=home,
            OPENAI_API_KEY="sk-benchmark",
            OPENAI_BASE_URL=url,
            CONTENT_GENERATION_RATE_LIMIT="100000",
        )
        with open_session(load_settings()) as newsroom:
            newsroom.store.save_threads(newsroom.resources["threads"].process_config_and_initialize().candidates(50))
            order = newsroom.store.open_order(WARM + PEER + 1, None, None, 100)
            waiting = newsroom.store.assign(order)
            newsroom.instance.add_dynamic_partitions(str(STORIES.name), [one.story_id for one in waiting])
            write_story(newsroom, waiting[0])
            ours = [cost(partial(write_story, newsroom), one) for one in waiting[1 : WARM + 1]]

            def peer(one: Assignment) -> None:
                tags = {ORDER_TAG: one.order_id, "dagster/partition": one.story_id}
                job = dg.reconstructable(multiprocess_story_job)
                assert dg.execute_job(job, instance=newsroom.instance, tags=tags, run_config=QUIET).success

            theirs = [cost(peer, one) for one in waiting[WARM + 1 :]]
    print(f"story: in process        {statistics.median(ours):.2f} s CPU (median of {len(ours)}; goal at most 0.80)")
    print(f"story: default executor  {statistics.median(theirs):.2f} s CPU (median of {len(theirs)})")
    print(f"story: ratio             {statistics.median(theirs) / statistics.median(ours):.1f} (goal at least 4)")


def cost(write: object, one: Assignment) -> float:
    before = cpu_seconds()
    write(one)  # type: ignore[operator]
    return cpu_seconds() - before
