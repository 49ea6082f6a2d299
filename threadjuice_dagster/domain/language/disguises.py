"""Disguised words undone: look-alike letters, digits and signs for letters, asterisks, spacing, stretching.

Only words that a moderation file lists are ever revealed; any other text stays as it is, in lower case. What
the revealed words amount to belongs in ``domain/judging/moderation.py``.
"""

import re
import unicodedata
from collections.abc import Collection

_LOOK_ALIKES = str.maketrans("аеорсухіјѕԁһкмтвпӏԛԝοανρτυικεɡıɑոօ’‘“”", "aeopcyxijsdhkmtbnlqwoavptuikegiano''\"\"")
_LEET = {
    "0": "o",
    "1": "il",
    "3": "e",
    "4": "a",
    "5": "s",
    "6": "g",
    "7": "t",
    "8": "b",
    "9": "g",
    "@": "a",
    "$": "s",
    "!": "il",
    "|": "il",
    "+": "t",
    "(": "c",
}
_ANY = "[a-z]"
_SIGNS = r"0-9@$!|*+#%("
_DISGUISED = re.compile(rf"(?<![a-z{_SIGNS}])[a-z{_SIGNS}]*?(?:[a-z][{_SIGNS}]|[{_SIGNS}][a-z])[a-z{_SIGNS}]*")
_SPACED = re.compile(r"(?<![^\W_])[^\W\d_](?:[ .\-_*/]{1,2}[^\W\d_]){2,}(?![^\W_])")
_STRETCHED = re.compile(r"\b\w*?([a-z])\1{2,}\w*")
_RUN = re.compile(r"([a-z])\1+")
_LONGEST = 40
"""Characters of a run that is still looked into: no word in disguise is longer."""


class Unmasker:
    """Knows the words worth revealing; one instance serves any number of texts."""

    def __init__(self, masked: Collection[str]) -> None:
        self._masked = dict.fromkeys(masked)
        self._squeezable = {_RUN.sub(r"\1", word): word for word in sorted(masked)}

    def unmask(self, text: str) -> str:
        """The text in lower case with disguises undone."""
        text = text.lower()
        if not text.isascii():
            plain = unicodedata.normalize("NFKD", text).translate(_LOOK_ALIKES)
            text = "".join(char for char in plain if not unicodedata.combining(char))
        text = _SPACED.sub(lambda match: self._joined(match.group()), text)
        text = _DISGUISED.sub(lambda match: self._revealed(match.group()), text)
        return _STRETCHED.sub(lambda match: self._squeezed(match.group()), text).replace("_", " ")

    def _joined(self, spaced: str) -> str:
        """Single letters put together, if that makes masked words; short ones only if nothing is left over."""
        joined = re.sub(r"[^a-z]", "", spaced)
        if len(joined) > _LONGEST:
            return spaced
        if joined in self._masked:
            return joined
        known = (word for word in self._masked if len(word) > 3 and word in joined)
        hidden = max(known, key=lambda word: (len(word), word), default="")
        return " ".join(joined.replace(hidden, f" {hidden} ").split()) if hidden else spaced

    def _revealed(self, token: str) -> str:
        """A token with digits or signs for letters, if that makes it a masked word; else as it was."""
        if len(token) > _LONGEST:
            return token
        for word in (token.strip("*#%").rstrip("!|+("), token):
            letters = [_ANY if char in "*#%" else f"[{_LEET.get(char, char)}]" for char in word]
            shape = re.compile(
                "".join(letters) + "|" + ("".join(letters[:-1]) if word.endswith(("s", "$")) else "(?!)")
            )
            known = next((known for known in self._masked if shape.fullmatch(known)), "")
            if known:
                return known
        return token

    def _squeezed(self, token: str) -> str:
        once = _RUN.sub(r"\1", token)
        known = self._squeezable.get(once) or self._squeezable.get(once.removesuffix("s"))
        return known or re.sub(r"([a-z])\1{2,}", r"\1\1", token)
