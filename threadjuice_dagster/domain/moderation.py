"""What must not be published, judged without a key: rules over combinations of words, never single ones.

The rules are data (``editorial/moderation.yaml``); disguises are undone here. An outside moderation
service belongs in ``resources/``; whether a verdict stops a story, in ``checks/``.
"""

import dataclasses
import re
import unicodedata
from collections import Counter, defaultdict
from functools import cache, lru_cache
from itertools import islice, product
from typing import Any

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.text import clean, cut

FLAGGED_AT = 0.5
_HINT, _MAX_HINT = 0.06, 0.3
_MAX_KNOWN = 50_000
_PREFIXES = (3, 4)
"""Letters by which a rule's ``when`` words are looked up, the most that a word has; the pattern itself decides."""

_LOOK_ALIKES = str.maketrans("аеорсухіјѕԁһкмтвпοανρτυικε’‘“”ɡıⅰ", "aeopcyxijsdhkmtbnoavptuike''\"\"gii")
_LEET = dict(zip("0134578@$!|", ("o", "il", "e", "a", "s", "t", "b", "a", "s", "il", "il"), strict=True))
_DISGUISED = re.compile(r"[a-z0-9@$!|*+]*(?:[a-z][0-9@$!|*]|[0-9@$!|*][a-z])[a-z0-9@$!|*]*")
_SPACED = re.compile(r"(?<![^\W_])[^\W\d_](?:([ .\-_*/]{1,2})[^\W\d_])(?:[ .\-_*/]{1,2}[^\W\d_])+(?![^\W_])")
_STRETCHED = re.compile(r"\b\w*?([a-z])\1{2,}\w*")
_RUN = re.compile(r"([a-z])\1+")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\s\"”’]+|\n+")
_WORD = re.compile(r"[a-z0-9][a-z0-9']*")

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}", re.IGNORECASE)
_PHONE = re.compile(
    r"(?<![\w.,/$£€-])(?:\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{2,4}|\(\d{3}\) ?\d{3}[-. ]\d{4}"
    r"|\d{3}[-. ]\d{3}[-. ]\d{4}|0\d{4} ?\d{6}|0\d{2,3} \d{3,4} \d{4}|0\d{3} \d{3} \d{3,4})(?![\w-]|[.,]\d)"
)
_CARD = re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b")
_SOCIAL_SECURITY = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")


class Verdict(Model):
    """A moderator's verdict. ``score`` 0 to 1 is the highest category's; ``reasons`` name what was found."""

    flagged: bool
    score: float
    categories: dict[str, float]
    reasons: tuple[str, ...] = ()
    source: str = "local"


@dataclasses.dataclass(frozen=True, eq=False)
class Rule:
    """One combination of words: how sure a hit alone makes us (0 to 1), and what cancels it."""

    category: str
    weight: float
    pattern: re.Pattern[str]
    unless: re.Pattern[str]


