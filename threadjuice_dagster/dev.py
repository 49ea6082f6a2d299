"""``threadjuice dev``: the Dagster UI, its daemon, and the site as built and as deployed, in one foreground process."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from threadjuice_dagster.database.engagement import Tally, through
from threadjuice_dagster.failures import ConfigurationError
from threadjuice_dagster.instance import open_instance, prepare_home
from threadjuice_dagster.resources.deployer import LocalTarget
from threadjuice_dagster.resources.registry import build_resources
from threadjuice_dagster.settings import Settings
from threadjuice_dagster.site.engagement import Reports

if TYPE_CHECKING:
    from threadjuice_dagster.site.preview import PreviewServer


def run(settings: Settings, host: str, port: int, say: Callable[[str], None]) -> int:
    """Serve until interrupted; returns the exit code of the Dagster process.

    This process holds the embedded server open, so that it outlives the processes Dagster starts and stops.
    """
    ui = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104 -- read, not bound
    environment = {"DAGSTER_UI_URL": ui, **os.environ, **prepare_home(settings)}
    with open_instance(settings):  # creates Dagster's tables before several of its processes would
        pass
    command = [sys.executable, "-m", "dagster", "dev", "-w", f"{environment['DAGSTER_HOME']}/workspace.yaml"]
    command += ["-h", host, "-p", str(port)]
    started: list[subprocess.Popen[bytes]] = []

    def stop(*_: object) -> None:
        for process in started:
            process.send_signal(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        # Set before the start: a child would inherit a shell's "ignore" for background jobs, but not a handler.
        signal.signal(number, stop)
    with _reports(settings) as reports:
        servers = list(_servers(settings, reports))
        for need, part in settings.stand_ins.items():
            say(f"{need:<10} {part}")
        for name, address in servers:
            say(f"{name:<10} {address}")
        say(f"Dagster    http://{host}:{port}")
        started.append(subprocess.Popen(command, env=environment))  # noqa: S603 -- our own interpreter, no shell
        code = started[0].wait()
    return 0 if code in (0, -signal.SIGINT, -signal.SIGTERM) else code


@contextmanager
def _reports(settings: Settings) -> Iterator[Reports]:
    """Takes what pages tell and counts it; the database is opened when one tells something."""
    with build_resources(settings)["database"].process_config_and_initialize_cm() as database:

        def run(sql: str, values: Mapping[str, Any]) -> Sequence[Any]:
            return through(database.store.engine)(sql, values)

        with Reports(Tally(run)) as reports:
            yield reports


def _servers(settings: Settings, reports: Reports) -> Iterator[tuple[str, str]]:
    """Serve the site as built and, where it is deployed to a folder, as deployed; yields their names and addresses."""
    from threadjuice_dagster.site.preview import serve

    site, cdn, section = settings.home / "site", settings.home / "cdn", settings.deployment
    for folder in (site, cdn):
        folder.mkdir(parents=True, exist_ok=True)

    def built(port: int) -> "PreviewServer":
        return serve(site, port, pictures=cdn, reports=reports)

    yield "Site", _started(built, section.preview_port, "THREADJUICE_PREVIEW_PORT")
    deployer = build_resources(settings)["deployment_desk"].deployer
    if isinstance(deployer, LocalTarget):
        yield (
            "Live site",
            _started(partial(deployer.server, reports=reports), deployer.port, "THREADJUICE_PRODUCTION_PORT"),
        )


def _started(make: Callable[[int], "PreviewServer"], port: int, variable: str) -> str:
    try:
        server = make(port)
    except OSError as error:
        raise ConfigurationError(
            f"Port {port} is taken ({error.strerror}).", f"Set {variable} to a free one; 0 picks one."
        ) from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.url
