"""Whether the public can still read a post or comment of Reddit's, and whether a post may become a story at all.

``is_gone`` is the one rule that the reader of threads and the takedown sweep share: what the sweep would take down is
never read in. Fields are those of Reddit's API; what is done about a thing that is gone belongs to the callers.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from threadjuice_dagster.domain.language.text import clean, unescaped
from threadjuice_dagster.sources.reddit_bots import is_bots_name

Thing = Mapping[str, Any]

_MARKS = r"[\s*_~`\\.]*"
_STATES = (
    r"deleted|removed|unavailable|gelöscht|entfernt|supprimée?|retirée?|eliminad[oa]|borrad[oa]|removid[oa]|apagad[oa]"
    r"|excluíd[oa]|eliminat[oa]|rimoss[oa]|verwijderd|usunięt[oaey]|удален[оа]?|удалён"
)
"""In English as Reddit sends it, and as its pages show it in other languages."""

GONE = re.compile(
    rf"{_MARKS}\[{_MARKS}(?:(?:this )?(?:comment|post|content) )?(?:{_STATES})"
    rf"(?:\s+(?:by|on|in|for|due|from)\b(?:[^\[\]]|\[[^\[\]]*\])*)?{_MARKS}\]{_MARKS}"
    r"|\s*(?:this )?(?:comment|post) (?:was |has been )?(?:removed|deleted) by"
    r" (?:(?:an? |the |its )?(?:moderators?|users?|authors?|poster)|reddit)\.?\s*"
    r"|\s*sorry, this post (?:was|has been) (?:removed|deleted) by [^\n]{0,160}",
    re.IGNORECASE,
)
"""What stands in place of a text that is gone, such as "[deleted]" or "[ Removed by Reddit on account of … ]"."""

_FLAGS = ("removed_by_category", "removed_by", "removal_reason", "removed", "banned_by", "banned_at_utc", "spam")
_COLLAPSED = ("DELETED", "REMOVED")
_NOT_SET = ("", "0", "false", "none", "null")
_NO_AUTHOR = ("", "none", "null", "nan")
"""Names that are no account's where Reddit names no account beside them: how programs write a missing author."""

_ADS = ("promoted", "is_created_from_ads_ui")
_NOT_PUBLIC = ("private", "employees_only", "gold_only", "gold_restricted")
_MOST_PARENTS = 10


def is_gone(thing: Thing) -> bool:
    """Whether a post or comment was deleted or removed, or its account was; a crosspost goes with what it repeats."""
    return any(map(_is_gone_itself, with_parents(thing))) or (
        is_set(thing.get("crosspost_parent")) and not thing.get("crosspost_parent_list") and not thing.get("selftext")
    )


def why_barred(post: Thing) -> str:
    """Why a post may not become a story, as what follows "Thread 1abcde …", or nothing."""
    posts = list(with_parents(post))
    reasons = {
        "was removed or deleted": is_gone(post),
        "is an advertisement": any(is_set(one.get(field)) for one in posts for field in _ADS),
        "stands in a quarantined forum": any(is_set(one.get("quarantine")) for one in posts),
        "stands in a forum that is not public": any(one.get("subreddit_type") in _NOT_PUBLIC for one in posts),
        "was posted by a bot": any(is_bots_name(str(one.get("author") or "")) for one in posts),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def with_parents(post: Thing) -> Iterator[Thing]:
    """A post, then what it repeats as a crosspost, nearest first."""
    waiting = [post]
    for _ in range(_MOST_PARENTS):
        if not waiting:
            return
        yield (current := waiting.pop(0))
        parents = current.get("crosspost_parent_list")
        if isinstance(parents, list):
            waiting += [parent for parent in islice(parents, _MOST_PARENTS) if isinstance(parent, Mapping)]


def is_set(value: object) -> bool:
    """Whether a field says yes; some programs save ``false`` and ``null`` as words."""
    return str(value if value is not None else "").strip().lower() not in _NOT_SET


def _has_author(thing: Thing) -> bool:
    """Whether the account that wrote it is still there, as far as is told."""
    if "author_fullname" in thing and not is_set(thing["author_fullname"]):
        return False
    name = str(thing.get("author", "unknown") or "").strip()
    return not GONE.fullmatch(name) and (name.lower() not in _NO_AUTHOR or is_set(thing.get("author_fullname")))


def _is_gone_itself(thing: Thing) -> bool:
    texts = [thing.get(field) for field in ("selftext", "title", "body")]
    return (
        not _has_author(thing)
        or any(is_set(thing.get(flag)) for flag in _FLAGS)
        or str(thing.get("collapsed_reason_code")).upper() in _COLLAPSED
        or any(GONE.fullmatch(clean(unescaped(text))) for text in texts if isinstance(text, str))
    )