class LocalModerator:
    """Applies the rules of a moderation file; one instance serves any number of texts."""

    def __init__(
        self, rules: dict[str, list[Rule]], hints: dict[str, str], masked: frozenset[str], report: str
    ) -> None:
        self._rules = rules
        self._hints = {category: re.compile(words) for category, words in hints.items()}
        self._hints_of = lru_cache(_MAX_KNOWN)(self._look_up)
        self._masked = masked
        self._squeezable = {_RUN.sub(r"\1", word): word for word in masked}
        self._report = re.compile(report)
        self._categories = dict.fromkeys(rule.category for found in rules.values() for rule in found)

    @classmethod
    def from_yaml(cls, text: str) -> "LocalModerator":
        """Read a moderation file's text. Raises ``KeyError`` or ``re.error`` for a rule that cannot be used."""
        import yaml

        data: dict[str, Any] = yaml.safe_load(text)
        index: defaultdict[str, list[Rule]] = defaultdict(list)
        for entry in data["rules"]:
            pattern, unless = (_compiled(entry.get(key), data["lists"]) for key in ("pattern", "unless"))
            rule = Rule(entry["category"], float(entry["weight"]), pattern, unless)
            for start in {word[: _PREFIXES[-1]] for word in entry["when"].split()}:
                index[start].append(rule)
        return cls(dict(index), data["hints"], frozenset(data["masked"]), data["report"])

    def moderate(self, text: str) -> Verdict:
        """Judge a text. Every category of the rules is scored; 0.5 or more in one flags the text."""
        cleaned = text if text.isascii() else clean(text)
        plain = self.unmask(cleaned)
        passes = dict.fromkeys((*self._categories, "personal-data"), 1.0)
        reasons: dict[str, str] = {}
        hits: defaultdict[Rule, int] = defaultdict(int)
        for sentence in _SENTENCE_END.split(plain):
            for rule, found in self._hits(sentence):
                hits[rule] += 1
                if hits[rule] <= 2:
                    certainty = rule.weight / hits[rule] * (0.5 if self._report.search(sentence) else 1.0)
                    passes[rule.category] *= 1 - certainty
                    reasons.setdefault(rule.category, f"“{cut(found, 60)}”")
        for weight, what in _personal_data(cleaned):
            passes["personal-data"] *= 1 - weight
            reasons["personal-data"] = what
        floors = self._hinted(plain)
        return _verdict({one: round(max(1 - left, floors.get(one, 0.0)), 3) for one, left in passes.items()}, reasons)

    def unmask(self, text: str) -> str:
        """The text in lower case with disguises undone: look-alike letters, digits, asterisks, spacing, stretching."""
        text = text.lower()
        if not text.isascii():
            plain = unicodedata.normalize("NFKD", text).translate(_LOOK_ALIKES)
            text = "".join(char for char in plain if not unicodedata.combining(char))
        text = _SPACED.sub(lambda match: self._joined(match.group()), text)
        text = _DISGUISED.sub(lambda match: self._revealed(match.group()), text)
        return _STRETCHED.sub(lambda match: self._squeezed(match.group()), text)

    def _hinted(self, plain: str) -> dict[str, float]:
        """Per category, what its single words amount to: a floor that orders texts and never flags one."""
        found = _WORD.findall(plain)
        per_word = _HINT / max(1.0, len(found) / 60)
        counts = Counter(category for word in set(found) for category in self._hints_of(word))
        return {category: min(_MAX_HINT, per_word * count) for category, count in counts.items()}

    def _look_up(self, word: str) -> tuple[str, ...]:
        return tuple(category for category, hint in self._hints.items() if hint.fullmatch(word))

    def _hits(self, sentence: str) -> list[tuple[Rule, str]]:
        """The rules a sentence breaks, each with the words that break it."""
        words = _WORD.findall(sentence)
        starts = {*words, *(word[:size] for word in words for size in _PREFIXES)}
        candidates = dict.fromkeys(rule for start in sorted(starts & self._rules.keys()) for rule in self._rules[start])
        found: list[tuple[Rule, str]] = []
        for rule in candidates:
            matches = [match.group().strip() for match in islice(rule.pattern.finditer(sentence), 3)]
            if matches and not rule.unless.search(sentence):
                found.extend((rule, match) for match in matches)
        return found

    def _joined(self, spaced: str) -> str:
        joined = re.sub(r"[^a-z]", "", spaced)
        hidden = max((word for word in self._masked if len(word) > 3 and word in joined), key=len, default="")
        return " ".join(joined.replace(hidden, f" {hidden} ").split()) if hidden else spaced

    def _revealed(self, token: str) -> str:
        """A token with digits or signs for letters, if that makes it a masked word; else as it was."""
        starred = token.strip("*")
        if "*" in starred:
            shape = re.compile(re.escape(starred).replace(r"\*", "[a-z]"))
            return min((word for word in self._masked if shape.fullmatch(word)), default=token)
        readings = ["".join(letters) for letters in product(*(_LEET.get(char, char) for char in token[:16]))]
        known = (one for one in readings if one in self._masked or one.removesuffix("s") in self._masked)
        return next(known, token)

    def _squeezed(self, token: str) -> str:
        once = _RUN.sub(r"\1", token)
        known = self._squeezable.get(once) or self._squeezable.get(once.removesuffix("s"))
        return known or re.sub(r"([a-z])\1{2,}", r"\1\1", token)


@cache
def load_moderator() -> LocalModerator:
    """The moderator of the package's own ``editorial/moderation.yaml``, read once."""
    from importlib.resources import files

    source = files("threadjuice_dagster") / "editorial" / "moderation.yaml"
    return LocalModerator.from_yaml(source.read_text(encoding="utf-8"))


def _compiled(pattern: str | None, lists: dict[str, str]) -> re.Pattern[str]:
    """A rule's pattern with its lists put in; one that is not given never matches."""
    for name, words in lists.items():
        pattern = pattern and pattern.replace("{" + name + "}", f"(?:{words})")
    return re.compile(pattern or r"(?!)")


def _verdict(scores: dict[str, float], reasons: dict[str, str]) -> Verdict:
    score = max(scores.values())
    found = sorted((one for one in reasons if scores[one] >= FLAGGED_AT), key=lambda one: -scores[one])
    named = tuple(f"{category}: {reasons[category]}" for category in found)
    return Verdict(flagged=score >= FLAGGED_AT, score=score, categories=scores, reasons=named)


def _personal_data(text: str) -> list[tuple[float, str]]:
    """Certainty and name of each kind of personal data in a text; the data itself is never repeated."""
    matches = {
        "a telephone number": (0.65, _PHONE.search(text)),
        "an e-mail address": (0.7, "@" in text and _EMAIL.search(text)),
        "a social security number": (0.7, _SOCIAL_SECURITY.search(text)),
        "a bank account number (IBAN)": (0.95, any(map(_is_iban, _IBAN.findall(text)))),
        "a payment card number": (0.95, any(map(_is_card, _CARD.findall(text)))),
    }
    return [(weight, what) for what, (weight, found) in matches.items() if found]


def _is_card(number: str) -> bool:
    """Luhn's check (ISO/IEC 7812-1) on a number that begins like a card's."""
    digits = re.sub(r"\D", "", number)
    doubled = [int(digit) * (2 if index % 2 else 1) for index, digit in enumerate(reversed(digits))]
    return digits[0] in "3456" and len(set(digits)) > 1 and sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def _is_iban(account: str) -> bool:
    """ISO 13616's check: the account, moved and spelled in digits, leaves 1 modulo 97."""
    account = account.replace(" ", "")
    spelled = "".join(str(int(char, 36)) for char in account[4:] + account[:4])
    return 15 <= len(account) <= 34 and int(spelled) % 97 == 1
