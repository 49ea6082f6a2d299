"""Story files into the database: every format, every damage, killed and repeated; then their gates, and the inbox."""

import csv
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from corpora.stories import stories
from makers import make_draft, make_image, make_publication

from threadjuice_dagster.cli.session import open_session
from threadjuice_dagster.cli.writing import write_story
from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.schema import require_schema
from threadjuice_dagster.database.store import Store, open_store
from threadjuice_dagster.domain.judging.gates import GATES, GateFinding
from threadjuice_dagster.failures import UsageError
from threadjuice_dagster.operations.imports import rules
from threadjuice_dagster.operations.imports import store as imports
from threadjuice_dagster.operations.imports.files import records_of
from threadjuice_dagster.operations.imports.slugs import earlier_slugify
from threadjuice_dagster.operations.imports.store import COUNTS, ImportSummary, import_files
from threadjuice_dagster.operations.imports.validation import Validation
from threadjuice_dagster.operations.takedowns.rules import Tombstone
from threadjuice_dagster.operations.takedowns.store import Takedowns
from threadjuice_dagster.resources.zstd import zstd
from threadjuice_dagster.settings import load_settings

SOUND = [{"title": story.title, "text": story.text} for story in stories("dev")[-10:]]
HOSTILE = {
    "SQL": "'); DROP TABLE stories; -- \"; $$ %s %(x)s {0} \\",
    "COPY": "\\.\n\\N\t\\x00 \b \v",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 \U0010ffff",
    "right to left": "مرحبا \u202eevil\u202c שלום",
    "markup": "<script>alert(1)</script> &amp; ]]>",
    "combined": "e\u0301" * 50 + "\u200b\ufeff",
}
RENAMED = ("He left—forever, and she never asked", "1,000 geese on one lawn", "Привет из Минска")
"""Titles whose slugs are others than they were."""

FIELDS = ("title", "slug", "dek", "author", "text", "heading", "tags", "alt_text", "seo_title", "status", "quotes")


def record(number: int = 0, **changes: Any) -> dict[str, Any]:
    made = {"title": f"The fence moves {number} metres", "slug": f"fence-{number}", "category": "neighbours"}
    return {**made, "text": f"The fence moved by {number} metres while we were away.", **changes}


def lines(records: Sequence[Any]) -> bytes:
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in records)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = open_store(database_url, 4)
    require_schema(store, migrate_if_missing=True)
    yield store
    store.locks.close()
    store.engine.dispose()


