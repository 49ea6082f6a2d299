"""Text from outside is text: every column and every way in takes hostile strings, or refuses them whole."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from makers import make_comment, make_draft, make_image, make_publication, make_score, make_thread
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import JSONB

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.database.ledger import Ledger
from threadjuice_dagster.database.locks import Locks, is_held
from threadjuice_dagster.database.records import story_records
from threadjuice_dagster.database.schema import require_schema
from threadjuice_dagster.database.store import Store, open_store
from threadjuice_dagster.domain.judging.gates import GATES, GateFinding
from threadjuice_dagster.domain.language.text import clean
from threadjuice_dagster.domain.story.stories import StoryDraft
from threadjuice_dagster.domain.writing.assignments import find_by_slug
from threadjuice_dagster.failures import PermanentFailure, ThreadJuiceError, TransientFailure
from threadjuice_dagster.operations.imports.validation import Validation
from threadjuice_dagster.operations.takedowns.rules import Tombstone
from threadjuice_dagster.operations.takedowns.store import Takedowns

PACKAGE = Path(__file__).parents[2] / "threadjuice_dagster"

HOSTILE = {
    "quotes": "' '' \" `",
    "a statement": "'; DROP TABLE stories; --",
    "a closed bracket": "x'); DELETE FROM assignments; /*",
    "backslashes": "\\ \\' \\\\ \\x41 \\u0041",
    "dollars": "$1 $$ $body$ DROP $body$",
    "placeholders": "%s %(a)s %% {} {0} {x!r} :name :1 ?",
    "COPY": "\\.\n\\N\ta,b\r\n\\.\r\n",
    "an array": '{"a",NULL,"}"}',
    "JSON": '{"a": "\\u0000"}',
    "NULL": "NULL",
    "wildcards": "%_*[a-z]",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈\U0010ffff",
    "right to left": "مرحبا \u202eevil\u202c",
    "control characters": "\x01\x1b[31m\x7f\x85\u2028\ufeff",
    "much": "é" * 1_000_000,
}
UNSTORABLE = {"NUL": "a\0b", "half a character": "a\ud800b", "a byte that is no text": "a\udcffb"}


def each(strings: dict[str, str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("text", strings.values(), ids=list(strings))


@pytest.fixture
def store(database_url: str) -> Store:
    store = open_store(database_url, 4)
    require_schema(store, migrate_if_missing=True)
    return store


@pytest.fixture
def story_id(store: Store) -> str:
    store.save_threads([make_thread("abc123")])
    return store.assign(store.open_order(1, None, None, 3))[0].story_id


def counts(store: Store) -> dict[str, int]:
    """The tables there are, and their rows."""
    with store.engine.connect() as connection:
        names = sa.inspect(connection).get_table_names()
        return {name: connection.scalar(sa.select(sa.func.count()).select_from(sa.table(name))) or 0 for name in names}


TEXT_COLUMNS = [
    column for table in t.metadata.sorted_tables for column in table.columns if isinstance(column.type, sa.Text | JSONB)
]


class TestColumns:
    """Every column that holds text or JSON, found by looking."""

    def test_there_are_such_columns_in_nearly_every_table(self) -> None:
        assert len({column.table.name for column in TEXT_COLUMNS}) > 15

    @each(HOSTILE)
    def test_what_goes_in_comes_out(self, store: Store, text: str) -> None:
        with lone_engine(store.engine.url).connect() as connection:
            connection.exec_driver_sql("SET session_replication_role = replica")  # no foreign keys, no triggers
            connection.commit()
            for column in TEXT_COLUMNS:
                value: Any = {"key": text, text[:1000]: [text]} if isinstance(column.type, JSONB) else text
                try:
                    assert roundtrip(connection, column, value) in (value, None), column
                except PermanentFailure:
                    if len(text) < 2000:  # longer than an index takes
                        raise
                connection.rollback()
        assert set(t.metadata.tables) <= set(counts(store))

    @each(UNSTORABLE)
    def test_what_no_database_holds_is_refused_in_one_clear_line(self, store: Store, text: str) -> None:
        before = counts(store)
        for column in TEXT_COLUMNS:
            value: Any = {"key": text} if isinstance(column.type, JSONB) else text
            with store.engine.connect() as connection:
                connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
                with pytest.raises(PermanentFailure, match="NUL character or half a character") as raised:
                    roundtrip(connection, column, value)
            assert "\n" not in str(raised.value)
        assert counts(store) == before


def roundtrip(connection: sa.Connection, column: "sa.Column[Any]", value: Any) -> Any:
    """Insert a row with this value, and read it back; None where a check of the table refuses any such text."""
    table = column.table
    row = {other.name: filler(other) for other in table.columns if not other.nullable and other.identity is None}
    try:
        return connection.scalar(table.insert().values({**row, column.name: value}).returning(column))
    except sa.exc.IntegrityError as error:
        if "check constraint" not in str(error.orig):
            raise
        return None


def filler(column: "sa.Column[Any]") -> Any:
    """Any value of the column's type."""
    if isinstance(column.type, sa.DateTime | sa.Date):
        return sa.func.now()
    text = "assigned" if column.name == "status" else "x"
    values = {JSONB: {}, sa.LargeBinary: b"", sa.ARRAY: [], sa.Text: text, sa.Boolean: True}
    return next((value for kind, value in values.items() if isinstance(column.type, kind)), 1)


