"""What must not be published, judged without a key: rules over combinations of words, and the tone of the whole.

The rules and every threshold are data (``editorial/moderation.yaml``). Disguises are undone in
``domain/language/disguises.py``, personal data is found in ``domain/judging/personal_data.py``. An outside moderation
service belongs in ``resources/`` (its scores are decided on here too); whether a verdict stops a story, in ``assets/``.
"""

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from itertools import islice
from typing import Any

from pydantic import Field

from threadjuice_dagster.domain import editorial
from threadjuice_dagster.domain.judging.personal_data import personal_data
from threadjuice_dagster.domain.judging.tone import Tone
from threadjuice_dagster.domain.language.disguises import Unmasker
from threadjuice_dagster.domain.language.text import clean, cut
from threadjuice_dagster.domain.model import Model

PERSONAL_DATA = "personal-data"
_TONE = "its wording as a whole"
_COUNTED_HITS = 4
_MAX_KNOWN = 50_000
_PREFIXES = (3, 4)
"""Letters by which a rule's ``when`` words are looked up, the most that a word has; the pattern itself decides."""

_SENTENCE_END = re.compile(r"(?<=[.!?])[\s\"”’]+|\n+")
_WORD = re.compile(r"[a-z0-9][a-z0-9']*")
_GAP = re.compile(r" ~(\d*) ")


class Verdict(Model):
    """A moderator's verdict. ``score`` 0 to 1 is the highest category's; ``reasons`` name what was found."""

    flagged: bool
    score: float
    categories: dict[str, float]
    reasons: tuple[str, ...] = ()
    source: str = "local"


@dataclasses.dataclass(frozen=True, eq=False)
class ModerationRule:
    """One combination of words: how sure a hit alone makes us (0 to 1), and what cancels it."""

    category: str
    weight: float
    pattern: re.Pattern[str]
    unless: re.Pattern[str]


class ModerationThresholds(Model):
    """The score from which a category is flagged: for all, per category, and per story category's slug."""

    default: float
    categories: dict[str, float] = Field({})
    desks: dict[str, dict[str, float]] = Field({})

    def of(self, desk: str) -> Mapping[str, float]:
        """The thresholds set by name for a story category (none for a slug without its own)."""
        return {**self.categories, **self.desks.get(desk, {})}


