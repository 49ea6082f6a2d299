"""``threadjuice dev``: the Dagster UI, its daemon, and the site as built and as deployed, in one foreground process."""

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from threadjuice_dagster.failures import ConfigurationError
from threadjuice_dagster.instance import DEFINITIONS, LOCATION, open_instance, prepare_home
from threadjuice_dagster.operations.deployment.targets import LocalTarget
from threadjuice_dagster.operations.engagement.receiver import Reports
from threadjuice_dagster.operations.engagement.store import ViewCounts, through
from threadjuice_dagster.operations.ui.processes import Processes
from threadjuice_dagster.operations.ui.rules import KnownNames
from threadjuice_dagster.operations.ui.server import address_of, listen
from threadjuice_dagster.settings import Settings
from threadjuice_dagster.wiring import build_resources

if TYPE_CHECKING:
    from threadjuice_dagster.operations.deployment.site_server import PreviewServer


def run(settings: Settings, host: str, port: int, say: Callable[[str], None]) -> int:
    """Serve until interrupted; returns 0 then, and 1 where one of the processes ended by itself.

    This process holds the embedded server open, so that it outlives the processes it starts and stops.
    """
    listener = listen(settings, host, port)
    address = address_of(listener, host)
    environment = {"DAGSTER_UI_URL": address, **os.environ, **prepare_home(settings), "DAGSTER_IS_DEV_CLI": "1"}
    with open_instance(settings):  # creates Dagster's tables before several of its processes would
        pass
    with Processes(environment) as processes, _reports(settings) as reports:
        servers = list(_servers(settings, reports))
        for need, part in settings.stand_ins.items():
            say(f"{need:<10} {part}")
        for name, site in servers:
            say(f"{name:<10} {site}")
        say(f"Dagster    {address}")
        with TemporaryDirectory(prefix="threadjuice-") as folder:
            ended = _run_dagster(processes, listener, host, Path(folder))
        if ended:
            say(f"The process {ended} ended by itself, so the others were stopped.")
    return 1 if ended else 0


def _run_dagster(processes: Processes, listener: socket.socket, host: str, folder: Path) -> str:
    """Run code server, daemon and UI until interrupted; the name of the one that ended by itself, or empty."""
    workspace = folder / "workspace.yaml"
    server = {"location_name": LOCATION, "socket": str(folder / "code.sock")}
    workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))  # JSON is YAML
    dagster = [sys.executable, "-m", "dagster"]
    definitions = ["--module-name", DEFINITIONS, "--location-name", LOCATION]
    code = [*dagster, "code-server", "start", "--socket", server["socket"], *definitions, "--log-level", "warning"]
    processes.start("code server", code)
    ended = processes.wait(until=Path(server["socket"]).exists)
    if ended is None:
        processes.start("daemon", [*dagster[:-1], "dagster._daemon", "run", "-w", str(workspace)])
        ui = [
            sys.executable,
            "-m",
            "threadjuice_dagster.operations.ui.server",
            str(listener.fileno()),
            host,
            str(workspace),
        ]
        processes.start("Dagster UI", ui, keep=[listener.fileno()])
        listener.close()
        ended = processes.wait()
    return ended or ""


@contextmanager
def _reports(settings: Settings) -> Iterator[Reports]:
    """Takes what pages tell and counts it; the database is opened when one tells something."""
    with build_resources(settings)["database"].process_config_and_initialize_cm() as database:

        def run(sql: str, values: Mapping[str, Any]) -> Sequence[Any]:
            return through(database.store.engine)(sql, values)

        with Reports(ViewCounts(run)) as reports:
            yield reports


def _servers(settings: Settings, reports: Reports) -> Iterator[tuple[str, str]]:
    """Serve the site as built and, where it is deployed to a folder, as deployed; yields their names and addresses."""
    from threadjuice_dagster.operations.deployment.site_server import serve

    site, cdn, section = settings.home / "site", settings.home / "cdn", settings.deployment
    for folder in (site, cdn):
        folder.mkdir(parents=True, exist_ok=True)

    def built(port: int) -> "PreviewServer":
        return serve(site, port, pictures=cdn, reports=reports)

    names = KnownNames(public_url=section.production_url)
    yield "Site", _started(built, names, section.preview_port, "THREADJUICE_PREVIEW_PORT")
    deployer = build_resources(settings)["deployment_service"].deployer
    if isinstance(deployer, LocalTarget):
        live = partial(deployer.server, reports=reports)
        yield "Live site", _started(live, names, deployer.port, "THREADJUICE_PRODUCTION_PORT")


def _started(make: Callable[[int], "PreviewServer"], names: KnownNames, port: int, variable: str) -> str:
    try:
        server = make(port)
    except OSError as error:
        raise ConfigurationError(
            f"Port {port} is taken ({error.strerror}).", f"Set {variable} to a free one; 0 picks one."
        ) from error
    server.names = names
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.url
