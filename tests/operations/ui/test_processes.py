"""Processes of a foreground command end together, however one of them ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import eventually

from threadjuice_dagster.operations.ui.processes import Processes

STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
time.sleep(60)
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 10
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(is_running, pids))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("killed", [True, False])
def test_nothing_that_they_started_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool) -> None:
    monkeypatch.setattr("threadjuice_dagster.operations.ui.processes.GRACE_SECONDS", 0.2)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    told = tmp_path / "pids"
    try:
        with Processes(dict(os.environ)) as processes:
            processes.start("stubborn", [sys.executable, "-c", STUBBORN, str(told)])
            assert processes.wait(until=lambda: told.exists() and " " in told.read_text()) is None
            pids = [int(pid) for pid in told.read_text().split()]
            os.kill(pids[0] if killed else os.getpid(), signal.SIGKILL if killed else signal.SIGTERM)
            assert processes.wait() == ("stubborn" if killed else "")
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), handlers, strict=True):
            signal.signal(number, handler)
    assert gone(pids)


PARENT = """
import os, sys, time
from threadjuice_dagster.operations.ui.processes import Processes
with Processes(dict(os.environ)) as processes:
    child = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid()) + ' '); time.sleep(60)"
    processes.start("child", [sys.executable, "-c", child, sys.argv[1]])
    processes.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(pid_file)]) as parent:
        assert eventually(lambda: pid_file.exists() and " " in pid_file.read_text())
        parent.kill()
    assert gone([int(pid_file.read_text())])
