"""What commands print for people, where it is more than the fields of a document."""

from threadjuice_dagster.cli.printed import validation_text


def test_a_validation_reads_as_counts_and_names_what_fails_newly() -> None:
    report = {
        "checked": 1200,
        "passed": 1198,
        "damaged": 0,
        "gates": {"is_original": {"passed": 1198, "held": 0, "refused": 2}},
        "newly_failing": [{"id": "a-fence", "status": "published", "gates": ["is_original"]}],
    }
    assert validation_text(report).splitlines() == [
        "1200 checked, 1198 passed, 0 damaged",
        "is_original              1,198 passed, 0 held, 2 refused",
        "newly failing: a-fence (is_original); its page stays as it was published",
    ]
