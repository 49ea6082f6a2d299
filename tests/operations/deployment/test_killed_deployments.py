"""Deployments that are killed, meet a full disk, or run beside another one."""

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from deploying import Newsroom, Prober, write_site
from servers.vercel_server import VercelServer

from threadjuice_dagster.assets.deployment.deployments import production_deployment, staged_deployment
from threadjuice_dagster.database import tables as t
from threadjuice_dagster.operations.deployment import targets as deployer
from threadjuice_dagster.operations.deployment.targets import KEEP
from threadjuice_dagster.operations.deployment.vercel import VercelTarget

SCRIPT = """
import json, os, signal, sys, uuid
from datetime import UTC, datetime
from pathlib import Path
from threadjuice_dagster.operations.deployment.targets import LocalTarget
from threadjuice_dagster.operations.deployment.service import DeploymentService
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.operations.deployment.vercel import VercelTarget
from threadjuice_dagster.settings import load_settings

url, home, moment, settings = sys.argv[1:]
settings = json.loads(settings)

def reach(name):
    if name == moment:
        if os.environ.get("PAUSE"):
            print("paused", flush=True)
            sys.stdin.readline()
        else:
            os.kill(os.getpid(), signal.SIGKILL)

class Target(LocalTarget if "folder" in settings else VercelTarget):
    def _confirm(self, identity):
        reach("unconfirmed")
        super()._confirm(identity)

    def _upload(self, contents):
        super()._upload(dict(list(contents.items())[:2]))
        reach("half of the files")
        super()._upload(contents)

    def _create(self, name, files):
        created = super()._create(name, files)
        if not created[1]:
            reach("after creation")
        return created

    def stage(self, *arguments):
        reach("before staging")
        staged = super().stage(*arguments)
        reach("after staging")
        return staged

    def promote(self, identity):
        reach("before promotion")
        super().promote(identity)
        reach("after promotion")

    def restore(self, identity):
        reach("before rollback")
        super().restore(identity)
        reach("after rollback")

    def opened(self, deployment=None):
        reach("smoke test" if deployment else "validation")
        return super().opened(deployment)

    def _point(self, name, identity):
        beside = Path(self.folder) / f".{name}-next"
        if moment == f"pointing {name}":
            beside.symlink_to("versions/nowhere")
        reach(f"pointing {name}")
        super()._point(name, identity)

import threadjuice_dagster.operations.deployment.targets as module
link, count = module.link, [0]
def counted(*arguments):
    count[0] += 1
    if count[0] == 4:
        reach("half of the files")
    link(*arguments)
module.link = counted

def deploy(action):
    desk = DeploymentService(
        database=Postgres(url=url, pool_size=2), deployer=Target(**settings), settle_seconds=0.2
    )
    run = uuid.uuid4().hex
    if action == "roll back":
        return desk.roll_back("previous", run)
    desk.stage(Path(f"{home}/site"), run, datetime.now(UTC))
    desk.promote(run)

if moment:
    deploy("deploy")
    print("done", flush=True)
else:  # a process for each line of input, which spares it the imports
    while line := sys.stdin.readline():
        moment, action = json.loads(line)
        if not (child := os.fork()):
            deploy(action)
            os._exit(0)
        print(os.waitpid(child, 0)[1], flush=True)
"""


MOMENTS = (
    "before staging",
    "half of the files",
    "pointing staging",
    "after staging",
    "smoke test",
    "before promotion",
    "pointing production",
    "after promotion",
    "validation",
)


def start(newsroom: Newsroom, moment: str, **environment: str) -> "subprocess.Popen[str]":
    settings = json.dumps({name: getattr(newsroom.deployer, name) for name in type(newsroom.deployer).model_fields})
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, newsroom.database.url, str(newsroom.home), moment, settings],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


@contextmanager
def killer(newsroom: Newsroom) -> Iterator[Callable[..., None]]:
    """Starts a deployment or rollback, and kills its process at a moment."""
    with start(newsroom, "") as process:
        assert process.stdin
        assert process.stdout

        def kill(moment: str, action: str = "deploy") -> None:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps([moment, action]) + "\n")
            process.stdin.flush()
            assert process.stdout.readline().strip() == str(int(signal.SIGKILL)), moment

        yield kill
        process.stdin.close()


def test_whatever_kills_a_deployment_readers_see_a_whole_version_and_the_next_one_works(local: Newsroom) -> None:
    versions = [f"v{number}" for number in range(KEEP + 1)]
    for version in versions:  # so many that the next one is made of the oldest
        assert local.deploy(version)
    with killer(local) as kill:
        for number, moment in enumerate(MOMENTS):
            killed, after = f"killed{number}", f"after{number}"
            write_site(local.home, killed)
            before = local.seen()
            kill(moment)
            shown = killed if moment in ("after promotion", "validation") else before
            with local.deployer.opened() as opened, Prober(opened.url) as prober:
                time.sleep(0.2)
            assert (prober.versions, prober.wrong) == ([shown], []), moment
            run_id = local.book.newest(1)[0].run_id
            assert local.book.steps(run_id)[-1].state == "interrupted"
            assert local.deploy(after), (moment, local.error)
            assert local.book.newest(2)[1].state == "interrupted"
            assert local.seen() == local.live == after
            unfinished = [path.name for path in (local.home / "deployment").rglob(".*")]
            assert unfinished == []


