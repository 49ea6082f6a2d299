"""What was public where it comes from: every sign that content systems give, and those that mean nothing."""

from datetime import UTC, datetime
from typing import Any

import pytest

from threadjuice_dagster.operations.imports.visibility import says_it_was_public, why_not_public

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
WORDS = (
    *("draft", "Pending", "FUTURE", "scheduled", "private", "trash", "auto-draft", "inherit", "in review", "unlisted"),
    *("expired", "archived", "deleted", "unpublished", "sent", "queue", "nobody knows this word", "草稿", "0"),
)
KEPT_BACK: list[dict[str, Any]] = [
    *({"status": word} for word in (*WORDS, 0, False, ["draft"], {"name": "Draft"}, 2)),
    *({"_status": "draft"}, {"post_status": "draft"}, {"moderation_state": "archived"}, {"workflowState": "editing"}),
    *({"published": value} for value in (False, "no", "False", 0, "draft", "2031-01-01")),
    *({"draft": value} for value in (True, "yes", 1, "TRUE")),
    *({"is_published": 0}, {"isDraft": 1}, {"live": False}, {"listed": "no"}, {"is_public": "0"}, {"hidden": "on"}),
    *({"isLocked": True}, {"premium": True}, {"paywall": 1}, {"members_only": "true"}, {"email_only": True}),
    *({"visibility": word} for word in ("members", "paid", "private", "password", "tiers", {"value": "private"})),
    *({"audience": "only_paid"}, {"access": "subscribers"}, {"tiers": ["gold"]}, {"post_password": "hunter2"}),
    *({"published_at": "2031-01-01"}, {"date": "2031-01-01T00:00:00Z"}, {"publish_at": 1_900_000_000_000}),
    *({"post_date_gmt": "2031-10-10 10:10:10"}, {"release_date": "Tue, 01 Jan 2030 00:00:00 +0000"}),
    *(
        {"expires_at": "2020-01-01"},
        {"expiryDate": "2020-01-01"},
        {"unpublish_on": "2021-05-05 10:00"},
        {"expires": "?"},
    ),
    *({"deleted_at": "2020-01-01"}, {"embargo": True}, {"embargo": "2030-01-01"}),
    *({"publishedAt": None}, {"published_at": ""}, {"firstPublishedAt": 0}, {"Published On": ""}),
    *({"attributes": {"publishedAt": None}}, {"meta": {"draft": True}}, {"sys": {"archivedAt": "2020-01-01"}}),
    *({"sys": {"version": 3, "contentType": {}}}, {"_id": "drafts.1"}, {"build": {"render": "never"}}),
    *({"status": "published", "published": False}, {"status": "publish", "visibility": "private"}),
    *({name: "draft"} for name in ("currentState", "stage", "workflow_step", "workflow", "review_state", "docStatus")),
    *(
        {name: "pending"}
        for name in ("approval_status", "creativeWorkStatus", "wp:status", "story_status", "pubStatus")
    ),
    *({"type": "revision"}, {"layout": "draft"}, {"_id": "versions.r1.a"}, {"app:control": {"app:draft": "yes"}}),
    *({"meta": {"publishing": {"status": "draft"}}}, {"properties": {"post-status": ["draft"]}}),
    *({"settings": {"published": False}}, {"preferences": {"isDelisted": True}}, {"flags": {"draft": True}}),
    *({"published": 2}, {"published": -2}, {"published_flag": "N"}, {"draft_flag": "Y"}, {"ready to publish": "no"}),
    *({"has_paywall": True}, {"Do Not Publish": "yes"}, {"render": False}, {"permalink": False}, {"routable": "false"}),
    *({"pricingPlanIds": ["a"]}, {"fe_group": "-2"}, {"email_type": "premium"}, {"visible_to": "members"}),
    *({"lastPublished": None}, {"publish_details": []}, {"publishedVersion": None}, {"first_published": ""}),
    *({"scheduledFor": "next Monday"}, {"embargoUntil": "after the launch"}, {"publishScheduled": True}),
    *({name: "2031-01-01"} for name in ("publish_time", "date_gmt", "effective", "launch_date", "displayDate")),
    *({"starttime": 1_900_000_000}, {"endtime": 1_500_000_000}, {"end_date": "2020-01-01"}, {"datedepublish": "2020"}),
]
PUBLIC: list[dict[str, Any]] = [
    {},
    *({"status": word} for word in ("published", "PUBLISH", " Live ", "public", 1, True, "1", "", None, ["published"])),
    *({"published": value} for value in (True, "yes", "2016-10-18", None, "")),
    *({"draft": value} for value in (False, "no", "0", "", None)),
    *(
        {"visibility": "Public"},
        {"audience": "everyone"},
        {"isLocked": False},
        {"is_premium": "false"},
        {"password": ""},
    ),
    *(
        {"published_at": "2016-10-18T23:58:44Z"},
        {"expires_at": None},
        {"expires_at": "2036-01-01"},
        {"expires": "never"},
    ),
    *({"deleted_at": "0000-00-00 00:00:00"}, {"archivedAt": 0}, {"archived": "1970-01-01T00:00:00Z"}),
    *({"embargo": "2020-01-01"}, {"tiers": [{"slug": "gold"}], "published": True}),
    *({"publishedAt": None, "status": "published"}, {"status": "publish", "post_date_gmt": "0000-00-00 00:00:00"}),
    *({"review_status": "approved"}, {"stage": "PUBLISHED"}, {"pubstatus": "usable"}, {"workflow": {"state": "live"}}),
    *({"type": "post", "layout": "post", "permalink": "/a"}, {"render": True}, {"endtime": 0}, {"pricingPlanIds": []}),
    *({"preferences": {"isDelisted": False}}, {"publish_details": [{"time": "2020-01-01"}]}, {"has_paywall": 0}),
    *({"comment_status": "closed", "ping_status": "closed"}, {"featured": False}, {"sys": {"publishedVersion": 2}}),
]


@pytest.mark.parametrize("record", KEPT_BACK, ids=str)
def test_what_says_in_any_way_that_it_is_not_public_is_kept_back_with_the_reason(record: dict[str, Any]) -> None:
    reason = why_not_public({"title": "A", **record}, MOMENT)
    assert reason
    assert reason.isprintable()


@pytest.mark.parametrize("record", PUBLIC, ids=str)
def test_what_was_public_or_says_nothing_goes_on(record: dict[str, Any]) -> None:
    assert why_not_public({"title": "A", **record}, MOMENT) == ""


def test_a_reason_names_the_sign_and_cannot_move_a_cursor() -> None:
    assert why_not_public({"post_status": "draft"}, MOMENT) == "post_status: draft"
    assert why_not_public({"status": "\x1b[2Jdraft\u202e"}, MOMENT) == r"status: \x1b[2Jdraft\u202e"


def test_a_yes_or_a_status_says_that_a_record_was_public() -> None:
    assert all(map(says_it_was_public, ({"status": "Published"}, {"published": "yes"}, {"is_live": 1})))
    assert not any(map(says_it_was_public, ({}, {"status": "draft"}, {"published": False}, {"free": True})))
