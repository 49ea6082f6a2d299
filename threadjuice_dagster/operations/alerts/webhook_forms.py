"""What an alert looks like where it is read: in a chat, on a telephone, or in a program of one's own.

Texts of others (an error, a title) are shown as text: no mention, link or markup in them takes effect. Each form keeps
to the sizes its service documents, counted in the text as it is sent.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from threadjuice_dagster.domain.language.text import head
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.operations.alerts.rules import Alert

Format = Literal["slack", "slack_workflow", "attachments", "discord", "teams", "google_chat", "ntfy", "json"]

_HEADINGS = {"alert": "Alert", "worse": "Now an error", "flapping": "Comes and goes", "recovery": "Recovered"}
_COLOURS = {"error": 0xD92D20, "warning": 0xDC8B0A, "recovery": 0x2E9E4F}
_LONGEST = 700
_TITLE = 240
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


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


def summary(alert: Alert) -> str:
    """One line, for a log or a notification."""
    return f"{_HEADINGS[alert.kind]}: {alert.incident.trouble.title}"


def _facts(alert: Alert) -> dict[str, str]:
    incident, trouble = alert.incident, alert.incident.trouble
    seen = f"{incident.count} times since {incident.first_at:%Y-%m-%d %H:%M} UTC" if incident.count > 1 else ""
    told = {"Asset": trouble.asset, "Partition": trouble.partition, "Seen": seen}
    return {name: text for name, text in told.items() if text}


def _told(alert: Alert) -> list[str]:
    """The cause and what to do; of something that is over only what it was."""
    trouble = alert.incident.trouble
    if alert.kind == "recovery":
        return [f"It is over. It was: {trouble.message}"]
    calm = (
        "It goes away and comes back; the next message follows when it has settled." if alert.kind == "flapping" else ""
    )
    return [text for text in (calm, trouble.message, trouble.next_step) if text]


def _links(alert: Alert, reader: Reader) -> dict[str, str]:
    """What can be opened, by name; a runbook that is only a path cannot."""
    links = {"Open the run": reader.run(alert), "What to do": reader.runbook(alert)}
    return {name: url for name, url in links.items() if url.startswith(("http://", "https://"))}


def _colour(alert: Alert) -> int:
    return _COLOURS["recovery" if alert.kind == "recovery" else alert.incident.trouble.severity]


def _fit(text: str, escape: Callable[[str], str], limit: int = _LONGEST, *, most: int = _LONGEST) -> str:
    """Text escaped, in at most ``limit`` UTF-8 bytes and of at most ``most`` characters of its own."""
    text = _INVISIBLE.sub(" ", text)
    kept = head(text, most)
    while len((shown := escape(kept if kept == text else f"{kept}…")).encode()) > limit and kept:
        kept = head(kept, min(len(kept) - 1, len(kept) * 7 // 8))
    return shown


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
    """Blocks beside a bar of colour; ``text`` is what a notification shows. A text of a block has 3,000 characters."""
    title = _fit(summary(alert), _mrkdwn, 600, most=_TITLE)
    lines = [f"*{title}*", *(_fit(text, _mrkdwn, 1100) for text in _told(alert))]
    facts = "  ".join(f"{name}: {_fit(text, _mrkdwn, 400, most=200)}" for name, text in _facts(alert).items())
    links = "  ".join(f"<{_mrkdwn(url)}|{name}>" for name, url in _links(alert, reader).items())
    small = [{"type": "mrkdwn", "text": text} for text in (facts, links) if text]
    blocks: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)}}]
    blocks += [{"type": "context", "elements": small}] if small else []
    attachment = {"color": f"#{_colour(alert):06x}", "blocks": blocks, "fallback": title}
    return {"text": title, "attachments": [attachment]}


def _slack_workflow(alert: Alert, reader: Reader) -> dict[str, Any]:
    """Slack's workflows take variables at the top, each a string."""
    trouble = alert.incident.trouble
    texts = {
        "title": summary(alert),
        "message": "\n".join(_told(alert)[:1]),
        "next_step": "" if alert.kind == "recovery" else trouble.next_step,
        "asset": trouble.asset,
        "partition": trouble.partition,
    }
    given = {"type": alert.kind, "severity": trouble.severity, "run": reader.run(alert)}
    return (
        {name: _fit(text, _mrkdwn, 2000) for name, text in texts.items()} | given | {"runbook": reader.runbook(alert)}
    )


