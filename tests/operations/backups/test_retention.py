"""Which backups are kept, what a restore is compared with, and what a token confirms."""

from datetime import UTC, datetime, timedelta

import pytest

from threadjuice_dagster.failures import ConfigurationError
from threadjuice_dagster.operations.backups import rules
from threadjuice_dagster.operations.backups.rules import Backup, Contents, Manifest, TableContents

START = datetime(2026, 1, 1, 3, tzinfo=UTC)
KEEP_ALL_KINDS = rules.parse_retention("7d4w12m")


def contents(**rows: int) -> Contents:
    return Contents(revision="0003", tables={name: TableContents(rows=n, digest=str(n)) for name, n in rows.items()})


def manifest(day: float = 0, **changes: object) -> Manifest:
    taken_at = START + timedelta(days=day)
    identity = rules.backup_id(taken_at, "0123abcd")
    values = {
        "id": identity,
        "key": f"backups/{identity}/dump.zst",
        "taken_at": taken_at,
        "database": "threadjuice",
        "postgres": "18.4",
        "tools": {"pg_dump": "18.4"},
        "recipient": "",
        "sha256": f"{day}",
        "bytes": 1000,
        "dump_bytes": 5000,
        "seconds": 1.0,
        "contents": contents(stories=3),
    }
    return Manifest.model_validate({**values, **changes})


def backup(day: float, *, proven: bool = True) -> Backup:
    return Backup(manifest=manifest(day), proven_at=START + timedelta(days=day, hours=1) if proven else None)


def days_left(backups: list[Backup], retention: rules.Retention = KEEP_ALL_KINDS) -> list[float]:
    gone = {one.manifest.id for one in rules.expired(backups, retention)}
    return [float(one.manifest.sha256) for one in backups if one.manifest.id not in gone]


class TestRetention:
    @pytest.mark.parametrize(
        "text", ["", "0d", "0d0w0m", "7", "7 daily", "d", "w4", "4w7d", "-1d", "99999d", "7d4w12m1y"]
    )
    def test_anything_but_days_weeks_and_months_is_refused_with_an_example(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="BACKUP_RETENTION=7d4w12m"):
            rules.parse_retention(text)

    @pytest.mark.parametrize(("text", "numbers"), [("7d4w12m", (7, 4, 12)), ("30D", (30, 0, 0)), (" 2w1m ", (0, 2, 1))])
    def test_any_part_may_be_left_out(self, text: str, numbers: tuple[int, int, int]) -> None:
        found = rules.parse_retention(text)
        assert (found.days, found.weeks, found.months) == numbers

    def test_after_two_years_of_days_seven_days_four_weeks_and_twelve_months_are_left(self) -> None:
        left: list[Backup] = []
        for day in range(730):
            left.append(backup(day))
            gone = {one.manifest.id for one in rules.expired(left, KEEP_ALL_KINDS)}
            left = [one for one in left if one.manifest.id not in gone]
        days = [float(one.manifest.sha256) for one in left]
        assert days[-7:] == [723, 724, 725, 726, 727, 728, 729]
        months = {(one.manifest.taken_at.year, one.manifest.taken_at.month) for one in left}
        assert len(months) == 12
        assert 19 <= len(left) <= 22

    def test_the_newest_proven_backup_and_all_after_it_stay_whatever_the_retention(self) -> None:
        backups = [backup(0), backup(1), backup(2), *(backup(3 + n / 24, proven=False) for n in range(30))]
        left = days_left(backups, rules.parse_retention("1d"))
        assert left == [2, *(3 + n / 24 for n in range(30))]

    def test_while_none_is_proven_nothing_is_deleted(self) -> None:
        backups = [backup(day, proven=False) for day in range(400)]
        assert rules.expired(backups, rules.parse_retention("1d")) == []
        assert rules.expired([], KEEP_ALL_KINDS) == []

    def test_a_proven_backup_stands_for_its_day_before_a_newer_unproven_one(self) -> None:
        backups = [backup(0), backup(0.2, proven=False), backup(1), backup(2)]
        assert days_left(backups, rules.parse_retention("3d")) == [0, 1, 2]

    def test_the_order_they_are_listed_in_does_not_matter(self) -> None:
        backups = [backup(day) for day in range(100)]
        forwards, backwards = (rules.expired(one, KEEP_ALL_KINDS) for one in (backups, backups[::-1]))
        assert forwards == backwards

    def test_days_without_a_backup_take_no_place(self) -> None:
        assert days_left([backup(day) for day in (0, 50, 100, 150)], rules.parse_retention("4d")) == [0, 50, 100, 150]


class TestARestoredDatabase:
    def test_that_is_the_same_has_no_differences(self) -> None:
        assert rules.differences(contents(a=1, b=2), contents(b=2, a=1)) == ()

    def test_is_told_apart_by_tables_rows_contents_and_migration(self) -> None:
        changed = TableContents(rows=2, digest="other")
        found = Contents(revision="0002", tables={**contents(a=0, c=3).tables, "b": changed})
        assert rules.differences(contents(a=1, b=2, d=4), found) == (
            "migration 0002 instead of 0003",
            "a has 0 rows instead of 1",
            "b has other contents in its 2 rows",
            "c should not be there",
            "d is missing",
        )


