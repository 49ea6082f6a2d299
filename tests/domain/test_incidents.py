"""One incident per cause, one message per change of state."""

from datetime import UTC, datetime, timedelta

import pytest

from threadjuice_dagster.operations.alerts.rules import (
    FORGOTTEN,
    RETRY_MOST,
    Alert,
    Incident,
    Severity,
    Trouble,
    announcement,
    ended,
    fingerprint,
    overdue,
    retry_in,
    seen,
    settled,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def trouble(minutes: int = 0, severity: Severity = "error") -> Trouble:
    at = NOW + timedelta(minutes=minutes)
    return Trouble(cause="run:1", source="run", severity=severity, title="It failed", message="Because.", at=at)


def told(incident: Incident, minutes: int = 0) -> tuple[Incident, str]:
    after, alert = announcement(incident, NOW + timedelta(minutes=minutes))
    return after, alert.kind if alert else ""


def test_an_incident_is_told_when_it_begins_and_when_it_is_over_and_not_in_between() -> None:
    incident, kind = told(seen(None, trouble()))
    assert kind == "alert"
    for minute in range(1, 50):
        incident, kind = told(seen(incident, trouble(minute)))
        assert kind == ""
    assert (incident.count, incident.episode) == (50, 1)
    incident, kind = told(ended(incident, NOW))
    assert kind == "recovery"
    incident, kind = told(incident)
    assert kind == ""


def test_a_warning_that_becomes_an_error_is_told_again_and_an_error_that_becomes_a_warning_is_not() -> None:
    incident, _ = told(seen(None, trouble(severity="warning")))
    incident, kind = told(seen(incident, trouble(1, "error")))
    assert kind == "worse"
    incident, kind = told(seen(incident, trouble(2, "warning")))
    assert kind == ""
    assert told(seen(incident, trouble(3, "error")))[1] == ""


def test_what_comes_and_goes_is_told_once_as_such_and_again_when_it_has_settled() -> None:
    incident, kinds = None, []
    for turn in range(20):
        incident, kind = told(seen(incident, trouble(10 * turn, "warning")))
        incident, over = told(ended(incident, NOW + timedelta(minutes=10 * turn + 5)))
        kinds += [kind, over]
    assert list(filter(None, kinds)) == ["alert", "recovery"] * 3 + ["flapping"]
    assert incident
    assert settled(incident, incident.last_at + timedelta(minutes=30)) == incident
    calm = settled(incident, incident.last_at + timedelta(minutes=36))
    assert told(calm)[1] == "recovery"
    wrong, kind = told(seen(incident, trouble(200, "error")))
    assert kind == "worse"
    assert told(settled(wrong, NOW + timedelta(minutes=240)))[1] == "alert"


def test_what_comes_back_on_another_day_does_not_flap() -> None:
    incident = None
    for day in range(9):
        incident, kind = told(seen(incident, trouble(1440 * day)))
        assert kind == "alert"
        incident, kind = told(ended(incident, NOW + timedelta(days=day, hours=1)))
        assert kind == "recovery"


def test_what_comes_back_is_a_new_episode_with_messages_of_its_own() -> None:
    ids: list[str] = []
    incident: Incident | None = None
    for _ in range(2):
        for change in (seen(incident, trouble()), None):
            incident, alert = announcement(change or ended(incident, NOW), NOW)  # type: ignore[arg-type]
            assert isinstance(alert, Alert)
            ids.append(alert.id)
    assert len(set(ids)) == 4
    assert incident is not None
    assert incident.episode == 2


def test_a_message_has_the_same_id_whoever_makes_it() -> None:
    first, second = (announcement(seen(None, trouble(minute)), NOW)[1] for minute in (0, 5))
    assert first
    assert second
    assert first.id == second.id


def test_what_is_muted_is_told_once_the_time_is_over() -> None:
    muted = seen(None, trouble()).model_copy(update={"muted_until": NOW + timedelta(hours=1)})
    assert told(muted)[1] == ""
    assert told(muted, 61)[1] == "alert"


def test_what_was_over_before_anybody_was_told_is_not_told() -> None:
    muted = seen(None, trouble()).model_copy(update={"muted_until": NOW + timedelta(hours=1)})
    assert told(ended(muted, NOW))[1] == ""


def test_an_incident_nobody_saw_for_long_counts_as_over() -> None:
    incident = seen(None, trouble())
    assert overdue([incident], NOW + FORGOTTEN) == []
    assert overdue([incident], NOW + FORGOTTEN + timedelta(seconds=1)) == [incident]


def test_numbers_and_partitions_tell_no_causes_apart_but_words_do() -> None:
    one = fingerprint("transient", "", "t3_ab-a-title got no answer in 20 s.", "t3_ab-a-title")
    other = fingerprint("transient", "", "t3_cd-other got no answer in 30 s.", "t3_cd-other")
    assert one == other
    assert one != fingerprint("transient", "", "t3_cd-other was refused.", "t3_cd-other")
    assert one != fingerprint("permanent", "", "t3_ab-a-title got no answer in 20 s.", "t3_ab-a-title")


@pytest.mark.parametrize(("attempts", "wait"), [(1, 5), (2, 10), (4, 40), (7, RETRY_MOST), (10_000, RETRY_MOST)])
def test_a_message_is_tried_ever_more_seldom_and_at_least_every_five_minutes(attempts: int, wait: float) -> None:
    assert retry_in(attempts) == wait


def test_a_server_may_ask_for_more_time_but_not_for_ever() -> None:
    assert retry_in(1, 60) == 60
    assert retry_in(1, 1e9) == RETRY_MOST
