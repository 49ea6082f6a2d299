"""Whether the sentences of a text stand in the order they were written in.

Every signal is held against what the same text would have in a random order, so that neither subject nor length
moves it. Whether a paragraph belongs to the text at all is decided in ``domain/judging/unity.py``.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import combinations, pairwise
from statistics import fmean

from threadjuice_dagster.domain.judging.weights import BREAKS, FOLLOWS, ORDER, ORDER_SHIFT, PLACES, ROLES
from threadjuice_dagster.domain.language.lexicon import COMMON
from threadjuice_dagster.domain.language.prose import Reading, broken_quotes, subject

MIN_SENTENCES = 7
"""Under this an order cannot be told from chance."""

_MAX_SENTENCES = 80
"""Sentences held against a source's, and mentions of a subject compared: a bound on quadratic cost."""

_NAME = re.compile(r"[A-Z][\w'’-]+(?: [A-Z][\w'’-]+)*")
_APPOSITION = re.compile(r",? (?:who|an?|the|then|now|aged|\d|whose|from|his|her|my|our)\b|, \w")
_PRESENTED = re.compile(r"\b(?:called|named|my|our|an?|his|her|their) (?:\w+ )?(?:\w+,? )?$")
_ARTICLES = {"a": 1, "an": 1, "the": -1, "this": -1, "that": -1, "these": -1, "those": -1}
_YEAR = re.compile(r"\b(?:1[89]|20)\d\d\b")
_SEQUENCES = (
    ("first", "second", "third", "fourth", "fifth", "last"),
    ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
     "december"),
)  # fmt: skip
_FOLLOWERS = {first: [b for a, b in FOLLOWS if a == first] for first, _ in FOLLOWS}
_RANK = {word: (kind, rank) for kind, sequence in enumerate(_SEQUENCES) for rank, word in enumerate(sequence)}


def in_order(reading: Reading) -> float | None:
    """How far a text looks like one in its own order; under 0 hardly any sound text is. None for a short text.

    The unit is one standard deviation of what random orders of texts score.
    """
    if len(reading.sentences) < MIN_SENTENCES:
        return None
    unbroken = len({*reading.homes}) in (1, len(reading.homes))
    found = sum(ORDER.get(name, 0.0) * value for name, value in signals(reading).items())
    return found + ORDER_SHIFT + BREAKS * unbroken


def signals(reading: Reading) -> dict[str, float]:
    """Every signal of order, by name; about 0 in a random order of the same sentences."""
    return {
        **_followings(reading.cues),
        **_places(reading.cues, _roles(reading.homes)),
        **_chains(reading),
        **_introductions(reading),
        **_names(reading.sentences),
        **_sequences(reading),
        "broken quotes": sum(map(broken_quotes, reading.paragraphs)) / 2,
    }


def misplaced(reading: Reading) -> list[str]:
    """The sentences that stand worst where they stand, worst first."""
    roles = _roles(reading.homes)
    fit = [0.0] * len(reading.sentences)
    for role, values in roles.items():
        weights, mean = PLACES[role], fmean(values)
        for i, cued in enumerate(reading.cues):
            fit[i] += (values[i] - mean) * sum(weights.get(cue, 0.0) * value for cue, value in cued.items())
    for i, (before, after) in enumerate(pairwise(reading.cues), 1):
        fit[i] += sum(weight * before.get(a, 0) * after.get(b, 0) for (a, b), weight in FOLLOWS.items()) / 3
    return [reading.sentences[i] for i in sorted(range(len(fit)), key=fit.__getitem__) if fit[i] < 0]


def follows_source(told: Sequence[Set[str]], source: Sequence[Set[str]]) -> tuple[float, int]:
    """How far a text follows its source's order, -1 to 1 (Kendall's tau), and the sentences it rests on.

    Both are given as the subject stems of each sentence.
    """
    where: dict[str, list[int]] = {}
    for place, stems in enumerate(source[:_MAX_SENTENCES]):
        for one in stems:
            where.setdefault(one, []).append(place)
    places = []
    for stems in told[:_MAX_SENTENCES]:
        likes: dict[int, float] = {}
        for held in (where[one] for one in stems if one in where):
            for place in held:
                likes[place] = likes.get(place, 0.0) + 1 / len(held)
        best = max(likes.values(), default=0.0)
        if best >= 1.0:
            places.append(min(place for place, like in likes.items() if like == best))
    steps = [1 if first < second else -1 for first, second in combinations(places, 2) if first != second]
    return fmean(steps or [0]), len(places)


