"""What an alert looks like where it is read: Slack, Discord, Teams, or a program of one's own; and its signature.

Texts of others (an error, a title) are shown as text: no mention, link or markup in them takes effect.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from threadjuice_dagster.domain.incidents import Alert
from threadjuice_dagster.domain.model import Model

Format = Literal["slack", "discord", "teams", "json"]

_HOSTS: tuple[tuple[str, Format], ...] = (
    ("hooks.slack.com", "slack"),
    ("hooks.slack-gov.com", "slack"),
    ("discord.com", "discord"),
    ("discordapp.com", "discord"),
    ("webhook.office.com", "teams"),
    ("logic.azure.com", "teams"),
    ("api.powerplatform.com", "teams"),
)
_HEADINGS = {"alert": "Alert", "worse": "Now an error", "recovery": "Recovered"}
_COLOURS = {"error": 0xD92D20, "warning": 0xDC8B0A, "recovery": 0x2E9E4F}
_LONGEST = 700


class Reader(Model):
    """Where links in a message lead: the Dagster UI, and the runbook (an address, or a path in the repository)."""

    ui_url: str
    runbook_url: str

    def run(self, alert: Alert) -> str:
        """The page of the run it is about, if it is about one."""
        run_id = alert.incident.trouble.run_id
        return f"{self.ui_url.rstrip('/')}/runs/{run_id}" if run_id else ""

    def runbook(self, alert: Alert) -> str:
        """The runbook's section on it."""
        return f"{self.runbook_url}#{alert.incident.trouble.section}"


def detect(url: str) -> Format:
    """The format of the service behind a webhook's address."""
    host = (urlsplit(url).hostname or "").lower()
    return next((form for name, form in _HOSTS if host == name or host.endswith(f".{name}")), "json")


def render(alert: Alert, form: Format, reader: Reader) -> bytes:
    """The body to post, JSON in UTF-8."""
    makers: Mapping[Format, Callable[[Alert, Reader], dict[str, Any]]] = {
        "slack": _slack,
        "discord": _discord,
        "teams": _teams,
        "json": _plain,
    }
    return json.dumps(makers[form](alert, reader), ensure_ascii=False).encode(errors="replace")


def sign(secret: str, alert_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of the Standard Webhooks specification (standardwebhooks.com), with HMAC-SHA256.

    A secret that begins with ``whsec_`` is Base64 after that, as the specification has it; any other is taken as it is.
    """
    headers = {"webhook-id": alert_id, "webhook-timestamp": str(timestamp)}
    if secret:
        signed = b".".join((alert_id.encode(), str(timestamp).encode(), body))
        digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def _key(secret: str) -> bytes:
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            pass
    return secret.encode()


def summary(alert: Alert) -> str:
    """One line, for a log or a notification."""
    return f"{_HEADINGS[alert.kind]}: {alert.incident.trouble.title}"


def _facts(alert: Alert) -> dict[str, str]:
    incident, trouble = alert.incident, alert.incident.trouble
    seen = f"{incident.count} times since {incident.first_at:%Y-%m-%d %H:%M} UTC" if incident.count > 1 else ""
    told = {"Asset": trouble.asset, "Partition": trouble.partition, "Seen": seen}
    return {name: _cut(text) for name, text in told.items() if text}


def _told(alert: Alert) -> list[str]:
    """The cause and what to do; of something that is over only what it was."""
    trouble = alert.incident.trouble
    if alert.kind == "recovery":
        return [f"It is over. It was: {_cut(trouble.message)}"]
    return [_cut(text) for text in (trouble.message, trouble.next_step) if text]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _colour(alert: Alert) -> int:
    return _COLOURS["recovery" if alert.kind == "recovery" else alert.incident.trouble.severity]


def _plain(alert: Alert, reader: Reader) -> dict[str, Any]:
    """Everything, under names of its own."""
    incident, trouble = alert.incident, alert.incident.trouble
    return {
        "id": alert.id,
        "type": alert.kind,
        "cause": incident.cause,
        "source": trouble.source,
        "severity": trouble.severity,
        "title": trouble.title,
        "message": trouble.message,
        "next_step": trouble.next_step,
        "runbook": reader.runbook(alert),
        "run": {"id": trouble.run_id, "url": reader.run(alert)} if trouble.run_id else None,
        "asset": trouble.asset or None,
        "partition": trouble.partition or None,
        "kind": trouble.kind or None,
        "count": incident.count,
        "first_at": incident.first_at.isoformat(),
        "last_at": incident.last_at.isoformat(),
        "closed_at": incident.closed_at.isoformat() if incident.closed_at else None,
    }


def _slack(alert: Alert, reader: Reader) -> dict[str, Any]:
    """Blocks beside a bar of colour; ``text`` is what a notification shows."""
    lines = [f"*{_mrkdwn(summary(alert))}*", *map(_mrkdwn, _told(alert))]
    facts = "  ".join(f"{name}: {_mrkdwn(text)}" for name, text in _facts(alert).items())
    links = "  ".join(f"<{_mrkdwn(url)}|{name}>" for name, url in _links(alert, reader).items())
    small = [{"type": "mrkdwn", "text": text} for text in (facts, links) if text]
    blocks: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)}}]
    blocks += [{"type": "context", "elements": small}] if small else []
    attachment = {"color": f"#{_colour(alert):06x}", "blocks": blocks, "fallback": _mrkdwn(summary(alert))}
    return {"text": _mrkdwn(summary(alert)), "attachments": [attachment]}


def _discord(alert: Alert, reader: Reader) -> dict[str, Any]:
    """An embed; nobody is mentioned."""
    links = [f"[{name}]({url})" for name, url in _links(alert, reader).items()]
    embed = {
        "title": _markdown(_cut(summary(alert)))[:256],
        "description": "\n".join([*map(_markdown, _told(alert)), *links])[:4096],
        "color": _colour(alert),
        "fields": [{"name": name, "value": _markdown(text), "inline": True} for name, text in _facts(alert).items()],
    }
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def _teams(alert: Alert, reader: Reader) -> dict[str, Any]:
    """An adaptive card, as the webhooks of Teams workflows take it."""
    styles = {"error": "Attention", "warning": "Warning", "recovery": "Good"}
    style = styles["recovery" if alert.kind == "recovery" else alert.incident.trouble.severity]
    head = {"type": "TextBlock", "text": _markdown(summary(alert)), "weight": "Bolder", "color": style, "wrap": True}
    texts = [{"type": "TextBlock", "text": _markdown(text), "wrap": True} for text in _told(alert)]
    facts = [{"title": name, "value": _markdown(text)} for name, text in _facts(alert).items()]
    links = _links(alert, reader).items()
    card = {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        "body": [head, *texts, *([{"type": "FactSet", "facts": facts}] if facts else [])],
        "actions": [{"type": "Action.OpenUrl", "title": name, "url": url} for name, url in links],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _links(alert: Alert, reader: Reader) -> dict[str, str]:
    """What can be opened, by name; a runbook that is only a path cannot."""
    found = {"Open the run": reader.run(alert), "What to do": reader.runbook(alert)}
    return {name: url for name, url in found.items() if url.startswith(("http://", "https://"))}


def _mrkdwn(text: str) -> str:
    """Text as Slack shows it: its three control characters escaped, its marks made harmless."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([*_~`])", "\u200b\\1", text)


def _markdown(text: str) -> str:
    """Text as Discord and Teams show it: every mark escaped."""
    return re.sub(r"([\\`*_\[\]()<>#|~@])", r"\\\1", text)