def test_whatever_kills_a_deployment_to_vercel_readers_see_a_whole_version_and_the_next_one_works(
    on_vercel: Newsroom, vercel: VercelServer
) -> None:
    assert on_vercel.deploy("v1")
    with killer(on_vercel) as kill:
        for moment in ("half of the files", "after creation", "smoke test", "before promotion"):
            write_site(on_vercel.home, f"killed {moment}")
            kill(moment)
            assert on_vercel.seen() == on_vercel.live == "v1"
        write_site(on_vercel.home, "staged")  # the next one may be for staging alone: readers see nothing of it
        assert on_vercel.stage(), on_vercel.error
        assert on_vercel.seen() == on_vercel.live == "v1"
        for moment in ("unconfirmed", "validation"):
            write_site(on_vercel.home, f"killed {moment}")
            before = on_vercel.live
            kill(moment)
            assert (on_vercel.seen(), on_vercel.live) == (f"killed {moment}", before)
            assert on_vercel.deploy(f"after {moment}"), (moment, on_vercel.error)
            assert on_vercel.seen() == on_vercel.live == f"after {moment}"
    killed = [one for one in on_vercel.book.newest() if one.state == "interrupted"]
    assert len(killed) == 6
    assert sum(one.platform_id in vercel.deployments for one in killed) >= 4
    with on_vercel.database.store.engine.begin() as connection:  # what they may show is taken down, and so they go
        connection.execute(t.events.insert().values(kind="story_taken_down", story_id="x", detail={}))
    assert on_vercel.deploy("last")
    assert not any(one.platform_id in vercel.deployments for one in killed)


def test_whatever_kills_a_rollback_readers_see_a_whole_version_and_it_can_be_finished(
    newsroom: Newsroom, vercel: VercelServer
) -> None:
    on_vercel = isinstance(newsroom.deployer, VercelTarget)
    for version in ("v1", "v2"):
        assert newsroom.deploy(version)
    with killer(newsroom) as kill:
        for moment, after in (
            ("before rollback", newsroom.roll_back),
            ("unconfirmed", newsroom.roll_back),
            ("after rollback", lambda: newsroom.deploy("v3")),
            ("validation", newsroom.roll_back),
        ):
            if moment == "unconfirmed" and not on_vercel:
                continue
            live, earlier = newsroom.live, newsroom.service.restorable("previous").version
            kill(moment, "roll back")
            assert newsroom.seen() == (live if moment == "before rollback" else earlier), moment
            assert after(), (moment, newsroom.error)
            assert newsroom.seen() == newsroom.live == ("v3" if moment == "after rollback" else earlier)
            assert newsroom.deploy(f"after {moment}"), (moment, newsroom.error)


def test_a_full_disk_is_told_and_leaves_readers_what_they_see(local: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local.deploy("v1")
    write_site(local.home, "v2")
    link, count = deployer.link, itertools.count()

    def full(source: str, place: str) -> None:
        if next(count) >= 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        link(source, place)

    monkeypatch.setattr(deployer, "link", full)
    assert not local.run(staged_deployment, production_deployment)
    assert "No space left" in local.message("stage")
    told = [event.step_failure_data.user_failure_data for event in local.result.all_events if event.is_step_failure]
    assert [one.description for one in told if one] == ["The disk is full. Free space where THREADJUICE_HOME is."]
    assert local.seen() == local.live == "v1"
    monkeypatch.setattr(deployer, "link", link)
    assert local.deploy("v3")
    assert [path.name for path in (local.home / "deployment").rglob(".*")] == []


def test_a_killed_rollback_is_finished_by_the_next(local: Newsroom) -> None:
    for version in ("v1", "v2", "v3"):
        assert local.deploy(version)
    local.deployer.restore(local.book.newest()[1].platform_id)  # as far as a rollback that was killed then
    assert (local.seen(), local.live) == ("v2", "v3")
    assert local.roll_back()
    assert local.seen() == local.live == "v2"


def test_a_rollback_after_a_killed_deployment_goes_to_the_last_that_was_in_order(local: Newsroom) -> None:
    assert local.deploy("v1")
    assert local.deploy("v2")
    write_site(local.home, "v3")
    with start(local, "after promotion") as process:
        process.communicate()
    assert local.seen() == "v3"
    assert local.roll_back()
    assert local.seen() == local.live == "v2"


def test_of_two_deployments_at_once_the_second_waits_for_the_first(local: Newsroom) -> None:
    write_site(local.home, "v1")
    with start(local, "smoke test", PAUSE="yes") as first:
        assert first.stdout
        assert first.stdout.readline() == "paused\n"
        with start(local, "never") as second:
            assert second.stderr
            assert "waits until it has ended" in second.stderr.readline()
            assert local.live == ""
            first.communicate("\n")
            assert (first.returncode, second.wait()) == (0, 0)
    newer, older = local.book.newest()
    assert newer.state == "live"
    # Staging and promoting take a turn each: the second may be live before the first is to be promoted.
    assert older.state in ("superseded", "staged")
    assert [one.state for one in local.book.steps(local.book.newest()[0].run_id)] == ["done"] * 5