def with_text(model: BaseModel, text: str, keep: tuple[str, ...]) -> Any:
    """The model with this text in every free text field, however deep."""

    def change(value: Any, name: str) -> Any:
        if isinstance(value, str):
            return value if name in keep else text
        if isinstance(value, list):
            return [change(one, name) for one in value]
        return {key: change(one, key) for key, one in value.items()} if isinstance(value, dict) else value

    return type(model).model_validate(change(model.model_dump(mode="json"), ""))


KEPT = ("id", "story_id", "kind", "source", "format", "gate", "name", "slug", "category", "created_at", "written_at")
KEPT += ("scored_at", "published_at", "updated_at", "sha256", "key", "place", "digest", "delivery", "persona")


class TestModels:
    """What the store is given, with hostile text in every field that is free text."""

    @each({name: text for name, text in HOSTILE.items() if name != "much"})
    def test_a_thread_and_its_story_come_back_as_they_went_in(self, store: Store, story_id: str, text: str) -> None:
        thread = with_text(make_thread("abc999", comments=(make_comment("c9"),)), text, KEPT)
        store.save_threads([thread])
        assert store.thread("abc999") == thread
        for model, load in ((make_draft(story_id), store.draft), (make_score(story_id), store.score)):
            changed = with_text(model, text, KEPT)
            store.save(changed)
            assert load(story_id) == changed
        image = with_text(make_image(story_id), text, KEPT)
        store.save(image)
        assert store.image(story_id) == image
        store.record_verdicts(story_id, {gate: GateFinding(True, text) for gate in GATES})
        assert {verdict.message for verdict in store.verdicts(story_id)} == {text}
        published = with_text(make_publication(store, story_id), text, KEPT)
        store.save(published)
        assert store.publication(story_id) == published

    def test_a_megabyte_of_body_comes_back_whole(self, store: Store) -> None:
        thread = make_thread("abc999", body="é\\'%s" * 200_000)
        store.save_threads([thread])
        assert store.thread("abc999").body == thread.body

    @each(UNSTORABLE)
    def test_a_model_that_cannot_be_stored_leaves_nothing_behind(self, store: Store, story_id: str, text: str) -> None:
        before = counts(store)
        with pytest.raises(PermanentFailure, match="NUL character or half"):
            store.save_threads([make_thread("abc1"), make_thread("abc2", body="a\0b")])
        with pytest.raises(PermanentFailure, match="NUL character or half"):
            store.save(make_image(story_id).model_copy(update={"alt_text": text}))
        assert counts(store) == before

    @each(UNSTORABLE)
    def test_a_draft_is_rid_of_what_cannot_be_stored(self, store: Store, story_id: str, text: str) -> None:
        story = make_draft(story_id)
        draft = type(story.draft).model_validate({**story.draft.model_dump(), "title": text, "dek": text})
        store.save(StoryDraft.model_validate({**story.model_dump(), "draft": draft}))
        assert store.draft(story_id).draft.title == clean(text) == "ab"


