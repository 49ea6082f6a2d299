"""A command that publishes fewer stories than it was asked for says so, says why, and exits with 1."""

import json
import os
from pathlib import Path

import pytest
from command import threadjuice
from typer.testing import CliRunner

from threadjuice_dagster.cli.app import app
from threadjuice_dagster.cli.printed import status_text

pytestmark = pytest.mark.usefixtures("newsroom_environment")


@pytest.fixture(autouse=True)
def _two_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two samples are all there is, which keeps these tests short."""
    from threadjuice_dagster.sources import samples

    everything = samples._samples()
    monkeypatch.setattr(samples, "_samples", lambda: everything[:2])


def test_it_prints_what_was_published_and_every_cause() -> None:
    code, document, said = threadjuice("content", "generate", "--count", "3")
    assert code == 1, said
    assert [story["status"] for story in document["stories"]] == ["published", "published"]
    error = document["error"]
    assert set(error) == {"kind", "message", "next_step"}
    assert error["kind"] == "unfilled"
    assert error["message"].startswith("Published 2 of 3: no unused thread that suits a story is left;")
    assert "the bundled samples are the only source" in error["message"]
    assert "THREAD_SOURCES" in error["next_step"]

    code, document, _ = threadjuice("content", "generate", "--count", "1")
    assert (code, document["stories"]) == (1, [])
    assert document["error"]["message"].startswith("Published 0 of 1:")
    status = threadjuice("status")[1]["threads"]
    assert (status["unused"], status["suitable"], status["days"]) == (0, 0, 0.0)
    assert threadjuice("alerts", "list")[1]["incidents"] == []


def test_people_read_the_stories_on_stdout_and_the_cause_on_stderr() -> None:
    before = dict(os.environ)
    result = CliRunner().invoke(app, ["content", "generate", "--count", "3"], catch_exceptions=False)
    os.environ.clear()
    os.environ.update(before)
    assert result.exit_code == 1
    assert result.stdout.count("published ") == 2
    assert "Published 2 of 3" not in result.stdout
    assert "\nPublished 2 of 3: no unused thread" in result.stderr


def test_a_filled_order_ends_well_with_one_calm_line_on_what_is_left() -> None:
    code, document, said = threadjuice("content", "generate", "--count", "1")
    assert (code, "error" in document) == (0, False)
    assert said.count("THREAD_SOURCES") == 1
    assert "1 unused thread suits a story (samples 1), enough for 0.3 days." in said
    status = threadjuice("status")[1]
    assert status["threads"]["by_source"] == {"samples": 1}
    assert "threads    1 unused, 1 suit a story (samples 1): for 0.3 days" in status_text(status)


def test_a_category_of_which_there_is_no_thread_is_told_to_be_left_out() -> None:
    code, document, _ = threadjuice("content", "generate", "--count", "2", "--category", "money")
    assert code == 1
    assert "of category money" in document["error"]["message"]
    assert document["error"]["next_step"].startswith("Leave out --category")


def test_a_named_thread_that_is_rejected_is_an_outcome(tmp_path: Path) -> None:
    post = {"id": "zz9", "subreddit": "cooking", "title": "Hm", "selftext": "No.", "created_utc": 1764000000}
    listings = [{"kind": "Listing", "data": {"children": [{"kind": "t3", "data": post}]}}]
    listings.append({"kind": "Listing", "data": {"children": []}})
    path = tmp_path / "thin.json"
    path.write_text(json.dumps(listings))
    code, document, said = threadjuice("content", "generate", "--thread", str(path))
    assert code == 0, said
    assert [story["status"] for story in document["stories"]] == ["rejected"]
    assert "error" not in document


def test_stories_that_failed_are_the_cause_of_an_order_that_was_not_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    from threadjuice_dagster.failures import ConfigurationError
    from threadjuice_dagster.resources.writers import ExtractiveWriter

    def refused(*_: object) -> None:
        raise ConfigurationError("The key was refused.", "Correct OPENAI_API_KEY.")

    monkeypatch.setattr(ExtractiveWriter, "write", refused)
    code, document, _ = threadjuice("content", "generate", "--count", "1")
    assert code == 1
    assert document["stories"][0]["status"] == "failed"
    assert document["error"]["message"] == "Published 0 of 1: 1 story failed: The key was refused."
    assert document["error"]["next_step"] == "Correct OPENAI_API_KEY."


class TestSourcesDown:
    def test_stored_threads_are_written_and_without_any_the_outage_is_the_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from threadjuice_dagster.failures import TransientFailure
        from threadjuice_dagster.sources.samples import Samples

        assert threadjuice("content", "generate", "--count", "1")[0] == 0

        def down(*_: object) -> None:
            raise TransientFailure("samples.example does not answer.", "Try again later.", exhausted=True)

        monkeypatch.setattr(Samples, "listing", down)
        code, document, said = threadjuice("content", "generate", "--count", "2")
        assert code == 1, said
        assert [story["status"] for story in document["stories"]] == ["published"]
        assert "samples could not be read (samples.example does not answer)" in document["error"]["message"]

        code, document, _ = threadjuice("content", "generate", "--count", "2")
        assert (code, document["stories"]) == (1, [])
        assert document["error"]["kind"] == "transient"
        assert "does not answer" in document["error"]["message"]
