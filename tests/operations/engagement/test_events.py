"""``POST /events`` over real HTTP into a real PostgreSQL: by the preview server, and by the function as deployed."""

import http.client
import importlib.util
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pytest
import sqlalchemy as sa

from threadjuice_dagster.assets.monitoring.engagement_metrics import DAYS, engagement_metrics
from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.engine import pooled_engine
from threadjuice_dagster.database.schema import require_schema
from threadjuice_dagster.database.server import create_database
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.domain.story.page_events import EVENTS
from threadjuice_dagster.operations.deployment.site_server import serve
from threadjuice_dagster.operations.deployment.vercel_uploads import function_files, function_settings
from threadjuice_dagster.operations.engagement.receiver import PATHS, Reports
from threadjuice_dagster.operations.engagement.rules import BURST, MAX_BODY, STORY_PER_MINUTE
from threadjuice_dagster.operations.engagement.store import ViewCounts, through
from threadjuice_dagster.resources.postgres import Postgres, Replica

READER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
STANDING_ALONE = """
import http.server, importlib.util, sys
spec = importlib.util.spec_from_file_location("events", sys.argv[1])
events = importlib.util.module_from_spec(spec)
spec.loader.exec_module(events)
heavy = {"dagster", "sqlalchemy", "pydantic", "pandas"} & set(sys.modules)
assert not heavy, heavy
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), events.handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
GRANTS = """
GRANT SELECT (story_id, slug, withdrawn_at) ON publications TO {role};
GRANT SELECT, INSERT, UPDATE ON engagement TO {role};
"""
OTHERS_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()
"""


class Server(NamedTuple):
    """Where reports are taken; ``settle`` makes what was taken be written."""

    port: int
    settle: Callable[[], None]


@pytest.fixture(scope="module")
def newsroom(server_url: str) -> Iterator[Store]:
    url = sa.make_url(server_url)
    name = f"t_{uuid.uuid4().hex[:12]}"
    create_database(url, name)
    store = Store(pooled_engine(url.set(database=name), 10))
    require_schema(store, migrate_if_missing=True)
    yield store
    store.locks.close()
    store.engine.dispose()


@pytest.fixture
def store(newsroom: Store) -> Store:
    """A newsroom with two public stories and no counts."""
    with newsroom.engine.begin() as connection:
        connection.execute(t.publications.delete())
        connection.execute(t.assignments.delete())
    for slug in ("a-fence", "a-kettle"):
        publish(newsroom, slug)
    return newsroom


def publish(store: Store, slug: str) -> None:
    """A public story, as far as the tables that count know one."""
    category, persona = Catalogue(store.engine).categories()[0].slug, Catalogue(store.engine).personas()[0].slug
    now = datetime.now(UTC)
    row = {"slug": slug, "score": 9.0, "record": {}, "published_at": now, "updated_at": now}
    with store.engine.begin() as connection:
        connection.execute(t.assignments.insert().values(story_id=f"t-{slug}", category=category, persona=persona))
        connection.execute(t.publications.insert().values(story_id=f"t-{slug}", category=category, **row))


@contextmanager
def preview(engine: sa.Engine, folder: Path) -> Iterator[tuple[int, Reports]]:
    with Reports(ViewCounts(through(engine))) as reports, serve(folder, 0, reports=reports) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield int(server.server_address[1]), reports
        server.shutdown()
        thread.join()


