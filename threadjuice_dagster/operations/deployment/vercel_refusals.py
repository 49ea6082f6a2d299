"""What Vercel's refusals say, and what an operator does about each (https://vercel.com/docs/rest-api/errors)."""

import json
import re
from collections.abc import Mapping
from typing import Any

from threadjuice_dagster.failures import PermanentFailure, ThreadJuiceError, TransientFailure
from threadjuice_dagster.resources.http import Answer

_CREATE_ANOTHER = "Create another one at vercel.com/account/tokens, with access to the project, and set VERCEL_TOKEN."
_UNCHANGED = "See what Vercel's documentation says of that code; the site in use is unchanged."
_LIMITED = "Wait until Vercel's limit is over, or take a larger plan; the site in use is unchanged."
_FEWER = "Set CDN_BUCKET, then run: threadjuice maintenance optimize. The site in use is unchanged."
_NEXT_STEPS = {
    401: _CREATE_ANOTHER,
    402: _LIMITED,
    403: _CREATE_ANOTHER,
    404: "Check VERCEL_PROJECT_ID, VERCEL_TEAM_ID and VERCEL_API_URL.",
    413: _FEWER,
    429: _LIMITED,
}
_TOO_MANY = re.compile(r"files.{0,20}should NOT have more than", re.IGNORECASE)
_LOGIN = re.compile(r"vercel\.com/(?:sso-api|login)|_vercel_sso_nonce|_vercel_password", re.IGNORECASE)
_LONGEST = 300


def reason(answer: Answer) -> str:
    """Vercel's own message and code for a refusal, in one line; empty where it gives none."""
    try:
        error = json.loads(answer.body).get("error")
    except (ValueError, AttributeError, RecursionError):
        return ""
    if not isinstance(error, Mapping):
        return ""
    message, code = _line(error.get("message")), _line(error.get("code"))
    return f"{message.rstrip('.')} ({code})" if message and code else message or code


def refusal(asked: str, status: int, told: str) -> ThreadJuiceError:
    """The failure that a refusal amounts to. ``asked`` names the request, ``told`` is Vercel's reason."""
    message = f"Vercel refused {asked} with {status}{f': {told}' if told else ''}."
    if _TOO_MANY.search(told):
        return PermanentFailure(message, _FEWER)
    next_step = _NEXT_STEPS.get(status, _UNCHANGED)
    if status == 402:  # a plan's limit of a day or a month: it is over by itself
        return TransientFailure(message, next_step, exhausted=True)
    return PermanentFailure(message, next_step)


def is_locked(answer: Answer) -> bool:
    """Whether this is deployment protection instead of the site: a refusal, or the way to Vercel's login."""
    told = [answer.headers.get(name, "") for name in ("location", "set-cookie")]
    redirects = 300 <= answer.status < 400 and bool(_LOGIN.search(" ".join(told)))
    return answer.status in (401, 403) or redirects


def locked(url: str, answer: Answer, *, with_secret: bool) -> ThreadJuiceError:
    """What is told of a deployment that nobody gets to see without a login."""
    message = f"Vercel's deployment protection answers {answer.status} at {url} instead of the site"
    if with_secret:
        message, what = f"{message}, and does not take the bypass secret", "a secret that is valid now"
    else:
        what = "a secret"
    next_step = f"Set VERCEL_AUTOMATION_BYPASS_SECRET to {what}, from the project's Deployment Protection settings."
    return PermanentFailure(f"{message}.", next_step)


def _line(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:_LONGEST]