def ways_in(store: Store, story_id: str) -> dict[str, Callable[[str], Any]]:
    """Everything a command, a run's configuration or an outside answer hands to the database as free text."""
    return {
        "claim a story": lambda text: store.claim(text, "run"),
        "claim by a run": lambda text: store.claim(story_id, text),
        "claim for an order": lambda text: store.claim(story_id, "run", text),
        "a story id": store.assignment,
        "a draft's id": store.draft,
        "a thread's id": store.thread,
        "an order": store.order,
        "an order's category": lambda text: store.assign(store.open_order(1, text, None, 1)),
        "an order's persona": lambda text: store.assign(store.open_order(1, None, text, 1)),
        "whose story": lambda text: find_by_slug(text, Catalogue(store.engine).personas(), "persona"),
        "a slug": lambda text: store.free_slug(text, story_id),
        "approving, by": lambda text: store.overrule(story_id, text, "because"),
        "approving, because": lambda text: store.overrule(story_id, "ada", text),
        "turning down, by": lambda text: store.reject(story_id, text, "because"),
        "turning down, because": lambda text: store.reject(story_id, "ada", text),
        "withdrawing": lambda text: store.withdraw(text, text, text),
        "a verdict": lambda text: store.record_verdicts(story_id, {GATES[0]: GateFinding(False, text)}),
        "a failure": lambda text: store.fail(story_id, TransientFailure(text, text)),
        "an error": lambda text: Ledger(store.engine).add_error(TransientFailure(text, text), "site", text, text),
        "an event": lambda text: store.settle(text, text),
        "a takedown": lambda text: Takedowns(store.engine).find(text, Takedowns(store.engine).sources),
        "a tombstone": lambda text: Takedowns(store.engine).apply(Tombstone(kind="story", id=text, reason=text)),
        "a list by id": lambda text: story_records(store, str, ids=[text]),
        "a list by status": lambda text: story_records(store, str, status=text),
        "a check again": lambda text: Validation(store).check([text]),
        "a lock": lambda text: is_locked(store, text),
    }


def is_locked(store: Store, text: str) -> None:
    locks = Locks(store.engine.url)
    with locks.held(text) as got, store.engine.connect() as connection:
        assert got
        assert is_held(connection, text)
    locks.close()


@each({name: text for name, text in {**HOSTILE, **UNSTORABLE}.items()})
def test_every_way_in_takes_hostile_text_or_refuses_it_in_one_line(store: Store, story_id: str, text: str) -> None:
    tables = set(counts(store))
    for name, call in ways_in(store, story_id).items():
        told = ""
        try:
            call(text)
        except ThreadJuiceError as failure:
            told = str(failure)
        assert "\n" not in told, name
        assert len(told.encode()) < 20_000, name
    assert set(counts(store)) == tables
    assert store.assignment(story_id).story_id == story_id
    assert store.thread("abc123").title.startswith("My neighbour")


@pytest.mark.usefixtures("newsroom_environment")
def test_the_command_line_answers_bytes_that_are_no_text_with_one_clear_line() -> None:
    command = [sys.executable, "-c", "from threadjuice_dagster.cli.app import main; main()"]
    for arguments in (["show", b"a\xff"], ["show", "'; DROP TABLE stories; --"], ["reject", "x", "--reason", b"\xff"]):
        result = subprocess.run([*command, "content", *arguments], capture_output=True, env=os.environ, check=False)
        assert result.returncode in (1, 2), result.stderr
        assert b"Traceback" not in result.stderr
        assert result.stderr.strip().splitlines()[-1].startswith(b"Error: ")


