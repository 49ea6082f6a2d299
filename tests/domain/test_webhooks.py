"""What alerts look like where they are read, and that nobody can put anything else into them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from threadjuice_dagster.operations.alerts.rules import Alert, Trouble, announcement, ended, seen
from threadjuice_dagster.operations.alerts.webhook_answers import refusal
from threadjuice_dagster.operations.alerts.webhook_forms import MAKERS, Format, Reader
from threadjuice_dagster.operations.alerts.webhooks import detect, endpoint, render, sign

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
READER = Reader(ui_url="https://dagster.example.org/", runbook_url="https://wiki.example.org/emergency")
FORMATS = tuple(MAKERS)
KEY = "q1w2e3r4t5y6u7i8o9p0a1s2d3"
TOKEN = "Zx9" * 15
HOSTILE = "<!channel> @everyone <@U1> [click](http://evil.example) *bold* `code` <script>&amp; \0 \ud800 " + "x" * 5000


def alert(message: str = "OpenAI fails (503).", kind: str = "alert") -> Alert:
    trouble = Trouble(
        cause="run:1",
        source="run",
        title=f"story_draft failed: {message[:100]}",
        message=message,
        next_step="Wait.",
        run_id="abc-123",
        asset="story_draft",
        partition="t3_ab-a-title",
        at=NOW,
    )
    incident, made = announcement(seen(None, trouble), NOW)
    if kind == "recovery":
        incident, made = announcement(ended(incident, NOW), NOW)
    assert made
    return made


def body(form: Format, one: Alert, reader: Reader = READER) -> Any:
    return json.loads(render(one, form, reader, "https://ntfy.sh/our-topic"))


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("https://discord.com/api/webhooks/1/x", "discord"),
        ("https://ours.webhook.office.com/webhookb2/x", "teams"),
        ("https://prod-1.westeurope.logic.azure.com/workflows/x", "teams"),
        ("https://hooks.slack.com/triggers/T/1/x", "slack_workflow"),
        ("https://hooks.slack.com/workflows/T/A/1/x", "slack_workflow"),
        ("https://hooks.slack-gov.com/services/T/B/x", "slack"),
        ("https://canary.discord.com/api/webhooks/1/x", "discord"),
        ("https://ptb.discord.com/api/v10/webhooks/1/x?wait=true", "discord"),
        ("https://discordapp.com/api/webhooks/1/x", "discord"),
        ("https://discord.com/api/webhooks/1/x/slack", "slack"),
        ("https://discordapp.com/api/webhooks/1/x/slack/?wait=true", "slack"),
        ("https://discord.com/api/webhooks/1/x/github", "discord"),
        ("https://outlook.office.com/webhook/a@b/IncomingWebhook/c/d", "teams"),
        ("https://outlook.office365.com/webhook/a@b/IncomingWebhook/c/d", "teams"),
        ("https://prod-7.usgovtexas.logic.azure.us:443/workflows/x", "teams"),
        ("https://default1.2.environment.api.powerplatform.com:443/powerautomate/automations/direct/x", "teams"),
        ("https://chat.googleapis.com/v1/spaces/A/messages?key=k&token=t", "google_chat"),
        (f"https://chat.example.org/hooks/{KEY}", "attachments"),
        (f"https://talk.example.org/hooks/{KEY[:24]}/{TOKEN}", "attachments"),
        ("https://mattermost.example.org/hooks/xxx-generatedkey-xxx", "attachments"),
        ("https://ntfy.sh/our-topic", "ntfy"),
        ("https://ntfy.example.org/our-topic", "ntfy"),
        ("https://hooks.slack.com.evil.example/x", "json"),
        ("https://notdiscord.com/api/webhooks/1/x", "json"),
        ("https://example.org/?to=https://hooks.slack.com/services/T/B/x", "json"),
        ("https://example.org/hooks/deploy", "json"),
        ("http://127.0.0.1:8080/hook", "json"),
    ],
)
def test_the_form_goes_by_the_address(url: str, form: Format) -> None:
    assert detect(url) == form


def test_a_message_is_posted_where_its_form_is_taken() -> None:
    discord, ntfy = "https://discord.com/api/webhooks/1/x", "https://user:word@ntfy.example.org/base/our-topic"
    assert endpoint(f"{discord}/github?wait=true", "discord") == f"{discord}?wait=true"
    assert endpoint(f"{discord}/slack", "slack") == f"{discord}/slack"
    as_slack = json.loads(render(alert(), "slack", READER, f"{discord}/slack"))
    assert as_slack == body("attachments", alert())
    assert "blocks" not in json.dumps(as_slack)
    assert endpoint(ntfy, "ntfy") == "https://user:word@ntfy.example.org/base"
    assert endpoint("https://ntfy.sh/our-topic", "ntfy") == "https://ntfy.sh/"
    assert json.loads(render(alert(), "ntfy", READER, ntfy))["topic"] == "our-topic"


OUTAGE, MESSAGE, WEBHOOK, UNKNOWN = "outage", "message", "webhook", "unknown"
TEAMS = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error {} with ContextId x.."


@pytest.mark.parametrize(
    ("form", "status", "said", "blame"),
    [
        ("slack", 200, "ok", None),
        ("slack_workflow", 200, '{"ok": true}', None),
        ("attachments", 200, '{"success": true}', None),
        ("discord", 204, "", None),
        ("discord", 200, '{"id": "1", "type": 0, "content": "", "flags": 0}', None),
        ("teams", 200, "1", None),
        ("teams", 202, "", None),
        ("google_chat", 200, '{"name": "spaces/A/messages/B", "text": "error"}', None),
        ("ntfy", 200, '{"id": "1", "event": "message", "message": "It failed"}', None),
        ("json", 200, "<html>Thank you</html>", None),
        ("json", 200, '{"errcode": 0, "errmsg": "ok"}', None),
        ("json", 200, '{"code": 200, "message": "queued"}', None),
        ("json", 200, "null", None),
        ("slack", 200, "invalid_payload", MESSAGE),
        ("slack", 200, "no_text", MESSAGE),
        ("slack", 400, "invalid_blocks", MESSAGE),
        ("slack", 200, "channel_not_found", WEBHOOK),
        ("slack", 410, "channel_is_archived", WEBHOOK),
        ("slack", 403, "action_prohibited", WEBHOOK),
        ("slack", 404, "no_service", WEBHOOK),
        ("slack", 500, "rollup_error", OUTAGE),
        ("slack", 429, "", OUTAGE),
        ("slack", 200, "<!DOCTYPE html><html><body>Sign in</body></html>", WEBHOOK),
        ("slack_workflow", 200, '{"ok": false, "error": "trigger_not_found"}', WEBHOOK),
        ("slack_workflow", 400, '{"ok": false, "error": "invalid_arguments"}', MESSAGE),
        ("slack", 200, '{"ok": false, "error": "ratelimited"}', OUTAGE),
        ("json", 200, '{"ok": false}', UNKNOWN),
        ("json", 200, '{"ok": false, "error": "invalid_payload"}', MESSAGE),
        ("json", 200, "invalid_payload: missing text", MESSAGE),
        ("json", 200, '{"errcode": 310000, "errmsg": "keywords not in content"}', UNKNOWN),
        ("attachments", 200, '{"success": false, "error": "unauthorized"}', UNKNOWN),
        ("teams", 200, TEAMS.format(429), OUTAGE),
        ("teams", 200, TEAMS.format(503), OUTAGE),
        ("teams", 200, TEAMS.format(413), MESSAGE),
        ("teams", 200, TEAMS.format(404), WEBHOOK),
        ("teams", 200, TEAMS.format(400), UNKNOWN),
        ("teams", 400, "Summary or Text is required.", UNKNOWN),
        ("teams", 404, "", WEBHOOK),
        ("discord", 404, '{"message": "Unknown Webhook", "code": 10015}', WEBHOOK),
        ("discord", 401, '{"message": "Invalid Webhook Token", "code": 50027}', WEBHOOK),
        ("discord", 400, '{"message": "Cannot send an empty message", "code": 50006}', MESSAGE),
        ("discord", 400, '{"message": "Invalid Form Body", "code": 50035, "errors": {}}', MESSAGE),
        ("discord", 429, '{"message": "You are being rate limited.", "retry_after": 1.5, "global": false}', OUTAGE),
        ("google_chat", 400, '{"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT"}}', MESSAGE),
        ("google_chat", 404, '{"error": {"code": 404, "message": "No.", "status": "NOT_FOUND"}}', WEBHOOK),
        ("google_chat", 429, '{"error": {"code": 429, "message": "No.", "status": "RESOURCE_EXHAUSTED"}}', OUTAGE),
        ("ntfy", 429, '{"code": 42901, "http": 429, "error": "limit reached"}', OUTAGE),
        ("ntfy", 403, '{"code": 40301, "http": 403, "error": "forbidden"}', WEBHOOK),
        ("json", 302, "", WEBHOOK),
        ("json", 400, "", UNKNOWN),
        ("json", 503, "<html>Busy</html>", OUTAGE),
    ],
)
def test_an_answer_says_whether_the_message_arrived_and_who_is_to_blame(
    form: Format, status: int, said: str, blame: str | None
) -> None:
    found = refusal(form, status, said.encode())
    assert (found and found.blame) == blame
    if found:
        assert found.reason
        assert "<html>" not in found.reason


def test_how_long_to_wait_is_read_in_the_body_as_well() -> None:
    found = refusal("discord", 429, b'{"message": "Slow down.", "retry_after": 64.57}')
    assert found
    assert found.retry_after == 64.57
    assert "Slow down." in found.reason


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_tells_the_cause_the_next_step_the_place_and_both_links(form: Format) -> None:
    text = json.dumps(body(form, alert())).replace("\\\\", "").replace("\u200b", "").replace("\\u200b", "")
    for wanted in ("OpenAI fails", "503", "Wait.", "story_draft", "t3_ab-a-title"):
        assert wanted in text, wanted
    assert "https://dagster.example.org/runs/abc-123" in text
    assert "https://wiki.example.org/emergency#failed-runs" in text


@pytest.mark.parametrize("form", FORMATS)
def test_a_recovery_says_that_it_is_over(form: Format) -> None:
    assert "recover" in json.dumps(body(form, alert(kind="recovery"))).lower()


@pytest.mark.parametrize("form", FORMATS)
def test_hostile_text_is_shown_as_text_and_bounded(form: Format) -> None:
    sent = render(alert(HOSTILE), form, READER)
    assert len(sent) < 28_000
    assert "\\u0000" not in json.dumps(json.loads(sent)) or form == "json"
    document = json.loads(sent)
    if form == "slack":
        texts = json.dumps(document)
        assert "<!channel>" not in texts
        assert "<@U1>" not in texts
    if form == "discord":
        assert document["allowed_mentions"] == {"parse": []}
        assert "[click](" not in document["embeds"][0]["description"]
    if form == "teams":
        shown = [block.get("text", "") for block in document["attachments"][0]["content"]["body"]]
        assert not any("[click](" in text for text in shown)
    if form in ("attachments", "google_chat"):
        texts = json.dumps(document)
        assert "@everyone" not in texts
        assert "<@U1>" not in texts
        assert "<!channel>" not in texts or form == "google_chat"
        assert "[click](" not in texts.replace("\\\\", "\\") or form == "google_chat"


def test_slack_gets_blocks_of_lawful_size() -> None:
    document = body("slack", alert(HOSTILE))
    for block in document["attachments"][0]["blocks"]:
        texts = [block["text"]] if block["type"] == "section" else block["elements"]
        assert all(0 < len(text["text"]) <= 3000 for text in texts)


def test_discord_gets_an_embed_of_lawful_size() -> None:
    (embed,) = body("discord", alert(HOSTILE))["embeds"]
    assert len(embed["title"]) <= 256
    assert len(embed["description"]) <= 4096
    assert all(len(field["value"]) <= 1024 for field in embed["fields"])


ENTITIES, MARKS, WIDE = "&" * 4000, "*_`" * 1500, "\U0001f469\u200d\U0001f4bb" * 1500


@pytest.mark.parametrize("message", [ENTITIES, MARKS, WIDE, HOSTILE], ids=["entities", "marks", "wide", "hostile"])
def test_every_form_keeps_to_its_size_also_where_escaping_makes_text_longer(message: str) -> None:
    made = alert(message)
    for block in body("slack", made)["attachments"][0]["blocks"]:
        texts = [block["text"]] if block["type"] == "section" else block["elements"]
        assert all(0 < len(text["text"]) <= 3000 for text in texts)
    (embed,) = body("discord", made)["embeds"]
    fields = [part for field in embed["fields"] for part in (field["name"], field["value"])]
    assert len(embed["title"]) <= 256
    assert len(embed["description"]) <= 4096
    assert sum(map(len, (embed["title"], embed["description"], *fields))) <= 6000
    assert len(body("google_chat", made)["text"]) <= 4096
    notice = body("ntfy", made)
    assert len(notice["message"].encode()) <= 4096
    assert len(notice["title"].encode()) <= 256
    assert len(render(made, "teams", READER)) <= 28_000


def test_slacks_workflows_get_strings_at_the_top() -> None:
    document = body("slack_workflow", alert())
    assert all(isinstance(value, str) for value in document.values())
    assert {"title", "message", "next_step", "severity", "type", "run", "runbook"} <= set(document)


def test_a_runbook_in_the_repository_is_no_link_where_links_are_shown() -> None:
    reader = Reader(ui_url="http://127.0.0.1:3000", runbook_url="docs/EMERGENCY.md")
    card = body("teams", alert(), reader)["attachments"][0]["content"]
    assert [action["url"] for action in card["actions"]] == ["http://127.0.0.1:3000/runs/abc-123"]
    assert body("json", alert(), reader)["runbook"] == "docs/EMERGENCY.md#failed-runs"


def test_a_signature_is_that_of_the_specification() -> None:
    # The specification's own example: id, timestamp, payload and secret, with the signature it gives.
    headers = sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert "webhook-signature" not in sign("", "id", 1, b"")
    assert sign("any secret at all", "id", 1, b"")["webhook-signature"] != headers["webhook-signature"]