@contextmanager
def function(database_url: str, folder: Path) -> Iterator[int]:
    """The deployed files in a Python that has its two requirements and nothing else, as a role that only counts."""
    for path, content in function_files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    packages = folder / "packages"
    packages.mkdir()
    for name in ("psycopg", "psycopg_binary", "psycopg_binary.libs", "typing_extensions.py", "crawlerdetect"):
        found = Path(importlib.util.find_spec("psycopg").origin).parents[1] / name  # type: ignore[union-attr, arg-type]
        (packages / name).symlink_to(found)
    command = [sys.executable, "-S", "-c", STANDING_ALONE, str(folder / "api/events.py")]
    environment = {"PYTHONPATH": str(packages), "ENGAGEMENT_DATABASE_URL": database_url}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def counting_role(store: Store) -> Iterator[str]:
    """Address of the store's database for a role that has nothing but what the documents grant it."""
    role = f"counter_{uuid.uuid4().hex[:8]}"
    with store.engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {role} LOGIN; {GRANTS.format(role=role)}"))
    yield store.engine.url.set(drivername="postgresql", username=role).render_as_string(hide_password=False)
    with store.engine.begin() as connection:
        connection.execute(sa.text(f"DROP OWNED BY {role}; DROP ROLE {role}"))


@pytest.fixture(params=["preview", "function"])
def server(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> Iterator[Server]:
    if request.param == "preview":
        with preview(store.engine, tmp_path) as (port, reports):
            yield Server(port, reports.write)
    else:
        address = request.getfixturevalue("counting_role")
        with function(address, tmp_path) as port:
            yield Server(port, lambda: None)


def report(story: str = "a-fence", events: tuple[str, ...] = ("view",), page: str = "") -> bytes:
    return json.dumps({"story": story, "page": page or uuid.uuid4().hex, "events": events}).encode()


def post(port: int, body: bytes, path: str = "/events", **changes: str) -> int:
    """The status of a report as a browser sends it, with headers changed by name or, empty, left out."""
    own = {"Content_Type": "application/json", "Origin": f"http://127.0.0.1:{port}", "User_Agent": READER}
    headers = {name.replace("_", "-"): value for name, value in {**own, **changes}.items() if value}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        assert answer.read() == b""
        return answer.status
    finally:
        connection.close()


def raw(port: int, request: bytes) -> bytes:
    """Everything that is answered to these bytes until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def counted(store: Store) -> dict[tuple[str, str], int]:
    query = sa.select(t.publications.c.slug, t.engagement.c.event, t.engagement.c.count).join_from(
        t.engagement, t.publications, t.engagement.c.story_id == t.publications.c.story_id
    )
    with store.engine.connect() as connection:
        return {(slug, event): count for slug, event, count in connection.execute(query)}


def totals(store: Store) -> tuple[int, int]:
    columns = t.engagement.c
    with store.engine.connect() as connection:
        return tuple(connection.execute(sa.select(sa.func.sum(columns.count), sa.func.sum(columns.dropped))).one())


def early_in_a_minute() -> None:
    """Wait until a minute has at least ten seconds left, so that what is sent at once is counted in one."""
    left = 60 - time.time() % 60
    if left < 10:
        time.sleep(left + 0.1)


class TestReports:
    def test_what_pages_tell_is_counted(self, server: Server, store: Store) -> None:
        assert post(server.port, report(events=EVENTS)) == 204
        assert post(server.port, report(), path=PATHS[1]) == 204
        assert post(server.port, report("a-kettle")) == 204
        server.settle()
        expected = {("a-fence", event): 1 for event in EVENTS}
        assert counted(store) == {**expected, ("a-fence", "view"): 2, ("a-kettle", "view"): 1}

    def test_a_report_sent_again_counts_once(self, server: Server, store: Store) -> None:
        again = report(events=("view", "reaction:juicy"))
        assert [post(server.port, again) for _ in range(5)] == [204] * 5
        server.settle()
        assert counted(store) == {("a-fence", "view"): 1, ("a-fence", "reaction:juicy"): 1}

    def test_counts_of_many_connections_at_once_are_all_there(self, server: Server, store: Store) -> None:
        with ThreadPoolExecutor(8) as pool:
            answers = Counter(pool.map(lambda number: post(server.port, report()), range(160)))
        server.settle()
        assert answers == {204: 160}
        assert counted(store) == {("a-fence", "view"): 160}

    def test_a_flood_is_answered_with_429_and_everything_else_goes_on(self, server: Server, store: Store) -> None:
        early_in_a_minute()
        with ThreadPoolExecutor(8) as pool:
            answers = Counter(pool.map(lambda number: post(server.port, report()), range(BURST * 4)))
        server.settle()
        assert set(answers) == {204, 429}
        assert counted(store)[("a-fence", "view")] == answers[204]
        time.sleep(0.2)
        assert post(server.port, report("a-kettle")) == 204

    def test_reports_that_are_not_counted_take_no_room_from_those_that_are(self, server: Server, store: Store) -> None:
        publish(store, "a-late-one")
        uncounted = [report(f"no-such-story-{number}") for number in range(BURST * 2)] + [report("nobody")] * BURST
        with ThreadPoolExecutor(8) as pool:
            answers = Counter(pool.map(lambda body: post(server.port, body), uncounted))
            assert answers == {404: len(uncounted)}
            machine = {"User_Agent": "curl/8"}
            assert set(pool.map(lambda _: post(server.port, report(), **machine), range(BURST * 2))) == {204}
            assert set(pool.map(lambda _: post(server.port, b"{"), range(BURST * 2))) == {400}
        assert post(server.port, report("a-late-one")) == 204
        server.settle()
        assert counted(store) == {("a-late-one", "view"): 1}

    @pytest.mark.parametrize(
        ("body", "changes", "status"),
        ids=itertools.count(),
        argvalues=[
            (b"{", {}, 400),
            (b"", {}, 400),
            (b"\xff\x00" * 20, {}, 400),
            (b"[" * MAX_BODY, {}, 400),
            (b'{"story": "a-fence", "page": 1, "events": ["view"]}', {}, 400),
            (report(events=("view'; DROP TABLE engagement; --",)), {}, 400),
            (report(story="a-fence' OR 1=1"), {}, 400),
            (report() + b" " * MAX_BODY, {}, 413),
            (b"x" * 200_000, {}, 413),
            (report(story="no-such-story"), {}, 404),
            (report(), {"Content_Type": "text/plain"}, 415),
            (report(), {"Content_Type": "application/x-www-form-urlencoded"}, 415),
            (report(), {"Origin": "https://elsewhere.example"}, 403),
            (report(), {"Origin": "null"}, 403),
            (report(), {"Origin": ""}, 403),
            (report(), {"Sec_Fetch_Site": "cross-site"}, 403),
            (report(), {"User_Agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"}, 204),
            (report(), {"User_Agent": "curl/8.9"}, 204),
            (report(), {"User_Agent": ""}, 204),
            (report(), {"DNT": "1"}, 204),
            (report(), {"Sec_GPC": "1"}, 204),
        ],
    )
    def test_what_is_not_a_reader_s_report_leaves_no_row(
        self, server: Server, store: Store, body: bytes, changes: dict[str, str], status: int
    ) -> None:
        assert post(server.port, body, **changes) == status
        server.settle()
        assert counted(store) == {}

    def test_the_preview_counts_nothing_under_a_name_that_is_not_its_own(self, store: Store, tmp_path: Path) -> None:
        with preview(store.engine, tmp_path) as (port, reports):
            changes = {"Origin": "http://evil.example", "Host": "evil.example"}
            assert post(port, report(), **changes) == 403
            assert post(port, report(), Origin="http://localhost", Host="localhost") == 204
            reports.write()
        assert counted(store) == {("a-fence", "view"): 1}

    @pytest.mark.parametrize("length", ["", "-1", "+5", "1e3", "0x10", " 5 5", "9" * 40, "5\r\nContent-Length: 6"])
    def test_a_body_without_a_sound_length_is_refused(self, server: Server, length: str) -> None:
        given = f"Content-Length: {length}\r\n" if length else "Transfer-Encoding: chunked\r\n"
        answer = raw(server.port, f"POST /events HTTP/1.1\r\nHost: x\r\n{given}\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 411 ")

    def test_what_follows_a_refused_body_is_no_request_of_its_own(self, server: Server, store: Store) -> None:
        hidden = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        lengths = f"Content-Length: {MAX_BODY + 1}\r\nTransfer-Encoding: chunked\r\n"
        answer = raw(server.port, f"POST /events HTTP/1.1\r\nHost: x\r\n{lengths}\r\n".encode() + hidden)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"\r\nConnection: close\r\n" in answer

    def test_a_withdrawn_story_is_not_counted_any_more(self, server: Server, store: Store) -> None:
        assert post(server.port, report()) == 204
        server.settle()
        with store.engine.begin() as connection:
            connection.execute(t.publications.update().values(withdrawn_at=sa.func.now()))
        assert post(server.port, report("a-kettle")) == 404
        post(server.port, report())
        server.settle()
        assert counted(store) == {("a-fence", "view"): 1}

    def test_a_lost_connection_to_the_database_is_opened_again(self, server: Server, store: Store) -> None:
        assert post(server.port, report()) == 204
        server.settle()
        with store.engine.connect() as connection:
            connection.execute(sa.text(OTHERS_END))
        assert post(server.port, report("a-kettle")) == 204
        server.settle()
        assert counted(store) == {("a-fence", "view"): 1, ("a-kettle", "view"): 1}

    def test_nothing_of_a_reader_is_stored(self, server: Server, store: Store) -> None:
        page = uuid.uuid4().hex
        assert (
            post(server.port, report(page=page), User_Agent=f"{READER} Told/77.7", Referer="https://from.example")
            == 204
        )
        server.settle()
        with store.engine.connect() as connection:
            rows = [tuple(row) for row in connection.execute(sa.select(t.engagement))]
            tables = connection.scalars(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
            everything = [connection.execute(sa.text(f'SELECT t::text FROM "{name}" t')).all() for name in tables]
        assert len(rows) == 1
        assert not [told for told in (page, "Told/77.7", "from.example", "127.0.0.1") if told in str(everything)]


class TestPreview:
    def test_other_addresses_take_nothing(self, store: Store, tmp_path: Path) -> None:
        with preview(store.engine, tmp_path) as (port, _):
            answer = raw(port, b"POST /index.html HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        assert answer.startswith(b"HTTP/1.1 405 ")

    def test_a_preview_without_a_database_takes_nothing(self, tmp_path: Path) -> None:
        with serve(tmp_path, 0) as server:
            threading.Thread(target=server.handle_request, daemon=True).start()
            answer = raw(
                int(server.server_address[1]), b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
            )
        assert answer.startswith(b"HTTP/1.1 405 ")

    def test_the_database_is_not_written_to_for_each_report(self, store: Store, tmp_path: Path) -> None:
        written: list[str] = []

        @sa.event.listens_for(store.engine, "before_cursor_execute")
        def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            written.append(statement.split()[0])

        with preview(store.engine, tmp_path) as (port, _), ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda number: post(port, report(events=EVENTS)), range(150))) == {204}
        sa.event.remove(store.engine, "before_cursor_execute", note)
        assert counted(store) == {("a-fence", event): 150 for event in EVENTS}
        assert written.count("INSERT") < 15
        assert written.count("SELECT") <= 8  # a slug is looked up once, or once by each thread at the start

    def test_what_could_not_be_written_is_held_and_written_later(self, store: Store, tmp_path: Path) -> None:
        def rename(old: str, new: str) -> None:
            with store.engine.begin() as connection:
                connection.execute(sa.text(f"ALTER TABLE {old} RENAME TO {new}"))

        with preview(store.engine, tmp_path) as (port, reports):
            rename("engagement", "gone")
            assert [post(port, report()) for _ in range(3)] == [204] * 3
            with pytest.raises(sa.exc.ProgrammingError):
                reports.write()
            rename("gone", "engagement")
            assert post(port, report()) == 204
        assert counted(store) == {("a-fence", "view"): 4}


class TestFunction:
    def test_the_deployed_files_are_the_package_s_own(self) -> None:
        package = Path(str(importlib.util.find_spec("threadjuice_dagster").origin)).parent  # type: ignore[union-attr]
        files = function_files()
        for path, content in files.items():
            if path.startswith("api/_vendor/"):
                assert content == (package.parent / path.removeprefix("api/_vendor/")).read_bytes()
        assert files["api/events.py"] == (package / "operations/engagement/function.py").read_bytes()
        assert files["api/requirements.txt"].startswith(b"psycopg[binary]==3.")

    def test_both_addresses_lead_to_it(self) -> None:
        assert {rule["source"] for rule in function_settings()["rewrites"]} == set(PATHS)
        assert set(function_settings()["functions"]) == {"api/events.py"} <= set(function_files())

    def test_without_an_address_or_a_database_nothing_is_taken(self, tmp_path: Path) -> None:
        for number, address in enumerate(["", "postgresql://nobody:hunter2@127.0.0.1:1/none"]):
            (tmp_path / str(number)).mkdir()
            with function(address, tmp_path / str(number)) as port:
                assert post(port, report()) == 503

    def test_its_role_may_do_nothing_else(self, store: Store, counting_role: str) -> None:
        engine = sa.create_engine(sa.make_url(counting_role).set(drivername="postgresql+psycopg"))
        for forbidden in ("SELECT record FROM publications", "DELETE FROM engagement", "SELECT 1 FROM threads"):
            with engine.connect() as connection, pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                connection.execute(sa.text(forbidden))
        engine.dispose()


class TestTally:
    def test_a_story_is_counted_so_often_a_minute_by_everyone_together(self, store: Store) -> None:
        early_in_a_minute()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: ViewCounts(through(store.engine)).add({("a-fence", "view"): 90}), range(20)))
        assert totals(store) == (STORY_PER_MINUTE, 20 * 90 - STORY_PER_MINUTE)
        ViewCounts(through(store.engine)).add({("a-fence", "view"): 1, ("a-kettle", "view"): 2 * STORY_PER_MINUTE})
        assert counted(store) == {("a-fence", "view"): STORY_PER_MINUTE, ("a-kettle", "view"): STORY_PER_MINUTE}
        assert totals(store) == (2 * STORY_PER_MINUTE, 20 * 90 + 1)

    def test_the_next_minute_counts_again(self, store: Store) -> None:
        counts = ViewCounts(through(store.engine))
        counts.add({("a-fence", "view"): 1500})
        with store.engine.begin() as connection:
            connection.execute(t.engagement.update().values(minute=t.engagement.c.minute - timedelta(minutes=1)))
        early_in_a_minute()
        counts.add({("a-fence", "view"): 1500})
        assert totals(store) == (2 * STORY_PER_MINUTE, 1000)
        counts.add({("a-fence", "view"): 1})
        assert totals(store) == (2 * STORY_PER_MINUTE, 1001)

    def test_writers_at_once_never_wait_in_a_circle(self, store: Store) -> None:
        keys = [(slug, event) for slug in ("a-fence", "a-kettle") for event in EVENTS]

        def add(number: int) -> None:
            order = keys if number % 2 else keys[::-1]
            ViewCounts(through(store.engine)).add(dict.fromkeys(order, 1))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(add, range(64)))
        assert set(counted(store).values()) == {64}

    def test_an_unknown_story_is_written_nowhere(self, store: Store) -> None:
        counts = ViewCounts(through(store.engine))
        assert counts.is_public("a-fence")
        assert not counts.is_public("no-such-story")
        counts.add({("no-such-story", "view"): 1})
        assert totals(store) == (None, None)

    def test_stories_that_come_up_while_others_are_asked_about_are_asked_about_together(self) -> None:
        asked: list[list[str]] = []
        free, first = threading.Event(), threading.Event()

        def run(_: str, values: Mapping[str, Any]) -> list[tuple[str]]:
            asked.append(values["slugs"])
            first.set()
            free.wait(10)
            return [(slug,) for slug in values["slugs"] if slug.startswith("a-")]

        counts = ViewCounts(run)
        with ThreadPoolExecutor(20) as pool:
            early = pool.submit(counts.is_public, "a-fence")
            first.wait(10)
            late = [pool.submit(counts.is_public, slug) for slug in ["a-kettle", "nobody"] * 9]
            while len(counts._next.slugs) < 2 or sum(future.running() for future in late) < 18:
                time.sleep(0.01)
            free.set()
            assert [future.result() for future in [early, *late]] == [True, *[True, False] * 9]
        assert len(asked) <= 3  # the second asks for all but one that was just late
        assert counts.is_public("a-kettle")

    def test_a_question_that_failed_is_asked_again_by_the_next(self) -> None:
        answers = iter([OSError("gone"), [("a-fence",)]])

        def run(_: str, values: Mapping[str, Any]) -> Any:
            answer = next(answers)
            if isinstance(answer, OSError):
                raise answer
            return answer

        counts = ViewCounts(run)
        with pytest.raises(OSError, match="gone"):
            counts.is_public("a-fence")
        assert counts.is_public("a-fence")

    def test_counts_go_with_their_story(self, store: Store) -> None:
        ViewCounts(through(store.engine)).add({("a-fence", "view"): 1})
        with store.engine.begin() as connection:
            connection.execute(t.publications.delete())
            connection.execute(t.assignments.delete())
        assert totals(store) == (None, None)


class TestMetrics:
    def run(self, store: Store, key: str) -> dict[str, Any]:
        address = store.engine.url.render_as_string(hide_password=False)
        database = Postgres(url=address)
        resources = {"database": database, "replica": Replica(database=database)}
        result = dg.materialize([engagement_metrics], partition_key=key, resources=resources)
        (event,) = result.asset_materializations_for_node("engagement_metrics")
        return {name: getattr(value, "records", None) or value.value for name, value in event.metadata.items()}

    def test_a_day_s_counts_are_summed_and_shown(self, store: Store) -> None:
        counts = ViewCounts(through(store.engine))
        counts.add({("a-fence", "view"): 8, ("a-fence", "depth:100"): 4, ("a-kettle", "view"): 2})
        counts.add({("a-kettle", "share:link"): 1, ("a-kettle", "reaction:juicy"): 3})
        with store.engine.begin() as connection:
            old = sa.select(t.engagement).where(t.engagement.c.event == "view", t.engagement.c.count == 8).subquery()
            row = [
                old.c.story_id,
                old.c.day - 3,
                old.c.event,
                old.c.count,
                old.c.dropped,
                old.c.minute,
                old.c.in_minute,
            ]
            connection.execute(t.engagement.insert().from_select(list(t.engagement.c.keys()), sa.select(*row)))
        found = self.run(store, datetime.now(UTC).date().isoformat())
        assert (found["views"], found["shares"], found["reactions"], found["stories"]) == (10, 1, 3, 2)
        assert found["finished %"] == 40.0
        assert found["dropped"] == 0
        assert found["read from"].startswith("primary")
        assert [record["story"] for record in (one.data for one in found["by story"])] == ["a-fence", "a-kettle"]
        assert found["views by day"].endswith(f"{', 0' * 21}, 8, 0, 0, 10".removeprefix(", "))
        assert len(found["views by day"]) < 1000

    def test_a_day_without_readers_is_reported_as_such(self, store: Store) -> None:
        found = self.run(store, "2025-01-01")
        assert (found["views"], found["stories"], found["finished %"]) == (0, 0, 0.0)

    def test_today_is_a_day(self) -> None:
        assert date.today().isoformat() in DAYS.get_partition_keys()
