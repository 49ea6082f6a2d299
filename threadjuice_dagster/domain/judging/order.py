"""Measures whether the sentences of a text stand in the order they were written in.

Every signal is held against what the same text would have in a random order, so that neither subject nor length moves
it. Whether a paragraph belongs to the text at all is decided in ``domain/judging/unity.py``. The weights are data
(``editorial/reading_weights.yaml``), fitted by ``tests/corpora/fit.py``.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cache
from itertools import combinations, pairwise
from statistics import fmean
from typing import NamedTuple

from threadjuice_dagster.domain import editorial
from threadjuice_dagster.domain.language.lexicon import lexicon
from threadjuice_dagster.domain.language.prose import Reading, add_up, broken_quotes, subject

MIN_SENTENCES = 7
"""Under this an order cannot be told from chance."""

ROLES = ("late", "first", "last", "opens", "ends")
"""What a sentence's place can be: late in the text, first or last of all, opening or ending a paragraph."""

_MAX_SENTENCES = 80
"""Sentences held against a source's, and mentions of a subject compared: a bound on quadratic cost."""

_NAME = re.compile(r"[A-Z][\w'’-]+(?: [A-Z][\w'’-]+)*")
_APPOSITION = re.compile(r",? (?:who|an?|the|then|now|aged|\d|whose|from|his|her|my|our)\b|, \w")
_PRESENTED = re.compile(r"\b(?:called|named|my|our|an?|his|her|their) (?:\w+ )?(?:\w+,? )?$")
_ARTICLES = {"a": 1, "an": 1, "the": -1, "this": -1, "that": -1, "these": -1, "those": -1}
_YEAR = re.compile(r"\b(?:1[89]|20)\d\d\b")
_SEQUENCES = {
    "counts": "first second third fourth fifth last",
    "weekdays": "monday tuesday wednesday thursday friday saturday sunday",
    "months": "january february march april may june july august september october november december",
}
_RANK = {word: (kind, rank) for kind, sequence in _SEQUENCES.items() for rank, word in enumerate(sequence.split())}


class Weights(NamedTuple):
    """The fitted weights: ``signals`` by name, and the same taken apart.

    ``follows`` holds those of two cues in neighbouring sentences, ``followers`` the second cues of each first one,
    ``places`` those of a cue in a role.
    """

    shift: float
    breaks: float
    signals: Mapping[str, float]
    follows: Mapping[tuple[str, str], float]
    followers: Mapping[str, Sequence[str]]
    places: Mapping[str, Mapping[str, float]]


@cache
def weights() -> Weights:
    """Return the weights, read once."""
    table = editorial.table("reading_weights")["order"]
    follows: dict[tuple[str, str], float] = {}
    followers: defaultdict[str, list[str]] = defaultdict(list)
    places: dict[str, dict[str, float]] = {role: {} for role in ROLES}
    for name, weight in table["weights"].items():
        first, arrow, second = name.partition(" > ")
        role, _, cue = name.partition(" ")
        if arrow:
            follows[first, second] = weight
            followers[first].append(second)
        elif role in places:
            places[role][cue] = weight
    return Weights(table["shift"], table["breaks"], table["weights"], follows, followers, places)


def in_order(reading: Reading) -> float | None:
    """Measure how far a text looks like one in its own order; None for a short text.

    Hardly any sound text is under 0. The unit is one standard deviation of what random orders of texts score.
    """
    if len(reading.sentences) < MIN_SENTENCES:
        return None
    fitted = weights()
    unbroken = len({*reading.homes}) in (1, len(reading.homes))
    weighed = sum(fitted.signals.get(name, 0.0) * value for name, value in signals(reading).items())
    return weighed + fitted.shift + fitted.breaks * unbroken


def signals(reading: Reading) -> dict[str, float]:
    """Return every signal of order, by name; about 0 in a random order of the same sentences."""
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
    """Return the sentences that fit worst where they stand, worst first."""
    fitted = weights()
    fit = [0.0] * len(reading.sentences)
    for role, values in _roles(reading.homes).items():
        by_cue, mean = fitted.places[role], fmean(values)
        for i, cued in enumerate(reading.cues):
            fit[i] += (values[i] - mean) * sum(by_cue.get(cue, 0.0) * value for cue, value in cued.items())
    for i, (before, after) in enumerate(pairwise(reading.cues), 1):
        fit[i] += sum(weight * before.get(a, 0) * after.get(b, 0) for (a, b), weight in fitted.follows.items()) / 3
    return [reading.sentences[i] for i in sorted(range(len(fit)), key=fit.__getitem__) if fit[i] < 0]


def follows_source(story: Sequence[Set[str]], source: Sequence[Set[str]]) -> tuple[float, int]:
    """Return how far a text follows its source's order, -1 to 1 (Kendall's tau), and the sentences it rests on.

    Both are given as the subject stems of each sentence.
    """
    where: defaultdict[str, list[int]] = defaultdict(list)
    for place, stems in enumerate(source[:_MAX_SENTENCES]):
        for stem in stems:
            where[stem].append(place)
    places = []
    for stems in story[:_MAX_SENTENCES]:
        likeness: dict[int, float] = {}
        for mentions in (where[stem] for stem in stems if stem in where):
            for place in mentions:
                likeness[place] = likeness.get(place, 0.0) + 1 / len(mentions)
        best = max(likeness.values(), default=0.0)
        if best >= 1.0:
            places.append(min(place for place, like in likeness.items() if like == best))
    steps = [1 if first < second else -1 for first, second in combinations(places, 2) if first != second]
    return fmean(steps or [0]), len(places)


