"""User names in the text of a thread: found in every spelling, and replaced before the text is stored."""

import re
from collections.abc import Iterable, Set

SOMEBODY = "another user"
"""What stands in place of a name; a sentence with it is not printed."""

_NAME = r"(?:\\?[A-Za-z0-9_-]){3,}"
_SLASH = r"(?:\\?/|%2F)"
_SITE = r"(?:(?:https?:)?\\?/\\?/)?(?:[\w-]{1,63}\.){1,6}[a-z]{2,}"
_NOT_A_NAME = (
    r"(?:accounts?|admins?|agents?|clients?|customers?|data|devices?|groups?|guests?|hosts?|id|ids|interfaces?|names?|owners?"
    r"|pass|passwords?|permissions?|profiles?|roles?|system|experience)\b"
)
_ADDRESS = rf"{_SLASH}(?:(?:u|user){_SLASH}|r{_SLASH}u_){_NAME}"
_MENTION = re.compile(
    rf"""\[[^\]\n]{{0,300}}\]\(\s*<?(?:{_SITE})?{_ADDRESS}[^)\n]*\)
      | (?<![\w/.]){_SITE}{_ADDRESS}(?:[/?#][^\s)\]>"”]*(?<![.,;:!?]))?
      | {_SLASH}u{_SLASH}{_NAME}
      | (?<![A-Za-z0-9/.])(?:{_SLASH}user{_SLASH} | user{_SLASH}(?!{_NOT_A_NAME}) | u{_SLASH} | {_SLASH}?r{_SLASH}u_)
        {_NAME}
      | (?<![\w.@/])@\\?[A-Za-z_](?:\\?[\w.])*(?:@[\w.-]+\w|(?<=\w\w)\w)""",
    re.VERBOSE | re.IGNORECASE,
)
_TOKEN = re.compile(r"(?:[A-Za-z0-9_-]|\\[_-])+")


def masked(text: str, names: Set[str] = frozenset()) -> str:
    """The text without user names: mentions, profile links, and the ``names`` (``telling_names``) as such."""
    if "/" in text or "@" in text or "%" in text:
        text = _MENTION.sub(lambda mention: f"{_gap(mention)}{SOMEBODY}", text)
    return _TOKEN.sub(lambda token: _kept(token[0], names), text) if names else text


def telling_names(authors: Iterable[str]) -> frozenset[str]:
    """Those names, in small letters, that are no everyday words: with a figure, an underscore or a capital inside."""
    return frozenset(
        name.lower()
        for name in authors
        if len(name) > 4 and re.search(r"[A-Za-z]", name) and re.search(r"[\d_]|[a-z][A-Z]", name)
    )


def _gap(mention: re.Match[str]) -> str:
    """A space where a name was written straight behind a word."""
    return " " if mention.string[max(0, mention.start() - 1) : mention.start()].isalnum() else ""


def _kept(token: str, names: Set[str]) -> str:
    bare = token.replace("\\", "").lower()
    return SOMEBODY if bare in names or bare.strip("_-") in names else token
