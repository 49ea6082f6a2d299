"""Undoes disguises of words: look-alike letters, digits and signs for letters, asterisks, spacing, stretching.

Only words that a moderation file lists are revealed. Any other text stays as it is, in lower case. What the revealed
words mean is decided in ``domain/judging/moderation.py``.
"""

import re
import unicodedata
from collections.abc import Collection

_MISREAD = str.maketrans("ӏӀ🅰🅱🅾🅿’‘“”", "llabop''\"\"")
"""Characters that decancer reads as another letter (it takes the Cyrillic ӏ for an i), or takes for an emoji."""

_RUN_OF_SIGNS = re.compile(r"[^\s€£¥\ud800-\udfff]+")
"""What is given to decancer at once. It would make letters of currency signs, and it refuses lone surrogates."""

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
"""Characters. Longer tokens are left alone, since no disguised word is longer."""


def _without_look_alikes(run: re.Match[str]) -> str:
    """Return a run of characters with look-alikes of Latin letters replaced by those letters."""
    if run[0].isascii():
        return run[0]
    from decancer_py import parse

    # Without disable_bidi, decancer would put the letters of Hebrew and Arabic words into another order.
    return str(parse(run[0], disable_bidi=True, retain_emojis=True))


class Unmasker:
    """Reveals the words of one list in any number of texts."""

    def __init__(self, masked: Collection[str]) -> None:
        self._masked = dict.fromkeys(masked)
        self._squeezable = {_RUN.sub(r"\1", word): word for word in sorted(masked)}

    def unmask(self, text: str) -> str:
        """Return the text in lower case with disguises undone."""
        text = text.lower()
        if not text.isascii():
            text = _RUN_OF_SIGNS.sub(_without_look_alikes, unicodedata.normalize("NFKD", text).translate(_MISREAD))
        text = _SPACED.sub(lambda match: self._joined(match.group()), text)
        text = _DISGUISED.sub(lambda match: self._revealed(match.group()), text)
        return _STRETCHED.sub(lambda match: self._squeezed(match.group()), text).replace("_", " ")

    def _joined(self, spaced: str) -> str:
        """Join single letters if they make a masked word. A word of three letters must use all of them."""
        joined = re.sub(r"[^a-z]", "", spaced)
        if len(joined) > _LONGEST:
            return spaced
        if joined in self._masked:
            return joined
        hidden_words = (word for word in self._masked if len(word) > 3 and word in joined)
        hidden = max(hidden_words, key=lambda word: (len(word), word), default="")
        return " ".join(joined.replace(hidden, f" {hidden} ").split()) if hidden else spaced

    def _revealed(self, token: str) -> str:
        """Return the masked word that a token with digits or signs stands for, else the token."""
        if len(token) > _LONGEST:
            return token
        for word in (token.strip("*#%").rstrip("!|+("), token):
            letters = [_ANY if char in "*#%" else f"[{_LEET.get(char, char)}]" for char in word]
            shape = re.compile(
                "".join(letters) + "|" + ("".join(letters[:-1]) if word.endswith(("s", "$")) else "(?!)")
            )
            if masked := next((masked for masked in self._masked if shape.fullmatch(masked)), ""):
                return masked
        return token

    def _squeezed(self, token: str) -> str:
        """Return the masked word that was stretched ("idiooot"); shorten any other run to two letters."""
        once = _RUN.sub(r"\1", token)
        masked = self._squeezable.get(once) or self._squeezable.get(once.removesuffix("s"))
        return masked or re.sub(r"([a-z])\1{2,}", r"\1\1", token)
