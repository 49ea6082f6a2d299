"""Finds user names in the text of a thread in every spelling, and replaces them before the text is stored."""

import re
from collections.abc import Iterable, Set

SOMEBODY = "another user"
"""The words that replace a name. The extractive writer prints no sentence with them."""

_NAME = r"(?:\\?[A-Za-z0-9_-]){3,}"
_SLASH = r"(?:\\?/|%2F)"
_SITE = r"(?:(?:https?:)?\\?/\\?/)?(?:[\w-]{1,63}\.){1,6}[a-z]{2,}"
_NOT_A_NAME = (
    r"(?:accounts?|admins?|agents?|clients?|customers?|data|devices?|groups?|guests?|hosts?|id|ids|interfaces?|names?|owners?"
    r"|pass|passwords?|permissions?|profiles?|roles?|system|experience)\b"
)
_ADDRESS = rf"{_SLASH}(?:(?:u|user){_SLASH}|r{_SLASH}u_){_NAME}"
_MENTION = re.compile(
    rf"""\[[^\]\n]{{0,300}}\]\(\s*<?(?:{_SITE})?{_ADDRESS}[^)\n]{{0,500}}\)
      | (?<![\w/.]){_SITE}{_ADDRESS}(?:[/?#][^\s)\]>"”]*(?<![.,;:!?]))?
      | {_SLASH}u{_SLASH}{_NAME}
      | (?<![A-Za-z0-9/.])(?:{_SLASH}user{_SLASH} | user{_SLASH}(?!{_NOT_A_NAME}) | u{_SLASH} | {_SLASH}?r{_SLASH}u_)
        {_NAME}
      | (?<![\w.@/])@\\?[A-Za-z_](?:\\?[\w.])*(?:@[\w.-]+\w|(?<=\w\w)\w)""",
    re.VERBOSE | re.IGNORECASE,
)
_TOKEN = re.compile(r"(?:[A-Za-z0-9_-]|\\[_-])+")


def masked(text: str, names: Set[str] = frozenset()) -> str:
    """Return the text with mentions, profile links and the given ``names`` (of ``telling_names``) replaced."""
    if "/" in text or "@" in text or "%" in text:
        text = _MENTION.sub(_in_place, text)
    return _TOKEN.sub(lambda token: _kept(token[0], names), text) if names else text


def telling_names(authors: Iterable[str]) -> frozenset[str]:
    """Return in lower case the names that are no everyday words: with a digit, an underscore or an inner capital."""
    return frozenset(
        name.lower()
        for name in authors
        if len(name) > 4 and re.search(r"[A-Za-z]", name) and re.search(r"[\d_]|[a-z][A-Z]", name)
    )


def _in_place(mention: re.Match[str]) -> str:
    """Return ``SOMEBODY``, capitalised at the start of a sentence and with a space after a word."""
    before = mention.string[max(0, mention.start() - 3) : mention.start()]
    if not before.strip() or re.search(r"[.!?]\s+$|\n$", before):
        return SOMEBODY.capitalize()
    return f" {SOMEBODY}" if before[-1].isalnum() else SOMEBODY


def _kept(token: str, names: Set[str]) -> str:
    bare = token.replace("\\", "").lower()
    return SOMEBODY if bare in names or bare.strip("_-") in names else token
