"""What holds a clean-up back, and what the labels of the archive say."""

from datetime import UTC, datetime, timedelta

import pytest

from threadjuice_dagster.failures import ConfigurationError
from threadjuice_dagster.operations.backups.rules import Backup, Contents, Manifest
from threadjuice_dagster.operations.cleanup.rules import (
    CleanupReport,
    Label,
    RuleReport,
    archive_of,
    checked_prefixes,
    proven_recently,
    too_many,
)
from threadjuice_dagster.operations.takedowns.rules import Tombstone

NOW = datetime(2026, 3, 1, 2, tzinfo=UTC)


def backup(hours: float, *, proven: bool = True, problem: str = "") -> Backup:
    taken = NOW - timedelta(hours=hours)
    manifest = Manifest(
        id="x", key="backups/x/dump.zst", taken_at=taken, database="x", postgres="18", tools={}, recipient="",
        sha256="", bytes=1, dump_bytes=1, seconds=1, contents=Contents(revision=None, tables={}),
    )  # fmt: skip
    return Backup(manifest=manifest, proven_at=taken if proven else None, problem=problem)


@pytest.mark.parametrize(
    ("backups", "enough"),
    [
        ([], False),
        ([backup(1)], True),
        ([backup(25.9)], True),
        ([backup(26.1)], False),
        ([backup(1, proven=False)], False),
        ([backup(1, problem="It could not be restored.")], False),
        ([backup(1, proven=False), backup(25)], True),
    ],
)
def test_a_clean_up_needs_a_backup_of_the_last_26_hours_that_was_proven(backups: list[Backup], enough: bool) -> None:
    assert proven_recently(backups, NOW) is enough


@pytest.mark.parametrize(
    ("found", "total", "held_back"),
    [(3, 5, False), (10, 10, False), (11, 12, True), (20, 100, False), (21, 100, True), (0, 0, False), (11, 0, True)],
)
def test_a_share_is_too_large_only_where_it_is_also_many(found: int, total: int, held_back: bool) -> None:
    assert bool(too_many(found, total, floor=10, max_share=0.2)) is held_back


@pytest.mark.parametrize("prefix", ["a", "tes", "  x "])
def test_a_prefix_that_too_much_would_begin_with_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="CLEANUP_TEST_PREFIXES"):
        checked_prefixes([prefix])


def test_prefixes_are_compared_in_lower_case_and_may_all_be_left_out() -> None:
    assert checked_prefixes([" [TEST] ", "", "Smoke-"]) == ["[test]", "smoke-"]
    assert checked_prefixes([]) == []


LABEL = Label(
    key="k", rule="rejected_drafts", rows=4, sha256="", bytes=1, recipient="",
    stories={"t1-a": "t1", "t2-b": "t2", "manual": ""}, sources={"t1": ("c1", "c2"), "t2": ("c3",)},
)  # fmt: skip


@pytest.mark.parametrize(
    ("tombstone", "stories"),
    [
        (Tombstone(kind="thread", id="t1"), {"t1-a"}),
        (Tombstone(kind="comment", id="c2", thread="t1"), {"t1-a"}),
        (Tombstone(kind="comment", id="t1"), set()),
        (Tombstone(kind="story", id="manual"), {"manual"}),
        (Tombstone(kind="thread", id=""), set()),
        (Tombstone(kind="story", id="t3-c"), set()),
    ],
)
def test_a_label_knows_which_of_its_stories_a_deletion_takes_along(tombstone: Tombstone, stories: set[str]) -> None:
    assert LABEL.rests_on(tombstone) == stories


def test_a_label_without_a_story_looks_for_its_sources_no_more() -> None:
    left = LABEL.without({"t1-a"}, rows=3, sha256="new", size=2)
    assert left.stories == {"t2-b": "t2", "manual": ""}
    assert left.sources == {"t2": ("c3",)}
    assert (left.rows, left.sha256, left.bytes) == (3, "new", 2)


def test_a_report_counts_files_and_names_what_was_held_back() -> None:
    rules = (
        RuleReport(name="rejected_drafts", found=3, total=4, refused="too many"),
        RuleReport(name="orphan_files", found=24, total=96, removed=24),
        RuleReport(name="old_events", refused="nothing there"),
    )
    report = CleanupReport(dry_run=False, archive="file:///a", rules=rules)
    assert report.files == 24
    assert [rule.name for rule in report.refused] == ["rejected_drafts"]
    document = report.document()
    assert document["rules"][0] == {  # type: ignore[index]
        "name": "rejected_drafts", "found": 3, "total": 4, "removed": 0, "refused": "too many", "share": 0.75,
    }  # fmt: skip
    assert {"dry_run", "archive", "rules", "files"} == set(document)


def test_a_key_of_the_archive_names_the_clean_up_that_made_it() -> None:
    assert archive_of("archive/2026-03-01T020000Z-1a2b3c4d/old_events-00001.json") == "2026-03-01T020000Z-1a2b3c4d"