def _followings(cued: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """How often one cue follows another in the next sentence, above chance."""
    count, total = len(cued), _total(cued)
    seen, same = dict.fromkeys(FOLLOWS, 0.0), dict.fromkeys(FOLLOWS, 0.0)
    for one, after in zip(cued, [*cued[1:], {}], strict=True):
        for first in one.keys() & _FOLLOWERS.keys():
            for second in _FOLLOWERS[first]:
                if second in after:
                    seen[first, second] += one[first] * after[second]
                if second in one:
                    same[first, second] += one[first] * one[second]
    chance = {(a, b): (total.get(a, 0.0) * total.get(b, 0.0) - held) / count for (a, b), held in same.items()}
    return {f"{a} > {b}": (found - chance[a, b]) / math.sqrt(count) for (a, b), found in seen.items()}


def _total(cued: Sequence[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in cued:
        for cue, value in one.items():
            total[cue] = total.get(cue, 0.0) + value
    return total


def _roles(homes: Sequence[int]) -> dict[str, list[float]]:
    """How far each sentence has each role a place can have: late in the text, its first or last, a paragraph's."""
    count = len(homes)
    opens = [float(i > 0 and homes[i] != homes[i - 1]) for i in range(count)]
    ends = [*opens[1:], 0.0]
    scale = math.sqrt(sum(opens)) if 0 < sum(opens) < count - 1 else math.inf
    return {
        "late": [3 * (i / (count - 1) - 0.5) / math.sqrt(count) for i in range(count)],
        "first": [1.0, *[0.0] * (count - 1)],
        "last": [*[0.0] * (count - 1), 1.0],
        "opens": [value / scale for value in opens],
        "ends": [value / scale for value in ends],
    }


def _places(cued: Sequence[Mapping[str, float]], roles: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """How far each cue goes with each role, above chance."""
    total = _total(cued)
    found: dict[str, float] = {}
    for role in ROLES:
        held: dict[str, float] = {}
        for value, one in zip(roles[role], cued, strict=True):
            if value:
                for cue, strength in one.items():
                    held[cue] = held.get(cue, 0.0) + value * strength
        mean = fmean(roles[role])
        found |= {f"{role} {cue}": held.get(cue, 0.0) - mean * often for cue, often in total.items()}
    return found


def _chains(reading: Reading) -> dict[str, float]:
    """How close together a subject comes back, names and other words apart, above chance; rare ones weigh more."""
    capital = {subject(word) for found in reading.capitals for word in found}
    where: dict[str, list[int]] = {}
    for i, told in enumerate(reading.subjects):
        for one in told:
            where.setdefault(one, []).append(i)
    again = [(one, places) for one, places in where.items() if 1 < len(places) < _MAX_SENTENCES]
    count, sizes = len(reading.sentences), Counter(reading.homes)
    together = sum(size * (size - 1) for size in sizes.values()) / (count * (count - 1))
    return {
        f"{kind} {name}": value
        for kind, chosen in (("names", True), ("things", False))
        for name, value in _closeness([p for one, p in again if (one in capital) is chosen], reading.homes, together)
    }


def _closeness(chains: Sequence[Sequence[int]], homes: Sequence[int], together: float) -> Iterator[tuple[str, float]]:
    """Mentions one, two, and three or four sentences apart, and in one paragraph, less what chance would give."""
    count = len(homes)
    pairs = count * (count - 1) / 2
    seen, weighed = [0.0] * 4, [0.0, 0.0]
    for places in chains:
        weight = math.log(count / len(places))
        for first, second in combinations(places, 2):
            gap = second - first
            if gap < 5:
                seen[(0, 0, 1, 2, 2)[gap]] += weight
            seen[3] += weight * (homes[first] == homes[second])
        among = len(places) * (len(places) - 1) / 2
        weighed[0] += weight * among
        weighed[1] += weight * weight * among
    spread = math.sqrt(weighed[1] * 2 / count) + 0.5
    chance = ((count - 1) / pairs, (count - 2) / pairs, (2 * count - 7) / pairs, together)
    for name, found, share in zip(("next", "near", "further", "together"), seen, chance, strict=True):
        yield name, (found - weighed[0] * share) / spread


def _introductions(reading: Reading) -> dict[str, float]:
    """How far things are met as "a dog" before "the dog"."""
    uses: dict[str, list[int]] = {}
    for found in reading.words:
        for before, noun in pairwise(found):
            if len(noun) > 3 and noun.islower() and (thing := subject(noun)):
                uses.setdefault(thing, []).append(_ARTICLES.get(before.lower(), 0))
    again = [found for found in uses.values() if len(found) > 1]
    root = math.sqrt(len(reading.sentences))
    met = sum((found[0] == 1) - found.count(1) / len(found) for found in again)
    return {"introduced": sum(found[0] - sum(found) / len(found) for found in again) / root, "met first": met / root}


def _names(told: Sequence[str]) -> dict[str, float]:
    """How far names are met in full, with what explains them, before they are used alone."""
    met: dict[str, list[tuple[int, bool, bool]]] = {}
    for sentence in told:
        for match in _NAME.finditer(sentence):
            parts = [re.sub(r"['’]s$", "", part) for part in match.group().split()]
            parts = [part for part in parts if part.lower() not in COMMON]
            explained = bool(_APPOSITION.match(sentence, match.end()))
            presented = bool(_PRESENTED.search(sentence, max(0, match.start() - 40), match.start()))
            for part in parts:
                met.setdefault(part, []).append((len(parts), explained, presented))
    again = [found for found in met.values() if len(found) > 1]
    kinds = ("full name", "explained", "presented")
    return {kind: sum(found[0][k] - fmean(one[k] for one in found) for found in again) for k, kind in enumerate(kinds)}


def _sequences(reading: Reading) -> dict[str, float]:
    """Steps forwards less steps back in years, counts, weekdays and months."""
    ranked: list[list[int]] = [[] for _ in _SEQUENCES]
    for place in (_RANK[word] for word in reading.all_lowered if word in _RANK):
        ranked[place[0]].append(place[1])
    kinds = {"counts": ranked[0], "weekdays": ranked[1], "months": ranked[2]}
    kinds["years"] = [int(year) for year in _YEAR.findall(reading.text)]
    return {kind: sum((b > a) - (b < a) for a, b in pairwise(steps)) / 2 for kind, steps in kinds.items()}