class LocalModerator:
    """Applies the rules of a moderation file; one instance serves any number of texts."""

    def __init__(
        self,
        rules: dict[str, list[ModerationRule]],
        hints: dict[str, str],
        unmasker: Unmasker,
        report: re.Pattern[str],
        thresholds: ModerationThresholds,
        tone: Tone,
    ) -> None:
        self._rules = rules
        self._hints = {category: re.compile(words) for category, words in hints.items()}
        self._hints_of = lru_cache(_MAX_KNOWN)(self._look_up)
        self.unmask = unmasker.unmask
        self._report = report
        self._thresholds = thresholds
        self._tone = tone
        self._categories = (*dict.fromkeys(rule.category for found in rules.values() for rule in found), *hints)

    @classmethod
    def from_yaml(cls, text: str, tone: str = "{bias: 0, words: {}}") -> "LocalModerator":
        """Read a moderation file's text and a tone file's.

        Raises ``KeyError``, ``ValueError`` or ``re.error`` for what cannot be used.
        """
        import yaml

        data: dict[str, Any] = yaml.safe_load(text)
        lists, index = data["lists"], defaultdict(list)
        for entry in data["rules"]:
            pattern = re.compile(rf"\b(?:{_expanded(entry['pattern'], lists)})\b")
            unless = re.compile(_expanded(entry["unless"], lists) if "unless" in entry else "(?!)")
            rule = ModerationRule(entry["category"], float(entry["weight"]), pattern, unless)
            for start in _starts(entry["when"], lists):
                index[start].append(rule)
        thresholds = ModerationThresholds.model_validate(data["thresholds"])
        report = re.compile(_expanded(data["report"], lists))
        weighed = Tone(**yaml.safe_load(tone))
        return cls(dict(index), data["hints"], Unmasker(data["masked"]), report, thresholds, weighed)

    def moderate(self, text: str, desk: str = "") -> Verdict:
        """Judge a text for a desk (a story category's slug). Every category of the rules is scored."""
        cleaned = text if text.isascii() else clean(text)
        plain = self.unmask(cleaned)
        passes, reasons = self._broken_rules(plain)
        for weight, what in personal_data(cleaned):
            passes[PERSONAL_DATA] *= 1 - weight
            reasons[PERSONAL_DATA] = what
        leaning = self._leaning(plain)
        passes[leaning] *= 1 - self._tone.certainty(plain)
        scores = {one: round(1 - left, 3) for one, left in passes.items()}
        over = self.decide(scores, desk)
        named = tuple(f"{one}: {reasons.get(one, _TONE)}" for one in over)
        return Verdict(flagged=bool(over), score=max(scores.values()), categories=scores, reasons=named)

    def _broken_rules(self, plain: str) -> tuple[dict[str, float], dict[str, str]]:
        """Per category, how sure we are that it does not apply (0 to 1), and the first words that say it does."""
        passes = dict.fromkeys((*self._categories, PERSONAL_DATA), 1.0)
        reasons: dict[str, str] = {}
        hits: Counter[ModerationRule] = Counter()
        for sentence in _SENTENCE_END.split(plain):
            own: dict[str, float] = {}
            for rule, found in self._hits(sentence):
                hits[rule] += 1
                own[rule.category] = own.get(rule.category, 1.0) * (1 - rule.weight / hits[rule])
                reasons.setdefault(rule.category, f"“{cut(found, 60)}”")
            reported = bool(own) and self._report.search(sentence)
            for category, left in own.items():
                passes[category] *= (1 + left) / 2 if reported else left
        return passes, reasons

    def decide(self, scores: Mapping[str, float], desk: str = "", service_flags: Iterable[str] = ()) -> tuple[str, ...]:
        """The categories that are flagged for a desk, highest score first: at their threshold or above.

        A category that a service flagged itself stays flagged, unless a threshold is set for it by name.
        """
        named = self._thresholds.of(desk)
        over = {one for one, score in scores.items() if score >= named.get(one, self._thresholds.default)}
        over |= {service_flag for service_flag in service_flags if service_flag not in named}
        return tuple(sorted(over, key=lambda one: (-scores.get(one, 1.0), one)))

    def _leaning(self, plain: str) -> str:
        """The category that most of a text's words hint at; the first one where none does."""
        hinted = Counter(category for word in set(_WORD.findall(plain)) for category in self._hints_of(word))
        return max(self._hints, key=lambda category: hinted[category], default=PERSONAL_DATA)

    def _look_up(self, word: str) -> tuple[str, ...]:
        return tuple(category for category, hint in self._hints.items() if hint.fullmatch(word))

    def _hits(self, sentence: str) -> list[tuple[ModerationRule, str]]:
        """The rules a sentence breaks, each with the words that break it."""
        words = _WORD.findall(sentence)
        starts = {*words, *(word[:size] for word in words for size in _PREFIXES)}
        candidates = dict.fromkeys(rule for start in sorted(starts & self._rules.keys()) for rule in self._rules[start])
        hits: list[tuple[ModerationRule, str]] = []
        for rule in candidates:
            matches = [match.group().strip() for match in islice(rule.pattern.finditer(sentence), _COUNTED_HITS)]
            if matches and not rule.unless.search(sentence):
                hits.extend((rule, match) for match in matches)
        return hits


@cache
def load_moderator() -> LocalModerator:
    """Return the moderator of the package's own ``editorial/moderation*.yaml``, read once."""
    rules, tone = map(editorial.read_text, ("moderation.yaml", "moderation_tone.yaml"))
    return LocalModerator.from_yaml(rules, tone)


def _expanded(pattern: str, lists: Mapping[str, str]) -> str:
    """A pattern with its lists put in (a list may name later ones) and ``~N`` as up to N words between."""
    pattern = editorial.expand(pattern, lists)
    return _GAP.sub(lambda match: rf"(?:\W+[\w']+){{0,{match[1] or 4}}}?\W+", pattern)


def _starts(when: str, lists: Mapping[str, str]) -> set[str]:
    """Beginnings of words; ``{list}`` stands for those of the list's entries. Raises ``ValueError``."""
    starts: set[str] = set()
    for entry in when.split():
        listed = _alternatives(lists[entry[1:-1]]) if entry.startswith("{") else [entry]
        for words in listed:
            literal = re.match(r"([a-z0-9']+?)(?:[a-z0-9'](?=[?*{])|(?![a-z0-9']))", words)
            if not literal:
                raise ValueError(f"the list {entry} has an entry without a literal beginning: {words[:40]}")
            starts.add(literal[1][: _PREFIXES[-1]])
    return starts


def _alternatives(words: str) -> list[str]:
    """The entries of a list: split at each bar outside brackets."""
    found, depth = [""], 0
    for char in words:
        depth += (char == "(") - (char == ")")
        if char == "|" and depth == 0:
            found.append("")
        else:
            found[-1] += char
    return found
