"""What alerts look like where they are read, and that nobody can put anything else into them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from threadjuice_dagster.domain.incidents import Alert, Trouble, announcement, ended, seen
from threadjuice_dagster.domain.webhooks import Format, Reader, detect, render, sign

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
READER = Reader(ui_url="https://dagster.example.org/", runbook_url="https://wiki.example.org/emergency")
FORMATS: tuple[Format, ...] = ("slack", "discord", "teams", "json")
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
    return json.loads(render(one, form, reader))


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("https://discord.com/api/webhooks/1/x", "discord"),
        ("https://ours.webhook.office.com/webhookb2/x", "teams"),
        ("https://prod-1.westeurope.logic.azure.com/workflows/x", "teams"),
        ("https://hooks.slack.com.evil.example/x", "json"),
        ("http://127.0.0.1:8080/hook", "json"),
    ],
)
def test_the_form_goes_by_the_address(url: str, form: Format) -> None:
    assert detect(url) == form


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
    assert len(sent) < 20_000
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
