"""Webhooks: whose address one is, where a message is posted, and its signature.

How a message looks there belongs in ``operations/alerts/webhook_forms.py``, what an answer means in
``operations/alerts/webhook_answers.py``.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from threadjuice_dagster.operations.alerts.rules import Alert
from threadjuice_dagster.operations.alerts.webhook_forms import MAKERS, Format, Reader

_HOSTS: Mapping[str, Format] = {
    "webhook.office.com": "teams",
    "outlook.office.com": "teams",
    "outlook.office365.com": "teams",
    "logic.azure.com": "teams",
    "logic.azure.us": "teams",
    "api.powerplatform.com": "teams",
    "api.powerplatform.us": "teams",
    "chat.googleapis.com": "google_chat",
    "ntfy.sh": "ntfy",
}
_SLACK = ("hooks.slack.com", "hooks.slack-gov.com")
_DISCORD = ("discord.com", "discordapp.com")
_MATTERMOST = re.compile(r"/hooks/[a-z0-9]{26}")
_ROCKET_CHAT = re.compile(r"/hooks/[A-Za-z0-9]{17,24}/[A-Za-z0-9_-]{32,}")


def detect(url: str) -> Format:
    """The form that the service behind a webhook's address takes; ``json`` for one that nobody knows.

    Mattermost, Rocket.Chat and ntfy run on hosts of any name: those are known by a path as they make them, or by a name
    that says it.
    """
    parts = urlsplit(url)
    host, path = (parts.hostname or "").lower().rstrip("."), parts.path.rstrip("/")
    if _is_under(host, _SLACK):
        return "slack_workflow" if path.startswith(("/workflows/", "/triggers/")) else "slack"
    if _is_under(host, _DISCORD):
        return "slack" if path.endswith("/slack") else "discord"
    known = next((form for name, form in _HOSTS.items() if _is_under(host, (name,))), None)
    return known or _self_hosted(host, path)


def endpoint(url: str, form: Format) -> str:
    """Where a message is posted: the address as it is, but for two services.

    Discord's ``/github`` takes GitHub's own events only, which an alert is none of: the address without it takes any
    message. ntfy takes JSON at its root, and the topic in it.
    """
    parts = urlsplit(url)
    if form == "discord":
        return parts._replace(path=re.sub(r"/github/?$", "", parts.path)).geturl()
    return parts._replace(path="/".join(_ntfy_path(parts)[:-1]) or "/").geturl() if form == "ntfy" else url


def render(alert: Alert, form: Format, reader: Reader, url: str = "") -> bytes:
    """The body to post, JSON in UTF-8; Discord's ``/slack`` takes Slack's form without its blocks."""
    is_discord = _is_under((urlsplit(url).hostname or "").lower(), _DISCORD)
    document = MAKERS["attachments" if form == "slack" and is_discord else form](alert, reader)
    if form == "ntfy":
        document = {"topic": _ntfy_path(urlsplit(url))[-1], **document}
    return json.dumps(document, ensure_ascii=False).encode(errors="replace")


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


def _is_under(host: str, names: tuple[str, ...]) -> bool:
    return any(host == name or host.endswith(f".{name}") for name in names)


def _self_hosted(host: str, path: str) -> Format:
    named = f".{host}"
    if _MATTERMOST.fullmatch(path) or (".mattermost." in named and path.startswith("/hooks/")):
        return "attachments"
    if _ROCKET_CHAT.fullmatch(path) or (re.search(r"\.rocket-?chat\.", named) and path.startswith("/hooks/")):
        return "attachments"
    return "ntfy" if named.startswith(".ntfy.") and path.strip("/") else "json"


def _ntfy_path(parts: SplitResult) -> list[str]:
    return parts.path.rstrip("/").split("/")