class TestAStoredFile:
    def test_that_is_the_manifests_is_accepted(self) -> None:
        assert rules.stored_otherwise(manifest(), "0", 1000, []) == ""

    @pytest.mark.parametrize(
        ("sha256", "size", "message"),
        [("x", 999, "cut short: 999 of 1,000"), ("x", 1001, "1,001 bytes instead of 1,000"), ("x", 1000, "SHA-256")],
    )
    def test_that_is_not_is_told_by_what_is_wrong(self, sha256: str, size: int, message: str) -> None:
        assert message in rules.stored_otherwise(manifest(), sha256, size, [manifest(7)])

    def test_that_is_another_backups_names_it(self) -> None:
        other = manifest(7)
        assert other.id in rules.stored_otherwise(manifest(), other.sha256, 500, [other])


class TestAToken:
    def test_confirms_one_backup_over_one_database_only(self) -> None:
        token = rules.confirmation(manifest(), "threadjuice", "host:5432:16384")
        assert token == rules.confirmation(manifest(), "threadjuice", "host:5432:16384")
        assert token.startswith("threadjuice-")
        others = {
            rules.confirmation(manifest(1), "threadjuice", "host:5432:16384"),
            rules.confirmation(manifest(sha256="1"), "threadjuice", "host:5432:16384"),
            rules.confirmation(manifest(), "staging", "host:5432:16384"),
            rules.confirmation(manifest(), "threadjuice", "host:5432:20000"),
        }
        assert len(others | {token}) == 5


@pytest.mark.parametrize(
    "key",
    ["tombstones/thread-abc.json", "backups/readme.txt", "backups/2026-03-01/x", "other/2026-03-01T030000Z-0123abcd/x"],
)
def test_other_files_in_the_storage_are_no_backups(key: str) -> None:
    assert rules.id_of(key) is None


def test_keys_of_a_backup_name_it() -> None:
    one = manifest()
    assert one.id == "2026-01-01T030000Z-0123abcd"
    assert rules.id_of(one.key) == one.id == rules.id_of(rules.manifest_key(one.id))


class TestDatabasesThatRestoresPutAside:
    def names(self, *ages: float) -> list[str]:
        return [rules.kept_name("tj", START - timedelta(days=days)) for days in ages]

    def test_go_after_a_month(self) -> None:
        assert rules.outlived(self.names(29, 31, 40), "tj", START) == self.names(40, 31)

    def test_beyond_the_newest_five_go_once_they_are_a_day_old(self) -> None:
        assert rules.outlived(self.names(1, 2, 3, 4, 5, 6, 7), "tj", START) == self.names(7, 6)
        assert rules.outlived(self.names(*(n / 24 for n in range(1, 20))), "tj", START) == []

    def test_of_one_second_have_names_of_their_own(self) -> None:
        live = "a_database_whose_name_is_nearly_as_long_as_postgresql_allows"
        first = rules.kept_name(live, START)
        second = rules.kept_name(live, START, {first})
        assert rules.kept_name(live, START, {first, second}) not in {first, second}
        assert [rules.kept_since(name, live) for name in (first, second)] == [START, START + timedelta(seconds=1)]
        assert len(second) <= 63

    @pytest.mark.parametrize(
        "name", ["tj", "tj_before_", "tj_before_the_move", "other_before_20250101T000000Z", "tj_x"]
    )
    def test_are_told_from_all_others(self, name: str) -> None:
        assert rules.outlived([name], "tj", START) == []
        assert rules.kept_since(name, "tj") is None


class TestWhoVouches:
    @pytest.mark.parametrize(
        ("recipient", "key", "signed", "recorded", "has_history", "verified"),
        [
            ("age1a", "age1a", True, False, False, True),
            ("age1a", "age1a", None, False, False, False),
            ("age1a", "age1a", None, True, True, True),
            ("", "age1a", None, True, True, False),
            ("", "", None, True, True, True),
            ("", "", None, False, True, False),
            ("", "", None, False, False, True),
            ("age1b", "age1a", None, True, True, True),
        ],
    )
    def test_for_a_backup(
        self, recipient: str, key: str, signed: bool | None, recorded: bool, has_history: bool, verified: bool
    ) -> None:
        one = manifest(recipient=recipient, key=rules.dump_key(manifest().id, recipient), signed=signed)
        record = rules.Record.model_validate(one.model_dump()) if recorded else None
        origin = rules.check_origin(one, key, record, has_history=has_history)
        assert (origin.unverified == "") is verified
        assert origin.forged == ""
        assert (origin.warning == "") is (signed is True)

    @pytest.mark.parametrize("change", [{"sha256": "x"}, {"bytes": 1}, {"taken_at": START - timedelta(days=1)}])
    def test_nobody_for_one_that_the_database_recorded_otherwise(self, change: dict[str, object]) -> None:
        record = rules.Record.model_validate(manifest(signed=True).model_dump())
        origin = rules.check_origin(manifest(signed=True, **change), "age1a", record, has_history=True)
        assert "recorded another" in origin.forged

    def test_warns_of_a_recorded_backup_whose_signature_is_gone(self) -> None:
        one = manifest(recipient="age1a", key=rules.dump_key(manifest().id, "age1a"), signed=None)
        record = rules.Record.model_validate(one.model_dump())
        origin = rules.check_origin(one, "age1a", record, has_history=True)
        assert (origin.problem, "has no signature" in origin.warning) == ("", True)

    def test_an_unverified_backup_takes_no_place_of_another_and_stays(self) -> None:
        ours = [backup(0), backup(1), backup(2)]
        strangers = [backup(day).model_copy(update={"is_ours": False}) for day in (0.5, 1.5, 9)]
        assert rules.expired([*ours, *strangers], rules.parse_retention("3d")) == []
        assert rules.expired([*ours, *strangers], rules.parse_retention("1d")) == ours[:2]