def _attachments(alert: Alert, reader: Reader) -> dict[str, Any]:
    """Slack's older form, which Mattermost, Rocket.Chat and Discord's ``/slack`` take: they know no blocks."""
    links = [f"[{name}]({url})" for name, url in _links(alert, reader).items()]
    title = _fit(summary(alert), _markdown, 250, most=_TITLE)
    texts = [_fit(text, _markdown, 1100) for text in _told(alert)]
    fields = [
        {"title": name, "value": _fit(text, _markdown, 400, most=200), "short": True}
        for name, text in _facts(alert).items()
    ]
    attachment = {
        "fallback": title,
        "color": f"#{_colour(alert):06x}",
        "text": "\n".join([*texts, *links]),
        "fields": fields,
    }
    return {"text": title, "attachments": [attachment]}


def _discord(alert: Alert, reader: Reader) -> dict[str, Any]:
    """An embed; nobody is mentioned. A title has 256 characters, all texts of an embed 6,000."""
    links = [f"[{name}]({url})" for name, url in _links(alert, reader).items()]
    texts = [_fit(text, _markdown, 1400) for text in _told(alert)]
    embed = {
        "title": _fit(summary(alert), _markdown, 256, most=_TITLE),
        "description": "\n".join([*texts, *links])[:4096],
        "color": _colour(alert),
        "fields": [
            {"name": name, "value": _fit(text, _markdown, 400, most=200), "inline": True}
            for name, text in _facts(alert).items()
        ],
    }
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def _teams(alert: Alert, reader: Reader) -> dict[str, Any]:
    """An adaptive card, as connectors and workflows of Teams take it; a message has 28 KB."""
    styles = {"error": "Attention", "warning": "Warning", "recovery": "Good"}
    style = styles["recovery" if alert.kind == "recovery" else alert.incident.trouble.severity]
    title = _fit(summary(alert), _markdown, 600, most=_TITLE)
    head = {"type": "TextBlock", "text": title, "weight": "Bolder", "color": style, "wrap": True}
    texts = [{"type": "TextBlock", "text": _fit(text, _markdown, 3000), "wrap": True} for text in _told(alert)]
    facts = [{"title": name, "value": _fit(text, _markdown, 1000)} for name, text in _facts(alert).items()]
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


def _google_chat(alert: Alert, reader: Reader) -> dict[str, Any]:
    """Text, of at most 4,096 characters. Google Chat has no way to escape a mark, so marks are broken."""
    links = [f"<{url}|{name}>" for name, url in _links(alert, reader).items()]
    facts = [f"{name}: {_fit(text, _broken, 400, most=200)}" for name, text in _facts(alert).items()]
    texts = [_fit(text, _broken, 1200, most=500) for text in _told(alert)]
    return {"text": "\n".join([f"*{_fit(summary(alert), _broken, 600, most=150)}*", *texts, *facts, *links])}


def _ntfy(alert: Alert, reader: Reader) -> dict[str, Any]:
    """A notification; of more than 4,096 bytes ntfy makes a file. Its text is plain, so nothing has to be escaped."""
    facts = [f"{name}: {_fit(text, str, 400, most=200)}" for name, text in _facts(alert).items()]
    links = _links(alert, reader)
    urgent = alert.kind != "recovery" and alert.incident.trouble.severity == "error"
    tag = "white_check_mark" if alert.kind == "recovery" else "rotating_light" if urgent else "warning"
    document = {
        "title": _fit(summary(alert), str, 240, most=_TITLE),
        "message": "\n".join([*(_fit(text, str, 900) for text in _told(alert)), *facts]),
        "priority": 4 if urgent else 3,
        "tags": [tag],
        "actions": [{"action": "view", "label": name, "url": url} for name, url in links.items()],
    }
    return document | ({"click": next(iter(links.values()))} if links else {})


MAKERS: Mapping[Format, Callable[[Alert, Reader], dict[str, Any]]] = {
    "slack": _slack,
    "slack_workflow": _slack_workflow,
    "attachments": _attachments,
    "discord": _discord,
    "teams": _teams,
    "google_chat": _google_chat,
    "ntfy": _ntfy,
    "json": _plain,
}


def _mrkdwn(text: str) -> str:
    """Text as Slack shows it: its three control characters escaped, its marks and mentions made harmless."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"@(?=\w)", "@\u200b", re.sub(r"([*_~`])", "\u200b\\1", text))


def _markdown(text: str) -> str:
    """Text as Discord, Teams, Mattermost and Rocket.Chat show it: every mark escaped, every mention broken."""
    return re.sub(r"@(?=\w)", "@\u200b", re.sub(r"([\\`*_\[\]()<>#|~])", r"\\\1", text))


def _broken(text: str) -> str:
    """Text with a mark of no width in all that would be markup, a link or a mention."""
    return re.sub(r"([*_~`<@])(?=\S)", "\\1\u200b", text)
