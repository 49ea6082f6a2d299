"""``threadjuice dev``: the Dagster UI, its daemon and the site preview, in one foreground process."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from threadjuice_dagster.database.engagement import Tally, through
from threadjuice_dagster.failures import ConfigurationError
from threadjuice_dagster.instance import open_instance, prepare_home
from threadjuice_dagster.resources.registry import build_resources
from threadjuice_dagster.settings import Settings
from threadjuice_dagster.site.engagement import Reports


def run(settings: Settings, host: str, port: int, say: Callable[[str], None]) -> int:
    """Serve until interrupted; returns the exit code of the Dagster process.

    This process holds the embedded server open, so that it outlives the processes Dagster starts and stops.
    """
    environment = {**os.environ, **prepare_home(settings)}
    with open_instance(settings):  # creates Dagster's tables before several of its processes would
        pass
    command = [sys.executable, "-m", "dagster", "dev", "-w", f"{environment['DAGSTER_HOME']}/workspace.yaml"]
    command += ["-h", host, "-p", str(port)]
    started: list[subprocess.Popen[bytes]] = []

    def stop(*_: object) -> None:
        for process in started:
            process.send_signal(signal.SIGINT)

    for name in (signal.SIGINT, signal.SIGTERM):
        # Set before the start: a child would inherit a shell's "ignore" for background jobs, but not a handler.
        signal.signal(name, stop)
    with _reports(settings) as reports:
        preview = _serve_preview(settings, reports)
        for need, part in settings.stand_ins.items():
            say(f"{need:<10} {part}")
        say(f"Site       http://127.0.0.1:{preview}")
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


def _serve_preview(settings: Settings, reports: Reports) -> int:
    from threadjuice_dagster.site.preview import serve

    site, cdn = settings.home / "site", settings.home / "cdn"
    for folder in (site, cdn):
        Path(folder).mkdir(parents=True, exist_ok=True)
    port = settings.deployment.preview_port
    try:
        server = serve(site, port, pictures=cdn, reports=reports)
    except OSError as error:
        raise ConfigurationError(
            f"Port {port} is taken ({error.strerror}).", "Set THREADJUICE_PREVIEW_PORT to a free one; 0 picks one."
        ) from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])