class ImportRoom:
    """Imports into a store from files in a folder."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.told: list[str] = []

    def take(self, data: bytes, name: str = "stories.jsonl", **options: Any) -> ImportSummary:
        path = self.folder / name
        path.write_bytes(data)
        return import_files(self.store, [path], self.folder / "imports", progress=self.told.append, **options)

    def rejects(self, summary: ImportSummary) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Path(summary.rejects_file or "").read_text().splitlines()]


@pytest.fixture
def service(store: Store, tmp_path: Path) -> ImportRoom:
    return ImportRoom(store, tmp_path)


def counts(summary: ImportSummary) -> tuple[int, ...]:
    """Read, imported, updated, unchanged, rejected; the last four and what was kept back add up to the first."""
    *told, kept_back = (getattr(summary, name) for name in COUNTS)
    assert told[0] == sum(told[1:]) + kept_back
    return tuple(told)


def everything(store: Store) -> list[Any]:
    """All that an import leaves, but for times."""
    stories, assignments = t.stories.c, t.assignments.c
    query = sa.select(stories.story_id, stories.title, stories.record["draft"], assignments.category,
                      assignments.status, t.imports.c.digest).join(t.assignments, assignments.story_id == stories.story_id)  # fmt: skip  # noqa: E501
    with store.engine.connect() as connection:
        return list(
            connection.execute(query.join(t.imports, t.imports.c.story_id == stories.story_id).order_by("story_id"))
        )


def status(store: Store, slug: str) -> str:
    with store.engine.connect() as connection:
        query = sa.select(t.assignments.c.status).where(t.assignments.c.story_id == f"imported-{slug}")
        return str(connection.scalar(query))


def as_csv(records: Sequence[dict[str, Any]]) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue().encode()


WAYS = {
    "array.json": lambda records: json.dumps(records, indent=1).encode(),
    "wrapped.json": lambda records: json.dumps({"stories": records}).encode(),
    "lines.jsonl": lines,
    "lines.jsonl.gz": lambda records: gzip.compress(lines(records), mtime=0),
    "two-members.jsonl.gz": lambda records: gzip.compress(lines(records[:2])) + gzip.compress(lines(records[2:])),
    "lines.jsonl.zst": lambda records: zstd.compress(lines(records)),
    "two-frames.zst": lambda records: zstd.compress(lines(records[:2])) + zstd.compress(lines(records[2:])),
    "table.csv": as_csv,
    "table.csv.gz": lambda records: gzip.compress(as_csv(records), mtime=0),
}


class TestFormats:
    @pytest.mark.parametrize("name", WAYS)
    def test_every_format_leaves_the_same_stories(self, service: ImportRoom, name: str) -> None:
        records = [record(number, author="Zoë", dek='Say "när" 🙂') for number in range(5)]
        assert counts(service.take(WAYS[name](records), name)) == (5, 5, 0, 0, 0)
        assert counts(service.take(lines(records), "again.jsonl")) == (5, 0, 0, 5, 0)

    def test_a_folder_is_its_story_files(self, service: ImportRoom) -> None:
        folder = service.folder / "many"
        folder.mkdir()
        (folder / "b.json").write_text(json.dumps(record(1)))
        (folder / "a.csv").write_bytes(as_csv([record(2), record(3)]))
        (folder / "notes.txt").write_text("not a story")
        assert counts(import_files(service.store, [folder], service.folder / "imports")) == (3, 3, 0, 0, 0)

    def test_a_path_that_is_not_there_is_one_clear_line(self, service: ImportRoom) -> None:
        with pytest.raises(UsageError, match=r"nowhere\.json cannot be read: No such file"):
            import_files(service.store, [service.folder / "nowhere.json"], service.folder / "imports")


class TestCounting:
    def test_a_second_import_changes_nothing(self, service: ImportRoom) -> None:
        data = lines([record(number) for number in range(30)])
        service.take(data)
        before = everything(service.store)
        assert counts(service.take(data)) == (30, 0, 0, 30, 0)
        assert everything(service.store) == before

    def test_a_changed_story_is_updated_and_its_verdicts_are_gone(self, service: ImportRoom) -> None:
        service.take(lines([record(1), record(2)]))
        Validation(service.store).check()
        assert service.store.verdicts("imported-fence-1")
        done = service.take(lines([record(1, text="It moved back again."), record(2), record(3)]), "later.jsonl")
        assert counts(done) == (3, 1, 1, 1, 0)
        assert service.store.draft("imported-fence-1").draft.text == "It moved back again."
        assert service.store.verdicts("imported-fence-1") == []
        assert service.store.verdicts("imported-fence-2")
        assert (status(service.store, "fence-1"), status(service.store, "fence-2")) == ("imported", "rejected")
        assert Validation(service.store).waiting() == 2

    def test_the_second_of_two_stories_with_one_slug_is_refused_near_and_far(self, service: ImportRoom) -> None:
        records = [
            record(0),
            record(0, text="Another text."),
            *(record(number) for number in range(1, 1500)),
            record(7),
        ]
        for _ in range(2):
            done = service.take(lines(records))
            assert (done.read, done.imported + done.unchanged, done.rejected) == (1502, 1500, 2)
            reasons = [(one["line"], one["reason"]) for one in service.rejects(done)]
            assert reasons == [
                (2, "Its slug stands in this file already, in record 1."),
                (1502, "Its slug stands in this file already, in record 9."),
            ]
        assert service.store.draft("imported-fence-0").draft.text == "The fence moved by 0 metres while we were away."

    def test_rejects_can_be_put_right_and_imported_again(self, service: ImportRoom) -> None:
        done = service.take(lines([record(1), record(2, category="astrology"), record(3, persona="nobody")]))
        assert counts(done) == (3, 1, 0, 0, 2)
        found = service.rejects(done)
        assert [one["line"] for one in found] == [2, 3]
        assert found[0]["record"] == record(2, category="astrology")
        assert "astrology" in found[0]["reason"]
        mended = [{**one["record"], "category": "food", "persona": "bea-hollis"} for one in found]
        assert counts(service.take(lines(mended), "mended.jsonl")) == (2, 2, 0, 0, 0)

    def test_rejects_go_to_the_file_that_was_named(self, service: ImportRoom) -> None:
        done = service.take(b"{}\n", rejects=service.folder / "mine.jsonl")
        assert done.rejects_file == str(service.folder / "mine.jsonl")
        assert len(service.rejects(done)) == 1

    def test_a_dry_run_says_what_would_be_done_and_changes_nothing(self, service: ImportRoom) -> None:
        service.take(lines([record(1), record(2)]))
        before = everything(service.store)
        files = sorted(path for path in (service.folder / "imports").iterdir())
        data = lines([record(1), record(2, text="New."), record(3), record(3), {"title": 5}])
        assert counts(service.take(data, "dry.jsonl", dry_run=True)) == (5, 1, 1, 1, 2)
        assert everything(service.store) == before
        assert sorted((service.folder / "imports").iterdir()) == files
        assert counts(service.take(data, "dry.jsonl")) == (5, 1, 1, 1, 2)

    def test_what_was_taken_down_does_not_come_back(self, service: ImportRoom) -> None:
        service.take(lines([record(1)]))
        Takedowns(service.store.engine).apply(Tombstone(kind="story", id="imported-fence-1", reason="asked to"))
        done = service.take(lines([record(1), record(2)]), "again.jsonl")
        assert counts(done) == (2, 1, 0, 0, 1)
        assert service.store.find_draft("imported-fence-1") is None

    def test_ten_thousand_stories_are_ten_thousand_rows(self, service: ImportRoom) -> None:
        assert counts(service.take(lines([record(number) for number in range(10_000)]))) == (10_000, 10_000, 0, 0, 0)
        with service.store.engine.connect() as connection:
            for table in (t.stories, t.assignments, t.imports):
                assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 10_000


class TestDamage:
    @pytest.mark.parametrize("kind", HOSTILE)
    @pytest.mark.parametrize("field", FIELDS)
    def test_hostile_text_is_stored_as_text_or_refused(self, service: ImportRoom, field: str, kind: str) -> None:
        text = HOSTILE[kind]
        changes: dict[str, Any] = {
            "heading": {"sections": [{"kind": "narrative", "heading": text, "text": "It moved."}]},
            "tags": {"tags": [text]},
            "quotes": {"quotes": [{"text": text, "comment_id": text}]},
        }.get(field, {field: f"a {text}"})
        done = service.take(lines([record(1, **changes), record(2)]))
        assert (done.read, done.imported + done.kept_back) == (2, 2)
        assert counts(service.take(as_csv([record(3, **{field: text})]), "x.csv"))[0] == 1
        with service.store.engine.connect() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(t.stories)) in (2, 3)

    def test_a_story_keeps_the_slug_under_which_it_is_stored(
        self, service: ImportRoom, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        records = [{"title": title, "category": "neighbours", "text": "It rained."} for title in RENAMED]
        with monkeypatch.context() as earlier:
            make = rules.slug_for
            earlier.setattr(rules, "slug_for", lambda slug, title, *_: make(slug, title, earlier_slugify))
            assert counts(service.take(lines(records), "first.jsonl")) == (3, 3, 0, 0, 0)
        before = everything(service.store)
        assert "imported-he-leftforever-and-she-never-asked" in {row.story_id for row in before}
        assert counts(service.take(lines(records), "second.jsonl")) == (3, 0, 0, 3, 0)
        assert everything(service.store) == before
        changed = [{**one, "text": "It rained again."} for one in records]
        assert counts(service.take(lines(changed), "third.jsonl")) == (3, 0, 3, 0, 0)
        assert [row.story_id for row in everything(service.store)] == [row.story_id for row in before]
        with service.store.engine.connect() as connection:
            stored = connection.execute(sa.select(t.stories.c.story_id, t.stories.c.record["story_id"].astext)).all()
        assert all(column == record for column, record in stored)

    @pytest.mark.parametrize("field", ["title", "slug", "text", "author", "dek"])
    def test_a_nul_character_is_refused(self, service: ImportRoom, field: str) -> None:
        done = service.take(lines([record(1, **{field: "a\0b"}), record(2)]))
        assert counts(done) == (2, 1, 0, 0, 1)
        assert "NUL" in service.rejects(done)[0]["reason"]

    @pytest.mark.parametrize("name", ["x.json", "x.csv"])
    def test_a_text_of_a_megabyte_is_a_text(self, service: ImportRoom, name: str) -> None:
        text = "Long ago, 🙂 the fence moved. " * 35_000
        data = as_csv([record(1, text=text)]) if name == "x.csv" else json.dumps(record(1, text=text)).encode()
        assert counts(service.take(data, name)) == (1, 1, 0, 0, 0)
        assert len(service.store.draft("imported-fence-1").draft.text) > 1_000_000

    def test_a_line_of_fifty_megabytes_is_refused_and_the_next_one_goes_in(self, service: ImportRoom) -> None:
        done = service.take(lines([record(1, text="x" * 50_000_000), record(2)]))
        assert counts(done) == (2, 1, 0, 0, 1)
        assert "longer than" in service.rejects(done)[0]["reason"]
        assert Path(done.rejects_file or "").stat().st_size < 10_000

    @pytest.mark.parametrize(
        ("data", "name", "read", "reason"),
        [
            (lines([record(1)]) + b'{"title": "\xff"}\n', "x.jsonl", 2, "not UTF-8"),
            (lines([record(1)]) + b'{"title": "\\udc00"}\n', "x.jsonl", 2, "lone surrogate"),
            (gzip.compress(lines([record(1)] * 50), mtime=0)[:-30], "x.jsonl.gz", None, "damaged"),
            (gzip.compress(b"", mtime=0)[:12], "x.jsonl.gz", 1, "damaged"),
            (b"\x1f\x8bnonsense that is no gzip", "x.gz", 1, "damaged"),
            (zstd.compress(lines([record(1)] * 50))[:-8], "x.jsonl.zst", None, "damaged"),
            (b"\x28\xb5\x2f\xfdnonsense", "x.zst", 1, "damaged"),
            (b"name;kind\n1;2\n", "x.csv", 1, "head of the CSV"),
            (b"just words", "notes.txt", 1, "head of the CSV"),
            (b"\x00\x01\x02\xff" * 5000, "x.bin", 1, "head of the CSV"),
            (b'[{"title": "never end', "x.json", 1, "ends in the middle"),
            (b"[" * 500_000, "x.json", 0, ""),
            (
                json.dumps(record(1)).encode()[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
                "x.json",
                1,
                "not JSON",
            ),
        ],
    )
    def test_a_damaged_file_ends_in_rejects(
        self, service: ImportRoom, data: bytes, name: str, read: int | None, reason: str
    ) -> None:
        done = service.take(data, name)
        assert read in (None, done.read)
        assert done.read == done.imported + done.rejected
        assert any(reason in one["reason"] for one in service.rejects(done)) if reason else done.rejects_file is None

    def test_a_row_the_database_alone_refuses_costs_that_row_only(self, service: ImportRoom) -> None:
        with service.store.engine.begin() as connection:
            connection.execute(sa.text(
                "CREATE FUNCTION refuse_seven() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.title LIKE '% 7 %'"
                " THEN RAISE EXCEPTION USING ERRCODE = '22P05', MESSAGE = 'untranslatable'; END IF; RETURN NEW; END $$"
            ))  # fmt: skip
            connection.execute(sa.text(
                "CREATE TRIGGER r BEFORE INSERT ON stories FOR EACH ROW EXECUTE FUNCTION refuse_seven()"
            ))  # fmt: skip
        records = [record(number) for number in range(20)] + [{"title": "no category"}]
        done = service.take(lines(records))
        assert counts(done) == (21, 19, 0, 0, 2)
        assert [one["line"] for one in service.rejects(done)] == [8, 21]
        assert "database cannot hold it: untranslatable" in service.rejects(done)[0]["reason"]


class TestKilledAndTogether:
    CODE = (
        "import sys, pathlib\n"
        "from threadjuice_dagster.database.store import open_store\n"
        "from threadjuice_dagster.operations.imports import store as imports\n"
        "imports.BATCH_RECORDS, imports._REPORT_SECONDS = 50, 0\n"
        "path = pathlib.Path(sys.argv[2])\n"
        "done = imports.import_files(open_store(sys.argv[1], 2), [path], path.parent / 'imports',\n"
        "    progress=lambda line: print(line, flush=True))\n"
        "print(done, flush=True)\n"
    )

    def start(self, service: ImportRoom, path: Path) -> "subprocess.Popen[str]":
        url = service.store.engine.url.render_as_string(hide_password=False)
        return subprocess.Popen([sys.executable, "-c", self.CODE, url, str(path)], stdout=subprocess.PIPE, text=True)

    def test_a_killed_import_goes_on_and_ends_as_if_nothing_had_happened(self, service: ImportRoom) -> None:
        records = [record(n) if n % 10 else record(n, category="astrology") for n in range(4000)] + [record(1)]
        for one in records[5:4000:10]:
            one["status"] = "draft"
        path = service.folder / "big.jsonl"
        path.write_bytes(lines(records))
        process = self.start(service, path)
        assert process.stdout
        while "records" not in (line := process.stdout.readline()):
            assert line, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        with service.store.engine.connect() as connection:
            halfway = connection.execute(sa.select(t.import_files)).one()
            stored = connection.scalar(sa.select(sa.func.count()).select_from(t.stories))
        assert halfway.finished_at is None
        assert 0 < stored == halfway.counts["imported"] + halfway.counts["kept_back"] < 3600
        with (service.folder / "imports" / f"{halfway.digest}.rejects.jsonl").open("ab") as part:
            part.write(b"what a batch had written that was never committed\n")
        done = service.take(path.read_bytes(), "big.jsonl")
        assert (counts(done), done.kept_back) == ((4001, 3200, 0, 0, 401), 400)
        assert done.unknown_categories == {"astrology": 400}
        assert len(Path(done.kept_back_file or "").read_text().splitlines()) == 400
        assert any("going on after" in line for line in service.told)
        assert [one["line"] for one in service.rejects(done)] == [n + 1 for n in range(0, 4000, 10)] + [4001]
        assert counts(service.take(path.read_bytes(), "big.jsonl")) == (4001, 0, 0, 3200, 401)

    def test_two_imports_of_one_file_at_once_leave_what_one_leaves(self, service: ImportRoom) -> None:
        path = service.folder / "twice.jsonl"
        path.write_bytes(lines([record(n) for n in range(1500)] + [{"title": "bad"}]))
        both = [self.start(service, path) for _ in range(2)]
        told = [process.communicate(timeout=120)[0].splitlines()[-1] for process in both]
        assert [process.returncode for process in both] == [0, 0]
        found = sorted(
            tuple(int(n) for n in re.findall(r"(?:read|imported|unchanged|rejected)=(\d+)", one)) for one in told
        )
        assert found == [(1501, 0, 1500, 1), (1501, 1500, 0, 1)]
        assert len(everything(service.store)) == 1500

    def test_two_files_with_the_same_slugs_at_once_leave_every_story_once(self, service: ImportRoom) -> None:
        paths = [service.folder / "up.jsonl", service.folder / "down.jsonl"]
        paths[0].write_bytes(lines([record(n) for n in range(1500)]))
        paths[1].write_bytes(lines([record(n, text="From below.") for n in reversed(range(1500))]))
        both = [self.start(service, path) for path in paths]
        for process in both:
            process.communicate(timeout=120)
        assert [process.returncode for process in both] == [0, 0]
        assert len(everything(service.store)) == 1500


class TestGates:
    def sound(self, service: ImportRoom, count: int, **changes: Any) -> list[str]:
        records = [
            {**one, "category": "neighbours", "slug": f"sound-{n}", **changes} for n, one in enumerate(SOUND[:count])
        ]
        service.take(lines(records), "sound.jsonl")
        return [f"imported-sound-{n}" for n in range(count)]

    def test_sound_stories_pass_and_poor_ones_are_rejected_with_reasons(self, service: ImportRoom) -> None:
        self.sound(service, 3)
        service.take(lines([record(1), record(2)]))
        assert Validation(service.store).waiting() == 5
        report = Validation(service.store).check()
        assert (report.checked, report.passed, report.failing) == (5, 3, 0)
        assert report.gates["meets_quality_threshold"]["refused"] == 2
        assert [status(service.store, f"sound-{n}") for n in range(3)] == ["imported"] * 3
        assert status(service.store, "fence-1") == "rejected"
        assert service.store.finished_steps("imported-sound-0") == ["story_draft", "quality_score"]
        assert Validation(service.store).check().checked == 0

    def test_quotes_nobody_can_check_are_held_for_a_person(self, service: ImportRoom) -> None:
        self.sound(service, 1, quotes=[{"text": "I thought it was a joke, and then I did not."}])
        Validation(service.store).check()
        assert status(service.store, "sound-0") == "held"

    def test_a_story_that_repeats_another_is_refused_in_one_batch_and_in_the_next(self, service: ImportRoom) -> None:
        self.sound(service, 1)
        again = [{**SOUND[0], "category": "food", "slug": f"again-{n}", "title": f"Told again {n}"} for n in range(2)]
        service.take(lines(again[:1]), "a.jsonl")
        Validation(service.store).check()
        service.take(lines(again[1:]), "b.jsonl")
        Validation(service.store).check()
        found = [status(service.store, one) for one in ("again-0", "again-1", "sound-0")]
        assert sorted(found) == ["imported", "rejected", "rejected"]

    def test_checking_again_finds_the_same(self, service: ImportRoom) -> None:
        self.sound(service, 4)
        first = Validation(service.store).check()
        again = Validation(service.store).check(everything=True)
        assert (again.checked, again.passed, again.failing) == (4, first.passed, 0)

    def test_a_pass_over_more_than_a_batch_reaches_every_story_once(self, service: ImportRoom) -> None:
        service.take(lines([record(n) for n in range(450)]))
        report = Validation(service.store).check()
        assert report.checked == 450
        assert Validation(service.store).check(limit=100, everything=True).checked == 100

    def test_a_public_story_that_fails_now_is_marked_and_stays_public(self, service: ImportRoom) -> None:
        (story_id,) = self.sound(service, 1)
        store = service.store
        Validation(store).check()
        store.save(make_image(story_id))
        store.record_verdicts(story_id, {GATES[-1]: GateFinding(True, "licensed")})
        store.save(make_publication(store, story_id))
        broken = make_draft(story_id, writer="imported", prompt_version="")
        with store.engine.begin() as connection:
            connection.execute(t.stories.update().values(record=broken.model_dump(mode="json")))
        report = Validation(store).check([story_id])
        assert report.failing == 1
        assert report.newly_failing[0]["id"] == story_id
        assert "meets_quality_threshold" in report.newly_failing[0]["gates"]
        assert (status(store, "sound-0"), len(store.published())) == ("published", 1)

    def test_an_overruled_gate_stays_overruled(self, service: ImportRoom) -> None:
        service.take(lines([record(1)]))
        Validation(service.store).check()
        service.store.overrule("imported-fence-1", "Ada", "a short one is fine")
        Validation(service.store).check(everything=True)
        assert all(verdict.lets_through for verdict in service.store.verdicts("imported-fence-1"))

    def test_a_damaged_record_is_reported_and_the_others_are_checked(self, service: ImportRoom) -> None:
        self.sound(service, 2)
        with service.store.engine.begin() as connection:
            broken = t.stories.c.story_id == "imported-sound-1"
            connection.execute(t.stories.update().where(broken).values(record={"story_id": "x"}))
        report = Validation(service.store).check()
        assert (report.checked, report.damaged, report.passed) == (2, 1, 1)
        assert report.problems[0]["id"] == "imported-sound-1"

    def test_stories_are_handed_over_in_bounded_numbers_the_public_ones_first(self, service: ImportRoom) -> None:
        records = [{**one, "category": "food", "slug": f"s-{n}"} for n, one in enumerate(SOUND[:5])]
        for one, wish in zip(records, ("draft", "", "", "published", "published"), strict=True):
            one["status"] = wish
        service.take(lines(records))
        validation = Validation(service.store)
        passed = validation.check().passed
        assert passed == 5
        assert validation.has_work()
        assert validation.release(3) == ["imported-s-3", "imported-s-4", "imported-s-1"]
        assert validation.release(3) == []
        (order,) = service.store.open_orders()
        assert [one.story_id for one in service.store.waiting(order.id)] == [
            "imported-s-1",
            "imported-s-3",
            "imported-s-4",
        ]
        assert validation.release(4) == ["imported-s-2"]
        assert not validation.has_work()
        assert status(service.store, "s-0") == "imported"


class TestPublicBefore:
    """What was not public where it comes from is kept back, counted and listed."""

    def test_what_was_not_public_is_stored_and_waits_but_is_never_handed_over(self, service: ImportRoom) -> None:
        sound = [{**one, "category": "food", "slug": f"s-{n}"} for n, one in enumerate(SOUND[:3])]
        sound[0] |= {"status": "pending"}
        sound[1] |= {"published": False}
        done = service.take(lines([*sound, {"title": "bad"}]))
        assert (done.read, done.imported, done.rejected, done.kept_back) == (4, 1, 1, 2)
        told = [json.loads(line) for line in Path(done.kept_back_file or "").read_text().splitlines()]
        assert [(one["line"], one["id"]) for one in told] == [(1, "imported-s-0"), (2, "imported-s-1")]
        assert told[0]["kept_back"] == "It was not public: status: pending"
        assert [one["title"] for one in done.held] == [one["title"] for one in SOUND[:2]]
        assert len(service.rejects(done)) == 1
        validation = Validation(service.store)
        validation.check()
        assert validation.release() == ["imported-s-2"]
        again = service.take(lines(sound), "again.jsonl")
        assert (again.unchanged, again.kept_back) == (1, 2)
        freed = service.take(lines([{**sound[0], "status": "published"}]), "freed.jsonl")
        assert (freed.updated, freed.kept_back) == (1, 0)
        validation.check()
        assert validation.release() == ["imported-s-0"]

    @pytest.mark.parametrize("batch", [1, 1_000])
    def test_revisions_that_were_not_public_stand_in_no_public_storys_way(
        self, service: ImportRoom, batch: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(imports, "BATCH_RECORDS", batch)
        kept = {**SOUND[0], "category": "family", "post_status": "inherit"}
        own = {**SOUND[1], "category": "family", "post_status": "inherit", "slug": "a-revision"}
        public = [{**SOUND[number], "category": "family", "post_status": "publish"} for number in (0, 1)]
        records = [kept, kept, own, *public, kept]
        for _ in range(2):
            summary = service.take(lines(records))
            assert (summary.read, summary.kept_back, summary.rejected) == (6, 4, 0)
            assert summary.imported + summary.updated + summary.unchanged == 2
        validation = Validation(service.store)
        validation.check()
        titles = {service.store.draft(story_id).draft.title for story_id in validation.release()}
        assert titles == {SOUND[0]["title"], SOUND[1]["title"]}

    def test_a_public_page_stays_when_its_source_is_unpublished_and_the_operator_is_told(
        self, service: ImportRoom
    ) -> None:
        service.take(lines([record(1)]))
        with service.store.engine.begin() as connection:
            connection.execute(sa.text("UPDATE assignments SET status = 'published'"))
        before = everything(service.store)
        done = service.take(lines([record(1, text="A secret draft.", status="draft")]), "draft.jsonl")
        assert (done.read, done.kept_back) == (1, 1)
        assert "content withdraw imported-fence-1" in done.held[0]["reason"]
        assert everything(service.store) == before

    def test_an_update_that_fails_its_gates_is_told_of_and_the_page_stays(self, service: ImportRoom) -> None:
        service.take(lines([{**SOUND[0], "category": "food", "slug": "s"}]))
        Validation(service.store).check()
        with service.store.engine.begin() as connection:
            connection.execute(sa.text("UPDATE assignments SET status = 'published'"))
        service.take(lines([record(1, slug="s")]), "worse.jsonl")
        report = Validation(service.store).check()
        assert [(one["id"], one["status"]) for one in report.newly_failing] == [("imported-s", "published")]


class TestUnknownCategories:
    RECORDS = (record(1), record(2, category="revenge"), record(3, category="Revenge"), record(4, category="petty"))

    def test_a_dry_run_lists_what_would_be_refused_and_counts_each_category(self, service: ImportRoom) -> None:
        done = service.take(lines(self.RECORDS), dry_run=True)
        assert counts(done) == (4, 1, 0, 0, 3)
        assert done.unknown_categories == {"revenge": 1, "Revenge": 1, "petty": 1}
        assert [(one["line"], one["title"]) for one in done.refusals] == [
            (number, f"The fence moves {number} metres") for number in (2, 3, 4)
        ]
        assert (done.rejects_file, done.kept_back_file, everything(service.store)) == (None, None, [])

    def test_a_map_and_a_default_take_them(self, service: ImportRoom) -> None:
        done = service.take(lines(self.RECORDS), category_map={"revenge": "workplace"}, default_category="food")
        assert counts(done) == (4, 4, 0, 0, 0)
        found = {row.story_id: row.category for row in everything(service.store)}
        assert [found[f"imported-fence-{n}"] for n in (1, 2, 3, 4)] == ["neighbours", "workplace", "workplace", "food"]
        assert counts(
            service.take(lines(self.RECORDS), category_map={"revenge": "travel"}, default_category="food")
        ) == (*(4, 0, 2, 2, 0),)


class TestPlaces:
    def test_a_place_for_rejects_that_is_not_there_is_told_of_before_anything_is_imported(
        self, service: ImportRoom
    ) -> None:
        for place in (service.folder / "nowhere" / "r.jsonl", service.folder):
            with pytest.raises(UsageError):
                service.take(lines([record(1)]), rejects=place)
        assert everything(service.store) == []

    def test_a_file_with_any_name_is_imported_and_its_name_is_printed_safely(self, service: ImportRoom) -> None:
        folder = service.folder / "many"
        folder.mkdir()
        names = (b"a\xff.json", b"b\x1b[2J\n.json", "c\u202enosj.json".encode())
        for number, name in enumerate(names):
            (folder / os.fsdecode(name)).write_bytes(lines([record(number), {"title": "bad"}]))
        for name in ("~$a.json", ".~lock.a.json#", "._a.json", "a.json.part"):
            (folder / name).write_bytes(b"no story")
        (folder / "d.json").symlink_to("nowhere")
        done = import_files(service.store, [folder], service.folder / "imports", progress=service.told.append)
        assert counts(done) == (6, 3, 0, 0, 3)
        assert {one["file"] for one in service.rejects(done)} == {
            r"a\xff.json",
            r"b\x1b[2J\n.json",
            r"c\u202enosj.json",
        }
        assert all(line.isprintable() for line in service.told)


def test_a_packed_file_that_unpacks_without_end_is_one_line_and_read_no_further(tmp_path: Path) -> None:
    good, nothing = lines([record(n) for n in range(5)]), bytes(8 << 20)
    for name, pack in (("x.gz", gzip.compress), ("x.zst", zstd.compress)):
        (tmp_path / name).write_bytes(pack(good) + pack(nothing) * 40)
        raws = list(records_of(tmp_path / name))
        assert [raw.problem for raw in raws[:5]] == [""] * 5
        assert [raw.problem for raw in raws[5:]] == ["It unpacks to more than 256 MiB: it is read no further."]


def test_a_zstd_file_with_a_long_window_is_read(tmp_path: Path) -> None:
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 31})
    (tmp_path / "x.jsonl.zst").write_bytes(packer.compress(lines([record(1)])) + packer.flush())
    assert [raw.problem for raw in records_of(tmp_path / "x.jsonl.zst")] == [""]


def test_records_are_read_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl.gz"
    path.write_bytes(gzip.compress(lines([record(n) for n in range(3000)])))
    assert sum(1 for _ in records_of(path)) == 3000


def test_a_story_that_was_handed_over_is_illustrated_and_published_by_the_ordinary_run(
    newsroom_environment: dict[str, str], tmp_path: Path
) -> None:
    with open_session(load_settings(), prepare=True) as newsroom:
        first = {**SOUND[0], "category": "food", "slug": "one", "author": "Ada", "published_at": "2016-10-18T23:58:44Z"}
        (tmp_path / "one.jsonl").write_bytes(lines([first]))
        import_files(newsroom.store, [tmp_path / "one.jsonl"], tmp_path / "imports")
        validation = Validation(newsroom.store)
        validation.check()
        (story_id,) = validation.release()
        write_story(newsroom, newsroom.store.assignment(story_id))
        (published,) = newsroom.store.published()
        assert (published.story_id, published.writer, published.model) == (story_id, "imported", "Ada")
        assert published.published_at == published.updated_at == datetime(2016, 10, 18, 23, 58, 44, tzinfo=UTC)
        _, age = newsroom.store.last_publication()
        assert age < 600
        changed = {**SOUND[0], "category": "food", "slug": "one", "text": SOUND[1]["text"]}
        (tmp_path / "two.jsonl").write_bytes(lines([changed]))
        import_files(newsroom.store, [tmp_path / "two.jsonl"], tmp_path / "imports")
        assert newsroom.store.published() == [published]
        assert validation.check().passed == 1
        assert validation.release() == [story_id]
        write_story(newsroom, newsroom.store.assignment(story_id))
        assert newsroom.store.published()[0].draft.text != published.draft.text
        assert newsroom.store.published()[0].slug == published.slug
