"""The Dagster UI behind the gateway: ``threadjuice ui``, and one of the processes of ``threadjuice dev``."""

import contextlib
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from threadjuice_dagster.failures import ConfigurationError
from threadjuice_dagster.instance import open_instance
from threadjuice_dagster.operations.ui.rules import KnownNames, is_loopback
from threadjuice_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

_GRACE_SECONDS = 2
"""How long open requests and live logs may continue once the server stops."""


def listen(settings: Settings, host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 picks a free one.

    Raises ``ConfigurationError`` if other machines could reach it without a password.
    """
    if not (is_loopback(host) or settings.deployment.ui_password.get_secret_value()):
        raise ConfigurationError(
            f"Dagster has no login of its own, and others can reach {host}.",
            "Set THREADJUICE_UI_PASSWORD, or keep to --host 127.0.0.1 and come through a tunnel:"
            f" ssh -L {port}:127.0.0.1:{port} THIS_MACHINE.",
        )
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=100)
    except OverflowError as error:
        raise ConfigurationError(f"There is no port {port}.", "Pass --port between 0 and 65535.") from error
    except OSError as error:
        raise ConfigurationError(
            f"{host} port {port} cannot be listened on ({error.strerror}).", "Pass another --port; 0 picks a free one."
        ) from error


def address_of(listener: socket.socket, host: str) -> str:
    """Return the address by which a browser on this machine reaches what listens on ``host``."""
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 -- compared, not bound
    return f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}"


def check_workspace(path: Path) -> None:
    """Raise ``ConfigurationError`` for a file that is no workspace of Dagster's."""
    import dagster as dg
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster_shared.check import CheckError
    from yaml import YAMLError

    try:
        WorkspaceFileTarget([str(path)]).create_origins()
    except (OSError, ValueError, YAMLError, dg.DagsterInvalidConfigError, CheckError) as error:
        problem = error.strerror if isinstance(error, OSError) else str(error)
        next_step = "Name a workspace.yaml as Dagster's documentation describes it, or leave --workspace out."
        raise ConfigurationError(f"The workspace {path} cannot be used: {problem}.", next_step) from None


def server_of(app: "ASGIApp", public_url: str) -> "uvicorn.Server":
    """Return the server of the UI.

    ``X-Forwarded-For`` is trusted only if ``public_url`` names a proxy: otherwise a client that guesses passwords could
    claim a new address each time.
    """
    import uvicorn

    config = uvicorn.Config(
        app,
        lifespan="off",
        log_level="warning",
        server_header=False,
        proxy_headers=not is_loopback(urlsplit(public_url).hostname or ""),
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return uvicorn.Server(config)


def serve(settings: Settings, listener: socket.socket, host: str, workspace: Path | None = None) -> None:
    """Serve until SIGINT or SIGTERM. ``workspace`` names the code locations; by default this process starts ours."""
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster_webserver.app import create_app_from_workspace_process_context
    from dagster_webserver.version import __version__

    from threadjuice_dagster.operations.ui.gateway import Gateway, Session, session_key

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the default action would leave a code server running
    home, section = settings.home / "dagster", settings.deployment
    with open_instance(settings) as instance:
        instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3600, max_overflow=20)
        target = WorkspaceFileTarget([str(workspace or home / "workspace.yaml")])
        with WorkspaceProcessContext(instance, target, version=__version__, code_server_log_level="warning") as context:
            names = KnownNames(public_url=section.ui_url, listening_on=host)
            session = Session(session_key(home / "ui.key"), section.ui_password.get_secret_value())
            app = Gateway(create_app_from_workspace_process_context(context, live_data_poll_rate=2000), names, session)
            try:
                server_of(app, section.ui_url).run(sockets=[listener])
            except KeyboardInterrupt:  # uvicorn raises it again once it has stopped
                return


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        serve(load_settings(), socket.socket(fileno=int(sys.argv[1])), sys.argv[2], Path(sys.argv[3]))
