"""What a webhook's answer means: whether the message arrived, and if not, whether it is worth sending again.

Services say in a body what their status does not: Teams' connectors answer 200 to what Teams refused (the number 1 is
their yes), Slack and what resembles it a word or ``{"ok": false}``, Discord and Google codes of their own.
"""

import json
import re
from typing import Any, Literal, NamedTuple

from threadjuice_dagster.operations.alerts.webhook_forms import Format

Blame = Literal["outage", "message", "webhook", "unknown"]
"""Why a message did not arrive: for a time, for what it is, for whom it was sent to, or nobody knows."""

_LIMITS = (408, 425, 429)
_WEBHOOK_STATUS = (401, 402, 403, 404, 405, 410)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Slack's words, most of which Mattermost, Rocket.Chat and Discord's /slack have too.
_MESSAGE_WORDS = _words(
    "invalid_payload no_text invalid_blocks invalid_blocks_format invalid_attachments too_many_attachments"
    " invalid_arguments invalid_json missing_text_or_fallback_or_attachments msg_too_long msg_blocks_too_long"
    " message_too_long no_payload invalid_form_data invalid_post_type missing_post_type invalid_charset"
    " missing_charset invalid_array_arg invalid_arg_name json_not_object parameter_validation_failed"
)
_WEBHOOK_WORDS = _words(
    "channel_not_found channel_is_archived is_archived no_service no_service_id no_active_hooks no_team team_disabled"
    " action_prohibited posting_to_general_channel_denied invalid_token token_revoked token_expired invalid_auth"
    " not_authed account_inactive not_in_channel restricted_action user_not_found user_is_bot no_permission"
    " missing_scope trigger_not_found workflow_not_published invalid_webhook_trigger access_denied"
    " invalid_workflow_trigger trigger_exception not_allowed_token_type org_login_required"
)
_OUTAGE_WORDS = _words(
    "rollup_error fatal_error internal_error service_unavailable request_timeout timeout ratelimited rate_limited"
    " rate_limit_exceeded message_limit_exceeded server_error"
)
_DISCORD_WEBHOOK = (10003, 10004, 10015, 10016, 40333, 50001, 50013, 50024, 50027, 50083, 220001, 220003)
"""Of Discord's codes those that are about the webhook or its channel."""

_DISCORD_OUTAGE = (20016, 20028, 20029, 40062, 110001, 130000)
_RPC_WEBHOOK = ("NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "FAILED_PRECONDITION")
_RPC_OUTAGE = ("RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "ABORTED", "UNKNOWN", "CANCELLED")
_INNER_STATUS = re.compile(r"(?:HTTP error|status(?: ?code)?:?|error:?)\s*(\d{3})\b", re.IGNORECASE)
_FAILED = re.compile(r"delivery failed|bad payload|^\s*(?:error|failed|failure)\b", re.IGNORECASE)
_PAGE = re.compile(rb"\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_SHOWN = 200


class Refusal(NamedTuple):
    """Why a message did not arrive, as the service puts it; ``retry_after`` is in seconds, if it says so."""

    blame: Blame
    reason: str
    retry_after: float | None = None


def refusal(form: Format, status: int, body: bytes) -> Refusal | None:
    """Why this answer is none of a message that arrived; None for one that did."""
    document, text = _read(body)
    said = _said(document, text)
    if 200 <= status < 300:
        if form != "json" and _PAGE.match(body):
            return Refusal("webhook", "a web page, where a service would say yes")
        if not _denies(form, document, said):
            return None
        return Refusal(_blame(document, said, _inner_status(said)), said, _wait(document))
    reason = f"{status}{f': {said}' if said and not _PAGE.match(body) else ''}"
    return Refusal(_blame(document, said, status), reason, _wait(document))


def _read(body: bytes) -> tuple[dict[str, Any], str]:
    """The object in a body, if it is one, and the body's text in one line."""
    text = " ".join(body[:20_000].decode(errors="replace").split())
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}, text
    return (document, text) if isinstance(document, dict) else ({}, str(document) if document is not None else "")


def _said(document: dict[str, Any], text: str) -> str:
    """The reason in an answer: a word, a sentence, or the beginning of whatever it is."""
    error = document.get("error") or document.get("message") or document.get("detail")
    error = error or document.get("errors") or document.get("errmsg") or document.get("msg")
    if isinstance(error, dict):
        error = error.get("message") or error.get("status") or error.get("code")
    if isinstance(error, list):
        error = error[0] if error else ""
    return str(error)[:_SHOWN] if error and not isinstance(error, bool) else text[:_SHOWN]


def _denies(form: Format, document: dict[str, Any], said: str) -> bool:
    """Whether an answer of a good status says that it is none."""
    if document:
        code = document.get("errcode", document.get("code"))
        failed = any(document.get(name) is False for name in ("ok", "success", "isSuccessStatusCode"))
        inner = document.get("statusCode")
        spoken = any(name in document for name in ("message", "msg", "errmsg")) and "id" not in document
        coded = spoken and isinstance(code, int) and code != 0 and not 200 <= code < 300
        wrong = (
            any(document.get(name) for name in ("error", "errors")) or str(document.get("status")).lower() == "error"
        )
        return failed or coded or wrong or (isinstance(inner, int) and inner >= 400)
    if _word(said) in _MESSAGE_WORDS | _WEBHOOK_WORDS | _OUTAGE_WORDS:
        return True
    return bool(_FAILED.search(said)) or (form == "teams" and _inner_status(said) >= 400)


def _blame(document: dict[str, Any], said: str, status: int) -> Blame:
    """Who is to blame: the reason decides, then the status, which may be one within the text of a good answer."""
    word, code, error = _word(said), document.get("code"), document.get("error")
    rpc = error.get("status") if isinstance(error, dict) else ""
    slack = _word(error) if isinstance(error, str) else word
    outage = status in _LIMITS or status >= 500 or slack in _OUTAGE_WORDS or code in _DISCORD_OUTAGE
    if outage or rpc in _RPC_OUTAGE:
        return "outage"
    if slack in _MESSAGE_WORDS or code == 50006 or code == 50035 or rpc == "INVALID_ARGUMENT":
        return "message"
    if slack in _WEBHOOK_WORDS or code in _DISCORD_WEBHOOK or rpc in _RPC_WEBHOOK:
        return "webhook"
    if status == 413:
        return "message"
    if status in _WEBHOOK_STATUS or 300 <= status < 400:
        return "webhook"
    return "unknown"


def _wait(document: dict[str, Any]) -> float | None:
    """Discord and some others say in the body how many seconds to wait."""
    told = document.get("retry_after")
    return float(told) if isinstance(told, int | float) and not isinstance(told, bool) and told >= 0 else None


def _inner_status(said: str) -> int:
    status = _INNER_STATUS.search(said)
    return int(status[1]) if status else 0


def _word(said: str) -> str:
    """A reason as the word it is, or as the one that a sentence begins with."""
    said = said.strip().strip('"').lower()
    begun = re.match(r"[a-z]+(?:_[a-z]+)+(?=[\s:,.]|$)", said)
    return begun[0] if begun else said.replace(" ", "_").rstrip(".")
