"""``threadjuice dev``: an assignment made in the UI becomes a published page without another click."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

LAUNCH = """mutation { launchRun(executionParams: {
    selector: {repositoryLocationName: "threadjuice", repositoryName: "__repository__", jobName: "__ASSET_JOB",
               assetSelection: [{path: ["threads"]}, {path: ["story_assignments"]}]},
    runConfigData: "{ops: {story_assignments: {config: {count: 1, category: \\"food\\"}}}}"
}) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
STATES = "{ runsOrError { ... on Runs { results { jobName status } } } }"
LOADED = """{ repositoryOrError(repositorySelector: {repositoryLocationName: "threadjuice",
    repositoryName: "__repository__"}) { __typename } }"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(found: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if result := found():
                return result
        except OSError:
            pass
        time.sleep(0.5)
    return pytest.fail(f"waited {seconds:.0f} s for {what}")


@pytest.fixture
def newsroom(newsroom_environment: dict[str, str], tmp_path: Path) -> Iterator[tuple[int, int]]:
    port, preview = free_port(), free_port()
    code = "from threadjuice_dagster.cli.app import main; main()"
    environment = {**os.environ, "THREADJUICE_PREVIEW_PORT": str(preview), "THREADJUICE_PRODUCTION_PORT": "0"}
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, "-c", code, "dev", "--port", str(port)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield port, preview
    finally:
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(60) == 0, (tmp_path / "log").read_text()[-2000:]
            assert started_with(f"DAGSTER_HOME={tmp_path}") == []
        finally:
            process.kill()


def started_with(variable: str) -> list[str]:
    """Commands of the processes that run with a variable of this beginning, as far as /proc tells."""
    running = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(one.startswith(variable.encode()) for one in (folder / "environ").read_bytes().split(b"\0")):
                running.append((folder / "cmdline").read_text().replace("\0", " "))
    return running


def status_of(port: int, path: str, headers: dict[str, str], body: bytes | None = None) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_an_assignment_made_in_the_ui_is_published_without_another_click(newsroom: tuple[int, int]) -> None:
    port, preview = newsroom

    def ask(query: str) -> Any:
        body = json.dumps({"query": query}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read())["data"]

    def page() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{preview}/", timeout=10) as response:
            return str(response.read().decode())

    until(lambda: ask(LOADED)["repositoryOrError"]["__typename"] == "Repository", 90, "the code location")
    mutation, query = b'{"query": "mutation { setNuxSeen }"}', "/graphql?query=mutation%20%7B%20setNuxSeen%20%7D"
    json_type = {"Content-Type": "application/json"}
    assert status_of(port, query, {}) == 405
    assert status_of(port, query, {"Content-Type": "text/plain"}, b"") == 415
    assert status_of(port, "/graphql", {"Content-Type": "text/plain; application/json"}, mutation) == 415
    assert status_of(port, "/graphql", {**json_type, "Origin": "http://evil.example"}, mutation) == 403
    assert status_of(port, "/graphql", {**json_type, "Host": "evil.example"}, mutation) == 403
    assert status_of(port, "/graphql", json_type, mutation) == 200
    launched = ask(LAUNCH)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    until(lambda: "/story/" in page() or 'href="story/' in page(), 120, "the story on the front page")

    def states() -> set[str]:
        runs = ask(STATES)["runsOrError"]["results"]
        return {run["status"] for run in runs if run["jobName"] in ("story_job", "site_job")}

    until(lambda: states() == {"SUCCESS"}, 60, "the runs of story and site to end well")
