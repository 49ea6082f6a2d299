"""Trial requests to outside systems: a connection, a search, a file that is written, read and removed.

Which system is asked, and what its answer means for the newsroom, belongs in ``operations/environment/service.py``.
"""

import contextlib
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, ThreadJuiceError
from threadjuice_dagster.operations.findings import Finding, finding
from threadjuice_dagster.resources.http import request_once
from threadjuice_dagster.resources.storage import FolderStorage, Storage

if TYPE_CHECKING:
    import sqlalchemy as sa

_CONNECT = {"connect_timeout": "8", "client_encoding": "utf8", "application_name": "threadjuice check"}


@contextlib.contextmanager
def connections(address: str, count: int, variable: str = "DATABASE_URL") -> "Iterator[list[sa.Connection]]":
    """Open connections outside every pool, because a pool waits for a server instead of saying what is wrong."""
    import sqlalchemy as sa

    from threadjuice_dagster.database.engine import wait_for_server
    from threadjuice_dagster.database.server import app_url, unreachable
    from threadjuice_dagster.database.suitability import require_session, require_usable

    url = app_url(address)
    engine = wait_for_server(
        sa.create_engine(url, poolclass=sa.NullPool, connect_args=_CONNECT, hide_parameters=True), 0
    )
    try:
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(engine.connect()) for _ in range(count)]
            require_session(opened[0])
            require_usable(opened[0], writes=variable != "DATABASE_REPLICA_URL")
            yield opened
    except (sa.exc.DBAPIError, ConfigurationError) as error:
        failure = error if isinstance(error, ConfigurationError) else unreachable(error)
        raise type(failure)(failure.message, failure.next_step.replace("DATABASE_URL", variable)) from error


def ask_database(address: str, variable: str, instead: str) -> Finding:
    """Return which PostgreSQL answers at the address of a variable; ``instead`` says what is used without one."""
    if not address:
        return finding("stand-in", instead)
    with connections(address, 1, variable) as (connection,):
        return finding("ok", f"PostgreSQL {connection.exec_driver_sql('SHOW server_version').scalar()}.")


def search_finding(answer: object) -> Finding:
    """Return how many pictures a search found. Raises ``PermanentFailure`` for an answer of another shape."""
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list):
        raise PermanentFailure("It answers, but not with search results.", "Correct its address.")
    return finding("ok", f"A search found {len(results)} pictures.")


def write_and_read(storage: Storage, *, public: bool = False) -> Finding:
    """Write, read and remove a file in storage; if ``public``, also fetch it as a reader does."""
    key, data = f"probe/{secrets.token_hex(8)}.tmp", b"threadjuice"
    storage.put(key, data, "text/plain", "no-store")
    try:
        read = storage.get(key)
        problem = _reading_problem(storage.url(key), data) if public else ""
    finally:
        storage.delete(key)
    if read != data:
        raise PermanentFailure("What was written comes back otherwise.", "Check what stands before the storage.")
    if problem:
        told = f"A file was written, read and removed, but readers cannot fetch it: {problem}"
        return finding("warning", told, "Let IMAGE_CDN_URL serve what is in the bucket or folder.")
    if isinstance(storage, FolderStorage):
        return finding("stand-in", f"A file was written, read and removed in the folder {storage.root}.")
    return finding("ok", "A file was written, read and removed in the bucket.")


def _reading_problem(url: str, data: bytes) -> str:
    try:
        answer = request_once(url, timeout=4.0)
    except ThreadJuiceError as failure:
        return failure.message
    fine = answer.status == 200 and answer.body == data
    return "" if fine else f"{url.partition('/probe/')[0]} answers {answer.status}."