SQL = re.compile(r"^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|COPY|TRUNCATE|SET|WITH|LOCK|GRANT)\b")
SINKS = ("text", "exec_driver_sql", "execute", "scalar", "scalars", "executemany", "copy", "DDL", "literal_column")
COMPOSED = {
    ("store.py", "read_contents"): "names of tables and columns, quoted by the server itself",
    ("loading.py", "load_rows"): "names of our own tables, quoted by the server itself",
    ("loading.py", "_copy_rows"): "a table of ours, and names of columns, quoted one by one",
    ("restore_server.py", "scratch"): "a database's name, quoted by the dialect",
    ("restore_server.py", "hand_over"): "a role's name, quoted by the dialect",
    ("restore_server.py", "swap"): "a database's name, quoted by the dialect",
    ("restore_server.py", "_drop"): "a database's name, quoted by the dialect",
    ("restore_server.py", "drop_kept"): "a database's name, quoted by the dialect",
    ("restore_server.py", "_login"): "a role's name, quoted by the dialect, and a password of letters and digits",
    ("server.py", "create_database"): "a database's name, quoted by the dialect",
    ("validation.py", "_batch"): "one of three conditions written out in the module",
}
"""Where SQL is put together at all, and why that is safe."""

OF_ITS_OWN = {"build_state.py": "the site's SQLite file, whose few tables and columns the module names itself"}
"""Modules whose SQL goes to no server."""


def composed(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Function and code of every piece of SQL that is put together from parts."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            built = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SINKS
            argument = node.args[0] if built and node.args else None  # type: ignore[attr-defined]
            if argument is not None and is_put_together(argument):
                yield function.name, ast.unparse(argument)
            elif is_put_together(node) and SQL.match(first_words(node)):
                yield function.name, ast.unparse(node)


def is_put_together(node: ast.AST) -> bool:
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Mod | ast.Add) and any(is_text(one) for one in (node.left, node.right))
    call = node.func if isinstance(node, ast.Call) else None
    return isinstance(call, ast.Attribute) and call.attr in ("format", "join", "replace") and is_text(call.value)


def is_text(node: ast.AST) -> bool:
    """A string, or a constant of a module, which may be one."""
    constant = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return constant or isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Name) and node.id.isupper())


def first_words(node: ast.AST) -> str:
    found = next(
        (one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)), ""
    )
    return str(found)


class TestNoSqlIsPutTogether:
    def test_but_where_it_is_said_why_that_is_safe(self) -> None:
        found = {
            (path.name, function): code
            for path in PACKAGE.rglob("*.py")
            if "migrations" not in path.parts and path.name not in OF_ITS_OWN
            for function, code in composed(ast.parse(path.read_text()))
        }
        assert {place: code for place, code in found.items() if place not in COMPOSED} == {}
        assert set(COMPOSED) <= set(found)

    @pytest.mark.parametrize(
        "code",
        [
            'connection.execute(sa.text(f"SELECT {x}"))',
            'connection.exec_driver_sql("SELECT %s" % x)',
            'cursor.execute("DELETE FROM stories WHERE id = \'" + x + "\'")',
            'query = f"UPDATE stories SET title = {x}"',
            'connection.execute(text("SELECT {}".format(x)))',
            "connection.execute(sa.text(QUERY % x))",
        ],
    )
    def test_what_puts_some_together_would_be_found(self, code: str) -> None:
        assert list(composed(ast.parse(f"def bad(connection, x):\n    {code}")))

    def test_what_binds_is_left_alone(self) -> None:
        code = 'def good(c, x):\n    c.execute(sa.text("SELECT :x"), {"x": x}); log(f"Set {x}")'
        assert not list(composed(ast.parse(code)))
