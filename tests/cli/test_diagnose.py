"""`threadjuice diagnose`: what is wrong is named with its next step, whatever else cannot be reached."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from makers import make_thread
from servers.loopback import Reply
from servers.openai_server import OpenAIServer
from typer.testing import CliRunner

from threadjuice_dagster.cli.app import app
from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.ledger import Ledger
from threadjuice_dagster.database.outages import Outages
from threadjuice_dagster.database.schema import migrate
from threadjuice_dagster.database.server import app_url
from threadjuice_dagster.database.store import Store, open_store
from threadjuice_dagster.failures import TransientFailure

Diagnose = Callable[..., tuple[int, dict[str, Any]]]
NOWHERE = "postgresql://nobody:hunter2@127.0.0.1:9/none"


@pytest.fixture
def store(newsroom_environment: dict[str, str]) -> Store:
    store = open_store(app_url(newsroom_environment["DATABASE_URL"]), 2)
    migrate(store.engine)
    Catalogue(store.engine).seed()
    store.save_threads([make_thread(f"abc{number}") for number in range(4)])
    return store


@pytest.fixture
def diagnose(newsroom_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Diagnose:
    """Gives the exit code and the document of a diagnosis by the command line, with these variables set as well."""
    monkeypatch.chdir(tmp_path)

    def run(subject: str, **variables: str) -> tuple[int, dict[str, Any]]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        done = CliRunner().invoke(app, ["diagnose", subject, "--json"])
        assert "hunter2" not in done.output
        document = json.loads(done.stdout)
        assert (document["subject"], document["ok"]) == (subject, done.exit_code == 0)
        for finding in document["findings"]:
            assert set(finding) == {"name", "state", "message", "next_step"}
            assert finding["state"] in ("ok", "stand-in") or finding["next_step"], finding
        return done.exit_code, document

    return run


def states(document: dict[str, Any]) -> dict[str, str]:
    return {finding["name"]: finding["state"] for finding in document["findings"]}


def named(document: dict[str, Any], name: str) -> dict[str, str]:
    return next(finding for finding in document["findings"] if finding["name"] == name)


class TestGeneration:
    def test_nothing_is_wrong_with_a_newsroom_that_works(self, store: Store, diagnose: Diagnose) -> None:
        code, document = diagnose("generation")
        assert code == 0
        checks = {"generation_succeeds", "gates_let_enough_through", "spend_is_within_budget", "errors_stay_few"}
        assert checks | {"database", "database_pool", "openai", "fallback"} <= set(states(document))

    def test_errors_of_the_day_are_named_by_cause(self, store: Store, diagnose: Diagnose) -> None:
        for story in store.assign(store.open_order(4, None, None, 9)):
            failure = TransientFailure("The model server answered 503.", "Wait, or set WRITER_FALLBACK=extractive.")
            Ledger(store.engine).add_error(failure, "story_draft", story.story_id, "run")
        code, document = diagnose("generation")
        assert code == 1
        assert states(document)["generation_succeeds"] == "failed"
        assert states(document)["errors_stay_few"] == "warning"
        assert "WRITER_FALLBACK" in named(document, "errors_stay_few")["next_step"]
        assert "4 times today" in named(document, "error in story_draft")["message"]

    def test_a_service_that_is_left_alone_is_named(self, store: Store, diagnose: Diagnose) -> None:
        Outages(store.engine).failed("openai", "openai.example fails (503).", on_trial=False)
        code, document = diagnose("generation")
        finding = named(document, "openai_outage")
        assert (code, finding["state"]) == (1, "warning")
        assert "openai.example fails (503)" in finding["message"]

    def test_a_refused_key_is_told_apart_from_a_missing_fallback(self, store: Store, diagnose: Diagnose) -> None:
        with OpenAIServer() as server:
            server.always("models", Reply({"error": {"message": "no"}}, 401))
            variables = {"OPENAI_API_KEY": "hunter2-key", "OPENAI_BASE_URL": server.url}
            code, document = diagnose("generation", **variables)
        assert (code, states(document)["openai"]) == (1, "failed")
        assert named(document, "fallback")["next_step"].startswith("Set WRITER_FALLBACK")
        away = diagnose("generation", WRITER_FALLBACK="extractive")
        assert states(away[1])["openai"] == "failed"
        assert "steps in" in named(away[1], "fallback")["message"]


class TestWithoutDatabase:
    @pytest.mark.parametrize(
        ("subject", "still_seen"),
        [("generation", "fallback"), ("database", "backups"), ("images", "image_optimization")],
    )
    def test_it_says_so_and_looks_at_the_rest(self, subject: str, still_seen: str, diagnose: Diagnose) -> None:
        code, document = diagnose(subject, DATABASE_URL=NOWHERE)
        found = states(document)
        assert code == 1
        assert found["database"] == "failed"
        assert found[still_seen] in ("ok", "stand-in")


class TestDatabase:
    def test_a_backup_that_was_never_taken_is_missed(self, store: Store, diagnose: Diagnose) -> None:
        code, document = diagnose("database")
        assert code == 1
        wrong = {name for name, state in states(document).items() if state in ("warning", "failed")}
        assert wrong == {"backup_is_recent", "stored_backups"}

    @pytest.mark.parametrize(("hours", "state"), [(1, "ok"), (40, "failed")])
    def test_a_backup_is_proven_recent_and_still_there(
        self, store: Store, diagnose: Diagnose, tmp_path: Path, hours: int, state: str
    ) -> None:
        folder = tmp_path / "home" / "backups"
        folder.mkdir(parents=True)
        taken = sa.func.now() - sa.text(f"interval '{hours} hours'")
        row = {"id": "b", "key": "dump.zst", "sha256": "0", "bytes": 1, "encrypted": False, "proven_at": sa.func.now()}
        with store.engine.begin() as connection:
            connection.execute(t.backups.insert().values(**row, taken_at=taken))
        assert states(diagnose("database")[1])["backup_is_recent"] == "failed"
        (folder / "dump.zst").write_bytes(b"x")
        assert states(diagnose("database")[1])["backup_is_recent"] == state

    def test_a_replica_that_is_away_is_named_and_the_primary_is_read(self, store: Store, diagnose: Diagnose) -> None:
        code, document = diagnose("database", DATABASE_REPLICA_URL=NOWHERE)
        assert code == 1
        assert states(document)["database_replica"] == "failed"
        assert states(document)["reads"] == "warning"
        assert states(document)["queries_are_fast"] == "ok"


class TestImages:
    def test_a_site_that_was_not_built_is_no_reason_to_look_at_nothing_else(
        self, store: Store, diagnose: Diagnose
    ) -> None:
        code, document = diagnose("images")
        found = states(document)
        assert (found["site"], found["image_optimization"]) == ("warning", "ok")
        assert found["pictures_are_delivered"] == "ok"
        assert code == 1