def _followings(cued: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """How often one cue follows another in the next sentence, above chance."""
    fitted, count, totals = weights(), len(cued), add_up(cued)
    seen, same = dict.fromkeys(fitted.follows, 0.0), dict.fromkeys(fitted.follows, 0.0)
    for current, following in zip(cued, [*cued[1:], {}], strict=True):
        for first in current.keys() & fitted.followers.keys():
            for second in fitted.followers[first]:
                if second in following:
                    seen[first, second] += current[first] * following[second]
                if second in current:
                    same[first, second] += current[first] * current[second]
    chance = {(a, b): (totals.get(a, 0.0) * totals.get(b, 0.0) - both) / count for (a, b), both in same.items()}
    return {f"{a} > {b}": (often - chance[a, b]) / math.sqrt(count) for (a, b), often in seen.items()}


def _roles(homes: Sequence[int]) -> dict[str, list[float]]:
    """How far each sentence has each role that a place can have."""
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
    totals = add_up(cued)
    fit: dict[str, float] = {}
    for role, values in roles.items():
        held: dict[str, float] = {}
        for value, sentence in zip(values, cued, strict=True):
            if value:
                for cue, strength in sentence.items():
                    held[cue] = held.get(cue, 0.0) + value * strength
        mean = fmean(values)
        fit |= {f"{role} {cue}": held.get(cue, 0.0) - mean * often for cue, often in totals.items()}
    return fit


def _chains(reading: Reading) -> dict[str, float]:
    """How close together a subject comes back, names and other words apart, above chance; rare ones weigh more."""
    name_stems = {subject(word) for names in reading.capitals for word in names}
    where: defaultdict[str, list[int]] = defaultdict(list)
    for i, stems in enumerate(reading.subjects):
        for stem in stems:
            where[stem].append(i)
    repeated = [(stem, places) for stem, places in where.items() if 1 < len(places) < _MAX_SENTENCES]
    count, sizes = len(reading.sentences), Counter(reading.homes)
    together = sum(size * (size - 1) for size in sizes.values()) / (count * (count - 1))
    chains = {
        "names": [places for stem, places in repeated if stem in name_stems],
        "things": [places for stem, places in repeated if stem not in name_stems],
    }
    return {
        f"{kind} {how}": value
        for kind, chosen in chains.items()
        for how, value in _closeness(chosen, reading.homes, together)
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
    for name, often, share in zip(("next", "near", "further", "together"), seen, chance, strict=True):
        yield name, (often - weighed[0] * share) / spread


def _introductions(reading: Reading) -> dict[str, float]:
    """How far things are met as "a dog" before "the dog"."""
    uses: defaultdict[str, list[int]] = defaultdict(list)
    for sentence in reading.words:
        for before, noun in pairwise(sentence):
            if len(noun) > 3 and noun.islower() and (thing := subject(noun)):
                uses[thing].append(_ARTICLES.get(before.lower(), 0))
    repeated = [articles for articles in uses.values() if len(articles) > 1]
    root = math.sqrt(len(reading.sentences))
    met = sum((articles[0] == 1) - articles.count(1) / len(articles) for articles in repeated)
    introduced = sum(articles[0] - sum(articles) / len(articles) for articles in repeated)
    return {"introduced": introduced / root, "met first": met / root}


def _names(sentences: Sequence[str]) -> dict[str, float]:
    """How far names are met in full, with what explains them, before they are used alone."""
    common = lexicon().common
    mentions: defaultdict[str, list[tuple[int, bool, bool]]] = defaultdict(list)
    for sentence in sentences:
        for match in _NAME.finditer(sentence):
            parts = [re.sub(r"['’]s$", "", part) for part in match.group().split()]
            parts = [part for part in parts if part.lower() not in common]
            explained = bool(_APPOSITION.match(sentence, match.end()))
            presented = bool(_PRESENTED.search(sentence, max(0, match.start() - 40), match.start()))
            for part in parts:
                mentions[part].append((len(parts), explained, presented))
    repeated = [uses for uses in mentions.values() if len(uses) > 1]
    kinds = ("full name", "explained", "presented")
    return {kind: sum(uses[0][k] - fmean(use[k] for use in uses) for uses in repeated) for k, kind in enumerate(kinds)}


def _sequences(reading: Reading) -> dict[str, float]:
    """Steps forwards less steps back in years, counts, weekdays and months."""
    ranked: dict[str, list[int]] = {kind: [] for kind in _SEQUENCES}
    for kind, rank in (_RANK[word] for word in reading.all_lowered if word in _RANK):
        ranked[kind].append(rank)
    ranked["years"] = [int(year) for year in _YEAR.findall(reading.text)]
    return {kind: sum((b > a) - (b < a) for a, b in pairwise(steps)) / 2 for kind, steps in ranked.items()}
